"""What rounding can explain in each record of the notes' network, by the operation that computes it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from handgrad.compare.experiment.settings import Settings
from handgrad.compare.names import COUNT, gradient, is_updated, layered, of_remembered, of_updated
from handgrad.compare.operations import Operation, equation_of, operation
from handgrad.compare.trace import Arrays
from handgrad.compare.verdict import bounds
from handgrad.compare.verdict.bounds import Allowance

Operands = Callable[[str], np.ndarray]  # a tensor that an operation reads, or computes, by its name in the registry


def label_of(settings: Settings, name: str) -> str:
    """The equation label of a record of the notes' network."""
    return equation_of(name, depth=settings.depth, loss=settings.loss, optimizer=settings.optimizer)


def allowances(settings: Settings, params: Arrays, state: Arrays, records: Arrays) -> dict[str, Allowance]:
    """What rounding can explain in each record of one step, from the values of what its operation reads.

    A record whose operands were not recorded has none; it is judged by the precision ladder alone.
    """
    read, before = operands(params, records), operands(state)
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

    `read` holds operands by name, `before` the state of the optimiser from which the step started.
    """
    L, loss = settings.depth, operation("loss", settings.loss)
    if name in ("X", "Y"):
        return Allowance(0)
    if name == "losses":
        return bounds.elementwise(_units(loss, name, _of_layer(read, L)))
    if name == "penalty":
        return bounds.penalty([read[f"W{l}"] for l in range(1, L + 1)], read["penalty"])
    if name == "J":
        return bounds.cost(read["losses"], read.get("penalty", 0.0))
    if name == gradient(f"{loss.reads}{L}"):
        last = operation("activation", settings.activations[-1])
        return bounds.output_gradient(read[name], _units(last, "A", _of_layer(read, L)) if loss.reads == "Z" else 0.0)
    row = operation("optimizer", settings.optimizer)
    if name == COUNT and COUNT in row.state:
        return Allowance(0)
    letter, of_state = of_remembered(name)
    if parameter := of_updated(name) if is_updated(name) else of_state if letter in row.state else "":
        of = _of_parameter(parameter, read, before)
        return bounds.elementwise(_units(row, name.replace(parameter, "w"), of, **row.chosen(settings)))
    return _layer_allowance(settings, name, read)


def _units(row: Operation, name: str, of: Operands, **options: float) -> float | np.ndarray:
    """How many units of roundoff a tensor that the operation computes may be off by."""
    units: float | np.ndarray = row.units[name](lambda operand: np.abs(of(operand)), **options)
    return units


def _of_layer(read: Arrays, l: int) -> Operands:
    """The tensors of a layer without its number, the losses and the labels."""
    return lambda name: read[name if name in ("losses", "Y") else f"{name}{l}"]


def _of_parameter(parameter: str, read: Arrays, before: Arrays) -> Operands:
    """The tensors of a parameter, which is called w, its gradient dw, the count; what the step started from: vw before.

    The count, which is 1 at least, is shaped to go with matrices.
    """

    def of(name: str) -> np.ndarray:
        if name == COUNT:
            return np.maximum(read[name], 1)[..., np.newaxis, np.newaxis]
        started, name = name.endswith(" before"), name.removesuffix(" before").replace("w", parameter)
        return before[name] if started else read[name]

    return of


def _layer_allowance(settings: Settings, name: str, read: Arrays) -> Allowance:
    """The allowance of Z, A and their gradients, and of dW and db, in the layer that the name ends in."""
    stem, l = layered(name)
    if l is None:
        raise KeyError(name)
    if stem == "dA":
        return bounds.input_gradient(read[f"W{l + 1}"], read[f"dZ{l + 1}"])
    row, of = operation("activation", settings.activations[l - 1]), _of_layer(read, l)
    if stem == "Z":
        return bounds.linear(read[f"W{l}"], read[f"A{l - 1}"], read[f"b{l}"])
    if stem in ("A", "dZ"):
        return bounds.elementwise(_units(row, stem, of)) if stem in row.units else Allowance(0)
    if stem == "dW":
        return bounds.weight_gradient(read[f"dZ{l}"], read[f"A{l - 1}"], read[f"W{l}"], settings.l2)
    if stem == "db":
        return bounds.bias_gradient(read[f"dZ{l}"])
    raise KeyError(name)
