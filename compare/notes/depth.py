"""Deep linear networks: they collapse into one map, and explode or vanish with depth."""

from itertools import pairwise
from math import inf

import numpy as np
import torch

from handgrad.compare.notes.evidence import Evidence, curves, evidence, figure
from handgrad.compare.notes.language import Sentence
from handgrad.compare.results import Plot
from handgrad.manual import activations, as_written
from handgrad.manual.network import Activation, linear

SIZES = (5, 4, 3, 1)
LINEAR = Activation(activations.identity, activations.identity_derivative, "Z")
Layers = list[tuple[np.ndarray, np.ndarray]]


def collapse() -> Evidence:
    """C0 and C1: layers with the identity as activation are the one map that they give for unit vectors and for 0."""
    layers, X = _layers(), _inputs()
    B = _through(layers, np.zeros((SIZES[0], 1)))
    W = _through(layers, np.eye(SIZES[0])) - B
    apart = np.max(np.abs(_through(layers, X) - linear(W, X, B)))
    return evidence(
        Sentence(
            "layers {sizes} and the one map W x + B are {apart:.0e} apart; W has rank {rank}, at most the narrowest "
            "layer, {narrowest}",
            sizes="-".join(map(str, SIZES)),
            apart=apart,
            rank=np.linalg.matrix_rank(W),
            narrowest=min(SIZES),
        ),
        figure("W[0, 0]", W[0, 0], _product(layers)),
        figure("largest deviation", apart),
    )


def collapsed_bias() -> Evidence:
    """C2: what is left of the biases."""
    layers = _layers()
    B = _through(layers, np.zeros((SIZES[0], 1))).item()
    (W1, b1), (W2, b2), (_, b3) = layers
    theirs = _product(layers[1:], b1) + _product(layers[2:], b2) + b3.item()
    try:
        as_written.collapsed_bias(W2, W1, b1, W2, b2, b3)
        outcome = Sentence("as written it is another number; correct B = {B:.6g}", B=B)
    except ValueError:
        outcome = Sentence(
            "as written NumPy raises ValueError for {sizes}: the products do not fit; correct B = {B:.6g}",
            sizes="-".join(map(str, SIZES)),
            B=B,
        )
    return evidence(outcome, figure("B", B, theirs))


def not_linear() -> Evidence:
    """C3: what an activation is for."""
    bent = Activation(activations.tanh, activations.tanh_derivative, "A")
    straight, curved = map(_additivity, (LINEAR, bent))
    return evidence(
        Sentence(
            "f(x + y) - f(x) - f(y) + f(0) is {straight:.0e} for identity and {curved:.2g} for tanh: an activation is "
            "there to escape linearity",
            straight=straight,
            curved=curved,
        ),
        figure("identity", straight),
        figure("tanh", curved),
    )


def without_bias() -> Evidence:
    """G1: without biases a deep linear network is the product of its weights."""
    layers, x = [(W, 0 * b) for W, b in _layers()], _inputs()[:, :1]
    y = _through(layers, x).item()
    return evidence(Sentence("y = {y:.6g} on both sides", y=y), figure("y", y, _product(layers, x)))


DEPTH = 50
"""The depth that the notes ask about."""
EXPLODES = (
    "after {depth} layers (1, 1) has become {times:.2g} times itself; float32 is infinite for L > {last}",
    "depth at which float32 is infinite",
    "In float32, up to the last layer before it is infinite.",
)
VANISHES = (
    "after {depth} layers (1, 1) has become {times:.2g} times itself; float32 is zero for L > {last}",
    "depth at which float32 is zero",
    "In float32, up to the last layer before it is zero.",
)
ENDS = (0.0, inf)
"""Where a signal stays for ever."""


def powers(factor: float) -> Evidence:
    """G2 and G3: what W = factor I makes of (1, 1), layer by layer, until nothing is left to see."""
    ours, theirs = _signals(factor)
    depth, explodes = len(ours) - 1, bool(ours[-1])
    sides = curves({"by hand": ours[:-1], "torch": theirs[:-1]})
    said, name, text = EXPLODES if explodes else VANISHES
    title = Sentence("{factor}^L against depth", factor=factor)
    return evidence(
        Sentence(said, depth=DEPTH, times=ours[DEPTH], last=depth - 1),
        figure(f"{factor}^{DEPTH}, float32", ours[DEPTH], theirs[DEPTH]),
        figure(name, depth, depth if theirs[-1] in ENDS else None),
        plots=(Plot(title, "layers", "what is left of (1, 1)", sides, log=True, text=text),),
    )


def _signals(factor: float) -> tuple[list[float], list[float]]:
    """The first entry after 0, 1, 2, ... layers with W = factor I in float32, by hand and in torch."""
    W, b = factor * np.eye(2, dtype=np.float32), np.zeros((2, 1), np.float32)
    A, V = np.ones((2, 1), np.float32), torch.ones(1, 2)
    ours, theirs = [1.0], [1.0]
    with np.errstate(all="ignore"):
        while ours[-1] not in ENDS:
            A, V = linear(W, A, b), torch.nn.functional.linear(V, torch.tensor(W))
            ours.append(float(A[0, 0]))
            theirs.append(float(V[0, 0]))
    return ours, theirs


def _layers() -> Layers:
    rng = np.random.default_rng(8)
    return [(rng.standard_normal((o, i)), rng.standard_normal((o, 1))) for i, o in pairwise(SIZES)]


def _inputs() -> np.ndarray:
    return np.random.default_rng(9).standard_normal((SIZES[0], 6))


def _through(layers: Layers, X: np.ndarray, activation: Activation = LINEAR) -> np.ndarray:
    for W, b in layers:
        X = activation.value(linear(W, X, b))
    return X


def _product(layers: Layers, *factors: np.ndarray) -> float:
    """The first entry of W[L] ... W[1] and further factors, by torch."""
    matrices = (*(W for W, _ in reversed(layers)), *factors)
    return float(torch.linalg.multi_dot([torch.tensor(matrix) for matrix in matrices])[0, 0])


def _additivity(activation: Activation) -> float:
    """How far the layers with that activation are from being additive."""
    x, y = _inputs()[:, :1], _inputs()[:, 1:2]
    of_sum, of_x, of_y, of_0 = (_through(_layers(), part, activation).item() for part in (x + y, x, y, 0 * x))
    return float(abs(of_sum - of_x - of_y + of_0))
