"""Operations in which a tensor is used twice: residual blocks, tied weights, a bilinear form."""

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
from tests.corpus.parts import affine, squared_error, torch_squared_error
from tests.corpus.variants import How

__all__ = ["build_bilinear", "build_residual_blocks", "build_tied_autoencoder"]


# --- residual blocks


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


# --- tied weights


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


# --- bilinear form of two branches


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
