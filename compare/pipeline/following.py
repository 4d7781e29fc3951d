"""One step of an optimiser by hand beside torch's that follows it, in one precision, and what a verdict may ask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from handgrad.compare.names import is_updated, of_updated
from handgrad.compare.oracle.optimizer import Followers
from handgrad.compare.trace import Arrays
from handgrad.compare.verdict.rounding import Witness

Elsewhere = Callable[[float], Sequence[tuple[Arrays, Arrays]]]  # both sides where everything has moved by a share


@dataclass(frozen=True)
class Following(Witness):
    """The updated parameters and velocities of one step by hand beside torch's, made from the same.

    `moved` gives what both sides make of the step where start, gradients and batches have moved.
    """

    dtype: str
    before: Arrays
    records: Arrays
    local: Arrays
    followers: Followers
    moved: Elsewhere

    def scale(self, name: str) -> np.ndarray:
        """What each entry was and became: an update is made entry by entry."""
        result: np.ndarray = np.abs(self.local[name])
        return np.asarray(result + np.abs(self.before[of_updated(name)])) if is_updated(name) else result

    def noisy(self, name: str, count: int, by: float) -> list[np.ndarray]:
        """What torch's steps come to where their operations round as they like."""
        return [run[of_updated(name)] for run in self.followers.noisy(count, by)]

    def moderated(self, name: str, spread: np.ndarray) -> np.ndarray:
        """Of the square of a spread half is its own, and half that of all entries relative to their size."""
        scale = self.scale(name)
        usual = np.sqrt(np.mean(np.square(spread / np.where(scale > 0, scale, np.inf))))
        return np.asarray(np.hypot(spread, usual * scale) / np.sqrt(2.0))

    def elsewhere(self, by: float) -> Sequence[tuple[Arrays, Arrays]]:
        """By hand and in torch where everything has moved by a share."""
        return self.moved(by)
