"""Operations along positions and steps: embedding, a recurrent network."""

import math
from functools import reduce

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

__all__ = ["build_embedding", "build_recurrent"]


# --- embedding; the looked-up vectors H and their gradient are left out


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


# --- recurrent network


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
