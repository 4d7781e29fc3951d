"""The cost J and the gradient that backpropagation starts with.

    L1  J = (1/n) sum of the losses (+ the weight decay penalty)
    L2  loss = -[ y log p + (1-y) log(1-p) ] with p = sigmoid(z), that is max(z, 0) - z y + log(1 + exp(-|z|))
    L3  loss = (1/2) (a - y)^2
    L4  penalty = (l2/2) sum over layers ||W[l]||^2; its gradient l2 W[l] is part of B2; b is never decayed
    L5  loss[k] = -y[k] log p[k] with p = softmax(z)
    B1  dZ[L] = (A[L] - Y)/n for L2 and L5; the same expression is dA[L] for L3

Losses are summed over the K outputs and averaged over the n examples. J has a 1/n, in L1, so its gradient has one: in
B1 and nowhere else. Every other gradient is a product with that one, and has it from there.
"""

from collections.abc import Iterable

import numpy as np

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_derivative",
    "cross_entropy",
    "cross_entropy_derivative",
    "mean_loss",
    "mean_loss_gradient",
    "squared_error",
    "squared_error_derivative",
    "weight_decay",
]


def binary_cross_entropy(Z: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Binary cross-entropy from logits: loss = max(z, 0) - z y + log(1 + exp(-|z|)).

    This equals -[ y log p + (1-y) log(1-p) ] with p = sigmoid(z), without ever taking the logarithm of 0.
    Z = Z[L], Y (labels in [0, 1]) and the losses are (K, n). Source: the notes, "Cost function", corrected sign.
    """
    return np.maximum(Z, 0) - Z * Y + np.log1p(np.exp(-np.abs(Z)))  # (L2) (K, n)


def binary_cross_entropy_derivative(P: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Derivative of binary cross-entropy by its logit: dloss/dz = p - y, where P = A[L] = sigmoid(Z[L]).

    dloss/dp is (p - y)/(p (1 - p)) and dp/dz is p (1 - p): the derivative of the sigmoid cancels. P, Y and the result
    are (K, n). Supplied; the notes call it "much computation, tedious".
    """
    return P - Y  # (K, n)


def cross_entropy(Z: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Cross-entropy of K classes from logits: loss[k] = y[k] (log(sum over j of e^z[j]) - z[k]) = -y[k] log p[k].

    p = softmax(z); the largest z is taken from all, so that nothing overflows. The losses of an example add up to its
    cross-entropy. Z = Z[L], Y (in [0, 1], each column adding up to 1) and the losses are (K, n). Supplied.
    """
    D = Z - Z.max(axis=0)  # (K, n)
    return Y * (np.log(np.exp(D).sum(axis=0)) - D)  # (L5) (K, n)


def cross_entropy_derivative(S: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Derivative of cross-entropy by its logit: s[k] - y[k], where S = A[L] = softmax(Z[L]).

    dlog(sum over j of e^z[j])/dz[k] is s[k], and stands there once for each y, which add up to 1. S, Y and the result
    are (K, n). Supplied.
    """
    return S - Y  # (K, n)


def squared_error(A: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Squared error: loss = (1/2) (a - y)^2. A = A[L], Y and the losses are (K, n). Supplied; not in the notes."""
    return (A - Y) ** 2 / 2  # (L3) (K, n)


def squared_error_derivative(A: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Derivative of the squared error by its output: dloss/da = a - y; the 2 of the square cancels the 1/2.

    Nothing else cancels: B5 follows, whatever the last activation is. A, Y and the result are (K, n). Supplied.
    """
    return A - Y  # (K, n)


def weight_decay(weights: Iterable[np.ndarray], l2: float) -> np.floating:
    """Weight decay: penalty = (l2/2) sum over layers ||W[l]||^2. W[l] is (n_l, n_{l-1}), the result a scalar."""
    return l2 / 2 * sum((W * W).sum() for W in weights)  # (L4) ()


def mean_loss(losses: np.ndarray, penalty: float | np.floating = 0.0) -> np.floating:
    """Cost: J = (1/n) sum of the losses + penalty. losses is (K, n), J a scalar. Source: the notes, "Cost function"."""
    n = losses.shape[1]
    return losses.sum() / n + penalty  # (L1) ()


def mean_loss_gradient(derivatives: np.ndarray) -> np.ndarray:
    """Gradient of J, from the derivatives of the losses: the n-th part of each, for J is the mean of n examples.

    With d loss/dz it is dZ[L], with d loss/da it is dA[L]. The derivatives and the result are (K, n).
    """
    n = derivatives.shape[1]
    return derivatives / n  # (B1) (K, n)
