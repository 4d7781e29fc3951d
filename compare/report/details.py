"""What a page shows beside the rows: how tensors depend on each other, the code, entries of what is wrong, curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["Code", "Details", "Excerpt", "Line", "Plot", "joined"]


class Excerpt(NamedTuple):
    """Entries of a wrong tensor around its worst one, by hand and in torch from the same inputs.

    The last two axes are shown, from the entry at `start` on; earlier axes stand still there. A vector is one row.
    """

    step: int
    name: str
    start: tuple[int, ...]
    by_hand: tuple[tuple[float, ...], ...]
    torch: tuple[tuple[float, ...], ...]


class Code(NamedTuple):
    """A piece of the source of one side, "by hand" or "torch": its file's name, its first line, and its text.

    `tensors` names the lines, numbered as in the file, that compute a tensor, for those where that can be told.
    """

    side: str
    file: str
    first: int
    text: str
    tensors: Mapping[str, tuple[int, ...]]


class Line(NamedTuple):
    """One line of a plot: its name, which is "by hand" or "torch" where it is of one side, and its points."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]


class Plot(NamedTuple):
    """A plot: its title, what its axes show, its lines, whether y is logarithmic, and a sentence on what to see."""

    title: str
    x: str
    y: str
    lines: tuple[Line, ...]
    log: bool = False
    text: str = ""


class Details(NamedTuple):
    """`reads` names what each value is computed from, J and the taps in dataflow order, whether recorded or not.

    `downstream` holds the steps at which a tensor differs because of what it is computed from, `together` the tensors
    that are off by the same factor as a culprit, which must come in before them.
    """

    reads: Mapping[str, tuple[str, ...]] = {}
    downstream: Mapping[str, tuple[int, ...]] = {}
    together: Mapping[str, tuple[str, ...]] = {}
    excerpts: tuple[Excerpt, ...] = ()
    code: tuple[Code, ...] = ()
    plots: tuple[Plot, ...] = ()


def joined(first: Details, then: Details) -> Details:
    """The details of two parts of a run, one after the other; a tensor is excerpted where it is wrong first."""
    known = {excerpt.name for excerpt in first.excerpts}
    names = dict.fromkeys([*first.downstream, *then.downstream])
    return Details(
        reads=first.reads or then.reads,
        downstream={name: (*first.downstream.get(name, ()), *then.downstream.get(name, ())) for name in names},
        together={**then.together, **first.together},
        excerpts=(*first.excerpts, *(excerpt for excerpt in then.excerpts if excerpt.name not in known)),
        code=first.code or then.code,
        plots=(*first.plots, *then.plots),
    )
