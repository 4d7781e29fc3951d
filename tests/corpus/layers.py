"""Single layers derived by hand with their references in torch: what tests hand to check_gradients, and change."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from handgrad import tap
from tests.corpus.cases import Array, Arrays, Derivation, Reference

__all__ = ["CLASSIC", "LINEAR", "SQUARES", "TANH", "Layer", "classic", "linear"]

Change = Callable[[Mapping[str, Any]], Any]  # what is returned for one name, made of the right records

_rng = np.random.default_rng(8)


class Layer(NamedTuple):
    """A derivation with its reference, params and batch: the arguments of check_gradients, in their order."""

    derivation: Derivation
    reference: Reference
    params: Arrays
    batch: tuple[Array, ...]

    def returning(self, **changes: Change) -> "Layer":
        """The same, where some names are returned otherwise."""

        def changed(*given: Any) -> dict[str, Any]:
            records = self.derivation(*given)
            return {**records, **{name: change(records) for name, change in changes.items()}}

        return self._replace(derivation=changed)

    def scaled(self, name: str, factor: float) -> "Layer":
        """The same with one tensor times a factor."""
        return self.returning(**{name: lambda records: factor * records[name]})

    def without(self, *names: str) -> "Layer":
        """The same, where some names are not returned."""

        def kept(*given: Any) -> dict[str, Any]:
            return {name: value for name, value in self.derivation(*given).items() if name not in names}

        return self._replace(derivation=kept)


# --- J = sum C tanh(W X + b), examples in columns


def _tanh(p: Arrays, X: Array, C: Array) -> Arrays:
    Z = p["W"] @ X + p["b"]
    dZ = C * (1 - np.tanh(Z) ** 2)
    return {"Z": Z, "dZ": dZ, "dW": dZ @ X.T, "db": dZ.sum(1, keepdims=True), "dX": p["W"].T @ dZ}


def _tanh_in_torch(p: Mapping[str, Any], X: Any, C: Any) -> Any:
    return (C * torch.tanh(tap("Z", p["W"] @ X + p["b"]))).sum()


TANH = Layer(
    _tanh,
    _tanh_in_torch,
    {"W": _rng.standard_normal((4, 3)), "b": _rng.standard_normal((4, 1))},
    (_rng.standard_normal((3, 6)), _rng.standard_normal((4, 6))),
)


# --- J = sum (W X + b - C)^2 / 2n, examples in columns, nothing tapped


def _squares(p: Arrays, X: Array, C: Array) -> Arrays:
    n = X.shape[1]
    D = p["W"] @ X + p["b"] - C
    return {"J": (D**2).sum() / (2 * n), "dW": D @ X.T / n, "db": D.sum(1, keepdims=True) / n}


def _squares_in_torch(p: Mapping[str, Any], X: Any, C: Any) -> Any:
    return ((p["W"] @ X + p["b"] - C) ** 2).sum() / (2 * X.shape[1])


SQUARES = Layer(_squares, _squares_in_torch, TANH.params, TANH.batch)


# --- J = sum (X W + b - Y)^2 / 2n, examples in rows


def linear(p: Arrays, X: Array, Y: Array, over: int | None = None) -> Arrays:
    """By hand; dZ is divided by `over` in place of n, and dW and db by the rest of n."""
    n = len(X)
    Z = X @ p["W"] + p["b"]
    dZ = (Z - Y) / (over or n)
    late = n / (over or n)
    of_params = {"dW": X.T @ dZ / late, "db": dZ.sum(0) / late}
    return {"Z": Z, "J": ((Z - Y) ** 2).sum() / (2 * n), "dZ": dZ, "dX": dZ @ p["W"].T, **of_params}


def _linear_in_torch(p: Mapping[str, Any], X: Any, Y: Any) -> Any:
    return ((tap("Z", X @ p["W"] + p["b"]) - Y) ** 2).sum() / (2 * len(X))


LINEAR = Layer(
    linear,
    _linear_in_torch,
    {"W": _rng.standard_normal((4, 3)), "b": _rng.standard_normal(3)},
    (_rng.standard_normal((6, 4)), _rng.standard_normal((6, 3))),
)


# --- two layers as they are often taught: dZ lacks the 1/n, which stands in dW and db


def classic(p: Arrays, X: Array, Y: Array, extra: float = 1.0, late: int | None = None) -> Arrays:
    """By hand; dZ1 is `extra` times what it should be, and dW1 and db1 are divided by `late` in place of n."""
    n = X.shape[1]
    A1 = np.tanh(p["W1"] @ X + p["b1"])
    dZ2 = p["W2"] @ A1 + p["b2"] - Y
    dA1 = p["W2"].T @ dZ2
    dZ1 = dA1 * (1 - A1**2) * extra
    of_layer_2 = {"dZ2": dZ2, "dW2": dZ2 @ A1.T / n, "db2": dZ2.sum(1, keepdims=True) / n}
    of_layer_1 = {"dZ1": dZ1, "dW1": dZ1 @ X.T / (late or n), "db1": dZ1.sum(1, keepdims=True) / (late or n)}
    return {"A1": A1, **of_layer_2, "dA1": dA1, **of_layer_1}


def _classic_in_torch(p: Mapping[str, Any], X: Any, Y: Any) -> Any:
    A1 = tap("A1", torch.tanh(tap("Z1", p["W1"] @ X + p["b1"])))
    return ((tap("Z2", p["W2"] @ A1 + p["b2"]) - Y) ** 2).sum() / (2 * X.shape[1])


CLASSIC = Layer(
    classic,
    _classic_in_torch,
    {
        "W1": _rng.standard_normal((4, 3)),
        "b1": _rng.standard_normal((4, 1)),
        "W2": _rng.standard_normal((2, 4)),
        "b2": _rng.standard_normal((2, 1)),
    },
    (_rng.standard_normal((3, 6)), _rng.standard_normal((2, 6))),
)
