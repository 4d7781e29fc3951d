"""Layer normalisation over the last axis: y = g (x - mean)/std + s, rows as examples."""

import torch

from handgrad import tap


def derivation(params, X, T):
    """Forward and backward by hand."""
    d = X.shape[1]
    centred = X - X.mean(axis=1, keepdims=True)
    r = 1 / ((centred * centred).mean(axis=1, keepdims=True) + 1e-5) ** 0.5
    H = centred * r
    Y = params["g"] * H + params["s"]
    J = (T * Y).sum()
    dY = T
    dg = (dY * H).sum(axis=0)
    ds = dY.sum(axis=0)
    dH = dY * params["g"]
    dX = r * (dH - dH.mean(axis=1, keepdims=True) - H * (dH * H).sum(axis=1, keepdims=True) / d)
    return {"H": H, "Y": Y, "J": J, "dY": dY, "dg": dg, "ds": ds, "dH": dH, "dX": dX}


def reference(params, X, T):
    """The same forward pass in torch."""
    H = tap("H", torch.nn.functional.layer_norm(X, X.shape[1:]))
    return (T * tap("Y", params["g"] * H + params["s"])).sum()


def draw(rng):
    """Random sizes and values."""
    n, d = rng.integers(4, 9), rng.integers(4, 9) + 5
    params = {"g": rng.standard_normal(d) + 1.5, "s": rng.standard_normal(d)}
    return {"params": params, "batch": (2 * rng.standard_normal((n, d)), rng.standard_normal((n, d)))}
