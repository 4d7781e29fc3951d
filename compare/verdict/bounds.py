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

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from handgrad.compare.thresholds import UNIT_ROUNDOFF

Array = np.ndarray
Entries = tuple[Array, ...]
Term = tuple[float, Array]


@dataclass(frozen=True)
class Precision:
    """A working dtype: unit roundoff u, smallest subnormal eta, and both times the number of sides that round in it.

    Each is a number, or of a stack of runs an array of shape (runs, 1, ...).
    """

    u: Any
    eta: Any
    rounding: Any
    underflow: Any

    def gammas(self, k: int) -> Any:
        """gamma_k = k u/(1 - k u), times the number of sides."""
        return k * self.rounding / (1 - k * self.u)


def _precision(dtype: str, sides: int) -> Precision:
    u, eta = UNIT_ROUNDOFF[dtype], float(np.finfo(dtype).smallest_subnormal)
    return Precision(u, eta, sides * u, sides * eta)


PRECISIONS = {"float64": _precision("float64", 2), "float32": _precision("float32", 1)}


def stacked(dtypes: Sequence[str], ndim: int) -> Precision:
    """The precision of a stack of runs, given the dtype of each, for tensors of so many dimensions, (runs, 1, ...)."""
    of_runs = [PRECISIONS[dtype] for dtype in dtypes]
    columns = zip(*((p.u, p.eta, p.rounding, p.underflow) for p in of_runs), strict=True)
    return Precision(*(np.array(column).reshape(-1, *[1] * (ndim - 1)) for column in columns))


class Allowance(NamedTuple):
    """sides (gamma_k M + u (units + c |x| of every term) + k eta), entry by entry.

    `magnitude(entries)` gives M, the sum of the absolute terms, at some entries or everywhere for None; entries are
    arrays of indices, one for each axis, as np.nonzero gives them. A term is a number c and an array x. Because
    |reference| <= M + c |x| of the term `beside`, a lower bound of the allowance costs no M.
    """

    k: int
    units: float = 0.0
    terms: tuple[Term, ...] = ()
    magnitude: Callable[[Entries | None], Array] | None = None
    beside: Term | None = None

    @property
    def is_exact(self) -> bool:
        """Whether nothing is allowed anywhere: the operation copies."""
        return not self.k and self.magnitude is None and not self.terms and not self.units

    def screen(self, reference: Array, precision: Precision) -> Array:
        """A lower bound of the allowance, everywhere: what differs by less passes without M."""
        if self.magnitude is None:
            return self.everywhere(precision)
        M = np.abs(reference)
        if self.beside is not None:
            M = np.maximum(M - self.beside[0] * np.abs(self.beside[1]), 0.0)
        return self._total(M, self.terms, precision)

    def at(self, entries: Entries, precision: Precision) -> Array:
        """The allowance at some entries."""
        M = None if self.magnitude is None else self.magnitude(entries)
        return self._total(M, [(c, x[entries]) for c, x in self.terms], precision)

    def everywhere(self, precision: Precision) -> Array:
        """The allowance at every entry, in a shape that broadcasts to the tensor's."""
        return self._total(None if self.magnitude is None else self.magnitude(None), self.terms, precision)

    def _total(self, M: Array | None, terms: Iterable[Term], precision: Precision) -> Array:
        total = np.asarray(self.k * precision.underflow)
        if self.units:
            total = total + self.units * precision.rounding
        if M is not None:
            part = np.asarray(precision.gammas(self.k) * M)
            part += total
            total = part
        for c, x in terms:
            part = np.abs(x)
            part *= c * precision.rounding
            part += total
            total = part
        return total


def linear(W: Array, A_prev: Array, b: Array) -> Allowance:
    """Z = W A_prev + b: gamma_(n_in+1) (|W||A_prev| + |b|)."""

    def magnitude(entries: Entries | None) -> Array:
        terms = _absolute_product(W, A_prev, entries)
        terms += np.abs(b) if entries is None else np.abs(b[(*entries[:-1], 0)])
        return terms

    return Allowance(W.shape[-1] + 1, magnitude=magnitude)


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
    return Allowance(sum(_size(W) for W in weights) + 3, magnitude=_known(np.atleast_1d(np.abs(value))))


def cost(losses: Array, penalty_value: Array | float) -> Allowance:
    """J = (1/n) sum of n K losses + penalty: gamma_(nK+2) times the sum of the absolute terms."""
    total = np.abs(losses).sum(axis=(-2, -1)) / losses.shape[-1] + np.abs(penalty_value)
    return Allowance(_size(losses) + 2, magnitude=_known(np.atleast_1d(total)))


def output_gradient(gradient: Array, units: float) -> Allowance:
    """(A[L] - Y)/n, where A[L] is itself off by `units` u unless it is recorded: units u/n + 4u|gradient|."""
    return Allowance(2, units=units / gradient.shape[-1], terms=((4.0, gradient),))


def hidden_gradient(dZ: Array, dA: Array, per_dA: float) -> Allowance:
    """dZ = dA * g'(Z): 4u|dZ| + c u|dA|, where c is 18 for tanh (1 - A^2 cancels), 10 for sigmoid, 0 for the others."""
    return Allowance(3, terms=((4.0, dZ), (per_dA, dA)) if per_dA else ((4.0, dZ),))


def input_gradient(W: Array, dZ: Array) -> Allowance:
    """dA = W^T dZ: gamma_(n_out+1) |W|^T|dZ|, one more than the sum needs, so that n_out = 1 is not at its limit."""
    return Allowance(W.shape[-2] + 1, magnitude=lambda entries: _absolute_product(W.swapaxes(-1, -2), dZ, entries))


def weight_gradient(dZ: Array, A_prev: Array, W: Array, l2: float) -> Allowance:
    """dW = dZ A_prev^T + l2 W: gamma_(n+2) |dZ||A_prev|^T + 3u l2|W|."""

    def magnitude(entries: Entries | None) -> Array:
        return _absolute_product(dZ, A_prev.swapaxes(-1, -2), entries)

    if not l2:
        return Allowance(dZ.shape[-1] + 2, magnitude=magnitude)
    return Allowance(dZ.shape[-1] + 2, terms=((3.0 * l2, W),), magnitude=magnitude, beside=(l2, W))


def bias_gradient(dZ: Array) -> Allowance:
    """db = row sums of dZ: gamma_(n+2) times the row sums of |dZ|."""
    sums = np.abs(dZ).sum(axis=-1, keepdims=True)
    return Allowance(dZ.shape[-1] + 2, magnitude=_known(sums))


def velocity(V: Array, g: Array, beta: float) -> Allowance:
    """V = beta V + (1-beta) g: 4u beta|V| + (4(1-beta) + 2 beta) u|g|, 1-beta itself being rounded."""
    return Allowance(3, terms=((4.0 * beta, V), (4.0 * (1.0 - beta) + 2.0 * beta, g)))


def descent(W: Array, step: Array, learning_rate: float) -> Allowance:
    """w - a V or w - a dw: 2u (|W| + a|V|) + 12u a|V|."""
    return Allowance(3, terms=((2.0, W), (14.0 * learning_rate, step)))


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
