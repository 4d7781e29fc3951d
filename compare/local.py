"""Steps of the notes' network in torch: on its own tensors, and each tensor on the records that it is computed from.

Forward, loss and backward by local replay; velocities and updated weights by torch's optimiser on the recorded V, g
and W. Steps of equal shapes may be stacked along a first axis and are then evaluated at once.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

import torchref.exchange
import torchref.network
import torchref.optimizers
from compare import rounding
from compare.experiment import Experiment
from compare.operations import operation
from compare.replay import Replay, replay
from compare.rounding import Allowance

__all__ = ["LocalTwin", "allowances"]

Arrays = Mapping[str, np.ndarray]


class LocalTwin:
    """The torch twin of an experiment, started from where the hand-written side started a step.

    `params` and `velocities` are what a step started from, `records` what it computed, X and Y among them.
    """

    def __init__(self, experiment: Experiment) -> None:
        """Build the reference."""
        self.experiment = experiment
        self.reference = torchref.network.mlp(
            experiment.layers, experiment.activations, experiment.loss, l2=experiment.l2
        )

    def end_to_end(self, params: Arrays, velocities: Arrays, batch: Arrays) -> dict[str, np.ndarray]:
        """Stacked steps of torch by itself on X and Y, in the dtype that is printed: every tensor by name."""
        leaves = {name: tensor.requires_grad_() for name, tensor in _tensors(params, self.experiment.dtype).items()}
        tensors = _tensors(batch, self.experiment.dtype)
        found = replay(lambda: self.reference(leaves, tensors["X"], tensors["Y"]), leaves, {}, stacked=True)
        optimizer = self._optimizer(leaves, velocities)
        return {"X": batch["X"], "Y": batch["Y"], **found.values, **found.gradients, **_stepped(optimizer, leaves)}

    def replay(self, params: Arrays, records: Arrays, *, inspect: bool = False, stacked: bool = False) -> Replay:
        """Forward, loss and backward, replayed on the records in float64."""
        leaves = {name: tensor.requires_grad_() for name, tensor in _tensors(params).items()}
        batch = _tensors({name: records[name] for name in ("X", "Y")}).values()
        return replay(lambda: self.reference(leaves, *batch), leaves, records, inspect=inspect, stacked=stacked)

    def update(self, params: Arrays, velocities: Arrays, records: Arrays) -> dict[str, np.ndarray]:
        """Velocities from the recorded gradients and those before; updated weights from the recorded velocities."""
        leaves = _moved_along({name: records[f"d{name}"] for name in params}, _tensors(params))
        found = _stepped(self._optimizer(leaves, velocities), leaves)
        if velocities and all(f"v{name}" in records for name in params):
            leaves = _moved_along({name: records[f"v{name}"] for name in params}, _tensors(params))
            descent = torchref.optimizers.gradient_descent(leaves, learning_rate=self.experiment.learning_rate)
            found |= _stepped(descent, leaves)
        return found

    def _optimizer(self, leaves: Mapping[str, Tensor], velocities: Arrays) -> torch.optim.SGD:
        """torch's optimiser of these weights, with velocities to go on from."""
        build = operation("optimizer", self.experiment.optimizer).twin()
        rates = {"learning_rate": self.experiment.learning_rate, "beta": self.experiment.beta}
        optimizer: torch.optim.SGD = build(leaves, **rates)
        if velocities:
            torchref.optimizers.set_velocities(optimizer, leaves, velocities)
        return optimizer


def _moved_along(gradients: Arrays, leaves: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights with these gradients."""
    for name, gradient in _tensors(gradients).items():
        leaves[name].grad = gradient
    return leaves


def _stepped(optimizer: torch.optim.SGD, leaves: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """The velocities, if it keeps any, and the weights after a step along their gradients."""
    torchref.optimizers.step(optimizer)
    moved = torchref.optimizers.velocities(optimizer, leaves)
    moved |= {f"{name}_next": leaf for name, leaf in leaves.items()}
    return {name: torchref.exchange.to_array(tensor) for name, tensor in moved.items()}


def _tensors(arrays: Arrays, dtype: str = "float64") -> dict[str, Tensor]:
    """Tensors in a dtype."""
    return {name: torchref.exchange.to_tensor(array.astype(dtype, copy=False)) for name, array in arrays.items()}


def allowances(experiment: Experiment, params: Arrays, velocities: Arrays, records: Arrays) -> dict[str, Allowance]:
    """What rounding can explain in each record of one step, from the values of what its operation reads.

    A record whose operands were not recorded has none; it is judged by the precision ladder alone.
    """
    read = {name: array.astype(np.float64, copy=False) for name, array in {**params, **records}.items()}
    before = {name: array.astype(np.float64, copy=False) for name, array in velocities.items()}
    if "X" in read:
        read["A0"] = read["X"]
    found = {}
    for name in records:
        try:
            found[name] = _allowance(experiment, name, read, before)
        except KeyError:  # an operand that was not recorded
            continue
    return found


def _allowance(experiment: Experiment, name: str, read: Arrays, before: Arrays) -> Allowance:
    """The allowance of one record, by the operation that computes it."""
    L, loss = experiment.depth, operation("loss", experiment.loss)
    last = operation("activation", experiment.activations[-1])
    if name in ("X", "Y"):
        return Allowance(0)
    if name == "losses" and loss.reads == "Z":
        return rounding.cross_entropy(read[f"Z{L}"], read["losses"])
    if name == "losses":
        return rounding.squared_error(read["losses"])
    if name == "penalty":
        return rounding.penalty([read[f"W{l}"] for l in range(1, L + 1)], read["penalty"])
    if name == "J":
        return rounding.cost(read["losses"], read.get("penalty", 0.0))
    if name == f"d{loss.reads}{L}":
        return rounding.output_gradient(read[name], last.value_units if loss.reads == "Z" else 0.0)
    if name.endswith("_next"):
        parameter = name.removesuffix("_next")
        moved_by = f"v{parameter}" if before else f"d{parameter}"
        return rounding.descent(read[parameter], read[moved_by], experiment.learning_rate)
    if name.startswith("v"):
        return rounding.velocity(before[name], read[f"d{name[1:]}"], experiment.beta)
    return _layer_allowance(experiment, name, read)


def _layer_allowance(experiment: Experiment, name: str, read: Arrays) -> Allowance:
    """The allowance of Z, A and their gradients, and of dW and db, in the layer that the name ends in."""
    stem, l = name.rstrip("0123456789"), int(name[len(name.rstrip("0123456789")) :])
    if stem == "dA":
        return rounding.input_gradient(read[f"W{l + 1}"], read[f"dZ{l + 1}"])
    row = operation("activation", experiment.activations[l - 1])
    if stem == "Z":
        return rounding.linear(read[f"W{l}"], read[f"A{l - 1}"], read[f"b{l}"])
    if stem == "A":
        return rounding.activation(row.value_units)
    if stem == "dZ":
        return rounding.hidden_gradient(read[name], read[f"dA{l}"], row.derivative_units)
    if stem == "dW":
        return rounding.weight_gradient(read[f"dZ{l}"], read[f"A{l - 1}"], read[f"W{l}"], experiment.l2)
    if stem == "db":
        return rounding.bias_gradient(read[f"dZ{l}"])
    raise KeyError(name)
