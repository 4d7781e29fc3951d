"""Batch normalisation in training: statistics over the examples (rows), their gradients included."""

import torch

from handgrad import tap


def derivation(params, X, T):
    """Forward and backward by hand."""
    n = len(X)
    centred = X - X.mean(axis=0)
    r = 1 / ((centred * centred).sum(axis=0) / n + 1e-5) ** 0.5
    H = centred * r
    Y = params["g"] * H + params["s"]
    J = (T * Y).sum()
    dH = T * params["g"]
    dg = (T * H).sum(axis=0)
    ds = T.sum(axis=0)
    dX = r * (dH - dH.mean(axis=0) - H * (dH * H).mean(axis=0))
    return {"H": H, "Y": Y, "J": J, "dg": dg, "ds": ds, "dH": dH, "dX": dX}


def reference(params, X, T):
    """The same forward pass in torch."""
    H = tap("H", torch.nn.functional.batch_norm(X, None, None, training=True))
    return (T * tap("Y", params["g"] * H + params["s"])).sum()


def draw(rng):
    """Random sizes and values."""
    n, d = rng.integers(6, 12), rng.integers(3, 6)
    params = {"g": rng.standard_normal(d) + 1.5, "s": rng.standard_normal(d)}
    return {"params": params, "batch": (2 * rng.standard_normal((n, d)), rng.standard_normal((n, d)))}
