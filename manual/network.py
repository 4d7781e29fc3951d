"""The fully connected network: forward propagation and backpropagation.

    F1  Z[l] = W[l] A[l-1] + b[l], A[0] = X
    F2  A[l] = g(Z[l])
    B2  dW[l] = dZ[l] A[l-1]^T (+ l2 W[l])
    B3  db[l] = row sums of dZ[l]
    B4  dA[l-1] = W[l]^T dZ[l]
    B5  dZ[l] = dA[l] * g'(Z[l])

with the cost L1-L4 and the start of the backward pass B1 in manual/losses.py. Examples are columns: X is (n_x, n),
W[l] is (n_l, n_{l-1}), b[l] is (n_l, 1), Z[l] and A[l] are (n_l, n). dT always means dJ/dT, the 1/n included.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from handgrad.manual.losses import mean_loss, output_gradient, weight_decay

__all__ = ["Activation", "Network", "backward", "cost", "forward", "linear", "linear_backward", "read_only"]


class Activation(NamedTuple):
    """An activation: its value g(Z) and its derivative g'(Z), the latter given Z and A = g(Z)."""

    value: Callable[[np.ndarray], np.ndarray]
    derivative: Callable[[np.ndarray, np.ndarray], np.ndarray]


class Network(NamedTuple):
    """What the notes fix before training: one activation per layer, the loss, and the weight decay.

    `loss_reads` names the tensor of the last layer that the loss is a function of: "Z" (logits) or "A".
    """

    activations: tuple[Activation, ...]
    loss: Callable[[np.ndarray, np.ndarray], np.ndarray]
    loss_reads: str = "Z"
    l2: float = 0.0


def linear(W: np.ndarray, A_prev: np.ndarray, b: np.ndarray) -> np.ndarray:
    """One layer before its activation: Z = W A_prev + b.

    W is (n_l, n_{l-1}), A_prev (n_{l-1}, n), b (n_l, 1), Z (n_l, n). Source: the notes, "z = w1 x1 + ... + wn xn".
    """
    return W @ A_prev + b  # (F1) (n_l, n)


def linear_backward(
    dZ: np.ndarray, W: np.ndarray, A_prev: np.ndarray, l2: float = 0.0, *, needs_dA_prev: bool = True
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Gradients of one layer in argument order: dW = dZ A_prev^T + l2 W, dA_prev = W^T dZ, db = row sums of dZ.

    dZ is (n_l, n), W and dW (n_l, n_{l-1}), A_prev and dA_prev (n_{l-1}, n), db (n_l, 1).
    dA_prev is None unless needed: nothing in layer 1 reads the gradient of X.
    """
    dW = dZ @ A_prev.T  # (B2) (n_l, n_{l-1})
    if l2:
        dW = dW + l2 * W  # (n_l, n_{l-1})
    db = dZ.sum(axis=1, keepdims=True)  # (B3) (n_l, 1)
    if not needs_dA_prev:
        return dW, None, db
    dA_prev = W.T @ dZ  # (B4) (n_{l-1}, n)
    return dW, dA_prev, db


def forward(network: Network, params: Mapping[str, np.ndarray], X: np.ndarray) -> dict[str, np.ndarray]:
    """Forward propagation; returns the cache {Z1, A1, ..., ZL, AL}, read-only. X is (n_x, n)."""
    cache = {}
    A = X  # (n_x, n)
    for l, g in enumerate(network.activations, start=1):
        Z = linear(params[f"W{l}"], A, params[f"b{l}"])  # (n_l, n)
        A = g.value(Z)  # (F2) (n_l, n)
        cache[f"Z{l}"], cache[f"A{l}"] = read_only(Z), read_only(A)
    return cache


def cost(
    network: Network, params: Mapping[str, np.ndarray], cache: Mapping[str, np.ndarray], Y: np.ndarray
) -> dict[str, np.ndarray | np.floating]:
    """The losses (K, n), the penalty (only if l2 > 0) and the cost J, in this order. Y is (K, n)."""
    costs: dict[str, np.ndarray | np.floating] = {}
    L = len(network.activations)
    losses = network.loss(cache[f"{network.loss_reads}{L}"], Y)  # (K, n)
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
    gradients = {}
    L = len(network.activations)
    dOutput = output_gradient(cache[f"A{L}"], Y)  # (K, n)
    gradients[f"d{network.loss_reads}{L}"] = dOutput
    dA: np.ndarray | None = dOutput if network.loss_reads == "A" else None  # (n_L, n)
    for l in range(L, 0, -1):
        A_prev = cache[f"A{l - 1}"] if l > 1 else X  # (n_{l-1}, n)
        if dA is None:
            dZ = dOutput  # (n_L, n)
        else:
            derivative = network.activations[l - 1].derivative(cache[f"Z{l}"], cache[f"A{l}"])  # (n_l, n)
            dZ = dA * derivative  # (B5) (n_l, n)
            gradients[f"dZ{l}"] = dZ
        dW, dA, db = linear_backward(dZ, params[f"W{l}"], A_prev, network.l2, needs_dA_prev=l > 1)
        gradients[f"dW{l}"], gradients[f"db{l}"] = dW, db
        if dA is not None:
            gradients[f"dA{l - 1}"] = dA
    return gradients


def read_only(array: np.ndarray) -> np.ndarray:
    """The same array, so marked that writing into it raises: no step may change what an earlier one kept."""
    array.setflags(write=False)
    return array
