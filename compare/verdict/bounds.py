"""What rounding alone can explain, per operation of the notes' network.

With u the unit roundoff of the working dtype, eta its smallest subnormal and gamma_k = k u/(1 - k u), a sum of products
of k roundings is off by at most gamma_k times the sum of the absolute products, in any order (Higham,
"Accuracy and Stability of Numerical Algorithms", 2nd edition, sections 3.1 and 3.5). The probabilistic sqrt(k) form is
smaller and wrong for sums of equal terms. Every allowance adds k eta for underflow, and is doubled for float64, because
the reference it is compared with is evaluated in float64 as well and rounds too.

Each function here describes one operation by what it reads: W, A, dZ and so on are recorded tensors in float64. Steps
may be stacked: every array then has the same first axes.
Constants such as 8u for tanh are the libraries' documented worst cases (4 ulp) plus the roundings around them.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from handgrad.compare.thresholds import SMALLEST, UNIT_ROUNDOFF

Array = np.ndarray
Term = tuple[float, Array]


class Precision(NamedTuple):
    """A working dtype: unit roundoff u, and u and the smallest subnormal times the number of sides that round in it."""

    u: float
    rounding: float
    underflow: float

    def gammas(self, k: int) -> float:
        """gamma_k = k u/(1 - k u), times the number of sides."""
        return k * self.rounding / (1 - k * self.u)


def _precision(dtype: str, sides: int) -> Precision:
    u = UNIT_ROUNDOFF[dtype]
    return Precision(u, sides * u, sides * SMALLEST[dtype])


PRECISIONS = {"float64": _precision("float64", 2), "float32": _precision("float32", 1)}


class Allowance(NamedTuple):
    """sides (gamma_k M + u (units + c |x| of every term) + k eta), entry by entry.

    `magnitude()` gives M, the sum of the absolute terms. A term is a number c and an array x.
    """

    k: int
    units: float = 0.0
    terms: tuple[Term, ...] = ()
    magnitude: Callable[[], Array] | None = None

    def everywhere(self, precision: Precision) -> Array:
        """The allowance at every entry, in a shape that broadcasts to the tensor's."""
        total = np.asarray(self.k * precision.underflow + self.units * precision.rounding)
        if self.magnitude is not None:
            total = precision.gammas(self.k) * self.magnitude() + total
        for c, x in self.terms:
            total = c * precision.rounding * np.abs(x) + total
        return total


def linear(W: Array, A_prev: Array, b: Array) -> Allowance:
    """Z = W A_prev + b: gamma_(n_in+1) (|W||A_prev| + |b|)."""
    return Allowance(W.shape[-1] + 1, magnitude=lambda: np.abs(W) @ np.abs(A_prev) + np.abs(b))


def activation(units: float) -> Allowance:
    """A = g(Z): nothing for ReLU and the identity, which copy; 8u for sigmoid and tanh, whose range is 1."""
    return Allowance(1 if units else 0, units=units)


def cross_entropy(Z: Array, losses: Array) -> Allowance:
    """Binary cross-entropy from logits: 8u (|z| + loss), the terms of every stable form being no larger."""
    return Allowance(4, terms=((8.0, Z), (8.0, losses)))


def squared_error(losses: Array) -> Allowance:
    """loss = (1/2) (a - y)^2: one rounding of a - y, doubled by the square, and two products: 6u loss."""
    return Allowance(3, terms=((6.0, losses),))


def penalty(weights: Sequence[Array], value: Array) -> Allowance:
    """(l2/2) sum of squares over k weights: gamma_(k+3) times itself, no term being negative."""
    return Allowance(sum(_size(W) for W in weights) + 3, magnitude=lambda: np.abs(value))


def cost(losses: Array, penalty_value: Array | float) -> Allowance:
    """J = (1/n) sum of n K losses + penalty: gamma_(nK+2) times the sum of the absolute terms."""
    total = np.abs(losses).sum(axis=(-2, -1)) / losses.shape[-1] + np.abs(penalty_value)
    return Allowance(_size(losses) + 2, magnitude=lambda: total)


def output_gradient(gradient: Array, units: float) -> Allowance:
    """(A[L] - Y)/n, where A[L] is itself off by `units` u unless it is recorded: units u/n + 4u|gradient|."""
    return Allowance(2, units=units / gradient.shape[-1], terms=((4.0, gradient),))


def hidden_gradient(dZ: Array, dA: Array, per_dA: float) -> Allowance:
    """dZ = dA * g'(Z): 4u|dZ| + c u|dA|, where c is 18 for tanh (1 - A^2 cancels), 10 for sigmoid, 0 for the others."""
    return Allowance(3, terms=((4.0, dZ), (per_dA, dA)) if per_dA else ((4.0, dZ),))


def input_gradient(W: Array, dZ: Array) -> Allowance:
    """dA = W^T dZ: gamma_(n_out+1) |W|^T|dZ|, one more than the sum needs, so that n_out = 1 is not at its limit."""
    return Allowance(W.shape[-2] + 1, magnitude=lambda: np.abs(W).swapaxes(-1, -2) @ np.abs(dZ))


def weight_gradient(dZ: Array, A_prev: Array, W: Array, l2: float) -> Allowance:
    """dW = dZ A_prev^T + l2 W: gamma_(n+2) |dZ||A_prev|^T + 3u l2|W|."""
    terms = ((3.0 * l2, W),) if l2 else ()
    return Allowance(dZ.shape[-1] + 2, terms=terms, magnitude=lambda: np.abs(dZ) @ np.abs(A_prev).swapaxes(-1, -2))


def bias_gradient(dZ: Array) -> Allowance:
    """db = row sums of dZ: gamma_(n+2) times the row sums of |dZ|."""
    return Allowance(dZ.shape[-1] + 2, magnitude=lambda: np.abs(dZ).sum(axis=-1, keepdims=True))


def velocity(V: Array, g: Array, beta: float) -> Allowance:
    """V = beta V + (1-beta) g: 4u beta|V| + (4(1-beta) + 2 beta) u|g|, 1-beta itself being rounded."""
    return Allowance(3, terms=((4.0 * beta, V), (4.0 * (1.0 - beta) + 2.0 * beta, g)))


def descent(W: Array, step: Array, learning_rate: float) -> Allowance:
    """w - a V or w - a dw: 2u (|W| + a|V|) + 12u a|V|."""
    return Allowance(3, terms=((2.0, W), (14.0 * learning_rate, step)))


def _size(matrix: Array) -> int:
    """The number of entries of one matrix, of one step where they are stacked."""
    return int(np.prod(matrix.shape[-2:]))
