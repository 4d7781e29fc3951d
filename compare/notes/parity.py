"""Statements that are equations of the network: both sides compared in two runs; gradients by differences of J too."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np

from handgrad.compare.experiment.run import Experiment, run
from handgrad.compare.experiment.sides import hand_network, initial_parameters
from handgrad.compare.names import gradient
from handgrad.compare.notes.evidence import Evidence, evidence, figure
from handgrad.compare.notes.language import Sentence
from handgrad.compare.operations import OPERATIONS, Operation
from handgrad.compare.report.report import Report
from handgrad.compare.results import Row
from handgrad.manual.network import backward, cost, forward

SEED = 20
AGREE = "{count} tensors agree, the largest difference is {rho:.2g} of what rounding explains"
DIFFER = "{count} tensors differ, the largest difference is {rho:.2g} times what rounding explains"


def parity(label: str) -> Callable[[], Evidence]:
    """The evidence on one equation label: how close both sides came to being flagged; B also by finite differences."""
    return partial(_agreement, label)


def parity_of(row: Operation, label: str) -> Callable[[], Evidence]:
    """The evidence on an operation that was supplied: how close both sides came to being flagged in a run with it."""
    labels = row.equations if row.kind == "activation" else (label,)  # what it computes has the network's labels
    return lambda: _closeness([each for each in _with_operation(row).rows if each.equation in labels])


def _with_operation(row: Operation) -> Report:
    """A run with the operation in place of its kind."""
    settings, X, y = _first()
    if row.kind == "activation" and len(row.by_hand) == 2:
        return run(replace(settings, activations=(row.name, row.name, settings.activations[-1])), (X, y))
    if row.kind == "activation":  # it stands last, before its loss
        row = next(loss for loss in OPERATIONS if loss.kind == "loss" and loss.last == row.name)
    activations = (*settings.activations[:-1], row.last or settings.activations[-1])
    chosen: dict[str, Any] = {row.kind: row.name, "activations": activations}
    return run(replace(settings, **chosen), (X, y))


def _agreement(label: str) -> Evidence:
    found = _closeness([row for report in runs() for row in report.rows if row.equation == label])
    if label[0] != "B":
        return found
    name, by_hand, numeric = _by_differences(label)
    off = abs(by_hand / numeric - 1)
    text = Sentence("{found}; central differences of J give {name} to {off:.0e}", found=found.text, name=name, off=off)
    title = Sentence("{name}, central differences in the torch column", name=name)
    by_differences = figure(title, by_hand, numeric)
    return evidence(text, *found.figures, by_differences)


def _closeness(rows: Sequence[Row]) -> Evidence:
    """How many tensors agree, and the one that came closest to being flagged."""
    closest = max(rows, key=lambda row: row.rho or 0.0)
    wrong = sum(row.verdict != "OK" for row in rows)
    text = Sentence(DIFFER if wrong else AGREE, count=wrong or len(rows), rho=closest.rho)
    name = Sentence("{name} at step {step}", name=closest.name, step=closest.step)
    return evidence(text, figure(name, closest.by_hand, closest.torch))


@cache
def runs() -> tuple[Report, Report]:
    """Momentum with cross-entropy and weight decay, and gradient descent with squared error, run once."""
    first, X, y = _first()
    second = replace(
        first, layers=(5, 4, 2), activations=("sigmoid", "identity"), loss="squared-error", optimizer="gradient-descent"
    )
    return run(first, (X, y)), run(second, (X, y))


def _first() -> tuple[Experiment, np.ndarray, np.ndarray]:
    """Momentum with cross-entropy and weight decay, and its data."""
    rng = np.random.default_rng(SEED)
    X, y = rng.standard_normal((22, 5)), np.eye(2)[rng.integers(2, size=22)]
    layers, activations = (5, 7, 4, 2), ("tanh", "relu", "sigmoid")
    return Experiment(layers, activations, bias_scale=0.5, l2=0.1, batch_size=8, seed=SEED), X, y


def _by_differences(label: str) -> tuple[str, float, float]:
    """A gradient of the first layer, which every equation of the backward pass enters, against differences of J."""
    experiment = Experiment(layers=(5, 4, 2), activations=("tanh", "sigmoid"), bias_scale=0.5, seed=SEED)
    network = hand_network(experiment)
    rng = np.random.default_rng(SEED)
    X, Y = rng.standard_normal((5, 9)), (rng.random((2, 9)) < 0.5).astype(float)
    params = initial_parameters(experiment)
    name, at = {"B1": ("b2", (1, 0)), "B2": ("W1", (2, 3)), "B3": ("b1", (1, 0))}.get(label, ("W1", (0, 1)))
    returned = backward(network, params, forward(network, params, X), X, Y)[gradient(name)][at]

    def J(step: float) -> float:
        moved = {**params, name: params[name].copy()}
        moved[name][at] += step
        return float(cost(network, moved, forward(network, moved, X), Y)["J"])

    return f"{gradient(name)}{list(at)}", float(returned), (J(1e-6) - J(-1e-6)) / 2e-6
