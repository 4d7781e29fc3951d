"""Conventions that differ from the reference's and are no mistakes: they are read, noted, and never a fault.

    any        an intermediate or its gradient is a constant times torch's, has the other sign, another orientation or
               another shape, and everything that is computed from it undoes that
    the notes  gradients of intermediates lack the 1/n of the mean (or the 1/(n K)), which those of parameters have;
               the velocity is 1/(1-beta) times the notes': V = B V + dw, w = w - a (1-B) V

A convention is accepted only where, read in it, less is left to find. One hidden dZ with an extra 1/n stays a fault.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np

from handgrad.compare.facts.remarks import MeanLeftOut, Note, VelocityTimes
from handgrad.compare.names import gradient, layered, of_velocity
from handgrad.compare.trace import Arrays, is_real


@dataclass(frozen=True)
class As:
    """How one record stands for a tensor of torch's: the tensor times a factor, with its axes in another order.

    `axes` is the order in which torch's axes are found in the record, () for the same; `shape` is torch's where the
    record has the same numbers in another shape.
    """

    factor: float = 1.0
    axes: tuple[int, ...] = ()
    shape: tuple[int, ...] | None = None

    def read(self, record: np.ndarray) -> np.ndarray:
        """The record as torch would have it."""
        if not is_real(record):
            return record
        if self.axes and len(self.axes) == record.ndim:
            record = record.transpose(self.axes)
        if self.shape is not None and record.size == np.prod(self.shape, dtype=int):
            record = record.reshape(self.shape)
        return _divided(record, self.factor)


@dataclass(frozen=True)
class Reading:
    """How some records are read, by name; the others are read as they are."""

    of: Mapping[str, As] = field(default_factory=dict)

    def then(self, other: Reading) -> Reading:
        """The same, then the factors of another."""
        first = self.of
        both = {n: replace(first[n], factor=form.factor) if n in first else form for n, form in other.of.items()}
        return Reading({**first, **both})

    def read(self, records: Arrays) -> dict[str, np.ndarray]:
        """The records of one step as the reference would have them."""
        return {name: self.of[name].read(array) if name in self.of else array for name, array in records.items()}


AS_RECORDED = Reading()


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

    def is_of(self, name: str) -> bool:
        """Whether a tensor is not as the notes have it."""
        return self._divisor(name, 1.0 + bool(self.per)) != 1.0

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
