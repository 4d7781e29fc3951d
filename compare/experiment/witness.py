"""One step of the notes' network in one precision, and what a verdict may ask: rounding has a closed form there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from handgrad.compare.pipeline.evidence import Evidence
from handgrad.compare.thresholds import ROUNDINGS, UNIT_ROUNDOFF
from handgrad.compare.trace import Arrays
from handgrad.compare.verdict.bounds import PRECISIONS, Allowance
from handgrad.compare.verdict.rounding import Witness, largest

Elsewhere = Callable[[float], Sequence[tuple[Arrays, Arrays]]]  # records and torch on them, where all has moved


@dataclass(frozen=True)
class StepWitness(Witness):
    """What a step recorded, torch on that, and what rounding can explain; `moved` takes it where all has moved.

    `evidence` is the part of it that the reference as a whole computes: values and gradients.
    """

    dtype: str
    records: Arrays
    local: Arrays
    evidence: Evidence
    allowances: Mapping[str, Allowance]
    moved: Elsewhere

    def allowance(self, name: str) -> Allowance | None:
        """What rounding can explain by the operation that computes it."""
        return self.allowances.get(name)

    def spread(self, name: str) -> np.ndarray | None:
        """How far rounding moves the reference, entry by entry, by the closed form."""
        allowance = self.allowances.get(name)
        if allowance is None:
            return self.evidence.spread(name) if name in self.evidence.local else None
        allowed = allowance.everywhere(PRECISIONS["float64"]) / (ROUNDINGS * UNIT_ROUNDOFF["float64"])
        return np.broadcast_to(allowed, np.atleast_1d(self.local[name]).shape)

    def reach(self, name: str) -> float:
        """The largest entry of the tensor, of the values that it is computed from, or of the gradients."""
        return self.evidence.reach(name) if name in self.evidence.local else largest(self.local[name])

    def elsewhere(self, by: float) -> Sequence[tuple[Arrays, Arrays]]:
        """Records and torch on them where start and data have moved by a share."""
        return self.moved(by)

    def is_nothing(self, name: str) -> bool:
        """Whether a tensor is next to nothing beside J and its gradients, or beside what all is computed from."""
        return name in self.evidence.local and self.evidence.is_nothing(name)

    @property
    def torch_is_finite(self) -> bool:
        """Whether torch's own run in this precision is finite everywhere."""
        return self.evidence.torch_is_finite
