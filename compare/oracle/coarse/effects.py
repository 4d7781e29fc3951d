"""What one step of a reference contributes to what comes out: the reference with that step's result a little larger."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from torch import Tensor

from handgrad.compare.oracle.coarse.following import Following
from handgrad.compare.oracle.kernels import contracted, name_of
from handgrad.compare.oracle.lines import Lines, Place
from handgrad.compare.oracle.noise import floating, mapped

ADDING = ("add", "sub", "rsub", "clamp_min")
AXES = 3  # of a result, whose last entries are looked at
OF_TORCH = re.compile(r"^_*(native_|safe_)?|_(forward|backward)(_data)?$")  # what is put around the name in torch.nn
AVERAGING = ("mean", "sum", "var", "std", "var_mean")


class Step(NamedTuple):
    """One step: its number, its operation, and the line of the reference that does it.

    `axis` is that along which its last entries alone are meant, `constant` the number that it adds, if that is meant.
    `size` is the root mean square of its result, `terms` how many numbers it averages, 0 for other steps. `of` is the
    compound operation that it is a part of, as silu, or nothing.
    """

    number: int
    operation: str
    place: Place | None
    axis: int | None = None
    constant: float | None = None
    size: float = 0.0
    terms: int = 0
    of: str = ""


class Effect(Following):
    """While entered, the result of one step is larger by a share; `steps` lists all that there are."""

    def __init__(self, of: Step | None = None, share: float = 0.0) -> None:
        """Without a step nothing changes."""
        super().__init__()
        self.steps: list[Step] = []
        self._of, self._share, self._count, self._lines = of, share, 0, Lines()

    def step(self, kind: str, func: Any, args: Any, kwargs: Any) -> Any:
        """Do a step, and change what it gives, or the constant that it adds, if it is the one."""
        number, self._count = self._count, self._count + 1
        is_meant = self._of is not None and self._of.number == number
        if is_meant and self._of is not None and self._of.constant is not None:
            args = tuple(each * (1 + self._share) if _is_constant(each) else each for each in args)
        result = func(*args, **kwargs)
        if self._of is None:
            self._note(number, name_of(func), args, result)
        elif is_meant and self._of.constant is None:
            return mapped(result, self._larger)
        return result

    def _note(self, number: int, name: str, args: Any, result: Any) -> None:
        """List a step, the last entries along its first axes, and the constant that it adds."""
        first = next(floating(result), None)
        if first is None or not first.numel():
            return
        terms = contracted(name, args, first) if name in AVERAGING else 0
        size = float(first.detach().abs().square().mean().sqrt())
        of = OF_TORCH.sub("", self.within[0]) if self.within else ""
        whole = Step(number, name, self._lines.place(name), size=size, terms=terms, of=of)
        self.steps.append(whole)
        self.steps += [whole._replace(axis=axis) for axis, n in enumerate(first.shape[:AXES]) if n > 1]
        constants = [float(each) for each in args if _is_constant(each)] if name in ADDING else []
        self.steps += [whole._replace(constant=constant) for constant in constants[:1]]

    def _larger(self, t: Tensor) -> Tensor:
        assert self._of is not None
        axis = self._of.axis
        if axis is None:
            return t * (1 + self._share)
        if not -t.dim() <= axis < t.dim():
            return t
        changed = t.clone()
        changed.select(axis, -1).mul_(1 + self._share)
        return changed


def _is_constant(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value != 0
