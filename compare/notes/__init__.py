"""The lecture notes, statement by statement: as written, corrected, and the evidence, computed by both sides.

Rows stand in compare/notes/statements.py, what proves them in the other modules of this folder; nothing is stored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from handgrad.compare.report.details import Plot

__all__ = ["Evidence", "Figure", "Statement"]


@dataclass(frozen=True)
class Figure:
    """One quantity by hand and in torch; None for a side that has none."""

    name: str
    by_hand: float | None
    torch: float | None


@dataclass(frozen=True)
class Evidence:
    """What was computed, what it shows in a sentence that quotes the figures, and its consequence as curves."""

    text: str
    figures: tuple[Figure, ...] = ()
    plots: tuple[Plot, ...] = ()


@dataclass(frozen=True)
class Statement:
    """One statement of the notes: its id, as written, corrected, the verdict, and what proves it."""

    id: str
    as_written: str
    corrected: str
    verdict: str
    prove: Callable[[], Evidence]
