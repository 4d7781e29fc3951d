"""The notes' network with two layers, 30-16-1, as straight lines: forward only, autograd goes backward.

    F1  Z[l] = W[l] A[l-1] + b[l], A[0] = X
    F2  A[l] = g(Z[l])
    L2  loss = -[ y log p + (1-y) log(1-p) ] with p = sigmoid(z), from the logit z
    L1  J = (1/n) sum of the losses

Examples are columns. tap names a tensor, so that a check can compare it, and its gradient.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from handgrad.torchref.tap import tap

__all__ = ["reference"]


def reference(params: Mapping[str, Tensor], X: Tensor, Y: Tensor) -> Tensor:
    """J of one pass forward, a scalar. X is (30, n), Y (1, n), W1 (16, 30), b1 (16, 1), ..."""
    W1, b1, W2, b2 = params["W1"], params["b1"], params["W2"], params["b2"]
    n = X.shape[1]

    Z1 = tap("Z1", W1 @ X + b1)  # (F1) (16, n)
    A1 = tap("A1", torch.tanh(Z1))  # (F2) (16, n)
    Z2 = tap("Z2", W2 @ A1 + b2)  # (F1) (1, n)
    tap("A2", torch.sigmoid(Z2))  # (F2) (1, n): the loss is computed from Z2
    losses = tap("losses", binary_cross_entropy_with_logits(Z2, Y, reduction="none"))  # (L2) (1, n)
    return losses.sum() / n  # (L1) ()
