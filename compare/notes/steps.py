"""Batches, the order of updates, and momentum."""

from __future__ import annotations

import numpy as np
import torch

from handgrad.compare.experiment.run import Experiment, run
from handgrad.compare.experiment.sides import hand_network, initial_parameters
from handgrad.compare.faults.catalogue import catalogue
from handgrad.compare.faults.planting import planted
from handgrad.compare.notes.evidence import Evidence, Figure
from handgrad.compare.operations import operation
from handgrad.compare.results import Curve, Plot, Row
from handgrad.manual.batches import split
from handgrad.manual.network import backward, forward

CURVATURE, RATE, STEPS = np.array([[1.0], [50.0]]), 0.0396, 200
"""Of the quadratic that both optimisers go down."""


def batches() -> Evidence:
    """O1: how many updates an epoch has, and how far the gradient of its first batch is from that of all examples."""
    N, sizes = 569, (569, 1, 32)
    rng = np.random.default_rng(17)
    X = rng.standard_normal((30, N))
    Y = (X[:1] + 0.5 * rng.standard_normal((1, N)) > 0).astype(float)
    whole = _gradient(X, Y)
    updates, errors = [], []
    for size in sizes:
        indices = [*split(rng.permutation(N), size)]
        updates.append(len(indices))
        apart = [np.linalg.norm(_gradient(X[:, i], Y[:, i]) - whole) for i in indices]
        errors.append(float(np.mean(apart) / np.linalg.norm(whole)))
    last = N % sizes[2]
    return Evidence(
        f"{N} examples in batches of {', '.join(map(str, sizes))}: {', '.join(map(str, updates))} updates an epoch, "
        f"mean relative error of the gradient {', '.join(f'{e:.2f}' for e in errors)}; the last batch of {sizes[2]} "
        f"has {last}",
        tuple(
            Figure(f"updates an epoch, batches of {size}", float(n), float(len(torch.split(torch.arange(N), size))))
            for size, n in zip(sizes, updates, strict=True)
        ),
    )


def _gradient(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    experiment = Experiment(layers=(30, 8, 1), activations=("tanh", "sigmoid"), seed=17)
    network, params = hand_network(experiment), initial_parameters(experiment)
    return backward(network, params, forward(network, params, X), X, Y)["dW1"].ravel()


def updated_too_early() -> Evidence:
    """U1: weights updated before they are used in backpropagation, at two rates."""
    rates = ("0.1", "0.001")
    wrong = [_first_wrong(rate) for rate in rates]
    shares = [row.max_abs_diff / abs(row.torch or 1.0) for row in wrong]
    return Evidence(
        f"updating W before it is used in backpropagation is the most reported bug of its kind: {wrong[0].name} is "
        f"then {shares[0]:.0e} off at a rate of 0.1 and {shares[1]:.0e} at 0.001, {wrong[1].rho:.0e} times what "
        "rounding explains",
        tuple(
            Figure(f"{row.name}{list(row.index or ())} at a rate of {rate}", row.by_hand, row.torch)
            for rate, row in zip(rates, wrong, strict=True)
        ),
    )


def _first_wrong(rate: str) -> Row:
    """The first tensor that differs where W is updated at a rate before it is used."""
    fault = catalogue()["backprop-through-updated-weights"]
    hand = planted(fault.module, [(right, wrong.replace("0.01", rate)) for right, wrong in fault.edits])
    rng = np.random.default_rng(18)
    X, y = rng.standard_normal((32, 6)), (rng.random((32, 1)) < 0.5).astype(float)
    experiment = Experiment(layers=(6, 8, 5, 1), activations=("tanh", "tanh", "sigmoid"), steps=1, seed=18)
    return next(row for row in run(experiment, (X, y), hand=hand).rows if row.verdict == "FAULT")


def oscillation() -> Evidence:
    """O4: sign changes along the steep direction of a quadratic with condition number 50."""
    paths = {name: (_path(name), _path_in_torch(name)) for name in ("gradient-descent", "momentum")}
    changes = {name: [_sign_changes(path) for path in sides] for name, sides in paths.items()}
    begun = tuple(map(float, range(61)))
    curves = tuple(Curve(name.replace("-", " "), begun, tuple(ours[:61])) for name, (ours, _) in paths.items())
    text = "Gradient descent jumps from side to side at every step, momentum swings a few times."
    return Evidence(
        f"condition number 50, {STEPS} steps: gradient descent changes sign {changes['gradient-descent'][0]} times "
        f"along the steep direction, momentum {changes['momentum'][0]}",
        tuple(Figure(name.replace("-", " "), *map(float, counts)) for name, counts in changes.items()),
        (Plot("Along the steep direction", "step", "w", curves, text=text),),
    )


def _sign_changes(path: list[float]) -> int:
    return int(np.sum(np.diff(np.sign(path)) != 0))


def _path(name: str) -> list[float]:
    """The weight along the steep direction, step by step."""
    start, optimizer = operation("optimizer", name).hands()
    params, path = {"w": np.ones((2, 1))}, [1.0]
    velocities = start(params)
    for _ in range(STEPS):
        gradients = {"dw": CURVATURE * params["w"]}
        params, velocities = optimizer(params, gradients, velocities, learning_rate=RATE, beta=0.9)
        path.append(float(params["w"][1, 0]))
    return path


def _path_in_torch(name: str) -> list[float]:
    """The same by torch's optimiser."""
    w = torch.ones(2, 1, dtype=torch.float64, requires_grad=True)
    optimizer = operation("optimizer", name).twin()({"w": w}, learning_rate=RATE, beta=0.9)
    curvature, path = torch.tensor(CURVATURE), [1.0]
    for _ in range(STEPS):
        optimizer.zero_grad()
        (curvature * w * w / 2).sum().backward()  # type: ignore[no-untyped-call]  # torch annotates no return type
        optimizer.step()
        path.append(float(w.detach()[1, 0]))
    return path
