"""The notes' network with two layers, 30-16-1, as straight lines: forward, then backward in reverse order.

    F1  Z[l] = W[l] A[l-1] + b[l], A[0] = X
    F2  A[l] = g(Z[l])
    L2  loss = -[ y log p + (1-y) log(1-p) ] with p = sigmoid(z), from the logit z
    L1  J = (1/n) sum of the losses
    B1  dZ[2] = (A[2] - Y)/n
    B2  dW[l] = dZ[l] A[l-1]^T
    B3  db[l] = row sums of dZ[l]
    B4  dA[1] = W[2]^T dZ[2]
    B5  dZ[1] = dA[1] * g'(Z[1])

Examples are columns. dT is dJ/dT and has the shape of T. Every gradient is that of the line it stands opposite to: the
first line of the forward pass has the last of the backward pass. handgrad.manual.network does the same for any layers.
"""

from collections.abc import Mapping

import numpy as np

__all__ = ["derivation"]


def derivation(params: Mapping[str, np.ndarray], X: np.ndarray, Y: np.ndarray) -> dict[str, np.ndarray]:
    """Every tensor of one pass forward and backward, by name. X is (30, n), Y (1, n), W1 (16, 30), b1 (16, 1), ..."""
    W1, b1, W2, b2 = params["W1"], params["b1"], params["W2"], params["b2"]
    n = X.shape[1]

    Z1 = W1 @ X + b1  # (F1) (16, n)
    A1 = np.tanh(Z1)  # (F2) (16, n)
    Z2 = W2 @ A1 + b2  # (F1) (1, n)
    A2 = 1 / (1 + np.exp(-Z2))  # (F2) (1, n)
    losses = np.maximum(Z2, 0) - Z2 * Y + np.log1p(np.exp(-np.abs(Z2)))  # (L2) (1, n)
    J = losses.sum() / n  # (L1) ()

    # J is the mean of n losses: 1/n. dloss/dA2 is (A2 - Y)/(A2 (1 - A2)), dA2/dZ2 is A2 (1 - A2): the sigmoid cancels.
    dZ2 = (A2 - Y) / n  # (B1) (1, n)
    # W2 meets A1 in every example: the products dZ2 A1, summed over the examples, which a product with A1^T does.
    dW2 = dZ2 @ A1.T  # (B2) (1, 16)
    # b2 is added in every example, with the factor 1: the sum over the examples, along the row.
    db2 = dZ2.sum(axis=1, keepdims=True)  # (B3) (1, 1)
    # A1 goes into every unit of layer 2, by its column of W2: the sum over these units, which W2^T does.
    dA1 = W2.T @ dZ2  # (B4) (16, n)
    # each A1 depends on its own Z1 alone, with the slope tanh' = 1 - tanh^2: entry by entry.
    dZ1 = dA1 * (1 - A1 * A1)  # (B5) (16, n)
    # the same two lines as in layer 2. Nothing needs the gradient of X, so there is no dA0.
    dW1 = dZ1 @ X.T  # (B2) (16, 30)
    db1 = dZ1.sum(axis=1, keepdims=True)  # (B3) (16, 1)

    forward = {"Z1": Z1, "A1": A1, "Z2": Z2, "A2": A2, "losses": losses, "J": J}
    return {**forward, "dZ2": dZ2, "dW2": dW2, "db2": db2, "dA1": dA1, "dZ1": dZ1, "dW1": dW1, "db1": db1}
