"""Kernels that hold torch tensors, their backward pass written by hand: right in any arithmetic, or with a mistake."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from tests.corpus.kernels_arithmetic import Arithmetic, unchanged
from tests.corpus.planted import Mistake, made

Tensors = tuple[Tensor, ...]
Function = Callable[..., Any]


@dataclass(frozen=True)
class Kernel:
    """An operation by its reference in torch, and by hand: forward(a, *inputs), and the source of backward.

    Forward gives (outputs, what is kept for backward), backward(a, *upstream gradients, *kept, *inputs) a gradient for
    every input, both in an arithmetic a. `draw` gives the inputs of a shape at a scale, in float64. Slips that cannot
    move a gradient here are `unmoved`.
    """

    name: str
    reference: Function
    forward: Callable[..., tuple[Tensors, Tensors]]
    backward: str
    draw: Callable[[torch.Generator, tuple[int, ...], float], Tensors]
    shapes: Mapping[str, tuple[int, ...]]
    mistakes: tuple[Mistake, ...]
    unmoved: tuple[str, ...] = ()


@dataclass(frozen=True)
class Slip:
    """A mistake that any kernel can have: in one gradient as it is written, or in what backward reads."""

    what: str
    gradient: Callable[[Tensor], Tensor] = unchanged
    upstream: Callable[[Tensor], Tensor] = unchanged
    kept: Callable[[Tensor], Tensor] = unchanged


def inputs_of(
    kernel: Kernel, generator: torch.Generator, shape: tuple[int, ...], dtype: torch.dtype, scale: float
) -> Tensors:
    """Random inputs of a shape, floating ones rounded to a type."""
    drawn = kernel.draw(generator, shape, scale)
    return tuple(tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor in drawn)


def function_of(kernel: Kernel, a: Arithmetic, mistake: Mistake | Slip | None = None, number: int = 0) -> Function:
    """The kernel in an arithmetic; a slip lies in the gradient of so manieth floating input."""
    source = mistake.planted(kernel.backward) if isinstance(mistake, Mistake) else kernel.backward
    slip = mistake if isinstance(mistake, Slip) else Slip("")
    by_hand = made(source, torch=torch, F=F, math=math)

    def forward(inputs: Tensors) -> tuple[Tensors, Tensors]:
        outputs, kept = kernel.forward(a, *map(a.load, inputs))
        return tuple(map(a.store, outputs)), kept

    def backward(upstream: Tensors, kept: Tensors, inputs: Tensors) -> list[Tensor | None]:
        dys, inputs = map(slip.upstream, map(a.load, upstream)), tuple(map(slip.kept, inputs))
        gradients = list(by_hand(a, *dys, *kept, *map(a.load, inputs)))
        at = [i for i, gradient in enumerate(gradients) if gradient is not None][number]
        gradients[at] = slip.gradient(gradients[at])
        return [None if gradient is None else a.store(gradient) for gradient in gradients]

    return function_by_hand(forward, backward)


def function_by_hand(forward: Function, backward: Function) -> Function:
    """A function of tensors whose gradient is `backward(upstream gradients, kept, inputs)`."""
    return lambda *inputs: _ByHand.apply((forward, backward), *inputs)


class _ByHand(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, code: tuple[Function, Function], *inputs: Tensor) -> Any:
        outputs, kept = code[0](inputs)
        ctx.backward_by_hand, ctx.inputs = code[1], len(inputs)
        ctx.save_for_backward(*inputs, *kept)
        return outputs if len(outputs) > 1 else outputs[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        inputs, kept = ctx.saved_tensors[: ctx.inputs], ctx.saved_tensors[ctx.inputs :]
        return (None, *ctx.backward_by_hand(upstream, kept, inputs))


# --- what is computed of a function


def outputs_of(function: Function, inputs: Sequence[Tensor]) -> Tensors:
    """The outputs, as a tuple also where there is one."""
    outputs = function(*inputs)
    return outputs if isinstance(outputs, tuple) else (outputs,)


def cotangents_of(function: Function, inputs: Sequence[Tensor], generator: torch.Generator) -> Tensors:
    """A random upstream gradient for every output, in its type: normal, of sizes that differ."""
    normal = (torch.randn(2, *y.shape, generator=generator, dtype=torch.float64) for y in outputs_of(function, inputs))
    dtypes = (y.dtype for y in outputs_of(function, inputs))
    return tuple((n[0] * torch.exp(n[1] / 2)).to(dtype) for n, dtype in zip(normal, dtypes, strict=True))


def gradients_of(function: Function, inputs: Sequence[Tensor], cotangents: Sequence[Tensor]) -> list[Tensor | None]:
    """The gradient of every floating input."""
    leaves = [tensor.detach().clone().requires_grad_(tensor.is_floating_point()) for tensor in inputs]
    wanted = [leaf for leaf in leaves if leaf.requires_grad]
    return list(torch.autograd.grad(outputs_of(function, leaves), wanted, cotangents, allow_unused=True))


def doubled(tensors: Sequence[Tensor]) -> Tensors:
    """Floating tensors in float64."""
    return tuple(tensor.double() if tensor.is_floating_point() else tensor for tensor in tensors)


def size_of(wrong: Sequence[Tensor | None], right: Sequence[Tensor]) -> float:
    """||wrong - right|| / ||right|| of the gradient where it is largest."""
    return max(_size(w, r) for w, r in zip(wrong, right, strict=True))


def _size(wrong: Tensor | None, right: Tensor) -> float:
    difference = float(((0 if wrong is None else wrong.double()) - right.double()).norm())
    scale = float(right.double().norm())
    return difference / scale if scale else math.inf if difference else 0.0
