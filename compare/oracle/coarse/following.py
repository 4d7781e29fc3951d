"""The steps of a reference that its inputs reach; all in float64, whatever it casts to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from handgrad.compare.errors import InputError
from handgrad.compare.oracle.kernels import is_looked_into, name_of
from handgrad.compare.oracle.noise import floating, mapped
from handgrad.compare.oracle.stepwise import Stepwise

SHORT = (torch.float32, torch.float16, torch.bfloat16)
TWO_STEPS = ("addmm", "addmv", "baddbmm")  # a product and an addition, neither of which a kernel hides


class Following(Stepwise):
    """While entered, what no input enters, as masks and tables of angles, is left alone; casts from float64 are none.

    Tensors from outside that meet an input are in float64, too.

    `within` are the compound operations that a step lies in, `opaque` holds the operations that are not looked into.
    """

    def __init__(self) -> None:
        """Nothing is followed yet."""
        super().__init__()
        self.within: list[str] = []
        self.opaque = dict[str, None]()
        self._entered = set[int]()
        self._kept: list[Tensor] = []  # so that no memory is used twice

    def follow(self, tensors: Iterable[Any]) -> None:
        """Count these tensors, and all that is computed from them, among what inputs enter."""
        for tensor in floating([*tensors]):
            place = _memory(tensor)
            if place not in self._entered:
                self._entered.add(place)
                self._kept.append(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do an operation, and follow what comes out if an input goes in."""
        kwargs = kwargs or {}
        if kwargs.get("dtype") in SHORT:
            kwargs = {**kwargs, "dtype": torch.float64}
        if not any(_memory(tensor) in self._entered for tensor in floating([*args, *kwargs.values()])):
            return func(*args, **kwargs)
        if not name_of(func).endswith("_"):
            args = mapped(args, lambda t: t.double() if t.dtype in SHORT else t)  # what the reference has from outside
        if not is_looked_into(func):
            self.opaque[name_of(func)] = None
        result = super().__torch_dispatch__(func, types, args, kwargs)
        if any(t.is_complex() for t in floating(result)):
            raise InputError(
                f"the reference computes complex numbers in {name_of(func)}, whose rounding is not known; let it "
                "compute and return real and imaginary parts apart"
            )
        self.follow([result])
        return result

    def compound(self, known: Callable[..., Any], func: Any, args: Any, kwargs: Any) -> Any:
        """What comes out of simpler steps, and is stored once they are done."""
        if name_of(func) in TWO_STEPS:
            return super().compound(known, func, args, kwargs)
        self.within.append(name_of(func))
        try:
            result = super().compound(known, func, args, kwargs)
        finally:
            self.within.pop()
        result = tuple(result) if isinstance(result, tuple) else result  # without the names that some have
        return result if self.within else self.stored(result)

    def stored(self, result: Any) -> Any:
        """What is kept of the result of a compound operation."""
        return result


def _memory(tensor: Tensor) -> int:
    """Where the memory of a tensor begins, of which it may be a view."""
    return tensor.untyped_storage().data_ptr()
