"""Steps of the notes' network in torch: on its own tensors, and each tensor on the records that it is computed from.

Forward, loss and backward by local replay; velocities and updated weights by torch's optimiser on the recorded V, g
and W. Steps of equal shapes may be stacked along a first axis and are then evaluated at once.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

import handgrad.torchref.exchange
import handgrad.torchref.network
import handgrad.torchref.optimizers
from handgrad.compare.experiment.settings import Experiment
from handgrad.compare.operations import operation
from handgrad.compare.oracle.replay import Replay, replay
from handgrad.compare.verdict import bounds as rounding
from handgrad.compare.verdict.bounds import Allowance

__all__ = ["LocalTwin", "allowance", "allowances", "operands"]

Arrays = Mapping[str, np.ndarray]


class LocalTwin:
    """The torch twin of an experiment, started from where the hand-written side started a step.

    `params` and `velocities` are what a step started from, `records` what it computed, X and Y among them.
    """

    def __init__(self, experiment: Experiment) -> None:
        """Build the reference."""
        self.experiment = experiment
        self.reference = handgrad.torchref.network.mlp(
            experiment.layers, experiment.activations, experiment.loss, l2=experiment.l2
        )

    def at_once(
        self, params: Arrays, velocities: Arrays, records: Arrays, *, dtype: str = "float64"
    ) -> dict[str, np.ndarray]:
        """Every tensor of stacked steps by name, those of the update too, evaluated on the records.

        Where records other than X and Y are missing, torch goes on with its own tensors.
        """
        leaves = {name: tensor.requires_grad_() for name, tensor in _views(params, dtype).items()}
        X, Y = _views({name: records[name] for name in ("X", "Y")}, dtype).values()
        found = replay(lambda: self.reference(leaves, X, Y), leaves, records, stacked=True)
        step = {**found.values, **found.gradients}
        return step | self.update(params, velocities, {**step, **records}, dtype=dtype)

    def replay(self, params: Arrays, records: Arrays, *, inspect: bool = False) -> Replay:
        """Forward, loss and backward of one step, replayed on its records in float64."""
        leaves = {name: tensor.requires_grad_() for name, tensor in _tensors(params).items()}
        batch = _tensors({name: records[name] for name in ("X", "Y")}).values()
        return replay(lambda: self.reference(leaves, *batch), leaves, records, inspect=inspect)

    def update(
        self, params: Arrays, velocities: Arrays, records: Arrays, *, dtype: str = "float64"
    ) -> dict[str, np.ndarray]:
        """Velocities from the recorded gradients and those before; updated weights from the recorded velocities."""
        rates = {"learning_rate": self.experiment.learning_rate, "beta": self.experiment.beta}
        W, g = _views(params, dtype), _views({f"d{name}": records[f"d{name}"] for name in params}, dtype)
        found = handgrad.torchref.optimizers.one_step(W, g, _views(velocities, dtype), **rates)
        if velocities and all(f"v{name}" in records for name in params):
            V = _views({f"d{name}": records[f"v{name}"] for name in params}, dtype)
            found |= handgrad.torchref.optimizers.one_step(W, V, {}, **rates)
        return {name: handgrad.torchref.exchange.view_of_tensor(tensor) for name, tensor in found.items()}


def _views(arrays: Arrays, dtype: str) -> dict[str, Tensor]:
    """Tensors in a dtype, on the memory of the arrays where it is theirs."""
    return {
        name: handgrad.torchref.exchange.view_of_array(array.astype(dtype, copy=False))
        for name, array in arrays.items()
    }


def _tensors(arrays: Arrays) -> dict[str, Tensor]:
    """Tensors in float64, in memory of their own."""
    return {
        name: handgrad.torchref.exchange.to_tensor(array.astype(np.float64, copy=False))
        for name, array in arrays.items()
    }


def allowances(experiment: Experiment, params: Arrays, velocities: Arrays, records: Arrays) -> dict[str, Allowance]:
    """What rounding can explain in each record of one step, from the values of what its operation reads.

    A record whose operands were not recorded has none; it is judged by the precision ladder alone.
    """
    read, before = operands(params, records), operands(velocities)
    found = {}
    for name in records:
        try:
            found[name] = allowance(experiment, name, read, before)
        except KeyError:  # an operand that was not recorded
            continue
    return found


def operands(*arrays: Arrays) -> dict[str, np.ndarray]:
    """What the operations of a step read, in float64; A0 is X."""
    read = {name: array.astype(np.float64, copy=False) for each in arrays for name, array in each.items()}
    return read | {"A0": read["X"]} if "X" in read else read


def allowance(experiment: Experiment, name: str, read: Arrays, before: Arrays) -> Allowance:
    """What rounding can explain in one record, by the operation that computes it; KeyError if an operand is not there.

    `read` holds operands by name, `before` the velocities from which the step started.
    """
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
