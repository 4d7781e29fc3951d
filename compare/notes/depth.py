"""Deep linear networks: they collapse into one map, and explode or vanish with depth."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch

import handgrad.manual.activations
import handgrad.manual.as_written
from handgrad.compare.notes import Evidence, Figure
from handgrad.compare.report.details import Line, Plot
from handgrad.manual.network import Activation, linear

__all__ = ["collapse", "collapsed_bias", "exploding", "not_linear", "vanishing", "without_bias"]

SIZES = (5, 4, 3, 1)
LINEAR = Activation(handgrad.manual.activations.identity, handgrad.manual.activations.identity_derivative)
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
    (_, b1), (W2, b2), (W3, b3) = (tuple(map(torch.tensor, layer)) for layer in layers)
    theirs = float((torch.linalg.multi_dot([W3, W2, b1]) + torch.mm(W3, b2) + b3)[0, 0])
    try:
        (W1, c1), (V2, c2), (_, c3) = layers
        handgrad.manual.as_written.collapsed_bias(V2, W1, c1, V2, c2, c3)
        said = "as written it is another number"
    except ValueError as error:
        said = f"as written NumPy raises ValueError for {'-'.join(map(str, SIZES))}: {str(error).partition(' (')[0]}"
    return Evidence(f"{said}; correct B = {ours:.6g}", (Figure("B", ours, theirs),))


def not_linear() -> Evidence:
    """C3: what an activation is for."""
    layers, X = _layers(), _inputs()
    bent = Activation(handgrad.manual.activations.tanh, handgrad.manual.activations.tanh_derivative)
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
    return _powers(1.5, "infinite", np.isinf)


def vanishing() -> Evidence:
    """G3: W = 0.5 I in every layer."""
    return _powers(0.5, "zero", lambda value: value == 0)


def _powers(factor: float, word: str, over: object) -> Evidence:
    assert callable(over)
    W, x, ends = np.diag([factor, factor]), np.ones((2, 1)), {}
    ours, theirs = list[float](), list[float]()
    A, V, depth = x.astype(np.float32), torch.ones(2, 1, dtype=torch.float32), 0
    twin = torch.nn.Linear(2, 2, bias=False)
    with torch.no_grad(), np.errstate(all="ignore"):
        twin.weight.copy_(torch.tensor(W))
        while not over(A[0, 0]):
            ours.append(float(A[0, 0]))
            theirs.append(float(V[0, 0]))
            A, V, depth = linear(W.astype(np.float32), A, np.zeros((2, 1), np.float32)), twin(V.T).T, depth + 1
            if depth == 50:
                ends = {"by_hand": float(A[0, 0]), "torch": float(V[0, 0])}
    return Evidence(
        f"after 50 layers (1, 1) has become {ends['by_hand']:.2g} times itself; float32 is {word} for L > {depth - 1}",
        (
            Figure(f"{factor}^50, float32", ends["by_hand"], ends["torch"]),
            Figure(f"depth at which float32 is {word}", float(depth), float(depth) if over(float(V[0, 0])) else None),
        ),
        (
            Plot(
                f"{factor}^L against depth",
                "layers",
                "what is left of (1, 1)",
                tuple(
                    Line(name, tuple(map(float, range(depth))), tuple(values))
                    for name, values in (("by hand", ours), ("torch", theirs))
                ),
                log=True,
                text=f"In float32, up to the last layer before it is {word}.",
            ),
        ),
    )


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
