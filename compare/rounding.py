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
from dataclasses import dataclass

import numpy as np

__all__ = [
    "PRECISIONS",
    "Allowance",
    "Precision",
    "activation",
    "bias_gradient",
    "cost",
    "cross_entropy",
    "descent",
    "hidden_gradient",
    "input_gradient",
    "linear",
    "output_gradient",
    "penalty",
    "squared_error",
    "velocity",
    "weight_gradient",
]

Array = np.ndarray
Entries = tuple[Array, ...]


@dataclass(frozen=True)
class Precision:
    """A working dtype: unit roundoff u, smallest subnormal eta, and the number of sides that round in it."""

    u: float
    eta: float
    sides: int

    def gamma(self, k: int) -> float:
        """gamma_k = k u/(1 - k u)."""
        return k * self.u / (1 - k * self.u)


PRECISIONS = {"float64": Precision(2.0**-53, 2.0**-1074, 2), "float32": Precision(2.0**-24, 2.0**-149, 1)}


@dataclass(frozen=True)
class Allowance:
    """sides (gamma_k M + u `units` + k eta), entry by entry.

    `magnitude(entries)` gives M at those entries, or everywhere for None; `units` is known everywhere. Without M only
    the units count. Because |reference| <= M + `beside`, a lower bound of the allowance costs no M.
    """

    k: int
    units: Array | float = 0.0
    magnitude: Callable[[Entries | None], Array] | None = None
    beside: Array | float = 0.0

    def screen(self, reference: Array, precision: Precision) -> Array:
        """A lower bound of the allowance, everywhere: what differs by less passes without M."""
        M = 0.0 if self.magnitude is None else np.maximum(np.abs(reference) - self.beside, 0.0)
        return self._total(np.broadcast_to(M, reference.shape), self.units, precision)

    def at(self, entries: Entries, precision: Precision) -> Array:
        """The allowance at some entries."""
        units = self.units[entries] if isinstance(self.units, np.ndarray) else self.units
        M = np.zeros(len(entries[0])) if self.magnitude is None else self.magnitude(entries)
        return self._total(M, units, precision)

    def everywhere(self, shape: tuple[int, ...], precision: Precision) -> Array:
        """The allowance at every entry."""
        M = np.zeros(()) if self.magnitude is None else self.magnitude(None)
        total = self._total(M, self.units, precision)
        return total if total.shape == shape else np.broadcast_to(total, shape)

    def _total(self, M: Array, units: Array | float, precision: Precision) -> Array:
        total = np.asarray(precision.sides * precision.gamma(self.k) * M)
        total += precision.sides * self.k * precision.eta
        return total if isinstance(units, float) and not units else total + precision.sides * precision.u * units


def linear(W: Array, A_prev: Array, b: Array) -> Allowance:
    """Z = W A_prev + b: gamma_(n_in+1) (|W||A_prev| + |b|)."""

    def magnitude(entries: Entries | None) -> Array:
        offset = np.abs(b) if entries is None else np.abs(b[(*entries[:-1], 0)])
        return np.asarray(_absolute_product(W, A_prev, entries) + offset)

    return Allowance(W.shape[-1] + 1, magnitude=magnitude)


def activation(units: float) -> Allowance:
    """A = g(Z): nothing for ReLU and the identity, which copy; 8u for sigmoid and tanh, whose range is 1."""
    return Allowance(1 if units else 0, units=units)


def cross_entropy(Z: Array, losses: Array) -> Allowance:
    """Binary cross-entropy from logits: 8u (|z| + loss), the terms of every stable form being no larger."""
    return Allowance(4, units=8.0 * (np.abs(Z) + np.abs(losses)))


def squared_error(losses: Array) -> Allowance:
    """loss = (1/2) (a - y)^2: one rounding of a - y, doubled by the square, and two products: 6u loss."""
    return Allowance(3, units=6.0 * np.abs(losses))


def penalty(weights: Sequence[Array], value: Array) -> Allowance:
    """(l2/2) sum of squares over k weights: gamma_(k+3) times itself, no term being negative."""
    return Allowance(sum(_size(W) for W in weights) + 3, magnitude=_known(np.atleast_1d(np.abs(value))))


def cost(losses: Array, penalty_value: Array | float) -> Allowance:
    """J = (1/n) sum of n K losses + penalty: gamma_(nK+2) times the sum of the absolute terms."""
    total = np.abs(losses).sum(axis=(-2, -1)) / losses.shape[-1] + np.abs(penalty_value)
    return Allowance(_size(losses) + 2, magnitude=_known(np.atleast_1d(total)))


def output_gradient(gradient: Array, units: float) -> Allowance:
    """(A[L] - Y)/n, where A[L] is itself off by `units` u unless it is recorded: units u/n + 4u|gradient|."""
    return Allowance(2, units=units / gradient.shape[-1] + 4.0 * np.abs(gradient))


def hidden_gradient(dZ: Array, dA: Array, per_dA: float) -> Allowance:
    """dZ = dA * g'(Z): 4u|dZ| + c u|dA|, where c is 18 for tanh (1 - A^2 cancels), 10 for sigmoid, 0 for the others."""
    return Allowance(3, units=4.0 * np.abs(dZ) + per_dA * np.abs(dA))


def input_gradient(W: Array, dZ: Array) -> Allowance:
    """dA = W^T dZ: gamma_(n_out+1) |W|^T|dZ|, one more than the sum needs, so that n_out = 1 is not at its limit."""
    return Allowance(W.shape[-2] + 1, magnitude=lambda entries: _absolute_product(W.swapaxes(-1, -2), dZ, entries))


def weight_gradient(dZ: Array, A_prev: Array, W: Array, l2: float) -> Allowance:
    """dW = dZ A_prev^T + l2 W: gamma_(n+2) |dZ||A_prev|^T + 3u l2|W|."""
    decay = l2 * np.abs(W)

    def magnitude(entries: Entries | None) -> Array:
        return _absolute_product(dZ, A_prev.swapaxes(-1, -2), entries)

    return Allowance(dZ.shape[-1] + 2, units=3.0 * decay, magnitude=magnitude, beside=decay)


def bias_gradient(dZ: Array) -> Allowance:
    """db = row sums of dZ: gamma_(n+2) times the row sums of |dZ|."""
    sums = np.abs(dZ).sum(axis=-1, keepdims=True)
    return Allowance(dZ.shape[-1] + 2, magnitude=_known(sums))


def velocity(V: Array, g: Array, beta: float) -> Allowance:
    """V = beta V + (1-beta) g: 4u beta|V| + (4(1-beta) + 2 beta) u|g|, 1-beta itself being rounded."""
    return Allowance(3, units=4.0 * beta * np.abs(V) + (4.0 * (1.0 - beta) + 2.0 * beta) * np.abs(g))


def descent(W: Array, step: Array, learning_rate: float) -> Allowance:
    """w - a V or w - a dw: 2u (|W| + a|V|) + 12u a|V|."""
    moved = learning_rate * np.abs(step)
    return Allowance(3, units=2.0 * np.abs(W) + 14.0 * moved)


def _known(M: Array) -> Callable[[Entries | None], Array]:
    """A magnitude that is already computed."""
    return lambda entries: M if entries is None else np.asarray(M[entries])


def _size(matrix: Array) -> int:
    """The number of entries of one matrix, of one step where they are stacked."""
    return int(np.prod(matrix.shape[-2:]))


def _absolute_product(P: Array, Q: Array, entries: Entries | None) -> Array:
    """|P||Q|, everywhere or at some entries only."""
    if entries is None:
        return np.asarray(np.abs(P) @ np.abs(Q))
    *step, rows, columns = entries
    return np.asarray(np.einsum("ek,ek->e", np.abs(P[(*step, rows)]), np.abs(Q.swapaxes(-1, -2)[(*step, columns)])))
