"""Two conventions that differ from the notes' and are no mistakes: they are normalised, noted, and never a fault.

    (a) every recorded dZ and dA lacks the 1/n of the mean (or the 1/(n K)), which stands in dW and db instead
    (b) the velocity is 1/(1-beta) times the notes': V = B V + dw, w = w - a (1-B) V

A convention is accepted only where, read in it, nothing is left to find and every parameter gradient and every updated
weight agrees end to end. One hidden dZ with an extra 1/n stays a fault.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

__all__ = [
    "AS_IN_THE_NOTES",
    "FLOAT32_ONLY",
    "FLOAT64_INSIDE",
    "FLOAT64_ONLY",
    "TORCH_IN_FLOAT32",
    "Convention",
    "conventions",
    "judged_in",
]

FLOAT64_INSIDE = "The derivation computes in float64 also where it is handed float32; that is no fault."
FLOAT64_ONLY = (
    "The derivation does not run in float32 ({}): it is judged in float64 alone, "
    "which cannot tell arithmetic that loses digits from a mistake."
)
FLOAT32_ONLY = (
    "The derivation computes in float32 also where it is handed float64: it is judged in float32 alone, "
    "which hides faults below a relative size of 2e-4."
)
TORCH_IN_FLOAT32 = (
    "The reference computes in float32 also where it is handed float64, and its roundings are taken for the "
    "derivation's: leave out what casts to float32 there."
)
_TOLD_BY = {"float64": FLOAT64_ONLY.partition("{")[0], "float32": FLOAT32_ONLY}


def judged_in(precisions: Sequence[str], notes: Iterable[str]) -> tuple[str, ...]:
    """The precisions in which a run was judged: those asked for, or the one that was judged alone as a note says."""
    notes = tuple(notes)
    alone = [precision for precision, told in _TOLD_BY.items() if any(note.startswith(told) for note in notes)]
    return tuple(alone or precisions)


@dataclass(frozen=True)
class Convention:
    """What the recorded intermediate gradients and velocities are divided by before they are judged.

    `per` names the first divisor, "n" or "n K"; it is taken from each step's own batch.
    """

    per: str = ""
    velocity: float = 1.0

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence on each convention that differs from the notes'."""
        found = []
        if self.per:
            found.append(f"Convention: dZ and dA lack the 1/({self.per}) of the mean, which dW and db have.")
        if self.velocity != 1.0:
            found.append("Convention: the velocity is 1/(1 - beta) times the notes', and the update makes up for it.")
        return tuple(found)

    def normalised(self, records: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The records of one step as the notes would have them."""
        if not self.notes:
            return dict(records)
        n, K = records["X"].shape[1], records["Y"].shape[0]
        mean = {"": 1.0, "n": float(n), "n K": float(n * K)}[self.per]
        return {name: _divided(array, self._divisor(name, mean)) for name, array in records.items()}

    def _divisor(self, name: str, mean: float) -> float:
        if name.startswith(("dZ", "dA")):
            return mean
        return self.velocity if name.startswith("v") else 1.0


AS_IN_THE_NOTES = Convention()


def conventions(n: int, K: int, beta: float) -> Iterator[Convention]:
    """The conventions other than the notes' that can be told from it on a batch of n examples and K outputs."""
    per = [""] + (["n"] if n > 1 else []) + (["n K"] if K > 1 else [])
    velocities = [1.0] + ([1.0 / (1.0 - beta)] if beta else [])
    return (Convention(*pair) for pair in product(per, velocities) if pair != ("", 1.0))


def _divided(array: np.ndarray, divisor: float) -> np.ndarray:
    """In float64, so that a float32 record is not rounded once more."""
    return array if divisor == 1.0 or array.dtype.kind != "f" else np.asarray(array.astype(np.float64) / divisor)
