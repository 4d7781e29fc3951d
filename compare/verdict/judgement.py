"""The values of the verdict: the judgement on one tensor of a step, its row and its excerpt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from handgrad.compare.facts.remarks import Note
from handgrad.compare.names import Key
from handgrad.compare.results import Excerpt, Finding, Row
from handgrad.compare.trace import Arrays, is_real
from handgrad.compare.verdict.closeness import Local, index_of
from handgrad.compare.verdict.differences import AFFECTED, measured
from handgrad.compare.verdict.rounding import Outcome

ReadBy = Mapping[str, frozenset[str]]  # the names of the tensors that each value is computed from
EndToEnd = tuple[Arrays, Arrays]  # by hand and in torch, each side going on with its own tensors
ROWS, COLUMNS = 8, 12  # of an excerpt, at most


class Judgement(NamedTuple):
    """What is said of one tensor of one step: its row, and a finding if it is wrong by itself.

    `differs`: the two sides differ end to end by more than rounding. `local` has both sides in the finest precision of
    a tensor that is a FAULT, `rounding` what rounding explains of an update's entries, `excerpt` entries of both for a
    finding.
    """

    row: Row
    finding: Finding | None = None
    differs: bool = False
    note: Note | None = None
    local: Local | None = None
    rounding: np.ndarray | None = None
    excerpt: Excerpt | None = None


def judgement_of(key: Key, equation: str, outcome: Outcome, end_to_end: EndToEnd) -> Judgement:
    """What is said of a judged tensor before its finding; the two sides may differ end to end by more than rounding.

    Where they cannot be subtracted, as their inputs have other sizes, they differ.
    """
    by_hand, torch = (side.get(key.name) for side in end_to_end)
    assert by_hand is not None
    judged = (outcome.rho, outcome.basis, outcome.verdict)
    note = outcome.why if isinstance(outcome.why, Note) else None
    is_same_shape = torch is not None and by_hand.shape == torch.shape and bool(by_hand.size)
    if torch is None or not is_same_shape or not is_real(by_hand) or not is_real(torch):
        return Judgement(Row(*key, equation, by_hand.shape, float("nan"), None, None, None, *judged), None, True, note)
    apart, position, ours, theirs, scale = measured(by_hand, torch)
    row = Row(*key, equation, by_hand.shape, apart, index_of(position, by_hand.shape), ours, theirs, *judged)
    return Judgement(row, None, not apart <= AFFECTED.get(torch.dtype, 0.0) * scale, note)


def excerpt(key: Key, by_hand: np.ndarray, torch: np.ndarray, index: tuple[int, ...]) -> Excerpt:
    """The block of both sides around `index`: whole if small; of more than two axes the last two."""
    *front, rows, columns = (*(0,) * (2 - len(index)), *index)
    ours, theirs = (side.reshape((1,) * (2 - side.ndim) + side.shape)[tuple(front)] for side in (by_hand, torch))
    most = (ROWS, COLUMNS)
    first = tuple(map(_first, (rows, columns), ours.shape, most))
    block = tuple(slice(start, start + shown) for start, shown in zip(first, most, strict=True))
    shown = (tuple(tuple(map(float, row)) for row in side[block]) for side in (ours, theirs))
    start = (*front, *first)[-len(index) :] if index else ()
    return Excerpt(key.step, key.name, start, *shown)


def _first(at: int, size: int, shown: int) -> int:
    """Where a window of `shown` entries of `size` begins, so that it has `at` near its middle."""
    return max(0, min(at - shown // 2, size - shown))
