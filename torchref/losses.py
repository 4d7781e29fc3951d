"""The cost J; autograd supplies its gradient.

    L1  J = (1/n) sum of the losses (+ the weight decay penalty)
    L2  loss = -[ y log p + (1-y) log(1-p) ] with p = sigmoid(z), from the logit z
    L3  loss = (1/2) (a - y)^2
    L5  loss[k] = -y[k] log p[k] with p = softmax(z), from the logits z
    L4  penalty = (l2/2) sum over layers ||W[l]||^2; added to J, so that autograd adds l2 W[l] to dW[l]

As in manual/losses.py the losses are summed over outputs and averaged over examples.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["LOSSES", "Loss", "binary_cross_entropy", "cross_entropy", "mean_loss", "squared_error", "weight_decay"]


class Loss(NamedTuple):
    """A loss: a function of the last layer's "Z" or "A", whichever it `reads`; the `last` activation it needs."""

    value: Callable[[Tensor, Tensor], Tensor]
    reads: str
    last: str = ""


def binary_cross_entropy(Z: Tensor, Y: Tensor) -> Tensor:
    """Binary cross-entropy from logits, not averaged. Z = Z[L], Y and the losses are (K, n)."""
    return functional.binary_cross_entropy_with_logits(Z, Y, reduction="none")  # (L2) (K, n)


def cross_entropy(Z: Tensor, Y: Tensor) -> Tensor:
    """Cross-entropy of K classes from logits, not averaged. Z = Z[L], Y and the losses are (K, n)."""
    return -Y * functional.log_softmax(Z, dim=-2)  # (L5) (K, n)


def squared_error(A: Tensor, Y: Tensor) -> Tensor:
    """Half the squared error, not averaged. A = A[L], Y and the losses are (K, n)."""
    return functional.mse_loss(A, Y, reduction="none") / 2  # (L3) (K, n)


def weight_decay(weights: Iterable[Tensor], l2: float) -> Tensor:
    """Weight decay as a term of J: (l2/2) sum ||W[l]||^2, a scalar. SGD's own weight_decay would hide it from J."""
    return l2 / 2 * torch.stack([W.square().sum((-2, -1)) for W in weights]).sum(0)  # (L4) ()


def mean_loss(losses: Tensor, penalty: Tensor | float = 0.0) -> Tensor:
    """Sum over outputs, mean over the n examples, plus the penalty. losses is (K, n), the result a scalar."""
    return losses.sum((-2, -1)) / losses.shape[-1] + penalty  # (L1) ()


LOSSES = {
    "binary-cross-entropy": Loss(binary_cross_entropy, "Z", last="sigmoid"),
    "cross-entropy": Loss(cross_entropy, "Z", last="softmax"),
    "squared-error": Loss(squared_error, "A"),
}
"""Every loss by the name that mlp takes."""
