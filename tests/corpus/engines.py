"""Derivations that nobody here wrote: the gradients of HIPS autograd and of JAX, beside the same operation in torch.

An operation stands once for both engines and once in torch; J is the sum of its result times a random cotangent, or
half its squared distance from a target. Neither engine is needed for the tests; the extra `benchmarks` brings them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from handgrad import tap

__all__ = ["ENGINES", "REGIMES", "Cell", "Engine", "Input", "Operation", "cell_of", "draw", "engine"]

Array = np.ndarray
ENGINES = ("autograd", "jax")
REGIMES = ("ordinary", "large (x30)", "small (1e-3)", "twelve decades", "near saturation", "near cancellation")


@dataclass(frozen=True)
class Engine:
    """One engine's NumPy, its special functions, its linear algebra, and how it differentiates a function."""

    np: Any
    special: Any
    linalg: Any
    value_and_grad: Callable[[Callable[..., Any], int], Callable[..., Any]]


def engine(name: str) -> Engine:
    """An engine, loaded when it is first asked for."""
    if name not in _LOADED:
        _LOADED[name] = _loaded(name)
    return _LOADED[name]


_LOADED: dict[str, Engine] = {}


def _loaded(name: str) -> Engine:
    """Load an engine; JAX with float64."""
    if name == "jax":
        jax = import_module("jax")
        jax.config.update("jax_enable_x64", True)
        numpy = import_module("jax.numpy")
        return Engine(numpy, import_module("jax.scipy.special"), import_module("jax.scipy.linalg"), jax.value_and_grad)
    differentials = import_module("autograd.differential_operators")
    parts = ("autograd.numpy", "autograd.scipy.special", "autograd.scipy.linalg")
    return Engine(*map(import_module, parts), differentials.value_and_grad)


@dataclass(frozen=True)
class Input:
    """An argument of an operation: the numbers it is defined for, and its shape."""

    domain: str
    shape: tuple[int, ...] = (4, 5)


@dataclass(frozen=True)
class Operation:
    """The same function by an engine, by_engine(engine, *args), and by torch, in_torch(*args)."""

    by_engine: Callable[..., Any]
    in_torch: Callable[..., Tensor]
    inputs: tuple[Input, ...]
    engines: tuple[str, ...] = ENGINES


@dataclass(frozen=True)
class Cell:
    """One check to make: an operation's gradient by an engine as the derivation, and torch as the reference."""

    derivation: Callable[..., dict[str, Array]]
    reference: Callable[..., Tensor]
    params: Mapping[str, Array]
    batch: tuple[Array, ...]


def cell_of(operation: Operation, by: str, regime: str, rng: np.random.Generator, *, tapped: bool) -> Cell:
    """Draw the arguments and the cotangent in a regime; `tapped`: the result and its gradient are returned as well."""
    params = {f"x{number}": draw(each, regime, rng) for number, each in enumerate(operation.inputs)}
    with np.errstate(all="ignore"):
        y = operation.in_torch(*map(torch.tensor, params.values())).numpy()
    near_optimum = regime == "near cancellation" and bool(rng.integers(2))
    noise = rng.standard_normal(y.shape)
    given = y * (1 + 10.0 ** -rng.uniform(3, 9) * noise) if near_optimum else noise
    loss = _half_square if near_optimum else _weighted
    return Cell(
        _derivation(operation, by, loss, tapped=tapped), _reference(operation, loss), params, (np.array(given),)
    )


def _weighted(y: Any, C: Any) -> Any:
    return (C * y).sum()


def _half_square(y: Any, target: Any) -> Any:
    return ((y - target) ** 2).sum() / 2


def _derivation(
    operation: Operation, by: str, loss: Callable[..., Any], *, tapped: bool
) -> Callable[..., dict[str, Array]]:
    """What the engine makes of it, as a derivation returns it; the engine is loaded by the first call."""

    def derivation(params: Mapping[str, Array], given: Array) -> dict[str, Array]:
        m = engine(by)
        args = tuple(map(m.np.asarray, params.values()))
        J, gradients = m.value_and_grad(lambda args: loss(operation.by_engine(m, *args), given), 0)(args)
        records = {"J": J}
        if tapped:
            y = operation.by_engine(m, *args)
            records |= {"y": y, "dy": m.value_and_grad(lambda y: loss(y, given), 0)(y)[1]}
        records |= {f"d{name}": gradient for name, gradient in zip(params, gradients, strict=True)}
        return {name: np.array(value) for name, value in records.items()}

    return derivation


def _reference(operation: Operation, loss: Callable[..., Any]) -> Callable[..., Tensor]:
    def reference(params: Mapping[str, Tensor], given: Tensor) -> Tensor:
        result: Tensor = loss(tap("y", operation.in_torch(*params.values())), given)
        return result

    return reference


# --- numbers of a domain in a regime


def draw(each: Input, regime: str, rng: np.random.Generator) -> Array:
    """Random numbers that an operation is defined for, such as a regime has them."""
    if each.domain in ("definite", "square", "lower"):
        return _matrix(each, regime, rng)
    real = _real(each.shape, regime, rng)
    return np.asarray(_OF_DOMAIN[each.domain](real, regime, rng), dtype=np.float64)


def _real(shape: tuple[int, ...], regime: str, rng: np.random.Generator) -> Array:
    """Of both signs."""
    z = rng.standard_normal(shape)
    if regime == "twelve decades":
        return np.asarray(z * 10.0 ** rng.uniform(-6, 6, shape))
    if regime == "near saturation":
        return np.asarray(np.sign(z) * rng.uniform(4, 20, shape))
    if regime == "near cancellation":
        return np.asarray(rng.choice((-1, 1)) * rng.uniform(0.5, 3) + 10.0 ** -rng.uniform(2, 6) * z)
    return np.asarray(z * {"ordinary": 1.0, "large (x30)": 30.0, "small (1e-3)": 1e-3}[regime])


def _positive(real: Array, regime: str, rng: np.random.Generator) -> Array:
    """Away from 0, compared with the others."""
    floor = {"ordinary": 0.1, "large (x30)": 3.0, "small (1e-3)": 1e-4}.get(regime, 0.0)
    return np.abs(real) + floor


def _unit(real: Array, regime: str, rng: np.random.Generator) -> Array:
    """Between -1 and 1: where numbers are large or saturated, close to these."""
    if regime in ("large (x30)", "near saturation"):
        return np.sign(real) * (1 - 10.0 ** -rng.uniform(1, 5, real.shape))
    if regime == "near cancellation":
        return real / 4
    return np.tanh(real) * 0.95


def _share(real: Array, regime: str, rng: np.random.Generator) -> Array:
    """Between 0 and 1."""
    if regime == "twelve decades":
        return 10.0 ** rng.uniform(-6, -0.05, real.shape)
    if regime == "small (1e-3)":
        return np.abs(real) + 1e-4
    return (1 + _unit(real, regime, rng)) / 2


_OF_DOMAIN: dict[str, Callable[[Array, str, np.random.Generator], Array]] = {
    "real": lambda real, regime, rng: real,
    "positive": _positive,
    "exponent": lambda real, regime, rng: np.clip(real, -80, 80),  # exp is finite, in float32 too
    "argument": lambda real, regime, rng: np.minimum(_positive(real, regime, rng), 30),  # gamma is
    "above 1": lambda real, regime, rng: 1 + _positive(real, regime, rng),
    "unit": _unit,
    "share": _share,
}


def _matrix(each: Input, regime: str, rng: np.random.Generator) -> Array:
    """Square: any, lower triangular, or positive definite; near saturation its condition is a million."""
    n = each.shape[-1]
    B = rng.standard_normal(each.shape)
    if regime == "near saturation":
        left, right = np.linalg.qr(B)[0], np.linalg.qr(rng.standard_normal((n, n)))[0]
        sizes = 10.0 ** rng.uniform(-6, 0, n)
        A = (left * sizes) @ (left.T if each.domain == "definite" else right)
    elif regime == "near cancellation":
        noise = 10.0 ** -rng.uniform(2, 6) * B
        A = np.eye(n) + (noise + noise.T if each.domain == "definite" else noise)
    else:
        A = B @ B.T / n + np.eye(n) / 2 if each.domain == "definite" else B + 2 * np.eye(n)
        scale = {"large (x30)": 30.0, "small (1e-3)": 1e-3}.get(regime, 1.0)
        rows = 10.0 ** rng.uniform(-3, 3, n) if regime == "twelve decades" else np.ones(n)
        columns = rows if each.domain == "definite" else rng.permutation(rows)
        A = scale * rows[:, None] * A * columns
    if each.domain == "lower":
        A = np.tril(A) + np.diag(np.diag(A))
    return np.asarray((A + A.T) / 2 if each.domain == "definite" else A)
