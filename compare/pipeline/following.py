"""One step of an optimiser by hand beside torch's that follows it, in one precision, and what a verdict may ask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from handgrad.compare.names import is_updated, of_updated
from handgrad.compare.oracle.optimizer import Followers
from handgrad.compare.thresholds import BLIND, FINER_NOISE, NOISE
from handgrad.compare.trace import Arrays, is_real
from handgrad.compare.verdict.closeness import Local
from handgrad.compare.verdict.rounding import size

Results = dict[str, np.ndarray]  # of torch's optimiser: parameters and, as v<name>, velocities, by name
Elsewhere = Callable[[float], Sequence[tuple[Arrays, Results]]]  # both sides where everything has moved by a share


@dataclass(frozen=True)
class Following:
    """The updated parameters and velocities of one step by hand beside torch's, made from the same.

    `elsewhere` gives what both sides make of the step where start, gradients and batches have moved.
    """

    dtype: str
    unit: float
    before: Arrays
    records: Arrays
    result: Results
    followers: Followers
    elsewhere: Elsewhere

    def record(self, name: str) -> np.ndarray:
        """The record, as it was returned."""
        return self.records[name]

    def beside(self, name: str) -> Local | None:
        """By hand and in torch."""
        return _beside(name, self.records, self.result)

    def scale(self, name: str) -> np.ndarray:
        """What each entry was and became: an update is made entry by entry."""
        result = np.abs(self.result[of_updated(name)])
        return result + np.abs(self.before[of_updated(name)]) if is_updated(name) else result

    def allowance(self, name: str) -> None:
        """No operation of it is known."""

    def variance(self, name: str) -> np.ndarray | None:
        """That of torch's result by rounding, entry by entry, in squared unit roundoffs; None where it failed."""
        by = NOISE if self.dtype == "float64" else self.unit
        variance = self._of_runs(name, by)
        if variance is None or self.dtype != "float64":
            return variance
        if by * size(np.sqrt(variance)) <= BLIND * size(self.result[of_updated(name)]):
            return variance
        finer = self._of_runs(name, FINER_NOISE)
        return variance if finer is None else np.maximum(variance, finer)

    def _of_runs(self, name: str, by: float) -> np.ndarray | None:
        own = self.result[of_updated(name)]
        changes = [np.square((run[of_updated(name)] - own) / by) for run in self._noisy(by)]
        finite = [change for change in changes if np.isfinite(change).all()]
        return self._moderated(name, np.asarray(np.mean(finite, axis=0))) if finite else None

    def _moderated(self, name: str, variance: np.ndarray) -> np.ndarray:
        """A variance from few runs, half by its own, half by that of all entries relative to their size."""
        size = np.square(self.scale(name))
        usual = np.mean(variance / np.where(size > 0, size, np.inf))
        return np.asarray((variance + usual * size) / 2)

    @cached_property
    def _noisy(self) -> Callable[[float], Sequence[Results]]:
        return cache(self.followers.noisy)

    def again(self, name: str) -> np.ndarray | None:
        """torch's optimisers are repeatable."""
        return None

    def put_right(self, name: str) -> tuple[np.ndarray | None, tuple[str, ...]]:
        """None of their operations is known to be inexact."""
        return None, ()

    def reach(self, name: str) -> float:
        """Nothing: an update is made entry by entry, and no entry loses its digits to another."""
        return 0.0

    def places(self, name: str, by: float) -> Sequence[Local]:
        """By hand and in torch where everything has moved by a share."""
        both = (_beside(name, records, result) for records, result in self.elsewhere(by))
        return [Local(*map(np.atleast_1d, local)) for local in both if local is not None]

    def is_nothing(self, name: str) -> bool:
        """No update is: what it moves is a parameter."""
        return False

    def contradicts(self, name: str, difference: np.ndarray) -> bool:
        """An update is no gradient."""
        return False

    def overflows(self) -> bool:
        """What overflows shows in the result."""
        return False

    def torch_is_finite(self) -> bool:
        """torch follows in float64."""
        return True


def _beside(name: str, records: Arrays, result: Arrays) -> Local | None:
    record, reference = records.get(name), result.get(of_updated(name))
    if record is None or reference is None or not is_real(record) or record.shape != reference.shape:
        return None
    return Local(record, reference)
