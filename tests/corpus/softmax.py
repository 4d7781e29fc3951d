"""Operations with a softmax: cross-entropy with weighted examples, and masked attention."""

import math

import numpy as np
import torch
from torch import Tensor

from handgrad import tap
from tests.corpus.cases import (
    Array,
    Arrays,
    Case,
    Records,
    Tensors,
    make_case,
    moderate,
    normal,
    one_entry,
    scale,
    sizes,
    through_float32,
    times,
)
from tests.corpus.variants import How

__all__ = ["build_attention", "build_softmax_cross_entropy"]


# --- softmax and cross-entropy


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


# --- masked attention


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
