"""An embedding looked up by indices that repeat, and a linear layer on it."""

import numpy as np

from handgrad import tap


def derivation(params, i, T):
    """Forward and backward by hand."""
    A = params["E"][i]
    Z = A @ params["W"]
    J = (T * Z).sum()
    dA = T @ params["W"].T
    dW = A.T @ T
    dE = np.zeros_like(params["E"])
    np.add.at(dE, i, dA)
    return {"A": A, "Z": Z, "J": J, "dA": dA, "dW": dW, "dE": dE}


def reference(params, i, T):
    """The same forward pass in torch."""
    A = tap("A", params["E"][i])
    return (T * tap("Z", A @ params["W"])).sum()


def draw(rng):
    """Random sizes and values; two indices occur twice."""
    n, V, d, k = 8, rng.integers(9, 14), rng.integers(3, 6), rng.integers(2, 5)
    i = rng.permutation(V)[:n]
    i[-2:] = i[:2]
    params = {"E": rng.standard_normal((V, d)), "W": rng.standard_normal((d, k))}
    return {"params": params, "batch": (i, rng.standard_normal((n, k)))}
