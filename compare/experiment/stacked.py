"""Torch's account of many steps of the notes' network at once, each from where the hand-written side started it."""

from __future__ import annotations

import numpy as np
from torch import Tensor

import handgrad.torchref.exchange
import handgrad.torchref.network
from handgrad.compare.experiment.settings import Settings
from handgrad.compare.names import gradient, updated
from handgrad.compare.operations import operation
from handgrad.compare.oracle.replay import replay_stack
from handgrad.compare.trace import Arrays

Tensors = dict[str, Tensor]


class StackedTwin:
    """The torch twin on stacks: every array has a first axis of runs; torch's sums and products keep it."""

    def __init__(self, settings: Settings) -> None:
        """Take the operations from the registry."""
        self.settings = settings
        self.activations = [operation("activation", name).twin()() for name in settings.activations]
        self.loss = operation("loss", settings.loss)
        self.optimizer = operation("optimizer", settings.optimizer)

    def step(self, params: Arrays, state: Arrays, records: Arrays, dtype: str = "float64") -> dict[str, np.ndarray]:
        """Every tensor of stacked steps by name, those of the update too, evaluated on the records.

        Where records other than X and Y are missing, torch goes on with its own tensors.
        """
        leaves = {name: tensor.requires_grad_() for name, tensor in _views(params, dtype).items()}
        X, Y = _views({name: records[name] for name in ("X", "Y")}, dtype).values()
        run = replay_stack(lambda: self._cost(leaves, X, Y), leaves, records)
        values = {**run.values, **run.gradients}
        return values | self.update(params, state, {**values, **records}, dtype)

    def _cost(self, leaves: Tensors, X: Tensor, Y: Tensor) -> Tensor:
        """J of every run, with taps."""
        numbers = range(1, self.settings.depth + 1)
        weights = [leaves[f"W{l}"] for l in numbers]
        affine = [handgrad.torchref.network.affine(W, leaves[f"b{l}"]) for l, W in zip(numbers, weights, strict=True)]
        layers = zip(affine, self.activations, strict=True)
        return handgrad.torchref.network.cost(
            layers, weights, X, Y, self.loss.twin(), self.loss.reads, self.settings.l2
        )

    def update(self, params: Arrays, state: Arrays, records: Arrays, dtype: str = "float64") -> dict[str, np.ndarray]:
        """The state from the recorded gradients and that before; updated parameters from the recorded state."""
        optimizer, options = self.optimizer.twin(), self.optimizer.chosen(self.settings)
        W, before = _views(params, dtype), _views(state, dtype)
        along = _views({gradient(name): records[gradient(name)] for name in params}, dtype)
        after = optimizer.remember(along, before, **options)
        recorded = _views({name: records[name] for name in after if name in records}, dtype)
        moved = optimizer.move(W, along, after | recorded, **options)
        tensors = {**after, **{updated(name): w for name, w in moved.items()}}
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
