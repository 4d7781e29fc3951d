"""torch's optimiser following a derivation: it starts each step from the derivation's parameters, its state is its own.

Updates are judged entry by entry in float64 on W_next, with the same gradients on both sides, so no state needs a name.
What rounding explains is measured: more optimisers get the parameters and gradients moved by one float32 rounding.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from handgrad.compare.errors import InputError, kind_of
from handgrad.compare.names import gradient, velocity
from handgrad.compare.oracle.reference import moved
from handgrad.compare.sandbox import CAUGHT, defaulting_to, located
from handgrad.compare.thresholds import MOVED_RUNS, UNIT_ROUNDOFF
from handgrad.compare.trace import Arrays, in_precision, is_real
from handgrad.torchref.exchange import to_array, to_tensor

Optimizer = Callable[[list[Tensor]], torch.optim.Optimizer]
OwnGradients = Callable[[Arrays, Callable[[Arrays], Arrays]], Arrays]


MOMENTS = ("momentum", "betas", "alpha", "rho")
"""Settings of torch's optimisers that are shares of a moment which it keeps from step to step."""


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
        with torch.no_grad():
            for name, leaf in self.leaves.items():
                leaf.copy_(to_tensor(params[name]))
                along = gradients.get(gradient(name))
                leaf.grad = None if along is None else to_tensor(along.astype(np.float64))
        try:
            with defaulting_to("float64"):
                self.optimizer.step()
        except CAUGHT as error:
            raise InputError(
                f"{self.kind} raises {located(error)}; use an optimiser whose step() needs no "
                "argument and takes dense gradients"
            ) from None
        buffers = {velocity(name): self._buffer(name) for name in self.leaves}
        tensors = self.leaves | {name: buffer for name, buffer in buffers.items() if buffer is not None}
        return {name: to_array(tensor) for name, tensor in tensors.items()}

    def _buffer(self, name: str) -> Tensor | None:
        """torch's momentum buffer of a parameter, if it keeps one."""
        buffer: Tensor | None = self.optimizer.state[self.leaves[name]].get("momentum_buffer")
        return buffer

    def set_velocity(self, name: str, array: np.ndarray) -> None:
        """Replace torch's momentum buffer of a parameter."""
        buffer = self._buffer(name)
        if buffer is not None and tuple(buffer.shape) == array.shape:
            buffer.copy_(to_tensor(array))


class Followers:
    """A torch optimiser that follows one run, and more that get everything moved by one float32 rounding."""

    def __init__(self, optimizer: Optimizer, params: Arrays) -> None:
        """Build them; InputError as for one."""
        self.build, self.params = optimizer, params
        self.all = [Follower(optimizer, params) for _ in range(1 + MOVED_RUNS)]

    def anew(self) -> Followers:
        """The same before its first step."""
        return Followers(self.build, self.params)

    def step(self, number: int, before: Arrays, records: Arrays, own: OwnGradients) -> list[dict[str, np.ndarray]]:
        """What each makes of a step: the parameters and, as v<name>, the velocities; the one that counts first.

        The gradients are those recorded. Where one is not usable, own(params, move) gives torch's own, `move` being
        what moves the arrays of the batch.
        """
        due = {gradient(name): array.shape for name, array in before.items()}
        usable = {n: records[n] for n, shape in due.items() if n in records and _fits(records[n], shape)}
        rng = np.random.default_rng([number, 0])
        results = []
        for position, follower in enumerate(self.all):
            by = UNIT_ROUNDOFF["float32"] if position else 0.0

            def move(arrays: Arrays, by: float = by) -> Arrays:
                return {name: moved(array, rng=rng, by=by) for name, array in arrays.items()}

            params = move(in_precision(before, "float64"))
            gradients = move(usable)
            if len(gradients) < len(due):
                gradients = {**own(params, move), **gradients}
            results.append(follower.step(params, gradients))
        return results

    def set_velocity(self, name: str, array: np.ndarray) -> None:
        """Let torch go on with the recorded velocity of a parameter, where that is usable."""
        if is_real(array):
            for follower in self.all:
                follower.set_velocity(name, array.astype(np.float64))


def _fits(record: np.ndarray, shape: tuple[int, ...]) -> bool:
    return is_real(record) and record.shape == shape
