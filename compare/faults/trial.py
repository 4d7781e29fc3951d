"""A fixture for an entry of the catalogue, drawn at random or the recommended one, and the check of it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np

from handgrad.compare.checks.files import CHECKS
from handgrad.compare.experiment.settings import Experiment
from handgrad.compare.faults import Fault
from handgrad.compare.faults.planting import edited, planted
from handgrad.compare.report import Report

__all__ = ["check", "expected_first", "fixture", "is_of_network"]

Fixture = tuple[Experiment, tuple[np.ndarray, np.ndarray]]


def is_of_network(fault: Fault) -> bool:
    """Whether the mistake is one in manual/."""
    return fault.module.startswith("handgrad.manual.")


def check(fault: Fault, rng: np.random.Generator, *, right: bool = False) -> tuple[Report, Fixture | None]:
    """Plant a mistake in a fixture that reveals it, drawn at random, and check it; `right` leaves the code as it is."""
    if is_of_network(fault):
        experiment, data = fixture(fault, rng)
        with nullcontext() if right else planted(fault.module, fault.edits_for(experiment.batch_size)):
            return experiment.run(data), (experiment, data)
    module = importlib.import_module(fault.module)
    if right:
        names: dict[str, Any] = dict(vars(module))
    else:
        names = {"__name__": fault.module}
        exec(compile(edited(module, fault.edits), f"{fault.name}.py", "exec"), names)
    names |= names["draw"](rng)
    (wanted,) = (each for each in CHECKS.values() if all(need in names for need in each.needs))
    return wanted.function(*(names[need] for need in wanted.needs)), None


def fixture(fault: Fault, rng: np.random.Generator) -> Fixture:
    """A network and data with all that a mistake needs to show, the rest at random."""
    needs: Mapping[str, Any] = fault.needs
    depth = int(rng.integers(2, 5))
    loss = needs.get("loss", "binary-cross-entropy")
    outputs = needs.get("outputs", int(rng.integers(1, 4)))
    size = int(rng.integers(4, 7))
    widths = [int(n) for n in rng.permutation(np.arange(4, 12))[:depth]]
    layers = (size,) * (depth + 1) if needs.get("square") else (*widths, outputs)
    outputs = layers[-1]
    hidden = needs.get("hidden", ("tanh", "sigmoid", "relu"))
    hidden = ("tanh", "sigmoid", "relu") if hidden == "any" else hidden
    last = "sigmoid" if loss == "binary-cross-entropy" else str(rng.choice(["identity", "tanh"]))
    activations = (*(str(rng.choice(hidden)) for _ in range(depth - 1)), last)
    if "activations" in needs:
        first, second = needs["activations"]
        activations = (*(first if l % 2 else second for l in range(depth - 1)), last)
    batch_size = int(needs.get("batch_size", rng.integers(4, 8)))
    N = 3 * batch_size + (0 if needs.get("even") else int(rng.integers(2, batch_size)))
    experiment = Experiment(
        layers=layers,
        activations=activations,
        loss=loss,
        bias_scale=0.5,
        learning_rate=float(rng.uniform(0.01, 0.3)),
        beta=float(rng.uniform(0.6, 0.95)),
        l2=float(rng.uniform(0.01, 0.2)) if needs.get("l2", bool(rng.random() < 0.5)) else 0.0,
        batch_size=batch_size,
        steps=needs.get("steps", 5),
        optimizer=needs.get("optimizer", "momentum"),
        seed=int(rng.integers(2**31)),
    )
    X = rng.standard_normal((N, layers[0]))
    if needs.get("exact_zeros"):
        X[::2] = 0.0
        experiment = replace(experiment, bias_scale=0.0, steps=1)
    if needs.get("saturated"):
        X *= 1000.0
    y = (rng.standard_normal((N, outputs)) > 0).astype(float)
    y[0], y[1] = 0.0, 1.0
    return experiment, (X, y)


def expected_first(fault: Fault, experiment: Experiment | None) -> str:
    """The name of the tensor that must be found first."""
    if experiment is None:
        return fault.first
    L = experiment.depth
    read = "A" if experiment.loss == "squared-error" else "Z"
    return fault.first.format(L=L, H=L - 1, R=read)
