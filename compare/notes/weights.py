"""Initial weights: what their spread does, and what the formulas are called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import isclose, sqrt

import numpy as np
import torch
from torch.nn.init import kaiming_normal_, normal_, xavier_normal_

import handgrad.manual.initializers as by_hand
from handgrad.compare.notes.evidence import Evidence, Figure
from handgrad.compare.operations import operation
from handgrad.compare.results import Curve, Plot
from handgrad.manual import as_written
from handgrad.manual.activations import relu
from handgrad.manual.network import Activation, Network, linear
from handgrad.manual.optimizers import gradient_descent
from handgrad.manual.training import train

Initializer = Callable[[torch.Tensor], torch.Tensor]


def variance() -> Evidence:
    """I1: the variance of z for n = 2500 inputs of variance 1."""
    n = 2500
    rng = np.random.default_rng(12)
    x = rng.standard_normal((n, 400))
    z = {f: linear(by_hand.draw(f, (40, n), rng), x, np.zeros((40, 1))).var() for f in _FORMULAS}
    written, right = (float(z[f]) for f in _FORMULAS)
    torch.manual_seed(12)
    weight = normal_(torch.empty(40, n, dtype=torch.float64), std=sqrt(1 / n))
    theirs = float(torch.nn.functional.linear(torch.tensor(x.T), weight).var())
    return Evidence(
        f"n = {n}, inputs of variance 1: Var z is {right:.4g} with deviation 1/sqrt(n), {written:.2g} with 1/n",
        (Figure("Var z, 1/sqrt(n)", right, theirs), Figure("Var z, 1/n as written", written, None)),
    )


_FORMULAS = (as_written.standard_deviation, by_hand.lecun)


def draw() -> Evidence:
    """I2: the standard deviation of a draw for n = 2."""
    deviation = float(by_hand.draw(by_hand.lecun, (200_000, 2), np.random.default_rng(13)).std())
    torch.manual_seed(13)
    theirs = float(normal_(torch.empty(200_000, 2), std=sqrt(1 / 2)).std())
    return Evidence(
        f"for n = 2 the weights have standard deviation {deviation:.3f}, 1/sqrt(2) = {sqrt(0.5):.3f}",
        (Figure("standard deviation, n = 2", deviation, theirs),),
    )


def he() -> Evidence:
    """I3: the scale for ReLU."""
    return _named("sqrt(2/n) is He's", by_hand.he(64, 256), partial(kaiming_normal_, nonlinearity="relu"))


def lecun_called_xavier() -> Evidence:
    """I4: the notes' "Xavier" is a fan-in form."""
    evidence = _named(
        "sqrt(1/n_in) is LeCun's, kaiming_normal_ with nonlinearity linear",
        by_hand.notes_xavier(64, 256),
        partial(kaiming_normal_, nonlinearity="linear"),
    )
    glorot, theirs = by_hand.glorot(64, 256), _exact(xavier_normal_)
    other = f"torch's xavier_normal_ is Glorot's, {theirs:.4g} for the same layer{_unless(glorot, theirs)}"
    return Evidence(f"{evidence.text}; {other}", (*evidence.figures, Figure("Glorot", glorot, theirs)))


def glorot_called_he() -> Evidence:
    """I5: thirty layers of 256 units with ReLU."""
    rng = np.random.default_rng(14)
    x = rng.standard_normal((256, 64))
    squares = {name: _mean_squares(f, x) for name, f in _NAMED.items()}
    written, right = (squares[name][-1] for name in ("Glorot, called He in the notes", "He"))
    return Evidence(
        f"after 30 layers of 256 units with ReLU the mean square is {written:.1e} as written, {right:.2g} with He's",
        (
            Figure("standard deviation as written", as_written.he(64, 256), _exact(xavier_normal_)),
            Figure("mean square as written", written, _mean_square_in_torch(xavier_normal_, x)),
            Figure("mean square with He's", right, _mean_square_in_torch(kaiming_normal_, x)),
        ),
        (
            Plot(
                "Mean square through 30 layers with ReLU",
                "layer",
                "mean square of A",
                tuple(Curve(name, tuple(map(float, range(31))), tuple(values)) for name, values in squares.items()),
                log=True,
                text="Only He's deviation keeps the signal.",
            ),
        ),
    )


_NAMED = {
    "He": by_hand.he,
    "Glorot, called He in the notes": as_written.he,
    "LeCun, called Xavier in the notes": by_hand.lecun,
    "0.01": by_hand.small,
    "1/n as written": as_written.standard_deviation,
}


def symmetry() -> Evidence:
    """I6: equal weights stay equal."""
    spread = {}
    for name, scale in (("equal", 0.0), ("drawn", 0.01)):
        rng = np.random.default_rng(15)
        X = rng.standard_normal((3, 40))
        Y = (X[:1] * X[1:2] > 0).astype(float)
        params = {"W1": 0.1 + scale * rng.standard_normal((4, 3)), "b1": np.zeros((4, 1))}
        params |= {"W2": np.full((1, 4), 0.1), "b2": np.zeros((1, 1))}
        spread[name] = _spreads(params, X, Y)
    equal, drawn = spread["equal"][-1], spread["drawn"][-1]
    steps = tuple(map(float, range(1, 201)))
    curves = tuple(Curve(f"begun {name}", steps, tuple(values)) for name, values in spread.items())
    return Evidence(
        f"after 200 steps the rows of W1 are {equal:.1g} apart where they began equal, {drawn:.2g} where they were "
        "drawn",
        (Figure("spread, begun equal", equal, None), Figure("spread, drawn", drawn, None)),
        (Plot("How far the rows of W1 are apart", "step", "spread", curves, text="Equal weights never separate."),),
    )


def _spreads(params: Mapping[str, np.ndarray], X: np.ndarray, Y: np.ndarray) -> list[float]:
    """How far the rows of W1 are apart after each of 200 steps."""
    hidden, last = (Activation(*operation("activation", name).hands()) for name in ("tanh", "sigmoid"))
    network = Network((hidden, last), operation("loss", "binary-cross-entropy").hands()[0])
    steps = train(network, params, {}, partial(gradient_descent, learning_rate=0.5), X, Y, [np.arange(40)] * 200)
    return [float(np.ptp(values["W1_next"], axis=0).max()) for _, phase, values in steps if phase == "update"]


def _named(text: str, ours: float, initializer: Initializer) -> Evidence:
    theirs = _exact(initializer)
    return Evidence(
        f"{text}: {theirs:.4g} for a layer 256-64{_unless(ours, theirs)}",
        (Figure("standard deviation", ours, theirs),),
    )


def _unless(ours: float, theirs: float) -> str:
    """What it is by hand, where that is something else."""
    return "" if isclose(ours, theirs, rel_tol=1e-9) else f", and by hand {ours:.4g}"


def _exact(initializer: Initializer) -> float:
    """The standard deviation that a torch initialiser gives a layer 256-64, from its scale on the same draw."""
    torch.manual_seed(0)
    drawn = initializer(torch.empty(64, 256, dtype=torch.float64))
    torch.manual_seed(0)
    return float(drawn[0, 0] / torch.empty(64, 256, dtype=torch.float64).normal_()[0, 0])


def _mean_squares(formula: Callable[[int, int], float], x: np.ndarray) -> list[float]:
    """The mean square of the input and after each of 30 layers."""
    rng = np.random.default_rng(16)
    squares = [float((x * x).mean())]
    for _ in range(30):
        x = relu(linear(by_hand.draw(formula, (256, 256), rng), x, np.zeros((256, 1))))
        squares.append(float((x * x).mean()))
    return squares


def _mean_square_in_torch(initializer: Initializer, x: np.ndarray) -> float:
    torch.manual_seed(16)
    rows = torch.tensor(x.T)
    for _ in range(30):
        rows = torch.relu(torch.nn.functional.linear(rows, initializer(torch.empty(256, 256, dtype=torch.float64))))
    return float((rows * rows).mean())
