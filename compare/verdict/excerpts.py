"""Entries of a wrong tensor around its worst one."""

from __future__ import annotations

import numpy as np

from handgrad.compare.names import Key
from handgrad.compare.results import Excerpt

ROWS, COLUMNS = 8, 12  # at most


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
