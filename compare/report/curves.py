"""Plots as SVG that takes its colours from the page around it."""

from __future__ import annotations

import io
import math
import re
import warnings
from html import escape
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from handgrad.compare.results import Curve, Plot

LARGEST = 1e290  # what an axis can be drawn for
POINTS = 400  # so many points of a line at most
SETTINGS: Any = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "handgrad",  # the same bytes every time
    "text.parse_math": False,  # names are not formulas
    "font.family": "sans-serif",
    "font.size": 10.2,
}
INK = "#010203"  # stands for the page's own colour of text
COLOURS = ("#010210", "#010211", "#010212", "#010213", "#010214", "#010215")  # stand for its colours of lines
STYLES = ("-", (0, (4, 3)), "-.", ":", (0, (6, 2, 1, 2, 1, 2)), (0, (1, 3)))
SIDES = {"by hand": 0, "torch": 1}


def svg(plot: Plot, unique: str) -> str:
    """A plot as an SVG element; lines differ in style as well as in colour, and the text stays text.

    `unique` begins the names in it, which must differ from those of other plots on the page.
    """
    with rc_context(SETTINGS), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a character that matplotlib's font lacks, the reader's has
        figure = Figure(figsize=(4.4, 2.6), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot(facecolor="none")
        for position, line in enumerate(plot.lines):
            style = SIDES.get(line.name, position)
            x, y = _points(line, log=plot.log)
            axes.plot(
                x,
                y,
                label=line.name,
                color=COLOURS[style % len(COLOURS)],
                linestyle=STYLES[style % len(STYLES)],
                linewidth=2.6 if line.name == "by hand" else 1.6,
                marker="o" if any(map(math.isnan, y)) or len(x) < 2 else None,
                markersize=2.5,
            )
        if plot.log:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(LogFormatter())  # 1e-15, where others write a formula for TeX
            axes.yaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False))
        axes.set_xlabel(plot.x, color=INK)
        axes.set_ylabel(plot.y, color=INK)
        axes.tick_params(which="both", colors=INK)
        axes.spines[:].set(color=INK, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(visible=True, color=INK, alpha=0.12, linewidth=0.6)
        if len(plot.lines) > 1:
            axes.legend(frameon=False, labelcolor=INK)
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _for_the_page(out.getvalue(), plot, unique)


def _points(line: Curve, *, log: bool) -> tuple[list[float], list[float]]:
    """The points that can be drawn, thinned out; on a logarithmic axis that leaves zeros out."""
    stride = max(1, math.ceil(len(line.x) / POINTS))
    x = [value if abs(value) < LARGEST else math.nan for value in line.x[::stride]]
    y = [value if abs(value) < LARGEST and (value > 0 or not log) else math.nan for value in line.y[::stride]]
    return x, y


def _for_the_page(text: str, plot: Plot, unique: str) -> str:
    """The SVG element alone, with names of its own, a label, and the page's colours."""
    text = text[text.index("<svg") :]
    text = re.sub(r'\bid="([^"]+)"', rf'id="{unique}-\1"', text)
    text = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{unique}-", text)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = text.replace(INK, "currentColor")
    for number, colour in enumerate(COLOURS):
        text = text.replace(colour, f"var(--line-{number})")
    label = escape(f"{plot.title}: {plot.y} against {plot.x}")
    return text.replace("<svg", f'<svg class="plot" role="img" aria-label="{label}"', 1).strip()
