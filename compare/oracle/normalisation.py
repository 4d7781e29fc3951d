"""Normalisation in a textbook's form, with its three terms of the gradient, and variances.

Functions take what torch's operations take, and give what they give. The equations are those of torch's documentation
of LayerNorm, BatchNorm and GroupNorm: xhat = (x - mean) / sqrt(variance + eps), y = xhat * w + b.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

Pair = tuple[Tensor, Tensor]
Triple = tuple[Any, Any, Any]
Listener = Callable[[str, Tensor, Tensor], None]
_listener: ContextVar[Listener | None] = ContextVar("handgrad.compare.oracle.textbook", default=None)


@contextmanager
def told_to(listener: Listener) -> Iterator[None]:
    """While entered, what the forms call their steps is told: the name, the step, and what it is of."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def _called(name: str, tensor: Tensor, of: Tensor) -> Tensor:
    listener = _listener.get()
    if listener is not None:
        listener(name, tensor, of)
    return tensor


def _normalised(x: Tensor, axes: list[int], eps: float) -> Triple:
    mean = x.mean(axes, keepdim=True)
    centred = x - mean
    rstd = _called("rstd", 1 / torch.sqrt((centred * centred).mean(axes, keepdim=True) + eps), x)
    return _called("normalised", centred * rstd, x), mean, rstd


def _affine(xhat: Tensor, w: Tensor | None, b: Tensor | None, shape: Sequence[int]) -> Tensor:
    y = xhat if w is None else xhat * w.reshape(shape)
    return y if b is None else y + b.reshape(shape)


def _normalised_backward(dxhat: Tensor, xhat: Tensor, rstd: Tensor, axes: list[int]) -> Tensor:
    """dx = rstd * (dxhat - mean(dxhat) - xhat * mean(dxhat * xhat))."""
    slope = (dxhat * xhat).mean(axes, keepdim=True)
    return rstd * (dxhat - dxhat.mean(axes, keepdim=True) - xhat * slope)


def layer_norm(x: Tensor, shape: Sequence[int], w: Tensor | None, b: Tensor | None, eps: float) -> Triple:
    """y = (x - mean) / sqrt(variance + eps) * w + b over the last axes."""
    xhat, mean, rstd = _normalised(x, list(range(x.ndim - len(shape), x.ndim)), eps)
    return _affine(xhat, w, b, shape), mean, rstd


def layer_norm_backward(
    dy: Tensor,
    x: Tensor,
    shape: Sequence[int],
    mean: Tensor,
    rstd: Tensor,
    w: Tensor | None,
    b: Tensor | None,
    mask: Sequence[bool],
) -> Triple:
    """dw = sum(dy * xhat), db = sum(dy), and dx in its three terms."""
    others, axes = list(range(x.ndim - len(shape))), list(range(x.ndim - len(shape), x.ndim))
    xhat = _called("normalised", (x - mean) * rstd, x)
    dx = _normalised_backward(dy if w is None else dy * w, xhat, rstd, axes)
    return dx, None if w is None else (dy * xhat).sum(others), None if b is None else dy.sum(others)


def batch_norm(
    x: Tensor,
    w: Tensor | None,
    b: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> Any:
    """y = (x - mean) / sqrt(variance + eps) * w + b over all axes but the second.

    The running statistics go on to (1 - momentum) of themselves and momentum of the mean and the sample variance.
    """
    if not training:
        return NotImplemented
    axes = [0, *range(2, x.ndim)]
    if running_mean is not None:
        running_mean.copy_((1 - momentum) * running_mean + momentum * x.mean(axes))
    if running_var is not None:
        squares = ((x - x.mean(axes, keepdim=True)) ** 2).sum(axes)
        running_var.copy_((1 - momentum) * running_var + momentum * (squares / (x.numel() // x.shape[1] - 1)))
    return batch_norm_of_batch(x, w, b, training, momentum, eps)


def batch_norm_of_batch(
    x: Tensor, w: Tensor | None, b: Tensor | None, training: bool, momentum: float, eps: float
) -> Triple:
    """The same, without running statistics."""
    xhat, mean, rstd = _normalised(x, [0, *range(2, x.ndim)], eps)
    return _affine(xhat, w, b, _per_channel(x)), mean.reshape(-1), rstd.reshape(-1)


def batch_norm_backward(
    dy: Tensor,
    x: Tensor,
    w: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    mean: Tensor,
    rstd: Tensor,
    *settings: Any,
) -> Any:
    """dw = sum(dy * xhat), db = sum(dy), and dx in its three terms; `settings` begins with training."""
    if not settings[0]:
        return NotImplemented
    axes, shape = [0, *range(2, x.ndim)], _per_channel(x)
    rstd = rstd.reshape(shape)
    xhat = _called("normalised", (x - mean.reshape(shape)) * rstd, x)
    dx = _normalised_backward(dy if w is None else dy * w.reshape(shape), xhat, rstd, axes)
    return dx, (dy * xhat).sum(axes), dy.sum(axes)


def _per_channel(x: Tensor) -> list[int]:
    return [1, -1, *[1] * (x.ndim - 2)]


def group_norm(
    x: Tensor, w: Tensor | None, b: Tensor | None, n: int, channels: int, pixels: int, groups: int, eps: float
) -> Triple:
    """Each group of channels of each example normalised; y = xhat * w + b."""
    xhat, mean, rstd = _normalised(x.reshape(n, groups, -1), [2], eps)
    y = _affine(xhat.reshape(x.shape), w, b, _per_channel(x))
    return y, mean.reshape(n, groups), rstd.reshape(n, groups)


def group_norm_backward(
    dy: Tensor, x: Tensor, mean: Tensor, rstd: Tensor, w: Tensor | None, n: int, *sizes: Any
) -> Triple:
    """dw = sum(dy * xhat), db = sum(dy), and dx in its three terms; `sizes` are channels, pixels, groups."""
    groups = sizes[2]
    shape, axes = (n, groups, -1), [0, *range(2, x.ndim)]
    rstd = rstd.reshape(n, groups, 1)
    xhat = _called("normalised", (x.reshape(shape) - mean.reshape(n, groups, 1)) * rstd, x)
    dxhat = (dy if w is None else dy * w.reshape(_per_channel(x))).reshape(shape)
    dx = _normalised_backward(dxhat, xhat, rstd, [2]).reshape(x.shape)
    return dx, (dy * xhat.reshape(x.shape)).sum(axes), dy.sum(axes)


def variance(
    x: Tensor, dim: Sequence[int] | None = None, *, correction: float | None = 1, keepdim: bool = False
) -> Tensor:
    """sum((x - mean)^2) / (n - correction)."""
    axes = list(range(x.ndim)) if not dim else list(dim)
    centred = x - x.mean(axes, keepdim=True)
    n = math.prod(x.shape[axis] for axis in axes)
    return (centred * centred).sum(axes, keepdim) / (n - (1 if correction is None else correction))


def variance_and_mean(
    x: Tensor, dim: Sequence[int] | None = None, *, correction: float | None = 1, keepdim: bool = False
) -> Pair:
    """The variance and the mean."""
    axes = list(range(x.ndim)) if not dim else list(dim)
    return variance(x, dim, correction=correction, keepdim=keepdim), x.mean(axes, keepdim)


def deviation(
    x: Tensor, dim: Sequence[int] | None = None, *, correction: float | None = 1, keepdim: bool = False
) -> Tensor:
    """The square root of the variance."""
    return torch.sqrt(variance(x, dim, correction=correction, keepdim=keepdim))
