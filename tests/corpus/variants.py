"""The same quantity, rounded differently: the primitives that an operation is written over."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import numpy as np

__all__ = ["BASE", "HOWS", "How"]

Array = np.ndarray


def plain_product(A: Array, B: Array) -> Array:
    """A B by BLAS."""
    return A @ B


def einsum_product(A: Array, B: Array) -> Array:
    """A B by einsum's own loops."""
    return np.einsum("ik,kj->ij", A, B)


def outer_product(A: Array, B: Array) -> Array:
    """A B = the sum over k of (column k of A)(row k of B), one after the other."""
    return reduce(np.add, (np.outer(A[:, k], B[k]) for k in range(A.shape[1])))


def chunked_product(A: Array, B: Array) -> Array:
    """A B = the sum of three block products along the inner axis."""
    return reduce(np.add, (A[:, k] @ B[k] for k in np.array_split(np.arange(A.shape[1]), 3)))


def reversed_product(A: Array, B: Array) -> Array:
    """A B, the inner axis run through backwards."""
    return np.ascontiguousarray(A[:, ::-1]) @ np.ascontiguousarray(B[::-1])


def wide_product(A: Array, B: Array) -> Array:
    """A B in extended precision, rounded once."""
    return (A.astype(np.longdouble) @ B.astype(np.longdouble)).astype(A.dtype)


def plain_sum(A: Array, axis: int) -> Array:
    """The sum along an axis in NumPy's order."""
    return A.sum(axis)


def running_sum(A: Array, axis: int) -> Array:
    """The sum along an axis, first entry to last."""
    return np.cumsum(A, axis).take(-1, axis)


def reversed_sum(A: Array, axis: int) -> Array:
    """The sum along an axis, last entry to first."""
    return running_sum(np.flip(A, axis), axis)


def chunked_sum(A: Array, axis: int) -> Array:
    """The sum along an axis as a sum of three partial sums."""
    return reduce(np.add, (part.sum(axis) for part in np.array_split(A, 3, axis)))


def wide_sum(A: Array, axis: int) -> Array:
    """The sum along an axis in extended precision, rounded once."""
    return A.sum(axis, dtype=np.longdouble).astype(A.dtype)


def sigmoid_by_exp(Z: Array) -> Array:
    """Sigmoid: 1 / (1 + exp(-Z))."""
    return 1 / (1 + np.exp(-Z))


def sigmoid_by_tanh(Z: Array) -> Array:
    """Sigmoid: (1 + tanh(Z / 2)) / 2."""
    return 0.5 * (1 + np.tanh(0.5 * Z))


def sigmoid_by_ratio(Z: Array) -> Array:
    """Sigmoid: exp(Z) / (exp(Z) + 1)."""
    E = np.exp(Z)
    return E / (E + 1)


def shift_by_max(Z: Array, axis: int) -> Array:
    """What softmax subtracts before exp: the maximum."""
    return Z.max(axis, keepdims=True)


def shift_by_zero(Z: Array, axis: int) -> Array:
    """What softmax subtracts before exp: nothing, the scores being moderate."""
    return np.zeros_like(Z.max(axis, keepdims=True))


def shift_by_mean(Z: Array, axis: int) -> Array:
    """What softmax subtracts before exp: the mean."""
    return Z.mean(axis, keepdims=True)


@dataclass(frozen=True)
class How:
    """The primitives of one variant; `other` asks each operation for the second way of writing its formulas."""

    name: str
    mm: Callable[[Array, Array], Array] = plain_product
    add: Callable[[Array, int], Array] = plain_sum
    reciprocal: bool = False  # A * (1 / n) for A / n
    shift: Callable[[Array, int], Array] = shift_by_max
    sigmoid: Callable[[Array], Array] = sigmoid_by_exp
    other: bool = False

    def total(self, A: Array, axis: int | None = None, *, keepdims: bool = False) -> Array:
        """The sum over one axis or all."""
        if axis is None:
            return self.add(A.reshape(-1), 0)
        total = self.add(A, axis)
        return np.expand_dims(total, axis) if keepdims else total

    def over(self, A: Array, n: float) -> Array:
        """A / n."""
        return A * (1 / n) if self.reciprocal else A / n

    def mean(self, A: Array, axis: int | None = None, *, keepdims: bool = False) -> Array:
        """The mean over one axis or all."""
        return self.over(self.total(A, axis, keepdims=keepdims), A.size if axis is None else A.shape[axis])

    def dtanh(self, A: Array) -> Array:
        """tanh'(Z) = 1 - A^2 = (1 - A)(1 + A), given A = tanh(Z)."""
        return (1 - A) * (1 + A) if self.other else 1 - A * A

    def dsigmoid(self, Z: Array, A: Array) -> Array:
        """sigmoid'(Z) = A (1 - A) = sigmoid(Z) sigmoid(-Z), given A = sigmoid(Z)."""
        return self.sigmoid(Z) * self.sigmoid(-Z) if self.other else A * (1 - A)


BASE = How("base")
HOWS = (
    BASE,
    How("einsum, running sums", einsum_product, running_sum, sigmoid=sigmoid_by_tanh),
    How("outer products, unshifted", outer_product, reciprocal=True, shift=shift_by_zero),
    How("chunks", chunked_product, chunked_sum, shift=shift_by_mean, sigmoid=sigmoid_by_ratio),
    How("extended precision", wide_product, wide_sum, reciprocal=True),
    How("other form", other=True),
    How("other form, reversed", reversed_product, reversed_sum, True, shift_by_mean, sigmoid_by_tanh, other=True),
)
