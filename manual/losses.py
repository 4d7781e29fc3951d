"""The cost J and the gradient it starts backpropagation with.

    L1  J = (1/n) sum of the losses (+ the weight decay penalty)
    L2  loss = -[ y log p + (1-y) log(1-p) ] with p = sigmoid(z), that is max(z, 0) - z y + log(1 + exp(-|z|))
    L3  loss = (1/2) (a - y)^2
    L4  penalty = (l2/2) sum over layers ||W[l]||^2; its gradient l2 W[l] is part of B2; b is never decayed
    B1  dZ[L] = (A[L] - Y)/n for L2; the same expression is dA[L] for L3

Losses are summed over the K outputs and averaged over the n examples. That 1/n stands in L1 for J and in
B1 for every gradient.
"""

from collections.abc import Iterable

import numpy as np

__all__ = ["binary_cross_entropy", "mean_loss", "output_gradient", "squared_error", "weight_decay"]


def binary_cross_entropy(Z: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Binary cross-entropy from logits: loss = max(z, 0) - z y + log(1 + exp(-|z|)).

    This equals -[ y log p + (1-y) log(1-p) ] with p = sigmoid(z), without ever taking the logarithm of 0.
    Z = Z[L], Y (labels in [0, 1]) and the losses are (K, n). Source: the notes, "Cost function", corrected sign.
    """
    return np.maximum(Z, 0) - Z * Y + np.log1p(np.exp(-np.abs(Z)))  # (L2) (K, n)


def squared_error(A: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Squared error: loss = (1/2) (a - y)^2. A = A[L], Y and the losses are (K, n). Supplied; not in the notes."""
    return (A - Y) ** 2 / 2  # (L3) (K, n)


def weight_decay(weights: Iterable[np.ndarray], l2: float) -> np.floating:
    """Weight decay: penalty = (l2/2) sum over layers ||W[l]||^2. W[l] is (n_l, n_{l-1}), the result a scalar."""
    return l2 / 2 * sum((W * W).sum() for W in weights)  # (L4) ()


def mean_loss(losses: np.ndarray, penalty: float | np.floating = 0.0) -> np.floating:
    """Cost: J = (1/n) sum of the losses + penalty. losses is (K, n), J a scalar. Source: the notes, "Cost function"."""
    n = losses.shape[1]
    return losses.sum() / n + penalty  # (L1) ()


def output_gradient(A: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Where backpropagation starts: (A[L] - Y)/n.

    It is dZ[L] for binary cross-entropy after a sigmoid (the derivative of the sigmoid cancels) and dA[L] for squared
    error. A, Y and the result are (K, n). Supplied; the notes call it "much computation, tedious".
    """
    n = Y.shape[1]
    return (A - Y) / n  # (B1) (K, n)
