"""How far two arrays are apart end to end.

What is measured is what a row of a report shows: the largest absolute difference, where it is first, what stands there
on both sides, and the scale of torch's side. Differences are taken in float64. -0.0 equals 0.0, an infinity equals
itself, and nan equals nothing: its difference is nan, which counts as the largest.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from handgrad.compare.thresholds import SAME_SUM, UNIT_ROUNDOFF
from handgrad.compare.trace import Arrays, same

# Share of torch's scale by its dtype, sqrt(u): two sides that are further apart end to end differ because of a mistake.
AFFECTED = {np.dtype(dtype): u**0.5 for dtype, u in UNIT_ROUNDOFF.items()}

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
    names = dict.fromkeys([*first, *second])
    sides = {name: (first.get(name), second.get(name)) for name in names}
    return tuple(n for n, (a, b) in sides.items() if a is not b and (a is None or b is None or not _is_close(a, b)))


@np.errstate(all="ignore")
def _is_close(one: Array, other: Array) -> bool:
    """Whether two arrays are the same, or both floating and so near that another order of summation explains it."""
    if one.shape == other.shape and one.dtype.kind == other.dtype.kind == "f":
        apart = np.abs(np.subtract(one, other, dtype=np.float64)).max(initial=0.0)
        epsilon = max(float(np.finfo(side.dtype).eps) for side in (one, other))
        if apart <= SAME_SUM * epsilon * np.abs(one).max(initial=0.0):
            return True
    return same(one, other)
