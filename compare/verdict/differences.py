"""How far two arrays are apart end to end.

What is measured is what a row of a report shows: the largest absolute difference, where it is first, what stands there
on both sides, and the scale of torch's side. Differences are taken in float64. -0.0 equals 0.0, an infinity equals
itself, and nan equals nothing: its difference is nan, which counts as the largest.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from handgrad.compare.thresholds import SAME_SUM, UNIT_ROUNDOFF
from handgrad.compare.trace import Arrays, same

# Share of torch's scale by its dtype, sqrt(u): two sides that are further apart end to end differ because of a mistake.
AFFECTED = {np.dtype(dtype): u**0.5 for dtype, u in UNIT_ROUNDOFF.items()}

EPSILON = {np.dtype(kind).itemsize: float(np.finfo(kind).eps) for kind in ("f2", "f4", "f8")}

Array = np.ndarray


class Measured(NamedTuple):
    """How far one tensor by hand is from torch's.

    `position` is the flat position of the first largest difference, `by_hand` and `torch` stand there. `scale` is
    max |torch|.
    """

    max_abs_diff: float
    position: int
    by_hand: float
    torch: float
    scale: float


@np.errstate(all="ignore")
def measured(hand: Array, torch: Array) -> Measured:
    """Measure two arrays of equal shape, which have an entry, and of any real dtypes."""
    difference = np.asarray(np.abs(np.subtract(hand, torch, dtype=np.float64)))
    position = int(difference.argmax())
    if not difference.item(position) < np.inf:
        np.copyto(difference, 0.0, where=np.equal(hand, torch))  # both infinite
        position = int(difference.argmax())
    value: float = torch.item(position)  # whole numbers as they are
    shown = float(value) if torch.dtype.kind == "b" else value
    scale = float(np.abs(torch, dtype=np.float64).max())
    return Measured(difference.item(position), position, float(hand.item(position)), shown, scale)


def differing(first: Arrays, second: Arrays) -> tuple[str, ...]:
    """The names of records in which two calls on the same input differ by more than another order of summation.

    Where one call is in float32 and the other in float64, it is float32 in which the order matters.
    """
    both = [name for name in first if name in second and first[name].shape == second[name].shape]
    floating = [name for name in both if first[name].dtype.kind == second[name].dtype.kind == "f" and first[name].size]
    close = {name for name, is_close in zip(floating, _close(first, second, floating), strict=True) if is_close}
    rest = (name for name in dict.fromkeys([*first, *second]) if name not in close)
    return tuple(name for name in rest if name not in both or not same(first[name], second[name]))


def _close(first: Arrays, second: Arrays, names: Sequence[str]) -> list[bool]:
    """For each name, whether another order of summation explains the difference; the arrays are laid end to end."""
    if not names:
        return []
    sides = [[side[name] for name in names] for side in (first, second)]
    starts = [*accumulate((array.size for array in sides[0][:-1]), initial=0)]
    bounds = [SAME_SUM * max(EPSILON[a.itemsize], EPSILON[b.itemsize]) for a, b in zip(*sides, strict=True)]
    with np.errstate(all="ignore"):
        one, other = (np.concatenate([array.reshape(-1) for array in side], dtype=np.float64) for side in sides)
        difference, scale = (np.maximum.reduceat(np.abs(array), starts) for array in (one - other, one))
        close: list[bool] = (difference <= bounds * scale).tolist()
    return close
