"""One head of attention on one sequence: A = softmax(Q K^T / sqrt(d)) V, rows as positions."""

import numpy as np
import torch

from handgrad import tap


def derivation(params, X, T):
    """Forward and backward by hand."""
    Q, K, V = X @ params["Wq"], X @ params["Wk"], X @ params["Wv"]
    c = 1 / np.sqrt(K.shape[1])
    S = Q @ K.T * c
    E = np.exp(S - S.max(axis=1, keepdims=True))
    P = E / E.sum(axis=1, keepdims=True)
    O = P @ V
    J = (T * O).sum()
    dP = T @ V.T
    dV = P.T @ T
    dS = P * (dP - (dP * P).sum(axis=1, keepdims=True))
    dQ = c * dS @ K
    dK = c * dS.T @ Q
    dWq, dWk, dWv = X.T @ dQ, X.T @ dK, X.T @ dV
    values = {"Q": Q, "K": K, "V": V, "S": S, "P": P, "O": O, "J": J}
    return {**values, "dP": dP, "dV": dV, "dS": dS, "dQ": dQ, "dK": dK, "dWq": dWq, "dWk": dWk, "dWv": dWv}


def reference(params, X, T):
    """The same forward pass in torch."""
    Q, K, V = (tap(name, X @ params[f"W{name.lower()}"]) for name in "QKV")
    S = tap("S", Q @ K.T / K.shape[1] ** 0.5)
    P = tap("P", torch.softmax(S, dim=1))
    return (T * tap("O", P @ V)).sum()


def draw(rng):
    """Random sizes and values."""
    n, d, k = rng.integers(5, 9), rng.integers(3, 6), rng.integers(3, 6)
    params = {name: rng.standard_normal((d, k)) for name in ("Wq", "Wk", "Wv")}
    return {"params": params, "batch": (rng.standard_normal((n, d)), rng.standard_normal((n, k)))}
