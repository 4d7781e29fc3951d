"""Operations that let some entries through: dropout, max-pooling."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
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

__all__ = ["build_dropout", "build_max_pool"]


# --- dropout


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


# --- max-pooling


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
