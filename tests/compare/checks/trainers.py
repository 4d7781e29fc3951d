"""A training loop by hand, right or with one mistake of state, and its reference in torch."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from handgrad import tap

__all__ = ["BATCHES", "PARAMS", "VELOCITIES", "gradients", "momentum", "plain", "reference", "sgd", "trainer"]

Arrays = Mapping[str, Any]

_rng = np.random.default_rng(6)
PARAMS = {
    "W1": _rng.standard_normal((4, 3)),
    "b1": _rng.standard_normal((4, 1)),
    "W2": _rng.standard_normal((2, 4)),
    "b2": _rng.standard_normal((2, 1)),
}
BATCHES = [(_rng.standard_normal((3, n)), _rng.standard_normal((2, n))) for n in (5, 5, 3, 5, 5, 3)]
VELOCITIES = tuple(f"v{name}" for name in PARAMS)


def reference(p: Mapping[str, torch.Tensor], X: torch.Tensor, Y: torch.Tensor) -> torch.Tensor:
    """Two layers with a squared error, A1 tapped."""
    A1 = tap("A1", torch.tanh(p["W1"] @ X + p["b1"]))
    return ((p["W2"] @ A1 + p["b2"] - Y) ** 2).sum() / (2 * X.shape[1])


def gradients(p: Arrays, X: Any, Y: Any, n: int | None = None, cached: Any = None) -> dict[str, Any]:
    """A1 and the gradients, divided by n; dW1 reads `cached`. By default both are those of the batch."""
    n = X.shape[1] if n is None else n
    read = X if cached is None else cached[:, : X.shape[1]]
    A1 = np.tanh(p["W1"] @ X + p["b1"])
    dZ2 = (p["W2"] @ A1 + p["b2"] - Y) / n
    dZ1 = p["W2"].T @ dZ2 * (1 - A1**2)
    of_layer_2 = {"dW2": dZ2 @ A1.T, "db2": dZ2.sum(1, keepdims=True)}
    return {"A1": A1, **of_layer_2, "dW1": dZ1 @ read.T, "db1": dZ1.sum(1, keepdims=True)}


def plain(p: Arrays, batches: Iterable[tuple[Any, Any]]) -> Iterator[dict[str, Any]]:
    """Gradient descent."""
    for X, Y in batches:
        along = gradients(p, X, Y)
        p = {name: w - w.dtype.type(0.1) * along[f"d{name}"] for name, w in p.items()}
        yield p


def momentum(keep: float, take: Callable[[int], float], rate: float, *, shown: bool = False) -> Callable[..., Any]:
    """v = keep v + take(step) dw and w = w - rate v, steps counted from 0; `shown`: velocities are yielded too."""

    def train(params: Arrays, batches: Iterable[tuple[Any, Any]]) -> Iterator[dict[str, Any]]:
        p, v = dict(params), dict.fromkeys(params, 0.0)
        for step, (X, Y) in enumerate(batches):
            along = gradients(p, X, Y)
            for name in p:
                v[name] = keep * v[name] + take(step) * along[f"d{name}"]
                p[name] = p[name] - rate * v[name]
            yield {**p, **({f"v{name}": v[name] for name in p} if shown else {})}

    return train


def trainer(mistake: str = "", shows: Sequence[str] = ()) -> Callable[..., Any]:
    """Momentum in torch's heavy-ball form with a mistake; `shows`: what is yielded beside the parameters."""

    def train(params: Arrays, batches: Sequence[tuple[Any, Any]]) -> Iterator[dict[str, Any]]:
        p, v, total, first = dict(params), dict.fromkeys(params, 0.0), dict[str, Any](), batches[0][0]
        for step, (X, Y) in enumerate(batches):
            n = 5 if mistake == "nominal size" else None
            along = gradients(p, X, Y, n, first if mistake == "stale cache" else None)
            for name in p:
                g = along[f"d{name}"]
                if mistake == "accumulated":
                    g = total[name] = total.get(name, 0.0) + g
                if mistake == "none" or (mistake == "reset" and step == 3):
                    v[name] = 0.0 * g
                v[name] = 0.9 * v[name] + _factor(mistake, step) * g
                p[name] = p[name] - 0.1 * v[name]
            shown = {**along, **{f"v{name}": v[name] for name in p}}
            yield {**p, **{name: shown[name] for name in shows}}

    return train


def _factor(mistake: str, step: int) -> float:
    return 0.3 if mistake == "scaled" or (mistake == "damped" and step == 0) else 1.0


def sgd(tensors: list[torch.Tensor]) -> torch.optim.Optimizer:
    """torch's heavy ball."""
    return torch.optim.SGD(tensors, lr=0.1, momentum=0.9)
