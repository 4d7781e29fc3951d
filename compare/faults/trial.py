"""A mistake of the catalogue on trial: planted in a run that shows it, drawn at random, and checked."""

import importlib
from typing import Any, NamedTuple

import numpy as np

from handgrad.compare.checks.files import CHECKS
from handgrad.compare.experiment.run import Experiment, run
from handgrad.compare.faults.catalogue import Fault, Needs
from handgrad.compare.faults.planting import edited, planted
from handgrad.compare.operations import operation
from handgrad.compare.report.report import Report

Fixture = tuple[Experiment, tuple[np.ndarray, np.ndarray]]
"""A run of the notes' network: its settings, and its data X (N, n_x) and y (N, K)."""


class Trial(NamedTuple):
    """What a check said of a mistake, and the name of the tensor that had to be found first."""

    report: Report
    first: str


def trial(fault: Fault, rng: np.random.Generator) -> Trial:
    """Plant a mistake in a run that is drawn at random and shows it, and check that; one without edits is right."""
    if not fault.is_of_network:
        return Trial(_check_of_problem(fault, rng), fault.first)
    experiment, data = fixture(fault.needs, rng)
    hand = planted(fault.module, fault.edits_for(experiment.batch_size))
    return Trial(run(experiment, data, hand=hand), expected_first(fault, experiment))


def _check_of_problem(fault: Fault, rng: np.random.Generator) -> Report:
    """The check that a problem is for, of its code with the mistake in it."""
    names: dict[str, Any] = {"__name__": fault.module}
    exec(compile(edited(importlib.import_module(fault.module), fault.edits), f"{fault.name}.py", "exec"), names)
    names |= names["draw"](rng)
    (check,) = (check for check in CHECKS.values() if all(need in names for need in check.needs))
    return check.run(names)


def expected_first(fault: Fault, experiment: Experiment) -> str:
    """The name of the tensor that must be found first in a run of the notes' network."""
    L = experiment.depth
    return fault.first.format(L=L, H=L - 1, R=operation("loss", experiment.loss).reads)


def fixture(needs: Needs, rng: np.random.Generator) -> Fixture:
    """A network and data with all that a mistake needs to show, the rest at random."""
    layers, activations = _network(needs, rng)
    drawn = int(rng.integers(4, 8))
    batch_size = needs.batch_size or drawn
    N = 3 * batch_size + (0 if needs.even else int(rng.integers(2, batch_size)))
    learning_rate, beta, draw = rng.uniform(0.01, 0.3), rng.uniform(0.6, 0.95), rng.random()
    decays = draw < 0.5 if needs.l2 is None else needs.l2
    experiment = Experiment(
        layers,
        activations,
        needs.loss,
        bias_scale=0.0 if needs.exact_zeros else 0.5,
        learning_rate=learning_rate,
        beta=beta,
        l2=rng.uniform(0.01, 0.2) if decays else 0.0,
        batch_size=batch_size,
        steps=needs.steps,
        seed=int(rng.integers(2**31)),
    )
    X = rng.standard_normal((N, layers[0])) * (1000.0 if needs.saturated else 1.0)
    if needs.exact_zeros:
        X[::2] = 0.0
    y = (rng.standard_normal((N, layers[-1])) > 0).astype(float)
    y[0], y[1] = 0.0, 1.0
    return experiment, (X, y)


def _network(needs: Needs, rng: np.random.Generator) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The widths, from the input to the output, and the activations."""
    depth, outputs, size = (int(rng.integers(*bounds)) for bounds in ((2, 5), (1, 4), (4, 7)))
    widths = (int(n) for n in rng.permutation(np.arange(4, 12))[:depth])
    layers = (size,) * (depth + 1) if needs.square else (*widths, needs.outputs or outputs)
    last = operation("loss", needs.loss).last or str(rng.choice(["identity", "tanh"]))
    hidden = tuple(str(rng.choice(needs.hidden)) for _ in range(depth - 1))
    if needs.activations:
        hidden = tuple(needs.activations[(l + 1) % 2] for l in range(depth - 1))
    return layers, (*hidden, last)
