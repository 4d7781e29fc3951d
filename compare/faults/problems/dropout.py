"""Inverted dropout with its mask in the batch: A = Z * mask / keep, then a linear layer."""

from handgrad import tap


def derivation(params, X, mask, T):
    """Forward and backward by hand."""
    keep = 0.75
    Z = X @ params["W"]
    A = Z * mask / keep
    J = (T * A).sum()
    dA = T
    dZ = dA * mask / keep
    dW = X.T @ dZ
    return {"Z": Z, "A": A, "J": J, "dA": dA, "dZ": dZ, "dW": dW}


def reference(params, X, mask, T):
    """The same forward pass in torch."""
    Z = tap("Z", X @ params["W"])
    return (T * tap("A", Z * mask / 0.75)).sum()


def draw(rng):
    """Random sizes and values."""
    n, d, k = rng.integers(5, 9), rng.integers(3, 6), rng.integers(4, 7)
    mask = (rng.random((n, k)) < 0.75).astype(float)
    mask[0] = 0.0
    mask[1] = 1.0
    batch = (rng.standard_normal((n, d)), mask, rng.standard_normal((n, k)))
    return {"params": {"W": rng.standard_normal((d, k))}, "batch": batch}
