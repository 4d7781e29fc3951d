"""Batches, the order of updates, and momentum."""

import numpy as np
import torch

from handgrad.compare.experiment.run import Experiment, run
from handgrad.compare.experiment.settings import Settings
from handgrad.compare.experiment.sides import hand_network, initial_parameters
from handgrad.compare.facts.fact import listed
from handgrad.compare.faults.catalogue import catalogue
from handgrad.compare.faults.planting import planted
from handgrad.compare.notes.evidence import Evidence, curves, evidence, figure
from handgrad.compare.notes.language import Sentence
from handgrad.compare.operations import operation
from handgrad.compare.results import Plot, Row
from handgrad.manual.batches import split
from handgrad.manual.network import backward, forward

CURVATURE, STEPS = np.array([[1.0], [50.0]]), 200
OPTIONS = Settings(learning_rate=0.0396, beta=0.9)
"""Of the quadratic that both optimisers go down."""


def batches() -> Evidence:
    """O1: how many updates an epoch has, and how far the gradient of its first batch is from that of all examples."""
    N, sizes = 569, (569, 1, 32)
    rng = np.random.default_rng(17)
    X = rng.standard_normal((30, N))
    Y = (X[:1] + 0.5 * rng.standard_normal((1, N)) > 0).astype(float)
    whole = _gradient(X, Y)
    cut = {size: [*split(rng.permutation(N), size)] for size in sizes}
    apart = {size: np.mean([np.linalg.norm(_gradient(X[:, i], Y[:, i]) - whole) for i in cut[size]]) for size in sizes}
    return evidence(
        Sentence(
            "{N} examples in batches of {sizes}: {updates} updates an epoch, mean relative error of the gradient "
            "{errors}; the last batch of {size} has {left}",
            N=N,
            sizes=listed(sizes),
            updates=listed(map(len, cut.values())),
            errors=listed(f"{e / np.linalg.norm(whole):.2f}" for e in apart.values()),
            size=sizes[-1],
            left=N % sizes[-1],
        ),
        *(
            figure(
                Sentence("updates an epoch, batches of {size}", size=size),
                len(cut[size]),
                len(torch.split(torch.arange(N), size)),
            )
            for size in sizes
        ),
    )


def _gradient(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    experiment = Experiment(layers=(30, 8, 1), activations=("tanh", "sigmoid"), seed=17)
    network, params = hand_network(experiment), initial_parameters(experiment)
    return backward(network, params, forward(network, params, X), X, Y)["dW1"].ravel()


def updated_too_early() -> Evidence:
    """U1: weights updated before they are used in backpropagation, at two rates."""
    wrong = {rate: _first_wrong(rate) for rate in ("0.1", "0.001")}
    fast, slow = (row.max_abs_diff / abs(row.torch or 1.0) for row in wrong.values())
    return evidence(
        Sentence(
            "updating W before it is used in backpropagation is the most reported bug of its kind: {name} is then "
            "{fast:.0e} off at a rate of 0.1 and {slow:.0e} at 0.001, {rho:.0e} times what rounding explains",
            name=wrong["0.1"].name,
            fast=fast,
            slow=slow,
            rho=wrong["0.001"].rho,
        ),
        *(
            figure(
                Sentence("{entry} at a rate of {rate}", entry=f"{row.name}{list(row.index or ())}", rate=rate),
                row.by_hand,
                row.torch,
            )
            for rate, row in wrong.items()
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
    names = ("gradient descent", "momentum")
    by_hand, in_torch = ([path(name.replace(" ", "-")) for name in names] for path in (_path, _path_in_torch))
    descent, momentum = map(figure, names, map(_sign_changes, by_hand), map(_sign_changes, in_torch))
    begun = curves({name: path[:61] for name, path in zip(names, by_hand, strict=True)})
    text = "Gradient descent jumps from side to side at every step, momentum swings a few times."
    return evidence(
        Sentence(
            "condition number 50, {steps} steps: gradient descent changes sign {descent:.0f} times along the steep "
            "direction, momentum {momentum:.0f}",
            steps=STEPS,
            descent=descent.by_hand,
            momentum=momentum.by_hand,
        ),
        descent,
        momentum,
        plots=(Plot("Along the steep direction", "step", "w", begun, text=text),),
    )


def _sign_changes(path: list[float]) -> int:
    return int(np.sum(np.diff(np.sign(path)) != 0))


def _path(name: str) -> list[float]:
    """The weight along the steep direction, step by step."""
    row = operation("optimizer", name)
    start, optimizer = row.hands()
    params, path = {"w": np.ones((2, 1))}, [1.0]
    state = start(params)
    for _ in range(STEPS):
        gradients = {"dw": CURVATURE * params["w"]}
        params, state = optimizer(params, gradients, state, **row.chosen(OPTIONS))
        path.append(float(params["w"][1, 0]))
    return path


def _path_in_torch(name: str) -> list[float]:
    """The same by torch's optimiser."""
    w = torch.ones(2, 1, dtype=torch.float64, requires_grad=True)
    row = operation("optimizer", name)
    optimizer = row.twin().build({"w": w}, **row.chosen(OPTIONS))
    curvature, path = torch.tensor(CURVATURE), [1.0]
    for _ in range(STEPS):
        (w.grad,) = torch.autograd.grad((curvature * w * w / 2).sum(), w)
        optimizer.step()
        path.append(float(w.detach()[1, 0]))
    return path
