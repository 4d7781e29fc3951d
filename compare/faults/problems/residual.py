"""A residual block, rows as examples: Y = X V, H = tanh(Y W), O = Y + H."""

import numpy as np
import torch

from handgrad import tap


def derivation(params, X, T):
    """Forward and backward by hand."""
    Y = X @ params["V"]
    Z = Y @ params["W"]
    H = np.tanh(Z)
    O = Y + H
    J = (T * O).sum()
    dO = T
    dH = dO
    dZ = dH * (1 - H * H)
    dW = Y.T @ dZ
    dY = dO + dZ @ params["W"].T
    dV = X.T @ dY
    return {"Y": Y, "Z": Z, "H": H, "O": O, "J": J, "dO": dO, "dZ": dZ, "dW": dW, "dY": dY, "dV": dV}


def reference(params, X, T):
    """The same forward pass in torch."""
    Y = tap("Y", X @ params["V"])
    Z = tap("Z", Y @ params["W"])
    return (T * tap("O", Y + tap("H", torch.tanh(Z)))).sum()


def draw(rng):
    """Random sizes and values."""
    n, d, k = rng.integers(5, 9), rng.integers(3, 6), rng.integers(4, 7)
    params = {"V": rng.standard_normal((d, k)), "W": rng.standard_normal((k, k)) / 2}
    return {"params": params, "batch": (rng.standard_normal((n, d)), rng.standard_normal((n, k)))}
