"""Two layers with ReLU, rows as examples, as people write them: mean squared error, arrays changed in place nowhere."""

import numpy as np
import torch

from handgrad import tap


def derivation(params, X, Y):
    """Forward and backward by hand."""
    n = len(X)
    W1, b1, W2, b2 = params["W1"], params["b1"], params["W2"], params["b2"]
    Z1 = X @ W1 + b1
    A1 = np.maximum(Z1, 0)
    Z2 = A1 @ W2 + b2
    J = ((Z2 - Y) ** 2).sum() / n
    dZ2 = 2 * (Z2 - Y) / n
    dW2 = A1.T @ dZ2
    db2 = dZ2.sum(axis=0)
    dA1 = dZ2 @ W2.T
    dZ1 = dA1 * (Z1 > 0)
    dW1 = X.T @ dZ1
    db1 = dZ1.sum(axis=0)
    values = {"Z1": Z1, "A1": A1, "Z2": Z2, "J": J}
    return {**values, "dZ2": dZ2, "dW2": dW2, "db2": db2, "dA1": dA1, "dZ1": dZ1, "dW1": dW1, "db1": db1}


def reference(params, X, Y):
    """The same forward pass in torch."""
    Z1 = tap("Z1", X @ params["W1"] + params["b1"])
    A1 = tap("A1", torch.relu(Z1))
    Z2 = tap("Z2", A1 @ params["W2"] + params["b2"])
    return ((Z2 - Y) ** 2).sum() / len(X)


def draw(rng):
    """Random sizes and values."""
    n, d, h, K = rng.integers(6, 11), rng.integers(3, 6), rng.integers(6, 9), rng.integers(3, 5)
    params = {"W1": rng.standard_normal((d, h)), "b1": rng.standard_normal(h)}
    params |= {"W2": rng.standard_normal((h, K)), "b2": rng.standard_normal(K)}
    return {"params": params, "batch": (rng.standard_normal((n, d)), rng.standard_normal((n, K)))}
