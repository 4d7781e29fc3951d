"""The mistakes that any kernel can have."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tests.corpus.kernels_planted import Slip

FACTORS = (0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)


def factor(value: float) -> Slip:
    """One gradient times a number."""
    return Slip(f"One gradient is {value:.10g} of what it should be.", gradient=lambda g: g * value)


def _with(change: Callable[[Tensor], object]) -> Callable[[Tensor], Tensor]:
    """What changes a copy in place."""

    def changed(tensor: Tensor) -> Tensor:
        copy = tensor.clone(memory_format=torch.contiguous_format)
        change(copy)
        return copy

    return changed


def _element(by: float) -> Callable[[Tensor], Tensor]:
    """One element, larger than three quarters of the others, times a number."""

    def change(gradient: Tensor) -> None:
        flat = gradient.view(-1)
        flat[flat.abs().kthvalue(max(1, 3 * len(flat) // 4)).indices] *= by

    return _with(change)


def _swap_rows(gradient: Tensor) -> None:
    gradient[[0, -1]] = gradient[[-1, 0]]


def _misread(upstream: Tensor) -> Tensor:
    if upstream.dim() < 2:
        return upstream.flip(0)
    return upstream.transpose(0, -1).reshape(upstream.shape)


STALE = "What was kept for backward is that of the examples before."

SLIPS = (
    *map(factor, FACTORS),
    Slip("One gradient is half as large.", gradient=lambda g: g / 2),
    Slip("One gradient is twice as large.", gradient=lambda g: g * 2),
    Slip("One gradient has the wrong sign.", gradient=lambda g: -g),
    Slip("One gradient is zero.", gradient=lambda g: g * 0),
    Slip("The middle row of a gradient is zero.", gradient=_with(lambda g: g[len(g) // 2].zero_())),
    Slip("The last row of a gradient is zero.", gradient=_with(lambda g: g[-1].zero_())),
    Slip("The last column of a gradient is zero.", gradient=_with(lambda g: g[..., -1].zero_())),
    Slip("The last row of a gradient is 1.1 of what it should be.", gradient=_with(lambda g: g[-1].mul_(1.1))),
    Slip("One element of a gradient is 1.5 of what it should be.", gradient=_element(1.5)),
    Slip("One element of a gradient is twice as large.", gradient=_element(2)),
    Slip("The halves of each row of a gradient are swapped.", gradient=lambda g: g.roll(max(1, g.shape[-1] // 2), -1)),
    Slip("The first and the last row of a gradient are swapped.", gradient=_with(_swap_rows)),
    Slip("The upstream gradient's memory is read as if it were transposed.", upstream=_misread),
    Slip("The first upstream gradient stands for all.", upstream=lambda dy: dy.flatten()[0].expand_as(dy)),
    Slip("The mean upstream gradient stands for each.", upstream=lambda dy: dy.mean().expand_as(dy)),
    Slip("The upstream gradient is taken for ones.", upstream=torch.ones_like),
    Slip("The last row of the upstream gradient is not read.", upstream=_with(lambda dy: dy[-1].zero_())),
    Slip(STALE, kept=lambda tensor: tensor.roll(1, 0)),
)
