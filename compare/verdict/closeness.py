"""How close a recorded tensor came to what rounding explains: the largest ratio of difference and allowance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from handgrad.compare.verdict.bounds import Allowance, Precision

Array = np.ndarray


class Local(NamedTuple):
    """One tensor in one precision: what was recorded, and the reference evaluated on the records it was made of."""

    recorded: Array
    reference: Array


@np.errstate(all="ignore")
def closest(local: Local, allowance: Allowance, precision: Precision, *, runs: int = 1) -> tuple[Array, Array]:
    """How close one tensor came to what rounding explains: per run rho, and the flat index of its entry, (runs,) each.

    rho is the largest difference in units of the allowance, and nan or infinite where a side is not finite; nothing
    over nothing is 0. Of more than one run, the tensors are stacked along a first axis.
    """
    difference = np.abs(np.subtract(local.recorded, local.reference, dtype=np.float64))
    ratio = np.where(difference == 0, 0.0, difference / allowance.everywhere(precision)).reshape(runs, -1)
    worst = ratio.argmax(axis=1)
    return ratio[np.arange(runs), worst], worst


def index_of(flat: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The index of a flat position in an array of that shape, as plain integers; () for a scalar."""
    index = list[int]()
    for size in reversed(shape):
        flat, at = divmod(flat, size)
        index.append(at)
    return tuple(reversed(index))
