"""What an operation of the corpus is: its cases, the records of a run, the mistakes made in it, and the draws."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from torch import Tensor

from tests.corpus.variants import BASE, HOWS, How

__all__ = [
    "Array",
    "Arrays",
    "Case",
    "Fault",
    "Records",
    "Tensors",
    "make_case",
    "moderate",
    "normal",
    "one_entry",
    "scale",
    "sizes",
    "through_float32",
    "times",
]

Array = np.ndarray
Arrays = dict[str, np.ndarray]
Tensors = dict[str, Tensor]
Derivation = Callable[..., Arrays]
Reference = Callable[..., Tensor]
Mistakes = dict[str, Callable[[Array], Array]]  # what is wrong -> the wrong value, given the right one


@dataclass(frozen=True)
class Fault:
    """A wrong derivation: `tensor` is the record that is wrong by itself, the first in dataflow order."""

    name: str
    kind: str  # "structural": a wrong formula; "small": off by 1e-3 or (much) less
    tensor: str
    derivation: Derivation


@dataclass(frozen=True)
class Case:
    """An operation at drawn sizes and values: reference(params, *batch) is J, each derivation returns the records."""

    name: str
    params: Arrays
    batch: tuple[Array, ...]
    reference: Reference
    variants: tuple[Derivation, ...]
    faults: tuple[Fault, ...]


# --- records and mistakes


class Records(Arrays):
    """The records of one run in dataflow order, with the mistake `wrong` swapped in for the right value."""

    def __init__(self, wrong: str = "") -> None:
        self.wrong = wrong
        self.mistakes: list[tuple[str, str, str]] = []  # (title, kind, tensor) of all on offer

    def __call__(
        self,
        name: str,
        value: Array,
        structural: Mistakes | None = None,
        small: Mistakes | None = None,
        *,
        shows: str | None = None,
    ) -> Array:
        """Record `value` and go on with it; `shows` names the first record affected if this one is not kept."""
        right = result = np.asarray(value)
        for kind, mistakes in ("structural", structural or {}), ("small", small or {}):
            for mistake, wrong in mistakes.items():
                title = f"{name}: {mistake}"
                self.mistakes.append((title, kind, shows or name))
                if title == self.wrong:
                    result = np.asarray(wrong(right))
        if shows is None:
            self[name] = result
        return result


def times(excess: float) -> Mistakes:
    """The right value times 1 + excess."""
    return {f"times 1 + {excess:g}": lambda value: value * (1 + excess)}


def one_entry(excess: float) -> Mistakes:
    """One entry, of median magnitude among the non-zero ones, times 1 + excess."""

    def wrong(value: Array) -> Array:
        flat = value.flatten()
        order = np.argsort(np.abs(flat))
        order = order[flat[order] != 0]
        flat[order[len(order) // 2]] *= 1 + excess
        return flat.reshape(value.shape)

    return {f"one entry off by {excess:g}": wrong}


def through_float32() -> Mistakes:
    """Rounded to float32 on the way (nothing is wrong about that in float32)."""
    return {"rounded to float32": lambda value: value.astype(np.float32).astype(value.dtype)}


Operation = Callable[..., None]  # operation(records, how, params, *batch)


def derive(operation: Operation, how: How, wrong: str, params: Arrays, *batch: Array) -> Arrays:
    """Run an operation, with one of its mistakes or none, and return its records."""
    records = Records(wrong)
    operation(records, how, params, *batch)
    return dict(records)


def make_case(name: str, operation: Operation, reference: Reference, params: Arrays, batch: tuple[Array, ...]) -> Case:
    """All variants of an operation, and every mistake it offers made in the base."""
    offered = Records()
    operation(offered, BASE, params, *batch)
    faults = [
        Fault(f"{name}, {title}", kind, tensor, partial(derive, operation, BASE, title))
        for title, kind, tensor in offered.mistakes
    ]
    return Case(name, params, batch, reference, tuple(partial(derive, operation, h, "") for h in HOWS), tuple(faults))


# --- draws


def sizes(rng: np.random.Generator, *least: int, most: int = 40) -> list[int]:
    """Distinct sizes from least[i] to `most`."""
    while True:
        drawn = [int(math.exp(rng.uniform(math.log(low), math.log(most + 1)))) for low in least]
        if len(set(drawn)) == len(drawn):
            return drawn


def scale(rng: np.random.Generator, low: float = 1e-2, high: float = 1e2) -> float:
    """A log-uniform scale."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def moderate(rng: np.random.Generator) -> float:
    """The scale of the argument of a function that saturates."""
    return scale(rng, 0.1, 2.5)


def normal(rng: np.random.Generator, *shape: int, size: float = 1.0) -> Array:
    """Normal values of the given scale."""
    return size * rng.standard_normal(shape)
