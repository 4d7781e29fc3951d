"""The fully connected network: forward propagation and backpropagation.

    F1  Z[l] = W[l] A[l-1] + b[l], A[0] = X
    F2  A[l] = g(Z[l])
    B2  dW[l] = dZ[l] A[l-1]^T (+ l2 W[l])
    B3  db[l] = row sums of dZ[l]
    B4  dA[l-1] = W[l]^T dZ[l]
    B5  dZ[l] = dA[l] * g'(Z[l])

with the cost L1-L4 and the start of the backward pass B1 in manual/losses.py. Examples are columns: X is (n_x, n),
W[l] is (n_l, n_{l-1}), b[l] is (n_l, 1), Z[l] and A[l] are (n_l, n). dT always means dJ/dT, the 1/n included.
manual/two_layers.py is the same for two layers, as straight lines.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from handgrad.manual.losses import mean_loss, mean_loss_gradient, weight_decay

__all__ = ["Activation", "Loss", "Network", "backward", "cost", "forward", "linear"]


class Activation(NamedTuple):
    """An activation: A = g(Z), and g'(Z) as a function of Z or of A, whichever it `reads`, "Z" or "A".

    One that is not elementwise has no g'(Z): it stands last, and the loss has the derivative of both together.
    """

    value: Callable[[np.ndarray], np.ndarray]
    derivative: Callable[[np.ndarray], np.ndarray]
    reads: str


class Loss(NamedTuple):
    """A loss: its value as a function of the last layer's Z or A, whichever it `reads`, and its derivative there.

    The derivative is a function of A[L] and Y in both cases.
    """

    value: Callable[[np.ndarray, np.ndarray], np.ndarray]
    derivative: Callable[[np.ndarray, np.ndarray], np.ndarray]
    reads: str


class Network(NamedTuple):
    """What the notes fix before training: one activation per layer, the loss, and the weight decay."""

    activations: tuple[Activation, ...]
    loss: Loss
    l2: float = 0.0


def linear(W: np.ndarray, A_prev: np.ndarray, b: np.ndarray) -> np.ndarray:
    """One layer before its activation: Z = W A_prev + b.

    W is (n_l, n_{l-1}), A_prev (n_{l-1}, n), b (n_l, 1), Z (n_l, n). Source: the notes, "z = w1 x1 + ... + wn xn".
    """
    return W @ A_prev + b  # (F1) (n_l, n)


def forward(network: Network, params: Mapping[str, np.ndarray], X: np.ndarray) -> dict[str, np.ndarray]:
    """Forward propagation; returns the cache {Z1, A1, ..., ZL, AL}, which backpropagation reads. X is (n_x, n)."""
    cache = {}
    A = X  # (n_x, n)
    for l, g in enumerate(network.activations, start=1):
        Z = linear(params[f"W{l}"], A, params[f"b{l}"])  # (n_l, n)
        A = g.value(Z)  # (F2) (n_l, n)
        cache[f"Z{l}"], cache[f"A{l}"] = Z, A
    return cache


def cost(
    network: Network, params: Mapping[str, np.ndarray], cache: Mapping[str, np.ndarray], Y: np.ndarray
) -> dict[str, np.ndarray | np.floating]:
    """The losses (K, n), the penalty (only if l2 > 0) and the cost J, in this order. Y is (K, n)."""
    costs: dict[str, np.ndarray | np.floating] = {}
    L = len(network.activations)
    losses = network.loss.value(cache[f"{network.loss.reads}{L}"], Y)  # (K, n)
    costs["losses"] = losses
    if not network.l2:
        return {**costs, "J": mean_loss(losses)}
    penalty = weight_decay((params[f"W{l}"] for l in range(1, L + 1)), network.l2)  # ()
    costs["penalty"] = penalty
    return {**costs, "J": mean_loss(losses, penalty)}


def backward(
    network: Network,
    params: Mapping[str, np.ndarray],
    cache: Mapping[str, np.ndarray],
    X: np.ndarray,
    Y: np.ndarray,
) -> dict[str, np.ndarray]:
    """Backpropagation; returns every gradient in the order in which it is found: dZL, dWL, dbL, dA(L-1), ..., db1.

    It reads the cache and changes nothing. X is (n_x, n), Y is (K, n); dT has the shape of T.
    """
    L = len(network.activations)
    derivatives = network.loss.derivative(cache[f"A{L}"], Y)  # (K, n)
    gradients = {f"d{network.loss.reads}{L}": mean_loss_gradient(derivatives)}  # (K, n)
    for l in range(L, 0, -1):
        W = params[f"W{l}"]  # (n_l, n_{l-1})
        A_prev = cache[f"A{l - 1}"] if l > 1 else X  # (n_{l-1}, n)
        if f"dZ{l}" not in gradients:  # in the last layer it is where the loss is a function of Z[L]
            g, dA = network.activations[l - 1], gradients[f"dA{l}"]  # (n_l, n)
            derivative = g.derivative(cache[f"{g.reads}{l}"])  # (n_l, n)
            dZ = dA * derivative  # (B5) (n_l, n): each A depends on its own Z alone, so no sum and no matrix
            gradients[f"dZ{l}"] = dZ
        dZ = gradients[f"dZ{l}"]
        # W[i, j] is the factor of A_prev[j] in Z[i], in every example: the sum over examples of dZ[i] A_prev[j]
        dW = dZ @ A_prev.T  # (B2) (n_l, n_{l-1})
        if network.l2:
            dW = dW + network.l2 * W  # (n_l, n_{l-1})
        # b[i] is added to Z[i] in every example: the sum over examples of dZ[i], which is that of its row
        db = dZ.sum(axis=1, keepdims=True)  # (B3) (n_l, 1)
        gradients[f"dW{l}"], gradients[f"db{l}"] = dW, db
        if l > 1:  # nothing reads the gradient of X
            # A_prev[j] goes by W[i, j] into every Z[i]: the sum over i of W[i, j] dZ[i], along a column of W
            dA_prev = W.T @ dZ  # (B4) (n_{l-1}, n)
            gradients[f"dA{l - 1}"] = dA_prev
    return gradients
