"""The catalogue of known mistakes: each a small wrong piece of code beside the right one, runnable.

An entry stands in one place, compare/faults/network.py for the notes' network or compare/faults/elsewhere.py for the
small problems in compare/faults/problems, and is nothing but an edit of code that is right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["NOMINAL", "Fault", "catalogue", "fault"]


NOMINAL = "NOMINAL_BATCH_SIZE"  # in an edit: the batch size of the fixture that it is planted in


@dataclass(frozen=True)
class Fault:
    """One mistake: the code that is right, what is written in its place, and what a check must say of it.

    `module` holds the code, and every `right` stands in it exactly once. `equation` is the label of the notes, or the
    right formula where they have none, `formula` the wrong one. `cause` is the code that the finding must have and
    `first` the first tensor that is wrong, with {L} for the last layer and {H} for the one before. `needs` is what the
    fixture must have to reveal it.
    """

    name: str
    module: str
    edits: tuple[tuple[str, str], ...]
    equation: str
    formula: str
    cause: str
    first: str
    why: str
    lesson: str
    needs: Mapping[str, Any] = field(default_factory=dict)

    def edits_for(self, batch_size: int | None) -> tuple[tuple[str, str], ...]:
        """The edits for a fixture with this batch size."""
        return tuple((right, wrong.replace(NOMINAL, str(batch_size or "n"))) for right, wrong in self.edits)


def fault(
    name: str,
    module: str,
    right: str,
    wrong: str,
    equation: str,
    formula: str,
    cause: str,
    first: str,
    why: str,
    lesson: str,
    **needs: Any,
) -> Fault:
    """An entry with one edit."""
    return Fault(name, module, ((right, wrong),), equation, formula, cause, first, why, lesson, needs)


def catalogue() -> dict[str, Fault]:
    """Every entry by name, those of the notes' network first."""
    from handgrad.compare.faults.elsewhere import ELSEWHERE
    from handgrad.compare.faults.network import NETWORK

    return {entry.name: entry for entry in (*NETWORK, *ELSEWHERE)}
