"""Operations that normalise: layer norm by rows, batch norm by columns."""

import math
from functools import partial

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
    normal,
    one_entry,
    scale,
    sizes,
    through_float32,
    times,
)
from tests.corpus.parts import affine, squared_error, torch_squared_error
from tests.corpus.variants import How

__all__ = ["build_batch_norm", "build_layer_norm"]

EPS = 1e-5  # added to every variance


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
    """dZ = rstd (dXhat - mean dXhat - Xhat mean(dXhat Xhat)); with `keep` by way of dvar and dmu, which it records."""
    n = dXhat.shape[axis]
    mean = partial(how.mean, axis=axis, keepdims=True)
    total = partial(how.total, axis=axis, keepdims=True)
    dZ = rstd * (dXhat - mean(dXhat) - Xhat * mean(dXhat * Xhat))
    if keep:
        dvar = total(dXhat * Zc) * (-0.5 * rstd**3) if how.other else -0.5 * rstd * rstd * total(dXhat * Xhat)
        dvar = r("dvar", dvar, {"mean for sum": lambda v: how.over(v, n)}, times(1e-8))
        dZc = dXhat * rstd + how.over(2 * dvar * Zc, n)
        dmu = r("dmu", -total(dZc) if how.other else -rstd * total(dXhat), {"sign": lambda v: -v}, one_entry(1e-6))
        dZ = dZc + how.over(dmu, n)

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


# --- layer norm


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


# --- batch norm; the gradients of mu and var are left out


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
