"""How close a recorded tensor came to what rounding explains: the largest ratio of difference and allowance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from handgrad.compare.verdict.bounds import Allowance, Precision

SMALL = 4096  # numbers: up to so many the allowance is computed everywhere, without a screen

Array = np.ndarray


class Local(NamedTuple):
    """One tensor in one precision: what was recorded, and the reference evaluated on the records it was made of."""

    recorded: Array
    reference: Array


@np.errstate(all="ignore")
def difference_of(local: Local) -> Array:
    """|recorded - reference| in float64, of at least one axis."""
    difference = np.atleast_1d(np.subtract(local.recorded, local.reference, dtype=np.float64))
    return np.asarray(np.abs(difference, out=difference))


def closest(
    local: Local, allowance: Allowance, precision: Precision, *, runs: int, small: int = SMALL
) -> tuple[Array, Array]:
    """How close one tensor came to what rounding explains: per run rho, and the flat index of its entry, (runs,) each.

    rho is the largest difference in units of the allowance, and nan or infinite where a side is not finite. Of more
    than one run, the tensors are stacked along a first axis. With more than `small` numbers a run, a screen bounds the
    ratio from above without the product of absolute matrices, and the ratio itself is computed only at entries that
    could still be the largest.
    """
    difference = difference_of(local)
    size = difference.size // runs
    if allowance.is_exact:
        largest, worst = _by_run(difference, runs)
        return np.where(largest == 0, 0.0, np.inf), worst
    if size <= small or allowance.magnitude is None:
        return _largest(difference, allowance.everywhere(precision), runs)
    upper = _ratio(difference, allowance.screen(local.reference, precision)).reshape(runs, size)
    exact = np.full(difference.size, -1.0)

    def settle(entries: Array) -> None:
        at = np.unravel_index(entries, difference.shape)
        exact[entries] = _ratio(difference[at], allowance.at(at, precision))

    settle(upper.argmax(axis=1) + size * np.arange(runs))
    candidates = np.flatnonzero(~(upper <= exact.reshape(runs, size).max(axis=1, keepdims=True)))
    if candidates.size > small * runs:  # so many are cheaper all at once
        return _largest(difference, allowance.everywhere(precision), runs)
    settle(candidates)
    return _by_run(exact, runs)


@np.errstate(all="ignore")
def _largest(difference: Array, allowed: Array, runs: int) -> tuple[Array, Array]:
    """Per run the largest ratio and its flat index; nan counts as largest."""
    largest, worst = _by_run(difference / allowed, runs)
    return _by_run(_ratio(difference, allowed), runs) if np.isnan(largest).any() else (largest, worst)


def _by_run(ratio: Array, runs: int) -> tuple[Array, Array]:
    """Per run the largest number and its flat index."""
    by_run = ratio.reshape(runs, -1)
    worst = by_run.argmax(axis=1)
    return by_run[np.arange(runs), worst], worst


@np.errstate(all="ignore")
def _ratio(difference: Array, allowed: Array) -> Array:
    """Difference / allowed, where nothing over nothing is 0."""
    return np.where(difference == 0, 0.0, difference / allowed)


def index_of(flat: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The index of a flat position in an array of that shape, as plain integers; () for a scalar."""
    index: list[int] = []
    for n in reversed(shape):
        flat, i = divmod(flat, n)
        index.append(i)
    return tuple(reversed(index))
