"""What the statements of the lecture notes are made of: the statement, its evidence, and the figures in that."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from handgrad.compare.results import Plot


class Figure(NamedTuple):
    """One quantity by hand and in torch; None for a side that has none."""

    name: str
    by_hand: float | None
    torch: float | None


class Evidence(NamedTuple):
    """What was computed, what it shows in a sentence that quotes the figures, and its consequence as curves."""

    text: str
    figures: tuple[Figure, ...] = ()
    plots: tuple[Plot, ...] = ()


class Statement(NamedTuple):
    """One statement of the notes: its label, as written, corrected, the verdict, and what proves it."""

    id: str
    as_written: str
    corrected: str
    verdict: str
    prove: Callable[[], Evidence]
