"""Operations of torch that a recorded graph evaluates again otherwise: they must bear what an edit puts there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

FAR_BELOW = -1e4


def polygamma(n: int, x: Tensor) -> Tensor:
    """torch.polygamma, which takes as long as its argument lies below 0: an edit may put any number there."""
    if bool((x < FAR_BELOW).any()):
        raise ValueError(f"polygamma of {float(x.min()):g} is not evaluated")
    return torch.polygamma(n, x)


def convolution_backward(gradient: Tensor, x: Tensor, kernel: Tensor, sizes: Any, *settings: Any) -> Any:
    """torch's, which reads beyond its operands where their shapes do not belong together: an edit may change one."""
    due = torch.ops.aten.convolution.default(x.to("meta"), kernel.to("meta"), None, *settings[:-1]).shape
    if gradient.shape != due:
        raise ValueError(f"a gradient of shape {tuple(gradient.shape)} is none of a convolution of {tuple(due)}")
    return torch.ops.aten.convolution_backward.default(gradient, x, kernel, sizes, *settings)


def view(x: Tensor, shape: Sequence[int]) -> Tensor:
    """A reshape: what is put in a tensor's place may lie in memory in another way."""
    return x.reshape(shape)


def copy(over: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    """torch.ops.aten.copy, which torch.vmap knows as these operations alone."""
    return source.to(over.dtype).expand(over.shape).clone()


def within_shapes(func: Any, name: str, args: Sequence[Any]) -> Callable[..., Any]:
    """A backward operation that raises where operands have other shapes than it was recorded with, or odd indices.

    Those of pooling trust them, and read or write memory that is not theirs.
    """
    shapes = [each.shape if isinstance(each, Tensor) else None for each in args]
    most = prod(shapes[1][-2:]) if len(shapes) > 1 and shapes[1] is not None else 0

    def backward(*given: Any, **kwargs: Any) -> Any:
        for value, shape in zip(given, shapes, strict=True):
            if shape is None:
                continue
            if value.shape != shape:
                raise ValueError(f"{name} of shape {tuple(value.shape)} is not evaluated; it was {tuple(shape)}")
            if value.dtype == torch.int64 and not bool(((value >= 0) & (value < most)).all()):
                raise ValueError(f"{name} is not evaluated with indices beyond {most}")
        return func(*given, **kwargs)

    backward.__name__ = name
    return backward


GUARDED = {
    torch.ops.aten.copy.default: copy,
    torch.ops.aten.view.default: view,
    torch.ops.aten._unsafe_view.default: view,
    torch.ops.aten.polygamma.default: polygamma,
    torch.ops.aten.convolution_backward.default: convolution_backward,
}
