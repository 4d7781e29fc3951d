import re

import numpy as np
import pytest

from handgrad.compare.report.curves import svg
from handgrad.compare.results import Curve, Plot

CURVES = (
    Curve("by hand", (1.0, 2.0, 3.0), (0.0, np.nan, 1e-9)),
    Curve("torch", (1.0, 2.0, 3.0), (np.inf, -1.0, 2.0)),
    Curve("huge", (1.0, 2.0, 1e308), (1e308, -1e308, 1e-310)),
)


@pytest.mark.parametrize("log", [False, True])
def test_a_plot_takes_colours_from_the_page_and_survives_any_number(log):
    drawn = svg(Plot("A <title>", "x & y", "y", CURVES, log=log), "p1")
    assert "currentColor" in drawn
    assert "var(--line-0)" in drawn
    assert not re.search(r"#01020\d|#0102[01]\d", drawn)
    assert 'id="p1-' in drawn
    assert "<title>" not in drawn.replace("&lt;title&gt;", "")


def test_the_same_plot_has_the_same_bytes():
    plot = Plot("a", "x", "y", CURVES)
    assert svg(plot, "p") == svg(plot, "p")


@pytest.mark.parametrize(
    ("y", "tick"),
    [((1e-15, 1e-9, 1e-3), "1e−15"), ((1.1, 1.5, 1.9), "1.5"), ((3e5, 2e6, 9e6), "1e+06"), ((2.0, 5.0, 30.0), "10")],  # noqa: RUF001  # as it is drawn
)
def test_the_ticks_of_a_logarithmic_axis_are_numbers_and_no_formulas(y, tick):
    texts = re.findall(
        r"<text[^>]*>(.*?)</text>", svg(Plot("t", "x", "y", (Curve("a", (1.0, 2.0, 3.0), y),), log=True), "p")
    )
    assert tick in texts
    assert not [text for text in texts if "$" in text or "\\" in text]
