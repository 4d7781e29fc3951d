"""A recurrent layer over three steps, columns as examples: H[t] = tanh(U X[t] + W H[t-1]), H[0] given."""

import numpy as np
import torch

from handgrad import tap


def derivation(params, X, H0, T):
    """Forward and backward through time by hand."""
    U, W = params["U"], params["W"]
    H1 = np.tanh(U @ X[0] + W @ H0)
    H2 = np.tanh(U @ X[1] + W @ H1)
    H3 = np.tanh(U @ X[2] + W @ H2)
    J = (T * H3).sum()
    dH3 = T
    dZ3 = dH3 * (1 - H3 * H3)
    dH2 = W.T @ dZ3
    dZ2 = dH2 * (1 - H2 * H2)
    dH1 = W.T @ dZ2
    dZ1 = dH1 * (1 - H1 * H1)
    dW = dZ3 @ H2.T + dZ2 @ H1.T + dZ1 @ H0.T
    dU = dZ3 @ X[2].T + dZ2 @ X[1].T + dZ1 @ X[0].T
    return {
        "H1": H1, "H2": H2, "H3": H3, "J": J, "dH3": dH3, "dZ3": dZ3, "dH2": dH2, "dZ2": dZ2, "dH1": dH1,
        "dZ1": dZ1, "dW": dW, "dU": dU,
    }  # fmt: skip


def reference(params, X, H0, T):
    """The same forward pass in torch."""
    H = H0
    for t in (1, 2, 3):
        Z = tap(f"Z{t}", params["U"] @ X[t - 1] + params["W"] @ H)
        H = tap(f"H{t}", torch.tanh(Z))
    return (T * H).sum()


def draw(rng):
    """Random sizes and values."""
    n, d, k = rng.integers(5, 9), rng.integers(3, 5), rng.integers(5, 7)
    params = {"U": rng.standard_normal((k, d)), "W": rng.standard_normal((k, k)) / 2}
    batch = (rng.standard_normal((3, d, n)), rng.standard_normal((k, n)), rng.standard_normal((k, n)))
    return {"params": params, "batch": batch}
