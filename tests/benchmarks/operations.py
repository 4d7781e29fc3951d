"""Operations derived by hand, right and wrong: what the checker is measured on.

Each operation is written once, as a forward and backward pass over exchangeable primitives (`How`), and states next to
each record the mistakes that people make there. Its variants differ in the primitives only, so they are equal in exact
arithmetic and differ in rounding; its faults are the base with one mistake swapped in. dT is always dJ/dT.

`python -m tests.benchmarks.operations`, from the repository root, checks the corpus itself against autograd.
"""

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial, reduce

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

from handgrad import tap
from handgrad.torchref.tap import tapped

__all__ = ["BUILDERS", "Case", "Fault"]

Array = np.ndarray
Arrays = dict[str, np.ndarray]
Tensors = dict[str, torch.Tensor]
Derivation = Callable[..., Arrays]
Reference = Callable[..., Tensor]
Mistakes = dict[str, Callable[[Array], Array]]  # what is wrong -> the wrong value, given the right one
EPS = 1e-5  # of layer norm and batch norm


@dataclass(frozen=True)
class Fault:
    """A wrong derivation: `tensor` is the record that is wrong by itself, the first in dataflow order."""

    name: str
    kind: str  # "structural": a wrong formula; "small": off by 1e-3 or (much) less
    tensor: str
    derivation: Derivation


@dataclass(frozen=True)
class Case:
    """An operation at drawn sizes and values: reference(params, *batch) is J, each derivation returns the records."""

    name: str
    params: Arrays
    batch: tuple[Array, ...]
    reference: Reference
    variants: tuple[Derivation, ...]
    faults: tuple[Fault, ...]


# --- primitives: the same quantity, rounded differently


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


# --- records and mistakes


class Records(Arrays):
    """The records of one run in dataflow order, with the mistake `wrong` swapped in for the right value."""

    def __init__(self, wrong: str = "") -> None:
        self.wrong = wrong
        self.mistakes: list[tuple[str, str, str]] = []  # (title, kind, tensor) of all on offer

    def __call__(
        self,
        name: str,
        value: Array,
        structural: Mistakes | None = None,
        small: Mistakes | None = None,
        *,
        shows: str | None = None,
    ) -> Array:
        """Record `value` and go on with it; `shows` names the first record affected if this one is not kept."""
        right = result = np.asarray(value)
        for kind, mistakes in ("structural", structural or {}), ("small", small or {}):
            for mistake, wrong in mistakes.items():
                title = f"{name}: {mistake}"
                self.mistakes.append((title, kind, shows or name))
                if title == self.wrong:
                    result = np.asarray(wrong(right))
        if shows is None:
            self[name] = result
        return result


def times(excess: float) -> Mistakes:
    """The right value times 1 + excess."""
    return {f"times 1 + {excess:g}": lambda value: value * (1 + excess)}


def one_entry(excess: float) -> Mistakes:
    """One entry, of median magnitude among the non-zero ones, times 1 + excess."""

    def wrong(value: Array) -> Array:
        flat = value.flatten()
        order = np.argsort(np.abs(flat))
        order = order[flat[order] != 0]
        flat[order[len(order) // 2]] *= 1 + excess
        return flat.reshape(value.shape)

    return {f"one entry off by {excess:g}": wrong}


def through_float32() -> Mistakes:
    """Rounded to float32 on the way (nothing is wrong about that in float32)."""
    return {"rounded to float32": lambda value: value.astype(np.float32).astype(value.dtype)}


Operation = Callable[..., None]  # operation(records, how, params, *batch)


def derive(operation: Operation, how: How, wrong: str, params: Arrays, *batch: Array) -> Arrays:
    """Run an operation, with one of its mistakes or none, and return its records."""
    records = Records(wrong)
    operation(records, how, params, *batch)
    return dict(records)


def make_case(name: str, operation: Operation, reference: Reference, params: Arrays, batch: tuple[Array, ...]) -> Case:
    """All variants of an operation, and every mistake it offers made in the base."""
    offered = Records()
    operation(offered, BASE, params, *batch)
    faults = [
        Fault(f"{name}, {title}", kind, tensor, partial(derive, operation, BASE, title))
        for title, kind, tensor in offered.mistakes
    ]
    return Case(name, params, batch, reference, tuple(partial(derive, operation, h, "") for h in HOWS), tuple(faults))


# --- draws


def sizes(rng: np.random.Generator, *least: int, most: int = 40) -> list[int]:
    """Distinct sizes from least[i] to `most`."""
    while True:
        drawn = [int(math.exp(rng.uniform(math.log(low), math.log(most + 1)))) for low in least]
        if len(set(drawn)) == len(drawn):
            return drawn


def scale(rng: np.random.Generator, low: float = 1e-2, high: float = 1e2) -> float:
    """A log-uniform scale."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def moderate(rng: np.random.Generator) -> float:
    """The scale of the argument of a function that saturates."""
    return scale(rng, 0.1, 2.5)


def normal(rng: np.random.Generator, *shape: int, size: float = 1.0) -> Array:
    """Normal values of the given scale."""
    return size * rng.standard_normal(shape)


# --- parts that several operations share


def affine(how: How, X: Array, W: Array, b: Array) -> Array:
    """X W + b, or [1 X] [b; W]."""
    if how.other:
        return how.mm(np.hstack([np.ones_like(X[:, :1]), X]), np.vstack([b, W]))
    return how.mm(X, W) + b


def squared_error(r: Records, how: How, Y: Array, T: Array, name: str = "Y") -> Array:
    """J = mean of (Y - T)^2 / 2; dY = (Y - T) / size. Returns dY."""
    D = Y - T
    squares = how.mm(D.reshape(1, -1), D.reshape(-1, 1)).reshape(()) / D.size if how.other else how.mean(D * D)
    r("J", squares / 2)
    return r(
        f"d{name}",
        how.over(D, D.size),
        {"factor 2 of the square kept": lambda v: 2 * v, "mean over the rows only": lambda _: how.over(D, len(D))},
        times(1e-5),
    )


def torch_squared_error(Y: Tensor, T: Tensor) -> Tensor:
    """J = mean of (Y - T)^2 / 2."""
    return ((Y - T) ** 2).mean() / 2


def normalised(r: Records, how: How, Z: Array, axis: int) -> tuple[Array, Array, Array]:
    """Xhat = (Z - mu) / sqrt(var + EPS), mu and var the mean and biased variance; returns Z - mu, 1 / sqrt, Xhat."""
    n = Z.shape[axis]
    mu = r("mu", how.mean(Z, axis, keepdims=True))
    Zc = Z - mu
    squares = Zc * Zc
    var = r(
        "var",
        how.mean(squares, axis, keepdims=True),
        {"unbiased": lambda _: how.over(how.total(squares, axis, keepdims=True), n - 1)},
        times(1e-6),
    )
    rstd = r(
        "rstd",
        np.sqrt(1 / (var + EPS)) if how.other else 1 / np.sqrt(var + EPS),
        {"root forgotten": lambda _: 1 / (var + EPS)},
        {
            "eps outside the root": lambda _: 1 / (np.sqrt(var) + EPS),
            "eps 1.1e-5 for 1e-5": lambda _: 1 / np.sqrt(var + 1.1 * EPS),
        },
        shows="Xhat",
    )
    Xhat = r("Xhat", Zc * rstd, {"not divided by the deviation": lambda _: Zc})
    return Zc, rstd, Xhat


def normalised_backward(
    r: Records, how: How, dXhat: Array, Zc: Array, rstd: Array, Xhat: Array, axis: int, *, keep: bool
) -> Array:
    """Either dZ = rstd (dXhat - mean dXhat - Xhat mean(dXhat Xhat)), or through var and mu; `keep` records those."""
    n = dXhat.shape[axis]
    mean = partial(how.mean, axis=axis, keepdims=True)
    total = partial(how.total, axis=axis, keepdims=True)
    if how.other:
        dvar = total(dXhat * Zc) * (-0.5 * rstd**3)
        dZc = dXhat * rstd + how.over(2 * dvar * Zc, n)
        dmu = -total(dZc)
        dZ = dZc + how.over(dmu, n)
    else:
        dvar = -0.5 * rstd * rstd * total(dXhat * Xhat)
        dmu = -rstd * total(dXhat)
        dZ = rstd * (dXhat - mean(dXhat) - Xhat * mean(dXhat * Xhat))
    if keep:
        r("dvar", dvar, {"mean for sum": lambda v: how.over(v, n)}, times(1e-8))
        r("dmu", dmu, {"sign": lambda v: -v}, one_entry(1e-6))

    def unbiased(A: Array) -> Array:
        return how.over(total(A), n - 1)

    def across(A: Array) -> Array:
        return how.mean(A, 1 - axis, keepdims=True)

    return r(
        "dZ",
        dZ,
        {
            "mean of dXhat forgotten": lambda _: rstd * (dXhat - Xhat * mean(dXhat * Xhat)),
            "variance taken as constant": lambda _: rstd * (dXhat - mean(dXhat)),
            "rstd forgotten": lambda v: v / rstd,
            "n - 1 for n in the term of the variance": lambda _: (
                rstd * (dXhat - mean(dXhat) - Xhat * unbiased(dXhat * Xhat))
            ),
            "means over the wrong axis": lambda _: rstd * (dXhat - across(dXhat) - Xhat * across(dXhat * Xhat)),
        },
        one_entry(1e-6) | times(1e-7),
    )


def torch_normalised(Z: Tensor, axis: int) -> Tensor:
    """Xhat = (Z - mu) / sqrt(var + EPS), mu and var along the axis."""
    mu = tap("mu", Z.mean(axis, keepdim=True))
    var = tap("var", ((Z - mu) ** 2).mean(axis, keepdim=True))
    return tap("Xhat", (Z - mu) / torch.sqrt(var + EPS))


# --- 1. softmax and cross-entropy


def softmax_cross_entropy(r: Records, how: How, p: Arrays, X: Array, labels: Array, c: Array) -> None:
    """Z = W X + b, L = log softmax(Z) by columns, J = -mean c_j L[label_j, j]; dZ = dL - softmax(Z) colsum(dL)."""
    n = X.shape[1]
    label = (labels, np.arange(n))
    Z = r("Z", how.mm(p["W"], X) + p["b"], {"bias forgotten": lambda v: v - p["b"]}, times(1e-7))
    shift = how.shift(Z, 0)
    E = np.exp(Z - shift)
    S = how.total(E, 0, keepdims=True)
    L = r(
        "L",
        Z - shift - np.log(S),
        {"softmax over the examples": lambda _: Z - np.log(how.total(np.exp(Z), 1, keepdims=True))},
        {"log(1e-6 + ...)": lambda _: Z - shift - np.log(S + 1e-6)},
    )
    r("J", -how.mean(c * L[label]))
    weights = how.over(c, n)
    Y = np.zeros_like(Z)
    Y[label] = 1
    dL = r(
        "dL",
        -Y * weights,
        {"1/n forgotten": lambda _: -Y * c, "example weights forgotten": lambda _: -Y / n},
        one_entry(1e-6),
    )
    A = E / S if how.other else np.exp(L)
    dZ = r(
        "dZ",
        (A - Y) * weights if how.other else dL - A * how.total(dL, 0, keepdims=True),
        {
            "sign": lambda v: -v,
            "diagonal of the Jacobian only": lambda _: dL * (1 - A),
            "one-hot labels not subtracted": lambda _: A * weights,
        },
        times(1e-3),
    )
    r("dW", how.mm(dZ, X.T), {"1/n twice": lambda v: v / n}, one_entry(1e-6) | through_float32())
    r("db", how.total(dZ, 1, keepdims=True), {"mean for sum": lambda v: v / n}, times(1e-8))


def torch_softmax_cross_entropy(p: Tensors, X: Tensor, labels: Tensor, c: Tensor) -> Tensor:
    """J = -mean c_j log softmax(W X + b)[label_j, j]."""
    Z = tap("Z", p["W"] @ X + p["b"])
    L = tap("L", torch.log_softmax(Z, 0))
    return -(c * L[labels, torch.arange(len(labels))]).mean()


def build_softmax_cross_entropy(rng: np.random.Generator) -> Case:
    """W (k, d), b (k, 1), X (d, n), labels (n,), c (n,) positive."""
    k, d, n = sizes(rng, 2, 2, 3)
    x, z = scale(rng), moderate(rng)
    params = {"W": normal(rng, k, d, size=z / x / math.sqrt(d)), "b": normal(rng, k, 1, size=z)}
    batch = (normal(rng, d, n, size=x), rng.integers(0, k, n), scale(rng) * rng.uniform(0.2, 2, n))
    return make_case("softmax cross-entropy", softmax_cross_entropy, torch_softmax_cross_entropy, params, batch)


# --- 2. layer norm


def layer_norm(r: Records, how: How, p: Arrays, X: Array, T: Array) -> None:
    """Z = X W + b, Xhat = Z normalised by rows, Y = gamma Xhat + beta, J = mean (Y - T)^2 / 2."""
    Z = r("Z", affine(how, X, p["W"], p["b"]))
    Zc, rstd, Xhat = normalised(r, how, Z, 1)
    Y = r("Y", p["gamma"] * Xhat + p["beta"])
    dY = squared_error(r, how, Y, T)
    r(
        "dgamma",
        how.total(dY * Xhat, 0),
        {"of Z, not normalised": lambda _: how.total(dY * Z, 0), "mean for sum": lambda v: how.over(v, len(X))},
        times(1e-6),
    )
    r("dbeta", how.total(dY, 0), {"mean for sum": lambda v: how.over(v, len(X))}, through_float32())
    dXhat = r("dXhat", dY * p["gamma"], {"gamma forgotten": lambda _: dY})
    dZ = normalised_backward(r, how, dXhat, Zc, rstd, Xhat, 1, keep=True)
    r("dW", how.mm(X.T, dZ))
    r("db", how.total(dZ, 0), {"taken before the normalisation": lambda _: how.total(dXhat, 0)}, times(1e-8))


def torch_layer_norm(p: Tensors, X: Tensor, T: Tensor) -> Tensor:
    """J = mean (gamma Xhat + beta - T)^2 / 2, Xhat = X W + b normalised by rows."""
    Xhat = torch_normalised(tap("Z", X @ p["W"] + p["b"]), 1)
    return torch_squared_error(tap("Y", p["gamma"] * Xhat + p["beta"]), T)


def build_layer_norm(rng: np.random.Generator) -> Case:
    """X (n, d), W (d, k), b gamma beta (k,), T (n, k); k > 3, as two entries normalise to -1 and 1 always."""
    n, d, k = sizes(rng, 2, 2, 4)
    x, z, y = scale(rng), scale(rng), scale(rng)
    params = {
        "W": normal(rng, d, k, size=z / x / math.sqrt(d)),
        "b": normal(rng, k, size=z),
        "gamma": normal(rng, k, size=y),
        "beta": normal(rng, k, size=y),
    }
    batch = (normal(rng, n, d, size=x), normal(rng, n, k, size=y * scale(rng, 0.1, 10)))
    return make_case("layer norm", layer_norm, torch_layer_norm, params, batch)


# --- 3. masked attention


def attention(r: Records, how: How, p: Arrays, X: Array, mask: Array, C: Array) -> None:
    """Q, K, V = X Wq, X Wk, X Wv, S = Q K^T / sqrt(d), A = softmax(S where mask), O = A V, J = mean(C O)."""
    Q = r("Q", how.mm(X, p["Wq"]))
    K = r("K", how.mm(X, p["Wk"]))
    V = r("V", how.mm(X, p["Wv"]))
    root = math.sqrt(K.shape[1])
    S = r(
        "S",
        how.mm(how.over(Q, root), K.T) if how.other else how.over(how.mm(Q, K.T), root),
        {"1 / sqrt(d) missing": lambda v: v * root, "1 / d for 1 / sqrt(d)": lambda v: v / root},
        {"1 / sqrt(d + 1e-6)": lambda v: v * (root / math.sqrt(root * root + 1e-6))},
    )

    def softmax(E: Array, axis: int = 1) -> Array:
        return E / how.total(E, axis, keepdims=True)

    all_E = np.exp(S - how.shift(S, 1))
    E = np.where(mask, all_E, 0)
    A = r(
        "A",
        softmax(E),
        {
            "mask after the softmax": lambda _: np.where(mask, softmax(all_E), 0),
            "mask ignored": lambda _: softmax(all_E),
        },
        {"masked scores lowered by 20, not to -inf": lambda _: softmax(np.where(mask, all_E, all_E * math.exp(-20)))},
    )
    O = r("O", how.mm(A, V))
    r("J", how.mean(C * O))
    dO = r("dO", how.over(C, C.size))
    dA = r("dA", how.mm(dO, V.T), {}, times(1e-3))
    dV = r("dV", how.mm(A.T, dO), {"A for its transpose": lambda _: how.mm(A, dO)}, one_entry(1e-6))
    inner = how.total(dO * O if how.other else dA * A, 1, keepdims=True)
    dS = r(
        "dS",
        A * (dA - inner),
        {
            "row sums forgotten": lambda _: A * dA,
            "column sums for row sums": lambda _: A * (dA - how.total(dA * A, 0, keepdims=True)),
            "mask ignored": lambda _: softmax(all_E) * (dA - inner),
            "diagonal of the Jacobian only": lambda _: A * (1 - A) * dA,
        },
        times(1e-7),
    )
    dQ = r(
        "dQ",
        how.mm(how.over(dS, root), K) if how.other else how.over(how.mm(dS, K), root),
        {"1 / sqrt(d) missing": lambda v: v * root, "dS transposed": lambda _: how.over(how.mm(dS.T, K), root)},
        through_float32(),
    )
    dK = r(
        "dK",
        how.mm(dS.T, how.over(Q, root)) if how.other else how.over(how.mm(dS.T, Q), root),
        {"dS not transposed": lambda _: how.over(how.mm(dS, Q), root)},
        times(1e-8),
    )
    r("dWq", how.mm(X.T, dQ))
    r("dWk", how.mm(X.T, dK), {"that of the queries": lambda _: how.mm(X.T, dQ)})
    r("dWv", how.mm(X.T, dV), {"mean over the positions": lambda v: v / len(X)}, one_entry(1e-5))


def torch_attention(p: Tensors, X: Tensor, mask: Tensor, C: Tensor) -> Tensor:
    """J = mean of C softmax(Q K^T / sqrt(d) where mask) V."""
    Q, K, V = (tap(name, X @ p[f"W{name.lower()}"]) for name in "QKV")
    S = tap("S", Q @ K.T / math.sqrt(K.shape[1]))
    A = tap("A", torch.softmax(S.masked_fill(~mask, -math.inf), 1))
    return (C * tap("O", A @ V)).mean()


def build_attention(rng: np.random.Generator) -> Case:
    """X (t, m), Wq Wk (m, d), Wv (m, v), mask (t, t) causal or random, C (t, v)."""
    t, m, d, v = sizes(rng, 4, 2, 2, 2)
    x, q = scale(rng), scale(rng)
    k = moderate(rng) / q
    mask = np.tri(t, dtype=bool)
    if rng.random() < 0.5:
        mask = rng.random((t, t)) < rng.uniform(0.2, 0.8)
        allowed = rng.integers(0, t, t)
        mask[np.arange(t), allowed] = True
        mask[0, allowed[0] - 1] = False
        mask[-1] = True  # were one position allowed in each row, dS would be 0
    params = {
        "Wq": normal(rng, m, d, size=q / x / math.sqrt(m)),
        "Wk": normal(rng, m, d, size=k / x / math.sqrt(m)),
        "Wv": normal(rng, m, v, size=scale(rng) / x),
    }
    batch = (normal(rng, t, m, size=x), mask, normal(rng, t, v, size=scale(rng)))
    return make_case("attention", attention, torch_attention, params, batch)


# --- 4. residual blocks


def residual_blocks(r: Records, how: How, p: Arrays, X: Array, C: Array) -> None:
    """H_i = H_(i-1) + V_i tanh(W_i H_(i-1) + b_i) + c_i for i = 1, 2, H_0 = X, J = mean(C H_2)."""
    H, A = {0: X}, {}
    for i in 1, 2:
        Z = r(f"Z{i}", how.mm(p[f"W{i}"], H[i - 1]) + p[f"b{i}"], {}, times(1e-7) if i == 1 else {})
        A[i] = r(f"A{i}", np.tanh(Z))
        branch = how.mm(p[f"V{i}"], A[i])
        H[i] = r(f"H{i}", H[i - 1] + (branch + p[f"c{i}"]) if how.other else H[i - 1] + branch + p[f"c{i}"])
    r("J", how.mean(C * H[2]))

    def block_backward(i: int, dH: Array) -> Array:
        """One block: dA = V^T dH, dZ = dA tanh'(Z); returns W^T dZ. Some mistakes are made in one block only."""
        first, second = i == 1, i == 2
        V, W = p[f"V{i}"], p[f"W{i}"]
        r(f"dV{i}", how.mm(dH, A[i].T), {"A of the other block": lambda _: how.mm(dH, A[3 - i].T)} if first else {})
        r(f"dc{i}", how.total(dH, 1, keepdims=True), {}, times(1e-8) if second else {})
        dA = r(
            f"dA{i}",
            how.mm(V.T, dH),
            {"W for the transpose of V": lambda _: how.mm(W, dH)} if second else {"sign": lambda v: -v},
            times(1e-3) if first else {},
        )
        dZ = r(
            f"dZ{i}",
            dA * how.dtanh(A[i]),
            {
                "tanh' forgotten": lambda _: dA,
                "tanh' = 1 - A": lambda _: dA * (1 - A[i]),
                "tanh' at A": lambda _: dA * (1 - np.tanh(A[i]) ** 2),
            },
            {"tanh' = 1.0000001 - A^2": lambda _: dA * (1.0000001 - A[i] * A[i])} if first else one_entry(1e-6),
        )
        r(f"dW{i}", how.mm(dZ, H[i - 1].T), {}, one_entry(1e-6) | through_float32() if first else {})
        r(f"db{i}", how.total(dZ, 1, keepdims=True), {"mean for sum": lambda v: v / X.shape[1]})
        return how.mm(W.T, dZ)

    dH2 = r("dH2", how.over(C, C.size), {"mean over the examples only": lambda _: how.over(C, X.shape[1])})
    through = block_backward(2, dH2)
    skip_forgotten = {"skip connection forgotten": lambda _: through, "skip only": lambda _: dH2}
    block_backward(1, r("dH1", dH2 + through, skip_forgotten, times(1e-6)))


def torch_residual_blocks(p: Tensors, X: Tensor, C: Tensor) -> Tensor:
    """J = mean(C H_2), H_i = H_(i-1) + V_i tanh(W_i H_(i-1) + b_i) + c_i."""
    H = X
    for i in 1, 2:
        A = tap(f"A{i}", torch.tanh(tap(f"Z{i}", p[f"W{i}"] @ H + p[f"b{i}"])))
        H = tap(f"H{i}", H + p[f"V{i}"] @ A + p[f"c{i}"])
    return (C * H).mean()


def build_residual_blocks(rng: np.random.Generator) -> Case:
    """W_i (h, d), b_i (h, 1), V_i (d, h), c_i (d, 1), X C (d, n)."""
    d, h, n = sizes(rng, 2, 2, 2)
    x = scale(rng)
    params = {}
    for i in 1, 2:
        z = moderate(rng)
        params[f"W{i}"] = normal(rng, h, d, size=z / x / math.sqrt(d))
        params[f"b{i}"] = normal(rng, h, 1, size=z)
        params[f"V{i}"] = normal(rng, d, h, size=x / math.sqrt(h))
        params[f"c{i}"] = normal(rng, d, 1, size=x)
    batch = (normal(rng, d, n, size=x), normal(rng, d, n, size=scale(rng)))
    return make_case("residual blocks", residual_blocks, torch_residual_blocks, params, batch)


# --- 5. tied weights


def tied_autoencoder(r: Records, how: How, p: Arrays, X: Array) -> None:
    """A = sigmoid(W X + b), R = sigmoid(W^T A + c), J = mean (R - X)^2 / 2; dW = dZ1 X^T + A dZ2^T."""
    W = p["W"]
    Z1 = r("Z1", how.mm(W, X) + p["b"])
    A = r("A", how.sigmoid(Z1))
    Z2 = r("Z2", how.mm(W.T, A) + p["c"], {}, times(1e-6))
    R = r("R", how.sigmoid(Z2))
    dR = squared_error(r, how, R, X, "R")
    dZ2 = r(
        "dZ2",
        dR * how.dsigmoid(Z2, R),
        {"sigmoid' forgotten": lambda _: dR, "sigmoid' at R": lambda _: dR * how.sigmoid(R) * (1 - how.sigmoid(R))},
        one_entry(1e-6),
    )
    r("dc", how.total(dZ2, 1, keepdims=True), {"mean for sum": lambda v: v / X.shape[1]}, times(1e-8))
    dA = r("dA", how.mm(W, dZ2), {"sign": lambda v: -v})
    dZ1 = r(
        "dZ1",
        dA * how.dsigmoid(Z1, A),
        {"A^2 for A (1 - A)": lambda _: dA * A * A, "tanh' for sigmoid'": lambda _: dA * (1 - A * A)},
        {"sigmoid' = A (1.0000001 - A)": lambda _: dA * A * (1.0000001 - A)},
    )
    encoder, decoder = how.mm(dZ1, X.T), how.mm(A, dZ2.T)
    r(
        "dW",
        how.mm(np.hstack([dZ1, A]), np.hstack([X, dZ2]).T) if how.other else encoder + decoder,
        {
            "decoder forgotten": lambda _: encoder,
            "encoder overwritten": lambda _: decoder,
            "the two uses averaged": lambda v: v / 2,
            "the two uses subtracted": lambda _: encoder - decoder,
        },
        {"decoder times 1 + 1e-5": lambda _: encoder + decoder * (1 + 1e-5)} | through_float32(),
    )
    r("db", how.total(dZ1, 1, keepdims=True), {"taken before the sigmoid": lambda _: how.total(dA, 1, keepdims=True)})


def torch_tied_autoencoder(p: Tensors, X: Tensor) -> Tensor:
    """J = mean (sigmoid(W^T sigmoid(W X + b) + c) - X)^2 / 2."""
    A = tap("A", torch.sigmoid(tap("Z1", p["W"] @ X + p["b"])))
    return torch_squared_error(tap("R", torch.sigmoid(tap("Z2", p["W"].T @ A + p["c"]))), X)


def build_tied_autoencoder(rng: np.random.Generator) -> Case:
    """W (h, d), b (h, 1), c (d, 1), X (d, n) of any scale."""
    h, d, n = sizes(rng, 2, 2, 2)
    x, z = scale(rng), moderate(rng)
    size = z / max(x * math.sqrt(d), math.sqrt(h))  # moderate arguments on either side
    params = {"W": normal(rng, h, d, size=size), "b": normal(rng, h, 1, size=z), "c": normal(rng, d, 1, size=z)}
    return make_case("tied autoencoder", tied_autoencoder, torch_tied_autoencoder, params, (normal(rng, d, n, size=x),))


# --- 6. batch norm; the gradients of mu and var are left out


def batch_norm(r: Records, how: How, p: Arrays, X: Array, C: Array) -> None:
    """Z = X W, Xhat = Z normalised by columns, Y = gamma Xhat + beta, J = mean(C Y^2) / 2."""
    Z = r("Z", how.mm(X, p["W"]))
    Zc, rstd, Xhat = normalised(r, how, Z, 0)
    Y = r("Y", p["gamma"] * Xhat + p["beta"])
    CY = C * Y
    r("J", how.mean(CY * Y) / 2)
    dY = r(
        "dY",
        how.over(CY, C.size),
        {"Y forgotten": lambda _: how.over(C, C.size), "factor 2 of the square kept": lambda v: 2 * v},
    )
    r("dgamma", how.total(dY * Xhat, 0), {"of Y": lambda _: how.total(dY * Y, 0)}, one_entry(1e-6))
    r("dbeta", how.total(dY, 0), {"mean for sum": lambda v: how.over(v, len(X))}, times(1e-8))
    dXhat = r("dXhat", dY * p["gamma"], {"beta for gamma": lambda _: dY * p["beta"]}, times(1e-3))
    dZ = normalised_backward(r, how, dXhat, Zc, rstd, Xhat, 0, keep=False)
    r("dW", how.mm(X.T, dZ), {"1/n twice": lambda v: v / len(X)}, through_float32())


def torch_batch_norm(p: Tensors, X: Tensor, C: Tensor) -> Tensor:
    """J = mean of C (gamma Xhat + beta)^2 / 2, Xhat = X W normalised by columns."""
    Xhat = torch_normalised(tap("Z", X @ p["W"]), 0)
    return (C * tap("Y", p["gamma"] * Xhat + p["beta"]) ** 2).mean() / 2


def build_batch_norm(rng: np.random.Generator) -> Case:
    """X (n, d), W (d, k), gamma beta (k,), C (n, k); no bias before the norm, whose gradient would be 0."""
    n, d, k = sizes(rng, 4, 2, 2)
    x, y = scale(rng), scale(rng)
    params = {
        "W": normal(rng, d, k, size=scale(rng) / x / math.sqrt(d)),
        "gamma": normal(rng, k, size=y),
        "beta": normal(rng, k, size=y),
    }
    batch = (normal(rng, n, d, size=x), normal(rng, n, k, size=scale(rng)))
    return make_case("batch norm", batch_norm, torch_batch_norm, params, batch)


# --- 7. embedding; the looked-up vectors H and their gradient are left out


def embedding(r: Records, how: How, p: Arrays, tokens: Array, T: Array) -> None:
    """H = E[tokens], M = mean of H over the positions, Y = M W + b, J = mean (Y - T)^2 / 2."""
    t = tokens.shape[1]
    H = p["E"][tokens]
    one_hot = (tokens[:, :, None] == np.arange(len(p["E"]))).astype(H.dtype)  # (n, t, v)
    pooled = how.mm(how.mean(one_hot, 1), p["E"]) if how.other else how.mean(H, 1)
    M = r("M", pooled, {"sum for mean": lambda v: v * t}, times(1e-7))
    Y = r("Y", affine(how, M, p["W"], p["b"]))
    dY = squared_error(r, how, Y, T)
    r("dW", how.mm(M.T, dY), {"first position for the mean": lambda _: how.mm(H[:, 0].T, dY)}, one_entry(1e-6))
    r("db", how.total(dY, 0), {"mean for sum": lambda v: how.over(v, len(T))}, times(1e-8))
    dM = r("dM", how.mm(dY, p["W"].T), {"sign": lambda v: -v})
    dH = np.repeat(how.over(dM, t)[:, None], t, 1)  # (n, t, d)

    def scattered(dH: Array) -> Array:
        dE = np.zeros_like(p["E"])
        np.add.at(dE, tokens, dH)
        return dE

    def overwritten(_: Array) -> Array:
        dE = np.zeros_like(p["E"])
        dE[tokens] += dH
        return dE

    def averaged(v: Array) -> Array:
        counts = np.bincount(tokens.ravel(), minlength=len(v)).astype(v.dtype)
        return v / np.maximum(counts, 1)[:, None]

    first_only = np.where((np.arange(t) == 0)[:, None], dH, 0)
    r(
        "dE",
        how.mm(one_hot.reshape(tokens.size, -1).T, dH.reshape(tokens.size, -1)) if how.other else scattered(dH),
        {
            "repeated tokens overwritten": overwritten,
            "mean over a token's uses": averaged,
            "1/t of the pooling forgotten": lambda v: v * t,
            "first position only": lambda _: scattered(first_only),
        },
        one_entry(1e-6) | through_float32() | times(1e-3),
    )


def torch_embedding(p: Tensors, tokens: Tensor, T: Tensor) -> Tensor:
    """J = mean (mean(E[tokens]) W + b - T)^2 / 2."""
    M = tap("M", tap("H", p["E"][tokens]).mean(1))
    return torch_squared_error(tap("Y", M @ p["W"] + p["b"]), T)


def build_embedding(rng: np.random.Generator) -> Case:
    """E (v, d), W (d, k), b (k,), tokens (n, t), T (n, k); v < n t, so that some token is used twice."""
    n, t, d, k = sizes(rng, 2, 3, 2, 2)
    v = int(rng.integers(2, min(n * t, 40)))
    e, y = scale(rng), scale(rng)
    params = {
        "E": normal(rng, v, d, size=e),
        "W": normal(rng, d, k, size=y / e / math.sqrt(d)),
        "b": normal(rng, k, size=y),
    }
    batch = (rng.integers(0, v, (n, t)), normal(rng, n, k, size=y * scale(rng, 0.1, 10)))
    return make_case("embedding", embedding, torch_embedding, params, batch)


# --- 8. recurrent network


def recurrent(r: Records, how: How, p: Arrays, X: Array, h0: Array, C: Array) -> None:
    """h_t = tanh(x_t Wx + h_(t-1) Wh + b), J = sum over t of C_t h_t / n; dh_t = C_t / n + dz_(t+1) Wh^T."""
    last, n = C.shape[:2]
    steps = range(1, last + 1)
    h, dz = {0: h0}, {}

    def forward(t: int) -> Array:
        if how.other:
            return how.mm(np.hstack([X[t - 1], h[t - 1]]), np.vstack([p["Wx"], p["Wh"]])) + p["b"]
        return how.mm(X[t - 1], p["Wx"]) + how.mm(h[t - 1], p["Wh"]) + p["b"]

    for t in steps:
        small = times(1e-7) | {"tanh of 1.000001 z": lambda _, t=t: np.tanh(1.000001 * forward(t))}
        h[t] = r(f"h{t}", np.tanh(forward(t)), {}, small if t == 2 else {})
    r("J", how.over(how.total(C * np.stack([h[t] for t in steps])), n))

    def backward(t: int) -> Array:
        """The mistakes are offered at the last step or the one before."""
        here = how.over(C[t - 1], n)
        if t == last:
            dh = r(f"dh{t}", here, {"1/n forgotten": lambda _: C[t - 1]}, one_entry(1e-6))
        else:
            structural = {
                "later steps forgotten": lambda _: here,
                "this step's own part forgotten": lambda _: how.mm(dz[t + 1], p["Wh"].T),
                "Wh for its transpose": lambda _: here + how.mm(dz[t + 1], p["Wh"]),
            }
            before_last = t == last - 1
            small = times(1e-3) if before_last else {}
            dh = r(f"dh{t}", here + how.mm(dz[t + 1], p["Wh"].T), structural if before_last else {}, small)
        structural = {
            "tanh' forgotten": lambda _: dh,
            "tanh' at h of the step before": lambda _: dh * how.dtanh(h[t - 1]),
        }
        small = {"tanh' = 1.0000001 - h^2": lambda _: dh * (1.0000001 - h[t] * h[t])}
        at_last = t == last
        return r(
            f"dz{t}",
            dh * how.dtanh(h[t]),
            structural if at_last else {},
            small if at_last else {},
            shows=f"dh{t - 1}" if t > 1 else "dWx",
        )

    for t in reversed(steps):
        dz[t] = backward(t)
    stacked = np.vstack([dz[t] for t in steps])

    def uses(inputs: list[Array]) -> list[Array]:
        return [how.mm(inputs[t - 1].T, dz[t]) for t in reversed(steps)]

    def weight_gradient(inputs: list[Array]) -> Array:
        return how.mm(np.vstack(inputs).T, stacked) if how.other else reduce(np.add, uses(inputs))

    x, before, after = list(X), [h[t - 1] for t in steps], [h[t] for t in steps]
    r(
        "dWx",
        weight_gradient(x),
        {"overwritten by the last step": lambda _: uses(x)[0], "mean over the steps": lambda v: v / last},
        one_entry(1e-6) | through_float32(),
    )
    r(
        "dWh",
        weight_gradient(before),
        {
            "overwritten by the first step": lambda _: uses(before)[-1],
            "h_t for h_(t-1)": lambda _: weight_gradient(after),
            "transposed": lambda v: v.T,
        },
        {"last step times 1 + 1e-4": lambda v: v + 1e-4 * uses(before)[0]},
    )
    db = how.total(stacked, 0) if how.other else reduce(np.add, (how.total(dz[t], 0) for t in reversed(steps)))
    r("db", db, {"one step only": lambda _: how.total(dz[last], 0)}, times(1e-8))


def torch_recurrent(p: Tensors, X: Tensor, h: Tensor, C: Tensor) -> Tensor:
    """J = sum over t of C_t h_t / n, h_t = tanh(x_t Wx + h_(t-1) Wh + b)."""
    J = X.new_zeros(())
    for t, (x, c) in enumerate(zip(X, C, strict=True), start=1):
        h = tap(f"h{t}", torch.tanh(x @ p["Wx"] + h @ p["Wh"] + p["b"]))
        J = J + (c * h).sum() / len(h)
    return J


def build_recurrent(rng: np.random.Generator) -> Case:
    """X (t, n, d), h0 (n, h), C (t, n, h), Wx (d, h), Wh (h, h), b (h,)."""
    n, d, h = sizes(rng, 2, 2, 2, most=24)
    t, x, z = int(rng.integers(3, 7)), scale(rng), scale(rng, 0.1, 1.5)
    params = {
        "Wx": normal(rng, d, h, size=z / x / math.sqrt(d)),
        "Wh": normal(rng, h, h, size=scale(rng, 0.3, 1.5) / math.sqrt(h)),
        "b": normal(rng, h, size=z),
    }
    batch = (normal(rng, t, n, d, size=x), normal(rng, n, h), normal(rng, t, n, h, size=scale(rng)))
    return make_case("recurrent network", recurrent, torch_recurrent, params, batch)


# --- 9. dropout


def dropout(r: Records, how: How, p: Arrays, X: Array, mask: Array, T: Array, *, kept: float) -> None:
    """Z = X W1 + b1, A = relu(Z), D = A mask / kept, Y = D W2 + b2, J = mean (Y - T)^2 / 2."""

    def drop(A: Array, kept: float = kept) -> Array:
        return np.where(mask, A * (1 / kept), 0) if how.other else how.over(A * mask, kept)

    Z = r("Z", affine(how, X, p["W1"], p["b1"]))
    A = r("A", np.maximum(Z, 0))
    D = r(
        "D",
        drop(A),
        {
            "not divided by the kept share": lambda _: A * mask,
            "divided by the dropped share": lambda _: drop(A, 1 - kept),
        },
        {"kept share off by 1e-6": lambda _: drop(A, kept * (1 + 1e-6))},
    )
    Y = r("Y", affine(how, D, p["W2"], p["b2"]))
    dY = squared_error(r, how, Y, T)
    r("dW2", how.mm(D.T, dY), {"A for D": lambda _: how.mm(A.T, dY)}, one_entry(1e-6))
    r("db2", how.total(dY, 0), {"mean for sum": lambda v: v / len(X)}, times(1e-8))
    dD = r("dD", how.mm(dY, p["W2"].T))
    dA = r(
        "dA",
        drop(dD),
        {
            "mask ignored": lambda _: how.over(dD, kept),
            "not divided by the kept share": lambda _: dD * mask,
            "the dropped entries for the kept ones": lambda _: how.over(dD * ~mask, kept),
        },
        times(1e-3) | {"kept share off by 1e-7": lambda _: drop(dD, kept * (1 + 1e-7))},
    )
    dZ = r(
        "dZ",
        np.where(Z > 0, dA, 0) if how.other else dA * (Z > 0),
        {"relu' forgotten": lambda _: dA, "relu' = Z": lambda _: dA * A},
        one_entry(1e-6),
    )
    r("dW1", how.mm(X.T, dZ), {"1/n twice": lambda v: v / len(X)}, through_float32())
    r("db1", how.total(dZ, 0), {"taken before the relu": lambda _: how.total(dA, 0)})


def torch_dropout(p: Tensors, X: Tensor, mask: Tensor, T: Tensor, *, kept: float) -> Tensor:
    """J = mean (relu(X W1 + b1) mask / kept W2 + b2 - T)^2 / 2."""
    A = tap("A", torch.relu(tap("Z", X @ p["W1"] + p["b1"])))
    return torch_squared_error(tap("Y", tap("D", A * mask / kept) @ p["W2"] + p["b2"]), T)


def build_dropout(rng: np.random.Generator) -> Case:
    """X (n, d), W1 (d, h), b1 (h,), mask (n, h), W2 (h, k), b2 (k,), T (n, k)."""
    n, d, h, k = sizes(rng, 4, 2, 6, 2)
    x, z, y, kept = scale(rng), scale(rng), scale(rng), round(rng.uniform(0.55, 0.9), 2)
    params = {
        "W1": normal(rng, d, h, size=z / x / math.sqrt(d)),
        "b1": normal(rng, h, size=z),
        "W2": normal(rng, h, k, size=y / z / math.sqrt(h)),
        "b2": normal(rng, k, size=y),
    }
    batch = (normal(rng, n, d, size=x), rng.random((n, h)) < kept, normal(rng, n, k, size=y * scale(rng, 0.1, 10)))
    return make_case("dropout", partial(dropout, kept=kept), partial(torch_dropout, kept=kept), params, batch)


# --- 10. max-pooling


def max_pool(r: Records, how: How, p: Arrays, X: Array, T: Array, *, width: int) -> None:
    """Z = X W1 + b1, P[:, j] = max Z[:, j : j + width], Y = P W2 + b2, J = mean (Y - T)^2 / 2."""
    Z = r("Z", affine(how, X, p["W1"], p["b1"]))
    windows = sliding_window_view(Z, width, axis=1)  # (n, m, width)
    P = r(
        "P",
        windows.max(2),
        {"mean for max": lambda _: windows.mean(2), "largest magnitude": lambda _: np.abs(windows).max(2)},
        times(1e-6),
    )
    best = windows.argmax(2)
    m = P.shape[1]
    Y = r("Y", affine(how, P, p["W2"], p["b2"]))
    dY = squared_error(r, how, Y, T)
    r("dW2", how.mm(P.T, dY), {"first entries for the largest": lambda _: how.mm(Z[:, :m].T, dY)}, one_entry(1e-6))
    r("db2", how.total(dY, 0), {"mean for sum": lambda v: v / len(X)}, times(1e-8))
    dP = r("dP", how.mm(dY, p["W2"].T))

    def scattered(offset: Array, *, overwrite: bool = False) -> Array:
        rows, columns = np.indices(dP.shape)
        dZ = np.zeros_like(Z)
        if overwrite:
            dZ[rows, columns + offset] = dP
        else:
            np.add.at(dZ, (rows, columns + offset), dP)
        return dZ

    def by_offset(share: Callable[[int], Array]) -> Array:
        """The sum over offsets k of dP times share(k), moved by k; the largest offset first."""
        dZ = np.zeros_like(Z)
        for k in reversed(range(width)):
            dZ[:, k : k + m] += dP * share(k)
        return dZ

    dZ = r(
        "dZ",
        by_offset(lambda k: best == k) if how.other else scattered(best),
        {
            "overlapping windows overwritten": lambda _: scattered(best, overwrite=True),
            "to every entry of the window": lambda _: by_offset(lambda k: np.ones_like(dP)),
            "shared out over the window": lambda _: by_offset(lambda k: np.ones_like(dP) / width),
            "to the first entry of the window": lambda _: scattered(np.zeros_like(best)),
            "to the smallest entry of the window": lambda _: scattered(windows.argmin(2)),
        },
        one_entry(1e-6) | times(1e-7),
    )
    r("dW1", how.mm(X.T, dZ), {"sign": lambda v: -v}, through_float32())
    r("db1", how.total(dZ, 0), {"mean for sum": lambda v: v / len(X)}, times(1e-3))


def torch_max_pool(p: Tensors, X: Tensor, T: Tensor, *, width: int) -> Tensor:
    """J = mean (max over windows of (X W1 + b1) W2 + b2 - T)^2 / 2."""
    P = tap("P", tap("Z", X @ p["W1"] + p["b1"]).unfold(1, width, 1).max(2).values)
    return torch_squared_error(tap("Y", P @ p["W2"] + p["b2"]), T)


def build_max_pool(rng: np.random.Generator) -> Case:
    """X (n, d), W1 (d, l), b1 (l,), W2 (l - width + 1, k), b2 (k,), T (n, k)."""
    n, d, length, k = sizes(rng, 4, 2, 10, 2)
    width = int(rng.integers(3, 6))
    x, z, y = scale(rng), scale(rng), scale(rng)
    m = length - width + 1
    params = {
        "W1": normal(rng, d, length, size=z / x / math.sqrt(d)),
        "b1": normal(rng, length, size=z),
        "W2": normal(rng, m, k, size=y / z / math.sqrt(m)),
        "b2": normal(rng, k, size=y),
    }
    batch = (normal(rng, n, d, size=x), normal(rng, n, k, size=y * scale(rng, 0.1, 10)))
    return make_case("max-pool", partial(max_pool, width=width), partial(torch_max_pool, width=width), params, batch)


# --- 11. bilinear form of two branches


def bilinear(r: Records, how: How, p: Arrays, X: Array, Y: Array, c: Array) -> None:
    """Z = X Wu + a, U = tanh(Z), V = Y Wv + b, P = U M, s = row sums of P V, J = mean(c s)."""
    Z = r("Z", affine(how, X, p["Wu"], p["a"]))
    U = r("U", np.tanh(Z))
    V = r("V", affine(how, Y, p["Wv"], p["b"]))
    P = r("P", how.mm(U, p["M"]), {"M transposed": lambda _: how.mm(U, p["M"].T)}, times(1e-6))
    s = r("s", how.total(U * how.mm(V, p["M"].T) if how.other else P * V, 1))
    r("J", how.mean(c * s))
    ds = r("ds", how.over(c, len(c)), {"1/n forgotten": lambda _: c}, one_entry(1e-6))[:, None]
    dP = r("dP", ds * V, {"P for V": lambda _: ds * P})
    dV = r("dV", ds * P, {"U for P": lambda _: ds * U, "other branch forgotten": lambda _: ds + 0 * P}, times(1e-7))
    r("dM", how.mm((ds * U).T, V) if how.other else how.mm(U.T, dP), {"transposed": lambda v: v.T}, through_float32())
    dU = r(
        "dU",
        ds * how.mm(V, p["M"].T) if how.other else how.mm(dP, p["M"].T),
        {"M for its transpose": lambda _: how.mm(dP, p["M"]), "V forgotten": lambda _: ds * p["M"].sum(1)},
        times(1e-3),
    )
    dZ = r(
        "dZ",
        dU * how.dtanh(U),
        {"tanh' forgotten": lambda _: dU, "tanh' at Z": lambda _: dU * (1 - Z * Z)},
        {"tanh' = 1.0000001 - U^2": lambda _: dU * (1.0000001 - U * U)},
    )
    r("dWu", how.mm(X.T, dZ), {}, one_entry(1e-6))
    r("da", how.total(dZ, 0), {"mean for sum": lambda v: how.over(v, len(c))}, times(1e-8))
    r("dWv", how.mm(Y.T, dV), {"sign": lambda v: -v})
    r("db", how.total(dV, 0), {"that of the other branch": lambda _: how.total(dZ, 0)})


def torch_bilinear(p: Tensors, X: Tensor, Y: Tensor, c: Tensor) -> Tensor:
    """J = mean of c times the row sums of (tanh(X Wu + a) M) (Y Wv + b)."""
    U = tap("U", torch.tanh(tap("Z", X @ p["Wu"] + p["a"])))
    V = tap("V", Y @ p["Wv"] + p["b"])
    return (c * tap("s", (tap("P", U @ p["M"]) * V).sum(1))).mean()


def build_bilinear(rng: np.random.Generator) -> Case:
    """X (n, d), Y (n, e), Wu (d, k), Wv (e, k), a b (k,), M (k, k), c (n,)."""
    n, d, e, k = sizes(rng, 2, 2, 2, 2)
    x, y, z, v = scale(rng), scale(rng), moderate(rng), scale(rng)
    params = {
        "Wu": normal(rng, d, k, size=z / x / math.sqrt(d)),
        "a": normal(rng, k, size=z),
        "Wv": normal(rng, e, k, size=v / y / math.sqrt(e)),
        "b": normal(rng, k, size=v),
        "M": normal(rng, k, k, size=scale(rng)),
    }
    batch = (normal(rng, n, d, size=x), normal(rng, n, e, size=y), normal(rng, n, size=scale(rng)))
    return make_case("bilinear form", bilinear, torch_bilinear, params, batch)


BUILDERS: dict[str, Callable[[np.random.Generator], Case]] = {
    "softmax cross-entropy": build_softmax_cross_entropy,
    "layer norm": build_layer_norm,
    "attention": build_attention,
    "residual blocks": build_residual_blocks,
    "tied autoencoder": build_tied_autoencoder,
    "batch norm": build_batch_norm,
    "embedding": build_embedding,
    "recurrent network": build_recurrent,
    "dropout": build_dropout,
    "max-pool": build_max_pool,
    "bilinear form": build_bilinear,
}


# --- the corpus checked against autograd


def autograd(case: Case) -> Arrays:
    """Tapped intermediates in order, J and every gradient, by torch in float64."""
    seen: Tensors = {}

    def handler(name: str, tensor: Tensor) -> Tensor:
        tensor.retain_grad()
        seen[name] = tensor
        return tensor

    leaves = {name: torch.tensor(value, requires_grad=True) for name, value in case.params.items()}
    with tapped(handler):
        J = case.reference(leaves, *map(torch.tensor, case.batch))
    J.backward()
    values = {**seen, "J": J}
    gradients = {f"d{name}": tensor.grad for name, tensor in (seen | leaves).items()}
    return {name: tensor.detach().numpy() for name, tensor in (values | gradients).items()}


def difference(A: Array, B: Array) -> float:
    """The largest |A - B| relative to the largest |B|."""
    largest = float(np.abs(B).max())
    if largest == 0:
        return math.inf if np.any(A) else 0.0
    return float(np.abs(A - B).max()) / largest


def to_float32(array: Array) -> Array:
    """Float arrays in float32, others as they are."""
    return array.astype(np.float32) if array.dtype == np.float64 else array


def complaints_about_records(case: Case, truth: Arrays, bound: float = 1e-9) -> Iterator[str]:
    """What is wrong with the right derivations: names, order, shapes, types, values."""
    for how, variant in zip(HOWS, case.variants, strict=True):
        records = variant(case.params, *case.batch)
        forward = [name for name in truth if not name.startswith("d")]
        order = [*(name for name in forward if name in records), *list(records)[sum(f in records for f in forward) :]]
        if list(records) != order:
            yield f"{how.name}: order {list(records)}"
        if unknown := set(records) - set(truth):
            yield f"{how.name}: {unknown} not in the reference"
        if missing := {f"d{name}" for name in case.params} - set(records):
            yield f"{how.name}: {missing} missing"
        for name, record in records.items():
            if record.dtype != np.float64 or record.shape != truth[name].shape or not np.all(np.isfinite(record)):
                yield f"{how.name}, {name}: {record.dtype} {record.shape}"
            elif difference(record, truth[name]) > bound:
                yield f"{how.name}, {name}: off by {difference(record, truth[name]):.1e}"
    single = {name: to_float32(value) for name, value in case.params.items()}, *map(to_float32, case.batch)
    derivations = zip((h.name for h in HOWS), case.variants, strict=True)
    for name, derivation in [*derivations, *((fault.name, fault.derivation) for fault in case.faults)]:
        records = derivation(*single)
        if wrong := [key for key, record in records.items() if record.dtype != np.float32]:
            yield f"{name}: not in float32: {wrong}"


def complaints_about_faults(case: Case, smallest: dict[str, float]) -> Iterator[str]:
    """What is wrong with the wrong derivations: where the first difference is, and its size (kept in `smallest`)."""
    base = case.variants[0](case.params, *case.batch)
    for fault in case.faults:
        records = fault.derivation(case.params, *case.batch)
        if [(n, a.shape) for n, a in records.items()] != [(n, a.shape) for n, a in base.items()]:
            yield f"{fault.name}: other names or shapes"
            continue
        first = next((name for name in base if np.any(records[name] != base[name])), "none")
        if first != fault.tensor:
            yield f"{fault.name}: the first record to differ is {first}, not {fault.tensor}"
        gradients = [name for name in base if name.startswith("d")]
        change = max(difference(records[name], base[name]) for name in gradients)
        smallest[fault.name] = min(change, smallest.get(fault.name, math.inf))
        if change <= 1e-12:
            yield f"{fault.name}: changes no gradient by more than {change:.1e}"
    kinds = [fault.kind for fault in case.faults]
    if kinds.count("structural") < 5 or kinds.count("small") < 4 or len({f.name for f in case.faults}) < len(kinds):
        yield f"too few faults, or two of one name: {kinds}"


def main(seeds: int = 20) -> int:
    """Check every builder on some seeds; 1 if anything is wrong."""
    failed = False
    for index, (name, builder) in enumerate(BUILDERS.items()):
        differs = dict.fromkeys((how.name for how in HOWS[1:]), 0)
        smallest: dict[str, float] = {}
        worst = 0.0
        for seed in range(seeds):
            case = builder(np.random.default_rng([index, seed]))
            truth = autograd(case)
            base, *others = (variant(case.params, *case.batch) for variant in case.variants)
            worst = max(worst, *(difference(r[key], truth[key]) for r in (base, *others) for key in r))
            for how, records in zip(differs, others, strict=True):
                differs[how] += any(np.any(records[key] != base[key]) for key in base)
            for complaint in (*complaints_about_records(case, truth), *complaints_about_faults(case, smallest)):
                sys.stdout.write(f"WRONG {name}, seed {seed}: {complaint}\n")
                failed = True
        least = min(smallest, key=lambda fault: smallest[fault])
        sys.stdout.write(
            f"{name}: {len(case.variants)} variants, off autograd by at most {worst:.1e}; differ from the base in "
            f"{' '.join(map(str, differs.values()))} of {seeds} seeds; {len(case.faults)} faults, the smallest "
            f"{smallest[least]:.1e} ({least})\n"
        )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
