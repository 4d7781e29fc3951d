"""What rounding alone can explain, per operation of the notes' network.

With u the unit roundoff of the working dtype, eta its smallest subnormal and gamma_k = k u/(1 - k u), a sum of products
of k roundings is off by at most gamma_k times the sum of the absolute products, in any order (Higham,
"Accuracy and Stability of Numerical Algorithms", 2nd edition, sections 3.1 and 3.5). The probabilistic sqrt(k) form is
smaller and wrong for sums of equal terms. Every allowance adds k eta for underflow, and is doubled for float64, because
the reference it is compared with is evaluated in float64 as well and rounds too.

Each function here describes one operation by what it reads: W, A, dZ and so on are recorded tensors in float64. Steps
may be stacked: every array then has the same first axes. What works entry by entry says in its row of the registry how
many units of roundoff it may be off by.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from handgrad.compare.thresholds import SMALLEST, UNIT_ROUNDOFF

Array = np.ndarray


class Precision(NamedTuple):
    """A working dtype: unit roundoff u, smallest subnormal eta, and the number of sides that round in it."""

    u: float
    eta: float
    sides: int

    def gammas(self, k: int) -> float:
        """gamma_k = k u/(1 - k u), times the number of sides."""
        return self.sides * k * self.u / (1 - k * self.u)


SIDES = {"float64": 2, "float32": 1}
PRECISIONS = {dtype: Precision(UNIT_ROUNDOFF[dtype], SMALLEST[dtype], sides) for dtype, sides in SIDES.items()}


class Allowance(NamedTuple):
    """sides (gamma_k M + u units + k eta), entry by entry; `magnitude()` gives M, the sum of the absolute terms."""

    k: int
    units: float | Array = 0.0
    magnitude: Callable[[], Array] | None = None

    def everywhere(self, precision: Precision) -> Array:
        """The allowance at every entry, in a shape that broadcasts to the tensor's."""
        total = np.asarray(precision.sides * (self.k * precision.eta + self.units * precision.u))
        if self.magnitude is not None:
            total = precision.gammas(self.k) * self.magnitude() + total
        return total


def linear(W: Array, A_prev: Array, b: Array) -> Allowance:
    """Z = W A_prev + b: gamma_(n_in+1) (|W||A_prev| + |b|)."""
    return Allowance(W.shape[-1] + 1, magnitude=lambda: np.abs(W) @ np.abs(A_prev) + np.abs(b))


def elementwise(units: float | Array) -> Allowance:
    """What rounds entry by entry, in a few operations: so many units."""
    return Allowance(4, units)


def penalty(weights: Sequence[Array], value: Array) -> Allowance:
    """(l2/2) sum of squares over k weights: gamma_(k+3) times itself, no term being negative."""
    return Allowance(sum(_size(W) for W in weights) + 3, magnitude=lambda: np.abs(value))


def cost(losses: Array, penalty_value: Array | float) -> Allowance:
    """J = (1/n) sum of n K losses + penalty: gamma_(nK+2) times the sum of the absolute terms."""
    total = np.abs(losses).sum(axis=(-2, -1)) / losses.shape[-1] + np.abs(penalty_value)
    return Allowance(_size(losses) + 2, magnitude=lambda: total)


def output_gradient(gradient: Array, units: float | Array) -> Allowance:
    """(A[L] - Y)/n, where A[L] is itself off by `units` u unless it is recorded: units u/n + 4u|gradient|."""
    return Allowance(2, units / gradient.shape[-1] + 4.0 * np.abs(gradient))


def input_gradient(W: Array, dZ: Array) -> Allowance:
    """dA = W^T dZ: gamma_(n_out+1) |W|^T|dZ|, one more than the sum needs, so that n_out = 1 is not at its limit."""
    return Allowance(W.shape[-2] + 1, magnitude=lambda: np.abs(W).swapaxes(-1, -2) @ np.abs(dZ))


def weight_gradient(dZ: Array, A_prev: Array, W: Array, l2: float) -> Allowance:
    """dW = dZ A_prev^T + l2 W: gamma_(n+2) |dZ||A_prev|^T + 3u l2|W|."""
    units = 3.0 * l2 * np.abs(W) if l2 else 0.0
    return Allowance(dZ.shape[-1] + 2, units, lambda: np.abs(dZ) @ np.abs(A_prev).swapaxes(-1, -2))


def bias_gradient(dZ: Array) -> Allowance:
    """db = row sums of dZ: gamma_(n+2) times the row sums of |dZ|."""
    return Allowance(dZ.shape[-1] + 2, magnitude=lambda: np.abs(dZ).sum(axis=-1, keepdims=True))


def _size(matrix: Array) -> int:
    """The number of entries of one matrix, of one step where they are stacked."""
    return int(np.prod(matrix.shape[-2:]))
