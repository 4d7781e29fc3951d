"""What rounding can explain in each record of the notes' network, by the operation that computes it."""

from __future__ import annotations

import numpy as np

from handgrad.compare.experiment.settings import Settings
from handgrad.compare.names import gradient, is_updated, layered, of_updated, of_velocity, velocity
from handgrad.compare.operations import equation_of, operation
from handgrad.compare.trace import Arrays
from handgrad.compare.verdict import bounds
from handgrad.compare.verdict.bounds import Allowance


def label_of(settings: Settings, name: str) -> str:
    """The equation label of a record of the notes' network."""
    return equation_of(name, depth=settings.depth, loss=settings.loss, optimizer=settings.optimizer)


def allowances(settings: Settings, params: Arrays, velocities: Arrays, records: Arrays) -> dict[str, Allowance]:
    """What rounding can explain in each record of one step, from the values of what its operation reads.

    A record whose operands were not recorded has none; it is judged by the precision ladder alone.
    """
    read, before = operands(params, records), operands(velocities)
    found = {}
    for name in records:
        try:
            found[name] = allowance(settings, name, read, before)
        except KeyError:  # an operand that was not recorded
            continue
    return found


def operands(*arrays: Arrays) -> dict[str, np.ndarray]:
    """What the operations of a step read, in float64; A0 is X."""
    read = {name: array.astype(np.float64, copy=False) for each in arrays for name, array in each.items()}
    return read | {"A0": read["X"]} if "X" in read else read


def allowance(settings: Settings, name: str, read: Arrays, before: Arrays) -> Allowance:
    """What rounding can explain in one record, by the operation that computes it; KeyError if an operand is not there.

    `read` holds operands by name, `before` the velocities from which the step started.
    """
    L, loss = settings.depth, operation("loss", settings.loss)
    last = operation("activation", settings.activations[-1])
    if name in ("X", "Y"):
        return Allowance(0)
    if name == "losses" and loss.reads == "Z":
        return bounds.cross_entropy(read[f"Z{L}"], read["losses"])
    if name == "losses":
        return bounds.squared_error(read["losses"])
    if name == "penalty":
        return bounds.penalty([read[f"W{l}"] for l in range(1, L + 1)], read["penalty"])
    if name == "J":
        return bounds.cost(read["losses"], read.get("penalty", 0.0))
    if name == gradient(f"{loss.reads}{L}"):
        return bounds.output_gradient(read[name], last.value_units if loss.reads == "Z" else 0.0)
    if is_updated(name):
        parameter = of_updated(name)
        moved_by = velocity(parameter) if before else gradient(parameter)
        return bounds.descent(read[parameter], read[moved_by], settings.learning_rate)
    if of_velocity(name):
        return bounds.velocity(before[name], read[gradient(of_velocity(name))], settings.beta)
    return _layer_allowance(settings, name, read)


def _layer_allowance(settings: Settings, name: str, read: Arrays) -> Allowance:
    """The allowance of Z, A and their gradients, and of dW and db, in the layer that the name ends in."""
    stem, l = layered(name)
    if l is None:
        raise KeyError(name)
    if stem == "dA":
        return bounds.input_gradient(read[f"W{l + 1}"], read[f"dZ{l + 1}"])
    row = operation("activation", settings.activations[l - 1])
    if stem == "Z":
        return bounds.linear(read[f"W{l}"], read[f"A{l - 1}"], read[f"b{l}"])
    if stem == "A":
        return bounds.activation(row.value_units)
    if stem == "dZ":
        return bounds.hidden_gradient(read[name], read[f"dA{l}"], row.derivative_units)
    if stem == "dW":
        return bounds.weight_gradient(read[f"dZ{l}"], read[f"A{l - 1}"], read[f"W{l}"], settings.l2)
    if stem == "db":
        return bounds.bias_gradient(read[f"dZ{l}"])
    raise KeyError(name)
