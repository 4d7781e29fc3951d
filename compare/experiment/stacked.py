"""Torch's account of many steps of the notes' network at once, each from where the hand-written side started it."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor
from torch.optim.sgd import sgd

import handgrad.torchref.exchange
import handgrad.torchref.network
from handgrad.compare.experiment.settings import Settings
from handgrad.compare.names import gradient, updated, velocity
from handgrad.compare.operations import operation
from handgrad.compare.oracle.replay import replay_stack
from handgrad.compare.trace import Arrays

Tensors = dict[str, Tensor]
PLAIN: dict[str, Any] = {"weight_decay": 0.0, "nesterov": False, "maximize": False, "foreach": False}


class StackedTwin:
    """The torch twin on stacks: every array has a first axis of runs; torch's sums and products keep it."""

    def __init__(self, settings: Settings) -> None:
        """Take the operations from the registry."""
        self.settings = settings
        self.activations = [operation("activation", name).twin()() for name in settings.activations]
        self.loss = operation("loss", settings.loss)

    def step(
        self, params: Arrays, velocities: Arrays, records: Arrays, dtype: str = "float64"
    ) -> dict[str, np.ndarray]:
        """Every tensor of stacked steps by name, those of the update too, evaluated on the records.

        Where records other than X and Y are missing, torch goes on with its own tensors.
        """
        leaves = {name: tensor.requires_grad_() for name, tensor in _views(params, dtype).items()}
        X, Y = _views({name: records[name] for name in ("X", "Y")}, dtype).values()
        run = replay_stack(lambda: self._cost(leaves, X, Y), leaves, records)
        values = {**run.values, **run.gradients}
        return values | self.update(params, velocities, {**values, **records}, dtype)

    def _cost(self, leaves: Tensors, X: Tensor, Y: Tensor) -> Tensor:
        """J of every run, with taps."""
        numbers = range(1, self.settings.depth + 1)
        weights = [leaves[f"W{l}"] for l in numbers]
        affine = [handgrad.torchref.network.affine(W, leaves[f"b{l}"]) for l, W in zip(numbers, weights, strict=True)]
        layers = zip(affine, self.activations, strict=True)
        return handgrad.torchref.network.cost(
            layers, weights, X, Y, self.loss.twin(), self.loss.reads, self.settings.l2
        )

    def update(
        self, params: Arrays, velocities: Arrays, records: Arrays, dtype: str = "float64"
    ) -> dict[str, np.ndarray]:
        """Velocities from the recorded gradients and those before; updated weights from the recorded velocities."""
        along = {name: records[gradient(name)] for name in params}
        results = self._stepped(params, along, velocities, dtype)
        if velocities and all(velocity(name) in records for name in params):
            results |= self._stepped(params, {name: records[velocity(name)] for name in params}, {}, dtype)
        return results

    def _stepped(self, params: Arrays, along: Arrays, velocities: Arrays, dtype: str) -> dict[str, np.ndarray]:
        """The velocities, if there are any to start from, and updated parameters, by the function of SGD's step.

        With beta = 0, SGD leaves its buffers alone and moves by the gradient; V is that gradient then.
        """
        W, g = ([*_views(arrays, dtype).values()] for arrays in (params, along))
        moved = [w.clone() for w in W]
        before = _views({name: velocities[velocity(name)] for name in params if velocities}, dtype)
        buffers = [v.clone() for v in before.values()]
        momentum = self.settings.beta if buffers else 0.0
        rate = self.settings.learning_rate
        sgd(moved, g, [*buffers] or [None] * len(g), lr=rate, momentum=momentum, dampening=momentum, **PLAIN)
        kept = (buffers if momentum else g) if buffers else []
        tensors = {
            **dict(zip(map(velocity, params), kept, strict=False)),
            **dict(zip(map(updated, params), moved, strict=True)),
        }
        return {name: handgrad.torchref.exchange.view_of_tensor(tensor) for name, tensor in tensors.items()}


def _views(arrays: Arrays, dtype: str) -> Tensors:
    """Tensors in a dtype, on the memory of the arrays where it is theirs."""
    return {
        name: handgrad.torchref.exchange.view_of_array(array.astype(dtype, copy=False))
        for name, array in arrays.items()
    }


def stacked(runs: list[Arrays]) -> dict[str, np.ndarray]:
    """The arrays of several runs by name, along a first axis, in float64."""
    stack = {}
    for name, first in runs[0].items():
        arrays = [run[name] for run in runs]
        end_to_end = np.concatenate if first.ndim else np.array  # np.stack takes twice as long
        stack[name] = end_to_end(arrays, dtype=np.float64).reshape(len(arrays), *first.shape)
    return stack
