"""Initial weights: what their spread does, and what the formulas are called."""

from collections.abc import Callable
from functools import partial
from math import isclose, sqrt
from typing import Any

import numpy as np
import torch
from torch.nn.init import kaiming_normal_, normal_, xavier_normal_

import handgrad.manual.initializers as by_hand
from handgrad.compare.experiment.run import Experiment
from handgrad.compare.experiment.sides import hand_network
from handgrad.compare.notes.evidence import Evidence, curves, evidence, figure
from handgrad.compare.notes.language import Sentence
from handgrad.compare.operations import operation
from handgrad.compare.results import Plot
from handgrad.manual import as_written
from handgrad.manual.activations import relu
from handgrad.manual.network import linear
from handgrad.manual.optimizers import gradient_descent
from handgrad.manual.training import train


def variance() -> Evidence:
    """I1: the variance of z for n = 2500 inputs of variance 1."""
    n = 2500
    rng = np.random.default_rng(12)
    x = rng.standard_normal((n, 400))
    written, right = (
        linear(by_hand.draw(formula, (40, n), rng), x, np.zeros((40, 1))).var()
        for formula in (as_written.standard_deviation, by_hand.lecun)
    )
    torch.manual_seed(12)
    weight = normal_(torch.empty(40, n, dtype=torch.float64), std=sqrt(1 / n))
    theirs = torch.nn.functional.linear(torch.tensor(x.T), weight).var()
    return evidence(
        Sentence(
            "n = {n}, inputs of variance 1: Var z is {right:.4g} with deviation 1/sqrt(n), {written:.2g} with 1/n",
            n=n,
            right=right,
            written=written,
        ),
        figure("Var z, 1/sqrt(n)", right, theirs),
        figure("Var z, 1/n as written", written),
    )


def draw() -> Evidence:
    """I2: the standard deviation of a draw for n = 2."""
    deviation = by_hand.draw(by_hand.lecun, (200_000, 2), np.random.default_rng(13)).std()
    torch.manual_seed(13)
    theirs = normal_(torch.empty(200_000, 2), std=sqrt(1 / 2)).std()
    return evidence(
        Sentence(
            "for n = 2 the weights have standard deviation {deviation:.3f}, 1/sqrt(2) = {expected:.3f}",
            deviation=deviation,
            expected=sqrt(0.5),
        ),
        figure("standard deviation, n = 2", deviation, theirs),
    )


def he() -> Evidence:
    """I3: the scale for ReLU."""
    return _named("sqrt(2/n) is He's: {deviation:.4g} for a layer 256-64", "he")


def lecun_called_xavier() -> Evidence:
    """I4: the notes' "Xavier" is a fan-in form."""
    words = "sqrt(1/n_in) is LeCun's, kaiming_normal_ with nonlinearity linear: {deviation:.4g} for a layer 256-64"
    lecun = _named(words, "notes-xavier")
    glorot = _named("torch's xavier_normal_ is Glorot's, {deviation:.4g} for the same layer", "glorot", "Glorot")
    return evidence(
        Sentence("{lecun}; {glorot}", lecun=lecun.text, glorot=glorot.text), *lecun.figures, *glorot.figures
    )


def glorot_called_he() -> Evidence:
    """I5: thirty layers of 256 units with ReLU."""
    x = np.random.default_rng(14).standard_normal((256, 64))
    squares = {name: _mean_squares(formula, x) for name, formula in _NAMED.items()}
    written, right = (squares[name][-1] for name in ("Glorot, called He in the notes", "He"))
    title, text = "Mean square through 30 layers with ReLU", "Only He's deviation keeps the signal."
    return evidence(
        Sentence(
            "after 30 layers of 256 units with ReLU the mean square is {written:.1e} as written, {right:.2g} with He's",
            written=written,
            right=right,
        ),
        figure("standard deviation as written", as_written.he(64, 256), _deviation(xavier_normal_)),
        figure("mean square as written", written, _mean_square_in_torch(xavier_normal_, x)),
        figure("mean square with He's", right, _mean_square_in_torch(kaiming_normal_, x)),
        plots=(Plot(title, "layer", "mean square of A", curves(squares), log=True, text=text),),
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
    spreads = {"begun equal": _spreads(0.0), "begun drawn": _spreads(0.01)}
    equal, drawn = (values[-1] for values in spreads.values())
    text = "Equal weights never separate."
    return evidence(
        Sentence(
            "after 200 steps the rows of W1 are {equal:.1g} apart where they began equal, {drawn:.2g} where they were "
            "drawn",
            equal=equal,
            drawn=drawn,
        ),
        figure("spread, begun equal", equal),
        figure("spread, drawn", drawn),
        plots=(Plot("How far the rows of W1 are apart", "step", "spread", curves(spreads, first=1), text=text),),
    )


def _spreads(scale: float) -> list[float]:
    """How far the rows of W1, drawn with that deviation around 0.1, are apart after each of 200 steps."""
    rng = np.random.default_rng(15)
    X = rng.standard_normal((3, 40))
    Y = (X[:1] * X[1:2] > 0).astype(float)
    params = {"W1": 0.1 + scale * rng.standard_normal((4, 3)), "b1": np.zeros((4, 1))}
    params |= {"W2": np.full((1, 4), 0.1), "b2": np.zeros((1, 1))}
    network = hand_network(Experiment(layers=(3, 4, 1), activations=("tanh", "sigmoid")))
    steps = train(network, params, {}, partial(gradient_descent, learning_rate=0.5), X, Y, [np.arange(40)] * 200)
    return [float(np.ptp(values["W1_next"], axis=0).max()) for _, phase, values in steps if phase == "update"]


def _named(words: str, initializer: str, name: str = "standard deviation") -> Evidence:
    """The standard deviation that an initialiser gives a layer 256-64: words with torch's, and ours if it differs."""
    row = operation("initializer", initializer)
    ours, theirs = row.hands()[0](64, 256), _deviation(row.twin())
    said = Sentence(words, deviation=float(theirs))
    if not isclose(ours, theirs, rel_tol=1e-9):
        said = Sentence("{said}, and by hand {ours:.4g}", said=said, ours=float(ours))
    return evidence(said, figure(name, ours, theirs))


def _deviation(initializer: Callable[[torch.Tensor], Any]) -> float:
    """The standard deviation that a torch initialiser gives a layer 256-64, from its scale on the same draw."""
    weight, unit = (torch.empty(64, 256, dtype=torch.float64) for _ in range(2))
    torch.manual_seed(0)
    initializer(weight)
    torch.manual_seed(0)
    return float(weight[0, 0] / unit.normal_()[0, 0])


def _mean_squares(formula: Callable[[int, int], float], x: np.ndarray) -> list[float]:
    """The mean square of the input and after each of 30 layers."""
    rng = np.random.default_rng(16)
    layers = [x]
    for _ in range(30):
        layers.append(relu(linear(by_hand.draw(formula, (256, 256), rng), layers[-1], np.zeros((256, 1)))))
    return [float((A * A).mean()) for A in layers]


def _mean_square_in_torch(initializer: Callable[[torch.Tensor], torch.Tensor], x: np.ndarray) -> torch.Tensor:
    torch.manual_seed(16)
    rows = torch.tensor(x.T)
    for _ in range(30):
        rows = torch.relu(torch.nn.functional.linear(rows, initializer(torch.empty(256, 256, dtype=torch.float64))))
    return (rows * rows).mean()
