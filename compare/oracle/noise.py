"""A reference evaluated with roundings of its own: each operation is off by about one rounding of a chosen size.

What comes out differs from the plain run as rounding makes it differ, conditioning and cancellation included. Noise of
2^-36 stands for float64's own rounding, which is 2^-17 of it, and for that of any other precision, in proportion. Noise
of float32's size is that of code in float32, in which a constant such as 273.15 is rounded as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from handgrad.compare.oracle.kernels import contracted, name_of
from handgrad.compare.oracle.stepwise import Stepwise
from handgrad.compare.thresholds import UNIT_ROUNDOFF

FEW, SEVERAL, TWO = 1.0, 4.0, 2.0  # roundings of an operation's result, by how it is evaluated
WHOLE = {"add", "sub", "mul", "rsub", "mm", "bmm", "mv", "dot", "sum", "cumsum"}  # exact where all numbers are whole
FIRST = 64  # entries that are looked at before all are
ROUNDED = (torch.float64, torch.float32, torch.complex128, torch.complex64)


def is_noisy() -> bool:
    """Whether what torch computes now is off by roundings, so that it is another each time."""
    return any(isinstance(mode, Noise) for mode in _get_current_dispatch_mode_stack())


class Noise(Stepwise):
    """While entered, everything that torch computes is off by roundings of a size, drawn from a seed."""

    def __init__(self, size: float, seed: int) -> None:
        """Nothing is drawn from torch's own generator, so that a reference which draws gets the same numbers."""
        super().__init__()
        self.size = size
        self._drawn = torch.Generator().manual_seed(seed)

    def copied(self, func: Any, args: Any, kwargs: Any) -> Any:
        """The same, but for a constant that is rounded."""
        result = func(*args, **kwargs)
        return self._rounded_constant(result) if name_of(func) == "lift_fresh" else result

    def step(self, kind: str, func: Any, args: Any, kwargs: Any) -> Any:
        """Do an operation and round what it gives."""
        if name_of(func) in ("add", "sub") and kwargs.get("alpha", 1) != 1:  # which rounds the product as well
            with self:
                return func(args[0], args[1] * kwargs["alpha"])
        args = tuple(self._rounded_constant(each) if isinstance(each, float) else each for each in args)
        result = func(*args, **kwargs)
        if not [*floating(result)] or (name_of(func) in WHOLE and _is_whole((args, kwargs, result))):
            return result
        return self._noisy(kind, func, args, kwargs, result)

    def _noisy(self, kind: str, func: Any, args: Any, kwargs: Any, result: Any) -> Any:
        if kind in ("once", "several"):
            return mapped(result, lambda t: self._off(t, FEW if kind == "once" else SEVERAL))
        if kind == "power":
            return mapped(result, lambda t: self._off(t, TWO + torch.nan_to_num(t.abs().log(), 0.0, 0.0, 0.0).abs()))
        if kind == "transform":
            return mapped(result, lambda t: self._off(t, TWO) + TWO * self.size * _size(t) * self._normal(t))
        if kind == "sum":
            return self._summed(func, args, kwargs, result)
        return mapped(func(*mapped(args, lambda t: self._off(t, FEW)), **kwargs), lambda t: self._off(t, TWO))

    def _summed(self, func: Any, args: Any, kwargs: Any, result: Any) -> Any:
        """Off by half a rounding of the sum of the absolute terms for every root of their number."""
        absolute = func(*mapped(args, lambda t: t.abs()), **kwargs)
        terms = floating(absolute)
        name = name_of(func)

        def off(t: Tensor) -> Tensor:
            half = 0.5 * self.size * math.sqrt(contracted(name, args, t))
            return self._off(t, FEW) + half * next(terms).abs().reshape(t.shape) * self._normal(t)

        return mapped(result, off)

    def _off(self, t: Tensor, roundings: float | Tensor) -> Tensor:
        return t * self._uniform(t).mul_(roundings * self.size).add_(1) if t.dtype in ROUNDED else t

    def _rounded_constant(self, value: Any) -> Any:
        """A number, or a tensor that holds some, off by a rounding where float32 does not hold it."""
        if self.size < UNIT_ROUNDOFF["float32"]:
            return value
        numbers = torch.as_tensor(value, dtype=torch.float64) if isinstance(value, float) else value
        if numbers.dtype != torch.float64:
            return value
        off = torch.where(numbers.float() == numbers, numbers, self._off(numbers, FEW))
        return off if isinstance(value, Tensor) else off.item()

    def _uniform(self, t: Tensor) -> Tensor:
        """Between -1 and 1."""
        real = torch.float32 if t.dtype in (torch.float32, torch.complex64) else torch.float64
        return torch.rand(t.shape, generator=self._drawn, dtype=real).mul_(2).sub_(1)

    def _normal(self, t: Tensor) -> Tensor:
        return torch.randn(t.shape, generator=self._drawn, dtype=t.dtype)


def floating(value: Any) -> Iterator[Tensor]:
    """The real and complex tensors in what an operation takes or gives."""
    if isinstance(value, Tensor):
        yield from [value] if value.is_floating_point() or value.is_complex() else []
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from floating(each)


def mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same with every real or complex tensor that has an entry changed."""
    if isinstance(value, Tensor):
        is_number = value.is_floating_point() or value.is_complex()
        return change(value) if is_number and value.numel() else value
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)(mapped(each, change) for each in value)
    return value


def _is_whole(value: Any) -> bool:
    """Whether all numbers in it are whole ones that float64 holds."""
    if isinstance(value, Tensor):
        if not value.is_floating_point():
            return not value.is_complex()
        few = value.flatten()[:FIRST] if value.is_contiguous() else value  # which tell as a rule
        return all(bool(((some == some.round()) & (some.abs() < 2**53)).all()) for some in (few, value))
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, (list, tuple)):
        return all(_is_whole(each) for each in value)
    return not isinstance(value, float) or value.is_integer()


def _size(t: Tensor) -> Tensor:
    """The root mean square of a tensor."""
    return t.abs().square().mean().sqrt()
