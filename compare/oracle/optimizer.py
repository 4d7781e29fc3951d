"""torch's optimiser following a derivation: it starts each step from the derivation's parameters, its state is its own.

Updates are judged entry by entry in float64 on W_next, with the same gradients on both sides, so no state needs a name.
What rounding explains is measured: the same steps are taken again with drawn roundings in each operation.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from handgrad.compare.errors import InputError, kind_of
from handgrad.compare.names import gradient, velocity
from handgrad.compare.oracle.noise import Noise
from handgrad.compare.sandbox import CAUGHT, defaulting_to, located
from handgrad.compare.thresholds import EQUAL
from handgrad.compare.trace import Arrays, in_precision, is_real
from handgrad.torchref.exchange import to_array, to_tensor

Optimizer = Callable[[list[Tensor]], torch.optim.Optimizer]
OwnGradients = Callable[[Arrays], Arrays]  # torch's own, at parameters


MOMENTS = ("momentum", "betas", "alpha", "rho")
"""Settings of torch's optimisers that are shares of a moment which it keeps from step to step."""
LONG = 2.0**60  # a gradient beside which all else that a step is made of is rounded off


class Line(NamedTuple):
    """What a step makes of each entry as its gradient goes: `start` where that is 0, `slope` more with each unit."""

    start: np.ndarray
    slope: np.ndarray


class Follower:
    """One torch optimiser on tensors of its own, in float64."""

    def __init__(self, optimizer: Optimizer, params: Arrays) -> None:
        """Build it; InputError if that fails or gives something else than a torch optimiser."""
        self.leaves = {name: to_tensor(array.astype(np.float64)).requires_grad_() for name, array in params.items()}
        try:
            with defaulting_to("float64"):
                self.optimizer = optimizer(list(self.leaves.values()))
        except CAUGHT as error:
            raise InputError(
                f"the optimizer raises {located(error)}; it must take a list of tensors and return an optimiser, "
                "as in lambda tensors: torch.optim.SGD(tensors, lr=0.1)"
            ) from None
        if not isinstance(self.optimizer, torch.optim.Optimizer):
            raise InputError(
                f"optimizer returns {kind_of(self.optimizer)}; it must take a list of tensors and return a "
                "torch optimiser, as in lambda tensors: torch.optim.SGD(tensors, lr=0.1)"
            )
        held = {id(tensor) for group in self.optimizer.param_groups for tensor in group["params"]}
        left = [name for name, leaf in self.leaves.items() if id(leaf) not in held]
        if left:
            raise InputError(
                f"the optimizer does not hold {left[0]}; hand torch's optimiser all the tensors it is given"
            )

    @property
    def kind(self) -> str:
        """The name of torch's optimiser."""
        return type(self.optimizer).__name__

    @property
    def memory(self) -> float:
        """The share of itself that the slowest moment keeps from step to step; 0 where torch keeps none that fades."""
        settings = [value for group in self.optimizer.param_groups for name in MOMENTS for value in [group.get(name)]]
        shares = [share for value in settings for share in (value if isinstance(value, tuple) else (value,))]
        return max((float(share) for share in shares if isinstance(share, (int, float, Tensor))), default=0.0)

    def step(self, params: Arrays, gradients: Arrays) -> dict[str, np.ndarray]:
        """The parameters after one step from `params` along `gradients`, and, as v<name>, the momentum buffers."""
        self.hand(params, gradients)
        self.go()
        buffers = {velocity(name): self._buffer(name) for name in self.leaves}
        tensors = self.leaves | {name: buffer for name, buffer in buffers.items() if buffer is not None}
        return {name: to_array(tensor) for name, tensor in tensors.items()}

    def lines(self, params: Arrays) -> dict[str, Line]:
        """What the next step makes of each parameter along any gradient, as far as that is a line in the gradient.

        It is of SGD, whatever its momentum and weight decay; what divides by the size of the gradient has none.
        """

        def along(size: float) -> Arrays:
            every = {gradient(name): np.full(array.shape, size) for name, array in params.items()}
            return deepcopy(self).step(params, every)

        start, far, near = map(along, (0.0, LONG, -LONG / 4))
        lines = {name: Line(start[name], (far[name] - start[name]) / LONG) for name in params}
        nearer = {name: (near[name] - start[name]) / (-LONG / 4) for name in params}
        return {n: line for n, line in lines.items() if line.slope.all() and _near(line.slope, nearer[n])}

    def hand(self, params: Arrays, gradients: Arrays) -> None:
        """Put parameters and gradients in their places."""
        with torch.no_grad():
            for name, leaf in self.leaves.items():
                leaf.copy_(to_tensor(params[name]))
                along = gradients.get(gradient(name))
                leaf.grad = None if along is None else to_tensor(along.astype(np.float64))

    def go(self) -> None:
        """Take torch's step."""
        try:
            with defaulting_to("float64"):
                self.optimizer.step()
        except CAUGHT as error:
            raise InputError(
                f"{self.kind} raises {located(error)}; use an optimiser whose step() needs no "
                "argument and takes dense gradients"
            ) from None

    def _buffer(self, name: str) -> Tensor | None:
        """torch's momentum buffer of a parameter, if it keeps one."""
        buffer: Tensor | None = self.optimizer.state[self.leaves[name]].get("momentum_buffer")
        return buffer

    def set_velocity(self, name: str, array: np.ndarray) -> None:
        """Replace torch's momentum buffer of a parameter."""
        buffer = self._buffer(name)
        if buffer is not None and tuple(buffer.shape) == array.shape:
            buffer.copy_(to_tensor(array))


@dataclass
class _Step:
    """What an optimiser was handed at a step, and the velocities that it went on with."""

    before: Arrays
    gradients: Callable[[], Arrays]
    velocities: dict[str, np.ndarray] = field(default_factory=dict)


class Followers:
    """A torch optimiser that follows one run, and, where that is asked, the same with roundings of its own."""

    def __init__(self, optimizer: Optimizer, params: Arrays) -> None:
        """Build it; InputError as for one."""
        self.build, self.params = optimizer, params
        self.follower = Follower(optimizer, params)
        self.steps: list[_Step] = []
        self._noisy: dict[float, list[_Noisy]] = {}

    def anew(self) -> Followers:
        """The same before its first step."""
        return Followers(self.build, self.params)

    def step(self, before: Arrays, records: Arrays, own: OwnGradients) -> dict[str, np.ndarray]:
        """What it makes of a step: the parameters and, as v<name>, the velocities.

        The gradients are those recorded. Where one is not usable, own(params) gives torch's own.
        """
        due = {gradient(name): array.shape for name, array in before.items()}
        usable = {n: records[n] for n, shape in due.items() if n in records and _fits(records[n], shape)}
        start = in_precision(before, "float64")

        def gradients() -> Arrays:
            return in_precision(usable if len(usable) == len(due) else {**own(start), **usable}, "float64")

        self.steps.append(_Step(start, gradients))
        return self.follower.step(start, gradients())

    def set_velocity(self, name: str, array: np.ndarray) -> None:
        """Let torch go on with the recorded velocity of a parameter, where that is usable."""
        if is_real(array):
            self.steps[-1].velocities[name] = array.astype(np.float64)
            self.follower.set_velocity(name, array.astype(np.float64))

    def noisy(self, count: int, by: float) -> list[dict[str, np.ndarray]]:
        """What the last step comes to where each operation is off by one rounding of a size, from the first step on.

        In so many runs, which are another each.
        """
        runs = self._noisy.setdefault(by, [])
        runs += [_Noisy(Follower(self.build, self.params), Noise(by, k)) for k in range(len(runs), count)]
        return [one.after(self.steps) for one in runs[:count]]


@dataclass
class _Noisy:
    """An optimiser whose operations round as they like, and how far it has come."""

    follower: Follower
    noise: Noise
    done: int = 0
    result: dict[str, np.ndarray] = field(default_factory=dict)

    def after(self, steps: list[_Step]) -> dict[str, np.ndarray]:
        """What it makes of the last of some steps, each of which starts where the run by hand did."""
        while self.done < len(steps):
            if self.done:
                for name, array in steps[self.done - 1].velocities.items():
                    self.follower.set_velocity(name, array)
            step = steps[self.done]
            with self.noise:
                self.result = self.follower.step(step.before, step.gradients())
            self.done += 1
        return self.result


def _fits(record: np.ndarray, shape: tuple[int, ...]) -> bool:
    return is_real(record) and record.shape == shape


def _near(one: np.ndarray, other: np.ndarray) -> bool:
    return bool((np.abs(one - other) <= EQUAL * np.abs(one)).all())
