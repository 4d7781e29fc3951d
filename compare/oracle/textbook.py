"""torch's compound operations in the forms that a textbook writes, where torch's own is stable, fused or of one piece.

A mistake is an edit of a formula, and there is nothing to edit in a kernel: eps inside the logarithm of a softmax has
no place in log_softmax, and the third term of layer norm's gradient none in native_layer_norm_backward. Each function
takes what torch's operation takes and gives what it gives. The equations are those of torch's documentation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from handgrad.compare.oracle.normalisation import (
    batch_norm,
    batch_norm_backward,
    batch_norm_of_batch,
    deviation,
    group_norm,
    group_norm_backward,
    layer_norm,
    layer_norm_backward,
    variance,
    variance_and_mean,
)

Pair = tuple[Tensor, Tensor]
Triple = tuple[Any, Any, Any]
Listener = Callable[[str, Tensor, Tensor], None]
aten = torch.ops.aten
MEAN, SUM = 1, 2  # torch's numbers for how losses are reduced
SQRT_2, SQRT_2_PI = math.sqrt(2.0), math.sqrt(2.0 * math.pi)
TANH_GELU = (math.sqrt(2.0 / math.pi), 0.044715)


def _reduced(losses: Tensor, reduction: int) -> Tensor:
    return losses.mean() if reduction == MEAN else losses.sum() if reduction == SUM else losses


def _one_hot(labels: Tensor, like: Tensor) -> Tensor:
    """Y (n, K, ...) of whole numbers y (n, ...)."""
    return (torch.arange(like.shape[1]).reshape(-1, *[1] * (labels.ndim - 1)) == labels.unsqueeze(1)).to(like.dtype)


# --- softmax, without the shift by the maximum that keeps it from overflowing


def softmax(x: Tensor, dim: int, half_to_float: bool) -> Tensor:
    """P = exp(x) / sum(exp(x))."""
    e = torch.exp(x)
    return e / e.sum(dim, keepdim=True)


def log_softmax(x: Tensor, dim: int, half_to_float: bool) -> Tensor:
    """L = log(softmax(x))."""
    return torch.log(softmax(x, dim, half_to_float))


def softmax_backward(gradient: Tensor, output: Tensor, dim: int, dtype: Any) -> Tensor:
    """dx = P * (dP - sum(dP * P))."""
    return output * (gradient - (gradient * output).sum(dim, keepdim=True))


def log_softmax_backward(gradient: Tensor, output: Tensor, dim: int, dtype: Any) -> Tensor:
    """dx = dL - exp(L) * sum(dL)."""
    return gradient - torch.exp(output) * gradient.sum(dim, keepdim=True)


def logsumexp(x: Tensor, dim: list[int], keepdim: bool = False) -> Tensor:
    """log(sum(exp(x)))."""
    return torch.log(torch.exp(x).sum(dim, keepdim=keepdim))


# --- losses


def nll(logarithms: Tensor, labels: Tensor, weight: Tensor | None, reduction: int, ignore_index: int) -> Any:
    """-sum(Y * L) of every example, Y being the labels one-hot."""
    if weight is not None or bool((labels == ignore_index).any()):
        return NotImplemented
    losses = -(_one_hot(labels, logarithms) * logarithms).sum(1)
    return _reduced(losses, reduction), logarithms.new_full((), labels.numel())


def nll_backward(
    gradient: Tensor,
    logarithms: Tensor,
    labels: Tensor,
    weight: Tensor | None,
    reduction: int,
    ignore_index: int,
    total: Tensor,
) -> Any:
    """dL = -Y * dJ / n."""
    if weight is not None or bool((labels == ignore_index).any()):
        return NotImplemented
    share = gradient / labels.numel() if reduction == MEAN else gradient if reduction == SUM else gradient.unsqueeze(1)
    return -_one_hot(labels, logarithms) * share


def cross_entropy_of_logits(
    z: Tensor, y: Tensor, weight: Tensor | None = None, pos_weight: Tensor | None = None, reduction: int = MEAN
) -> Any:
    """-(y log p + (1 - y) log(1 - p)) with p = sigmoid(z)."""
    return NotImplemented if pos_weight is not None else cross_entropy(torch.sigmoid(z), y, weight, reduction)


def cross_entropy(p: Tensor, y: Tensor, weight: Tensor | None = None, reduction: int = MEAN) -> Tensor:
    """-(y log p + (1 - y) log(1 - p))."""
    losses = -(y * torch.log(p) + (1 - y) * torch.log(1 - p))
    return _reduced(losses if weight is None else losses * weight, reduction)


# --- activations and their derivatives


def log_sigmoid(x: Tensor) -> Pair:
    """log(sigmoid(x)), and torch's buffer."""
    return torch.log(torch.sigmoid(x)), x.new_zeros(0)


def softplus(x: Tensor, beta: float = 1, threshold: float = 20) -> Any:
    """log(1 + exp(x))."""
    return torch.log(1 + torch.exp(x)) if beta == 1 else NotImplemented


def _tanh_inside_gelu(x: Tensor) -> Tensor:
    slope, cubic = TANH_GELU
    return torch.tanh(slope * (x + cubic * (x * x * x)))


def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """x Phi(x), or Hendrycks and Gimpel's approximation by tanh."""
    if approximate == "none":
        return x * (0.5 * (1 + torch.erf(x / SQRT_2)))
    return 0.5 * x * (1 + _tanh_inside_gelu(x))


def gelu_backward(gradient: Tensor, x: Tensor, approximate: str = "none") -> Tensor:
    """dy * (Phi(x) + x phi(x)), or the derivative of the approximation."""
    if approximate == "none":
        return gradient * (0.5 * (1 + torch.erf(x / SQRT_2)) + x * (torch.exp(-(x * x) / 2) / SQRT_2_PI))
    slope, cubic = TANH_GELU
    t = _tanh_inside_gelu(x)
    return gradient * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * (slope * (1 + 3 * cubic * (x * x))))


def silu(x: Tensor) -> Tensor:
    """x sigmoid(x)."""
    return x * torch.sigmoid(x)


def silu_backward(gradient: Tensor, x: Tensor) -> Tensor:
    """dy * (s + x s (1 - s)) with s = sigmoid(x)."""
    s = torch.sigmoid(x)
    return gradient * (s + x * (s * (1 - s)))


def tanh_backward(gradient: Tensor, a: Tensor) -> Tensor:
    """da * (1 - a^2)."""
    return gradient * (1 - a * a)


def sigmoid_backward(gradient: Tensor, a: Tensor) -> Tensor:
    """da * a (1 - a)."""
    return gradient * (a * (1 - a))


def threshold_backward(gradient: Tensor, z: Tensor, threshold: float) -> Tensor:
    """da * [z > threshold]."""
    return gradient * (z > threshold)


def leaky_relu_backward(gradient: Tensor, z: Tensor, slope: float, is_result: bool) -> Tensor:
    """da where z > 0, slope da elsewhere."""
    return torch.where(z > 0, gradient, gradient * slope)


# --- others


def norm(x: Tensor, ord: float = 2, dim: list[int] | None = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """sqrt(sum(x^2))."""
    axes = list(range(x.ndim)) if dim is None else dim
    return torch.sqrt((x * x).sum(axes, keepdim)) if ord == 2 and dtype is None else NotImplemented


def exponential_minus_one(x: Tensor) -> Tensor:
    """exp(x) - 1."""
    return torch.exp(x) - 1


def max_pool_backward(
    gradient: Tensor, x: Tensor, size: list[int], stride: list[int], padding: list[int], *others: Any
) -> Any:
    """dx = dy where x is the largest of its window, for windows side by side; torch takes the first of several."""
    rows, columns = size
    halves = (*x.shape[:-2], x.shape[-2] // rows, rows, x.shape[-1] // columns, columns)
    side_by_side = list(stride or size) == list(size) and not any(padding) and list(others[0]) == [1, 1]
    if not side_by_side or math.prod(halves) != x.numel():
        return NotImplemented

    def spread(y: Tensor) -> Tensor:
        return y.unsqueeze(-1).unsqueeze(-3).expand(halves).reshape(x.shape)

    return spread(gradient) * (x == spread(x.reshape(halves).amax((-3, -1))))


def embedding(weight: Tensor, indices: Tensor, *_: Any) -> Tensor:
    """Rows of a table."""
    return weight[indices]


def embedding_backward(gradient: Tensor, indices: Tensor, rows: int, padding: int, by_frequency: bool) -> Any:
    """Every row's gradients, added up."""
    if padding >= 0 or by_frequency:
        return NotImplemented
    return aten.index_put.default(gradient.new_zeros(rows, gradient.shape[-1]), [indices], gradient, True)


def product_and_sum(c: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Any:
    """a @ b + c."""
    return a @ b + c if alpha == beta == 1 else NotImplemented


def mixture(one: Tensor, other: Tensor, weight: float | Tensor) -> Tensor:
    """(1 - weight) one + weight other."""
    return (1 - weight) * one + weight * other


def reciprocal_root(x: Tensor) -> Tensor:
    """1 / sqrt(x)."""
    return 1 / torch.sqrt(x)


# What a textbook writes in a form that overflows, or loses digits, where torch's does not.
STABLE = {
    "_log_softmax", "_softmax", "binary_cross_entropy_with_logits", "expm1", "log_sigmoid_forward", "logsumexp",
    "max_pool2d_with_indices_backward", "softplus",
}  # fmt: skip

_FORMS: dict[str, Callable[..., Any]] = {
    "_log_softmax": log_softmax,
    "_log_softmax_backward_data": log_softmax_backward,
    "_softmax": softmax,
    "_softmax_backward_data": softmax_backward,
    "_native_batch_norm_legit.no_stats": batch_norm_of_batch,
    "addmm": product_and_sum,
    "baddbmm": product_and_sum,
    "binary_cross_entropy": cross_entropy,
    "binary_cross_entropy_with_logits": cross_entropy_of_logits,
    "embedding": embedding,
    "embedding_dense_backward": embedding_backward,
    "expm1": exponential_minus_one,
    "gelu": gelu,
    "gelu_backward": gelu_backward,
    "leaky_relu_backward": leaky_relu_backward,
    "lerp.Scalar": mixture,
    "lerp.Tensor": mixture,
    "log_sigmoid_forward": log_sigmoid,
    "linalg_vector_norm": norm,
    "logsumexp": logsumexp,
    "max_pool2d_with_indices_backward": max_pool_backward,
    "native_batch_norm": batch_norm,
    "native_batch_norm_backward": batch_norm_backward,
    "native_group_norm": group_norm,
    "native_group_norm_backward": group_norm_backward,
    "native_layer_norm": layer_norm,
    "native_layer_norm_backward": layer_norm_backward,
    "nll_loss_backward": nll_backward,
    "nll_loss_forward": nll,
    "rsqrt": reciprocal_root,
    "sigmoid_backward": sigmoid_backward,
    "silu": silu,
    "silu_backward": silu_backward,
    "softplus": softplus,
    "std.correction": deviation,
    "tanh_backward": tanh_backward,
    "threshold_backward": threshold_backward,
    "var.correction": variance,
    "var_mean.correction": variance_and_mean,
}


@cache
def textbook(operation: Any) -> Callable[..., Any] | None:
    """The textbook's form of one of torch's operations; it may give NotImplemented for what the form does not cover."""
    return _forms().get(operation)


@cache
def _forms() -> dict[Any, Callable[..., Any]]:
    found = {}
    for name, form in _FORMS.items():
        packet, _, overload = name.partition(".")
        found[getattr(getattr(aten, packet), overload or "default")] = form
    return found
