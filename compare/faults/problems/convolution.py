"""A convolution over a sequence, one channel in and several out: Z[n, c, t] = sum over k of W[c, k] X[n, t + k]."""

import numpy as np
import torch

from handgrad import tap


def derivation(params, X, T):
    """Forward and backward by hand."""
    W = params["W"]
    width = W.shape[1]
    windows = np.lib.stride_tricks.sliding_window_view(X, width, axis=1)
    Z = np.einsum("ntk,ck->nct", windows, W)
    A = np.maximum(Z, 0)
    J = (T * A).sum()
    dZ = T * (Z > 0)
    dW = np.einsum("nct,ntk->ck", dZ, windows)
    padded = np.pad(dZ, ((0, 0), (0, 0), (width - 1, width - 1)))
    back = np.lib.stride_tricks.sliding_window_view(padded, width, axis=2)
    dX = np.einsum("nctk,ck->nt", back, W[:, ::-1])
    return {"Z": Z, "A": A, "J": J, "dZ": dZ, "dW": dW, "dX": dX}


def reference(params, X, T):
    """The same forward pass in torch."""
    Z = tap("Z", torch.nn.functional.conv1d(X[:, None], params["W"][:, None]))
    return (T * tap("A", torch.relu(Z))).sum()


def draw(rng):
    """Random sizes and values."""
    n, t, c, k = rng.integers(3, 6), rng.integers(9, 14), rng.integers(2, 5), rng.integers(3, 5)
    return {
        "params": {"W": rng.standard_normal((c, k))},
        "batch": (rng.standard_normal((n, t)), rng.standard_normal((n, c, t - k + 1))),
    }
