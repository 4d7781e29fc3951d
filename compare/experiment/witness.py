"""One step of the notes' network in one precision, and what a verdict may ask: rounding has a closed form there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from handgrad.compare.pipeline.evidence import Evidence
from handgrad.compare.thresholds import ROUNDINGS, UNIT_ROUNDOFF
from handgrad.compare.trace import Arrays, is_real
from handgrad.compare.verdict.bounds import PRECISIONS, Allowance
from handgrad.compare.verdict.closeness import Local
from handgrad.compare.verdict.rounding import largest, largest_around

Elsewhere = Callable[[float], Sequence[tuple[Arrays, Arrays]]]  # records and torch on them, where all has moved


@dataclass(frozen=True)
class StepWitness:
    """What a step recorded, torch on that, and what rounding can explain; `elsewhere` runs it where all has moved.

    `evidence` is the part of it that the reference as a whole computes: values and gradients.
    """

    evidence: Evidence
    records: Arrays
    local: Arrays
    allowances: Mapping[str, Allowance]
    elsewhere: Elsewhere

    @property
    def dtype(self) -> str:
        """The precision of the run."""
        return self.evidence.dtype

    @property
    def unit(self) -> float:
        """Its unit roundoff."""
        return self.evidence.unit

    def record(self, name: str) -> np.ndarray:
        """The record, as it was returned."""
        return self.records[name]

    def beside(self, name: str) -> Local | None:
        """A record and torch on the records."""
        return _beside(name, self.records, self.local)

    def scale(self, name: str) -> np.ndarray:
        """Entry by entry the smaller of the largest in its row and in its column."""
        return largest_around(self.local[name])

    def allowance(self, name: str) -> Allowance | None:
        """What rounding can explain by the operation that computes it."""
        return self.allowances.get(name)

    def variance(self, name: str) -> np.ndarray | None:
        """That of rounding, entry by entry, in squared unit roundoffs, by the closed form."""
        allowance = self.allowances.get(name)
        if allowance is None:
            return self.evidence.variance(name) if name in self.evidence.local else None
        allowed = allowance.everywhere(PRECISIONS["float64"]) / (ROUNDINGS * UNIT_ROUNDOFF["float64"])
        return np.asarray(np.square(np.broadcast_to(allowed, np.atleast_1d(self.local[name]).shape)))

    def again(self, name: str) -> np.ndarray | None:
        """The notes' network is repeatable."""
        return None

    def put_right(self, name: str) -> tuple[np.ndarray | None, tuple[str, ...]]:
        """None of its operations is inexact in torch."""
        return None, ()

    def reach(self, name: str) -> float:
        """The largest entry of the tensor, of the values that it is computed from, or of the gradients."""
        return self.evidence.reach(name) if name in self.evidence.local else largest(self.local[name])

    def places(self, name: str, by: float) -> Sequence[Local]:
        """Record and torch where start and data have moved by a share."""
        both = (_beside(name, records, local) for records, local in self.elsewhere(by))
        return [Local(*map(np.atleast_1d, local)) for local in both if local is not None]

    def is_nothing(self, name: str) -> bool:
        """Whether a tensor is next to nothing beside J and its gradients, or beside what all is computed from."""
        return name in self.evidence.local and self.evidence.is_nothing(name)

    def contradicts(self, name: str, difference: np.ndarray) -> bool:
        """The notes' loss is not run apart from its gradients."""
        return False

    def overflows(self) -> bool:
        """What overflows shows in a tensor of the notes."""
        return False

    def torch_is_finite(self) -> bool:
        """Whether torch's own run in this precision is finite everywhere."""
        return self.evidence.torch_is_finite()


def _beside(name: str, records: Arrays, local: Arrays) -> Local | None:
    record, reference = records.get(name), local.get(name)
    if record is None or reference is None or not is_real(record) or record.shape != reference.shape:
        return None
    return Local(record, reference)
