"""Deep linear networks: they collapse into one map, and explode or vanish with depth."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch

from handgrad.compare.notes.evidence import Evidence, Figure
from handgrad.compare.results import Curve, Plot
from handgrad.manual import activations, as_written
from handgrad.manual.network import Activation, linear

SIZES = (5, 4, 3, 1)
LINEAR = Activation(activations.identity, activations.identity_derivative)
Layers = list[tuple[np.ndarray, np.ndarray]]


def collapse() -> Evidence:
    """C0 and C1: layers with the identity as activation are the one map that they give for unit vectors and for 0."""
    layers, X = _layers(), _inputs()
    apart = float(np.max(np.abs(_through(layers, X) - _as_one_map(layers, X))))
    W = torch.linalg.multi_dot([torch.tensor(W) for W, _ in reversed(layers)])
    ours = _map_of(layers)
    rank = int(np.linalg.matrix_rank(ours))
    return Evidence(
        f"layers {'-'.join(map(str, SIZES))} and the one map W x + B are {apart:.0e} apart; W has rank {rank}, at most "
        f"the narrowest layer, {min(SIZES)}",
        (Figure("W[0, 0]", float(ours[0, 0]), float(W[0, 0])), Figure("largest deviation", apart, None)),
    )


def collapsed_bias() -> Evidence:
    """C2: what is left of the biases."""
    layers = _layers()
    ours = float(_through(layers, np.zeros((SIZES[0], 1)))[0, 0])
    (W1, b1), (W2, b2), (W3, b3) = layers
    W2b1, W3b2 = ([torch.tensor(part) for part in parts] for parts in ((W3, W2, b1), (W3, b2)))
    theirs = float((torch.linalg.multi_dot(W2b1) + torch.linalg.multi_dot(W3b2) + torch.tensor(b3))[0, 0])
    try:
        as_written.collapsed_bias(W2, W1, b1, W2, b2, b3)
        outcome = "as written it is another number"
    except ValueError:
        outcome = f"as written NumPy raises ValueError for {'-'.join(map(str, SIZES))}: the products do not fit"
    return Evidence(f"{outcome}; correct B = {ours:.6g}", (Figure("B", ours, theirs),))


def not_linear() -> Evidence:
    """C3: what an activation is for."""
    layers, X = _layers(), _inputs()
    bent = Activation(activations.tanh, activations.tanh_derivative)
    apart = [_additivity(layers, X, activation) for activation in (LINEAR, bent)]
    return Evidence(
        f"f(x + y) - f(x) - f(y) + f(0) is {apart[0]:.0e} for identity and {apart[1]:.2g} for tanh: an activation is "
        "there to escape linearity",
        (Figure("identity", apart[0], None), Figure("tanh", apart[1], None)),
    )


def without_bias() -> Evidence:
    """G1: without biases a deep linear network is the product of its weights."""
    layers = [(W, 0 * b) for W, b in _layers()]
    x = _inputs()[:, :1]
    ours = float(_through(layers, x)[0, 0])
    product = torch.linalg.multi_dot([*(torch.tensor(W) for W, _ in reversed(layers)), torch.tensor(x)])
    return Evidence(f"y = {ours:.6g} on both sides", (Figure("y", ours, float(product[0, 0])),))


def exploding() -> Evidence:
    """G2: W = 1.5 I in every layer."""
    return _powers(1.5, "infinite", lambda value: bool(np.isinf(value)))


def vanishing() -> Evidence:
    """G3: W = 0.5 I in every layer."""
    return _powers(0.5, "zero", lambda value: value == 0)


DEPTH = 50
"""The depth that the notes ask about."""


def _powers(factor: float, word: str, is_over: Callable[[float], bool]) -> Evidence:
    """What W = factor I makes of (1, 1), layer by layer, until nothing is left to see."""
    ours, theirs = _signals(factor, is_over)
    depth = len(ours) - 1
    layers = tuple(map(float, range(depth)))
    curves = tuple(Curve(side, layers, tuple(values[:-1])) for side, values in (("by hand", ours), ("torch", theirs)))
    text = f"In float32, up to the last layer before it is {word}."
    return Evidence(
        f"after {DEPTH} layers (1, 1) has become {ours[DEPTH]:.2g} times itself; float32 is {word} for L > {depth - 1}",
        (
            Figure(f"{factor}^{DEPTH}, float32", ours[DEPTH], theirs[DEPTH]),
            Figure(f"depth at which float32 is {word}", float(depth), float(depth) if is_over(theirs[-1]) else None),
        ),
        (Plot(f"{factor}^L against depth", "layers", "what is left of (1, 1)", curves, log=True, text=text),),
    )


def _signals(factor: float, is_over: Callable[[float], bool]) -> tuple[list[float], list[float]]:
    """The first entry after 0, 1, 2, ... layers with W = factor I in float32, by hand and in torch."""
    W = np.diag([factor, factor]).astype(np.float32)
    twin = torch.nn.Linear(2, 2, bias=False)
    A, V = np.ones((2, 1), np.float32), torch.ones(1, 2)
    ours, theirs = [1.0], [1.0]
    with torch.no_grad(), np.errstate(all="ignore"):
        twin.weight.copy_(torch.tensor(W))
        while not is_over(ours[-1]):
            A, V = linear(W, A, np.zeros((2, 1), np.float32)), twin(V)
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


def _map_of(layers: Layers) -> np.ndarray:
    """W, column by column: what the layers make of the unit vectors, less what they make of 0."""
    return np.asarray(_through(layers, np.eye(SIZES[0])) - _through(layers, np.zeros((SIZES[0], 1))))


def _as_one_map(layers: Layers, X: np.ndarray) -> np.ndarray:
    return linear(_map_of(layers), X, _through(layers, np.zeros((SIZES[0], 1))))


def _additivity(layers: Layers, X: np.ndarray, activation: Activation) -> float:
    x, y = X[:, :1], X[:, 1:2]
    f = [_through(layers, part, activation) for part in (x + y, x, y, 0 * x)]
    return float(np.max(np.abs(f[0] - f[1] - f[2] + f[3])))
