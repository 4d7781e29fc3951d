"""Conventions that differ from the reference's and are no mistakes: they are read, noted, and never a fault.

    (a) gradients of intermediates lack the 1/n of the mean (or the 1/(n K)), which those of parameters have
    (b) the velocity is 1/(1-beta) times the notes': V = B V + dw, w = w - a (1-B) V

A convention is accepted only where, read in it, less is left to find. One hidden dZ with an extra 1/n stays a fault.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Protocol

import numpy as np

from handgrad.compare.facts.remarks import MeanLeftOut, Note, VelocityTimes
from handgrad.compare.names import gradient, layered, of_velocity
from handgrad.compare.trace import Arrays, is_real


class Convention(Protocol):
    """How records are read before they are judged, and the notes that say so."""

    @property
    def notes(self) -> tuple[Note, ...]:
        """One for each convention that differs from the reference's."""

    def read(self, records: Arrays) -> dict[str, np.ndarray]:
        """The records of one step as the reference would have them."""


@dataclass(frozen=True)
class Divided:
    """Some gradients lack the 1/size of the mean."""

    size: int = 1
    larger: frozenset[str] = frozenset()

    @property
    def notes(self) -> tuple[Note, ...]:
        """What they lack."""
        return (MeanLeftOut(str(self.size)),) if self.larger else ()

    def read(self, records: Arrays) -> dict[str, np.ndarray]:
        """The larger gradients divided by the size."""
        return {n: _divided(array, self.size if n in self.larger else 1.0) for n, array in records.items()}


AS_RECORDED = Divided()


@dataclass(frozen=True)
class OfTheNotes:
    """What the notes' network records dZ, dA and v as.

    `per` names what dZ and dA lack, "n" or "n K", which is taken from each step's own batch; v is `velocity` times V.
    """

    per: str = ""
    velocity: float = 1.0

    @property
    def notes(self) -> tuple[Note, ...]:
        """What differs from the notes."""
        times = VelocityTimes(self.velocity, "1/(1 - beta)")
        return (*([MeanLeftOut(self.per)] if self.per else []), *([times] if self.velocity != 1.0 else []))

    def read(self, records: Arrays) -> dict[str, np.ndarray]:
        """The records as the notes would have them."""
        if not self.notes:
            return dict(records)
        mean = 1.0
        if self.per and "X" in records and "Y" in records:
            n, K = records["X"].shape[1], records["Y"].shape[0]
            mean = float(n if self.per == "n" else n * K)
        return {name: _divided(array, self._divisor(name, mean)) for name, array in records.items()}

    def _divisor(self, name: str, mean: float) -> float:
        if layered(name)[0] in (gradient("Z"), gradient("A")):
            return mean
        return self.velocity if of_velocity(name) else 1.0


def conventions_of_the_notes(n: int, K: int, beta: float) -> Iterator[OfTheNotes]:
    """The conventions other than the notes' that can be told from it on a batch of n examples and K outputs."""
    per = [""] + (["n"] if n > 1 else []) + (["n K"] if K > 1 else [])
    velocities = [1.0] + ([1.0 / (1.0 - beta)] if beta else [])
    return (OfTheNotes(*pair) for pair in product(per, velocities) if pair != ("", 1.0))


def _divided(array: np.ndarray, divisor: float) -> np.ndarray:
    """In float64, so that a float32 record is not rounded once more."""
    if divisor == 1.0 or not is_real(array):
        return array
    return np.asarray(array.astype(np.float64) / divisor)
