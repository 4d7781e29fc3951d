"""Derivations where float32 says nothing: at kinks, in long recurrences, near a singular matrix, far from the origin.

Each takes the factor that its gradient is off by, and gives the arguments of check_gradients.
"""

import numpy as np
import torch

from tests.corpus.layers import Layer

__all__ = ["PROBLEMS", "inverse", "logistic", "recurrent"]

WHOLE = np.random.default_rng(0).integers(-3, 4, (6, 3)).astype(float)


def relu(factor: float) -> Layer:
    """Whole numbers, so that relu stands at its kink."""

    def derivation(p, X):
        Z = X @ p["w"]
        return {"J": np.maximum(Z, 0).sum(), "dw": factor * X.T @ (Z > 0).astype(X.dtype)}

    return Layer(derivation, lambda p, X: torch.relu(X @ p["w"]).sum(), {"w": np.ones(3)}, (WHOLE,))


def largest(factor: float) -> Layer:
    """A maximum that two entries share."""

    def derivation(p, X):
        Z = X * p["w"]
        first = np.arange(X.shape[1]) == Z.argmax(axis=1)[:, None]
        return {"J": Z.max(axis=1).sum(), "dw": factor * (first * X).sum(axis=0)}

    X = np.array([[2.0, 2, 1]])
    return Layer(derivation, lambda p, X: (X * p["w"]).max(1).values.sum(), {"w": np.ones(3)}, (X,))


def absolute(factor: float) -> Layer:
    """Residuals that are exactly zero."""

    def derivation(p, X, Y):
        residuals = X @ p["w"] - Y
        return {"J": np.abs(residuals).sum(), "dw": factor * X.T @ np.sign(residuals)}

    targets = WHOLE.sum(axis=1) + (np.arange(6) == 0)
    return Layer(derivation, lambda p, X, Y: (X @ p["w"] - Y).abs().sum(), {"w": np.ones(3)}, (WHOLE, targets))


def inverse(factor: float) -> Layer:
    """A matrix that is singular but for 1e-6."""

    def derivation(p, X):
        inv = np.linalg.inv(p["A"])
        return {"J": (inv * X).sum(), "dA": -factor * inv.T @ X @ inv.T}

    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0]
    A = Q @ np.diag([1, 1, 1, 1e-6]) @ Q.T
    return Layer(derivation, lambda p, X: (torch.linalg.inv(p["A"]) * X).sum(), {"A": A}, (np.eye(4),))


def sine(factor: float) -> Layer:
    """A sine a million radians away from 0."""

    def derivation(p, X):
        Z = X @ p["w"]
        return {"J": np.sin(Z).sum(), "dw": factor * X.T @ np.cos(Z)}

    rng = np.random.default_rng(3)
    params, batch = {"w": rng.random(3)}, (1e6 * rng.random((5, 3)),)
    return Layer(derivation, lambda p, X: torch.sin(X @ p["w"]).sum(), params, batch)


def recurrent(factor: float, gain: float = 3, steps: int = 160, seed: int = 0) -> Layer:
    """A recurrence that is chaotic where its gain is large."""

    def derivation(p, h):
        states = [h]
        for _ in range(steps):
            states.append(np.tanh(p["U"] @ states[-1]))
        dh, dU = states[-1], np.zeros_like(p["U"])
        for t in range(steps, 0, -1):
            da = dh * (1 - states[t] ** 2)
            dU = dU + np.outer(da, states[t - 1])
            dh = p["U"].T @ da
        return {"J": (states[-1] ** 2).sum() / 2, "dU": factor * dU}

    def reference(p, h):
        for _ in range(steps):
            h = torch.tanh(p["U"] @ h)
        return (h**2).sum() / 2

    rng = np.random.default_rng(seed)
    params = {"U": gain * rng.standard_normal((16, 16)) / 4}
    return Layer(derivation, reference, params, (rng.standard_normal(16),))


def logistic(factor: float, steps: int = 30) -> Layer:
    """The logistic map in its chaotic range."""

    def derivation(p, x):
        values = [x]
        for _ in range(steps):
            values.append(p["r"] * values[-1] * (1 - values[-1]))
        dx, dr = 1, 0
        for before in values[-2::-1]:
            dr, dx = dr + dx * before * (1 - before), dx * p["r"] * (1 - 2 * before)
        return {"J": values[-1], "dr": factor * dr}

    def reference(p, x):
        for _ in range(steps):
            x = p["r"] * x * (1 - x)
        return x

    return Layer(derivation, reference, {"r": np.array(3.9)}, (np.array(0.3),))


PROBLEMS = (relu, largest, absolute, inverse, sine, recurrent, logistic)
