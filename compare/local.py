"""One step of the notes' network, each tensor evaluated by torch on the records that it is computed from.

Forward, loss and backward by local replay; velocities and updated weights by torch's optimiser on the recorded V, g
and W.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

import torchref.exchange
import torchref.network
import torchref.optimizers
from compare import rounding
from compare.experiment import Experiment
from compare.operations import operation
from compare.replay import Replay, replay
from compare.rounding import Allowance

__all__ = ["LocalStep", "allowances"]

Arrays = Mapping[str, np.ndarray]


class LocalStep:
    """The torch twin of an experiment in float64, built once, and set for every step to what the hand started from."""

    def __init__(self, experiment: Experiment, params: Arrays) -> None:
        """Build the reference and the optimisers; `params` gives the shapes."""
        self.experiment = experiment
        self.reference = torchref.network.mlp(
            experiment.layers, experiment.activations, experiment.loss, l2=experiment.l2
        )
        wide = {name: torchref.exchange.to_tensor(array.astype(np.float64)) for name, array in params.items()}
        self.leaves = {name: tensor.requires_grad_() for name, tensor in wide.items()}
        rates = {"learning_rate": experiment.learning_rate, "beta": experiment.beta}
        self.optimizer = operation("optimizer", experiment.optimizer).twin()(self.leaves, **rates)
        self.descent = torchref.optimizers.gradient_descent(self.leaves, **rates)

    def replay(self, params: Arrays, records: Arrays, *, inspect: bool) -> Replay:
        """Forward, loss and backward of the step that starts from `params`, replayed on its records."""
        self._set(params)
        X, Y = (torchref.exchange.to_tensor(records[name].astype(np.float64)) for name in ("X", "Y"))
        return replay(lambda: self.reference(self.leaves, X, Y), self.leaves, records, inspect=inspect)

    def update(self, params: Arrays, velocities: Arrays, records: Arrays) -> dict[str, np.ndarray]:
        """Velocities from the recorded gradients and those before; updated weights from the recorded velocities."""
        updated = self._step(self.optimizer, params, {name: records[f"d{name}"] for name in params}, velocities)
        if not velocities:
            return updated
        moved = torchref.optimizers.velocities(self.optimizer, self.leaves)
        found = {name: torchref.exchange.to_array(V) for name, V in moved.items()}
        if all(f"v{name}" in records for name in params):
            updated = self._step(self.descent, params, {name: records[f"v{name}"] for name in params}, {})
        return found | updated

    def _step(
        self, optimizer: torch.optim.SGD, params: Arrays, gradients: Arrays, velocities: Arrays
    ) -> dict[str, np.ndarray]:
        self._set(params)
        for name, leaf in self.leaves.items():
            leaf.grad = torchref.exchange.to_tensor(gradients[name].astype(np.float64))
        if velocities:
            torchref.optimizers.set_velocities(optimizer, self.leaves, velocities)
        torchref.optimizers.step(optimizer)
        return {f"{name}_next": torchref.exchange.to_array(leaf) for name, leaf in self.leaves.items()}

    def _set(self, params: Arrays) -> None:
        with torch.no_grad():
            for name, leaf in self.leaves.items():
                leaf.copy_(torchref.exchange.to_tensor(params[name]))


def allowances(experiment: Experiment, params: Arrays, velocities: Arrays, records: Arrays) -> dict[str, Allowance]:
    """What rounding can explain in each record of one step, from the values of what its operation reads.

    A record whose operands were not recorded has none; it is judged by the precision ladder alone.
    """
    read = {name: array.astype(np.float64) for name, array in {**params, **records}.items()}
    before = {name: array.astype(np.float64) for name, array in velocities.items()}
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
        return rounding.cost(read["losses"], float(read.get("penalty", np.zeros(()))))
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
