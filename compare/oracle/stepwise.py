"""The one way in which torch's operations are looked at: compound ones by simpler steps, those in place as new tensors.

A subclass says what becomes of the result of a step; which operation is which kind of step is the table of `kernels`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from handgrad.compare.oracle.kernels import decomposition, kind_of, name_of, out_of_place


class Mode(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch annotates neither this nor __init__
    """While entered, every operation of torch's goes through __torch_dispatch__ of the class."""

    def __init__(self) -> None:
        """Set up torch's part of it."""
        super().__init__()  # type: ignore[no-untyped-call]

    def __init_subclass__(cls) -> None:
        """Leave the class as it is.

        Torch would wrap its __torch_dispatch__, to keep the compiler off it, and imports all of torch._dynamo for that
        at the first operation: more than a second. Nothing is compiled while a mode is entered.
        """


class Stepwise(Mode):
    """While entered, everything that torch computes is done step by step."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do an operation; one in place writes what the one that makes a new tensor gives."""
        kwargs = kwargs or {}
        kind = kind_of(func)
        if kind == "exact":
            return self.copied(func, args, kwargs)
        if name_of(func).endswith("_"):
            anew = out_of_place(func)
            if anew is None:
                return func(*args, **kwargs)
            changed = self.__torch_dispatch__(anew, types, args, kwargs)
            if isinstance(args[0], Tensor):
                return args[0].copy_(changed)
            for tensor, to in zip(args[0], changed, strict=True):  # of a list, each
                tensor.copy_(to)
            return None
        known = decomposition(func)
        return self.step(kind, func, args, kwargs) if known is None else self.compound(known, func, args, kwargs)

    def copied(self, func: Any, args: Any, kwargs: Any) -> Any:
        """What comes out of an operation that does not compute."""
        return func(*args, **kwargs)

    def compound(self, known: Callable[..., Any], func: Any, args: Any, kwargs: Any) -> Any:
        """What comes out of an operation that is done by simpler ones."""
        with self:
            return known(*args, **kwargs)

    def step(self, kind: str, func: Any, args: Any, kwargs: Any) -> Any:
        """What comes out of one step, of a kind of the table."""
        return func(*args, **kwargs)
