"""The evidence on the cross-entropy as the notes write it."""

import math

import pytest

from handgrad.compare.notes.losses import literal_loss

EVIDENCE = literal_loss()
FIGURES = {figure.name: figure for figure in EVIDENCE.figures}


def test_the_loss_as_written_has_the_wrong_sign_where_y_is_0():
    assert FIGURES["loss as written"].by_hand == pytest.approx(-math.log(10))
    assert FIGURES["loss"].by_hand == pytest.approx(math.log(10))
    assert FIGURES["dJ/dz"].by_hand == pytest.approx(0.9)
    assert FIGURES["dJ/dz as written"].by_hand == pytest.approx(-0.9)


def test_descent_along_it_goes_the_wrong_way_without_end():
    assert FIGURES["p(y = 0) after 500 steps as written"].by_hand == 1.0
    assert math.isnan(FIGURES["J after 500 steps as written"].by_hand)


def test_both_descents_are_plotted():
    cost, probability = EVIDENCE.plots
    for plot in (cost, probability):
        assert [curve.name for curve in plot.lines] == ["as written", "correct"]
        assert all(len(curve.x) == len(curve.y) == 501 for curve in plot.lines)
    (written, right) = probability.lines
    assert written.y[0] == right.y[0] == 0.5
    assert written.y[-1] == 1 > 0.2 > right.y[-1]
