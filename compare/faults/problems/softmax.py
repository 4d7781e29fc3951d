"""Softmax and cross-entropy with integer labels, rows as examples: dZ = (P - onehot(y))/n."""

import numpy as np
import torch

from handgrad import tap


def derivation(params, X, y):
    """Forward and backward by hand."""
    n = len(X)
    Z = X @ params["W"] + params["b"]
    E = np.exp(Z - Z.max(axis=1, keepdims=True))
    P = E / E.sum(axis=1, keepdims=True)
    J = -np.log(P[np.arange(n), y]).mean()
    dZ = P.copy()
    dZ[np.arange(n), y] -= 1
    dZ /= n
    dW = X.T @ dZ
    db = dZ.sum(axis=0)
    return {"Z": Z, "P": P, "J": J, "dZ": dZ, "dW": dW, "db": db}


def reference(params, X, y):
    """The same forward pass in torch."""
    Z = tap("Z", X @ params["W"] + params["b"])
    tap("P", torch.softmax(Z, dim=1))
    return torch.nn.functional.cross_entropy(Z, y)


def draw(rng):
    """Random sizes and values."""
    n, d, K = rng.integers(5, 12), rng.integers(3, 8), rng.integers(3, 6)
    params = {"W": rng.standard_normal((d, K)), "b": rng.standard_normal(K)}
    return {"params": params, "batch": (rng.standard_normal((n, d)), rng.integers(0, K, n))}
