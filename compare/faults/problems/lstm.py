"""One step of an LSTM, rows as examples: C = f C0 + i g and H = o tanh(C), the four gates packed in one matrix."""

import numpy as np
import torch

from handgrad import tap


def derivation(params, X, C0, T):
    """Forward and backward by hand."""
    Z = X @ params["W"] + params["b"]
    Zi, Zf, Zg, Zo = np.split(Z, 4, axis=1)
    i, f, o = (1 / (1 + np.exp(-z)) for z in (Zi, Zf, Zo))
    g = np.tanh(Zg)
    C = f * C0 + i * g
    H = o * np.tanh(C)
    J = (T * H).sum()
    dH = T
    do = dH * np.tanh(C)
    dC = dH * o * (1 - np.tanh(C) ** 2)
    di, df, dg = dC * g, dC * C0, dC * i
    dZ = np.hstack([di * i * (1 - i), df * f * (1 - f), dg * (1 - g * g), do * o * (1 - o)])
    dW = X.T @ dZ
    db = dZ.sum(axis=0)
    values = {"Z": Z, "i": i, "f": f, "g": g, "o": o, "C": C, "H": H, "J": J}
    return {**values, "do": do, "dC": dC, "di": di, "df": df, "dg": dg, "dZ": dZ, "dW": dW, "db": db}


def reference(params, X, C0, T):
    """The same forward pass in torch."""
    Z = tap("Z", X @ params["W"] + params["b"])
    i, f, g, o = Z.chunk(4, dim=1)
    i, f, o = tap("i", torch.sigmoid(i)), tap("f", torch.sigmoid(f)), tap("o", torch.sigmoid(o))
    C = tap("C", f * C0 + i * tap("g", torch.tanh(g)))
    return (T * tap("H", o * torch.tanh(C))).sum()


def draw(rng):
    """Random sizes and values."""
    n, d, k = rng.integers(5, 9), rng.integers(3, 6), rng.integers(3, 5)
    params = {"W": rng.standard_normal((d, 4 * k)), "b": rng.standard_normal(4 * k)}
    return {"params": params, "batch": (rng.standard_normal((n, d)), *rng.standard_normal((2, n, k)))}
