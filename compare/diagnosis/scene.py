"""A wrong tensor with everything that it may have been computed from, and when a hypothesis explains it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

__all__ = ["INFORMATIVE", "UNKNOWN", "Cause", "Family", "Scene"]

INFORMATIVE = 3  # entries that a tensor must have before its cause is named; fewer can be explained by anything
ROUNDING = {"float64": 2.0**-38.5, "float32": 2.0**-18}  # of the largest entry: the cut times u of float32; 64 u
SHARE = 2.0**-5  # what a hypothesis may leave of the difference: one that removes less explains something else

Array = np.ndarray
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Cause:
    """A code of the catalogue, a sentence, and the factor between the two sides where there is one.

    `factor` is there for a tensor that is too small to name a cause, too: others may share it. `fitted` is a number in
    the hypothesis that was fitted to the tensor.
    """

    code: str
    text: str = ""
    factor: float | None = None
    fitted: float | None = None


UNKNOWN = Cause("unknown")


@dataclass(frozen=True)
class Scene:
    """One wrong tensor in the finest precision that was run.

    `recorded` is what the derivation has, `reference` what torch makes of the same inputs. `tensors` are all that the
    derivation had at hand in that step by name: parameters, the batch, values and gradients; `reads` says what each
    value is computed from. `replay` gives the reference of every tensor with some of `tensors` replaced. `previous` are
    the tensors of the step before, `updated` the parameters after this one. `numbers` names what a factor may be;
    `settings` are the rates of the update and the number of the step.
    """

    name: str
    recorded: Array
    reference: Array
    dtype: str = "float64"
    tensors: Arrays = field(default_factory=dict)
    parameters: frozenset[str] = frozenset()
    inputs: frozenset[str] = frozenset()
    reads: Mapping[str, frozenset[str]] = field(default_factory=dict)
    replay: Callable[[Arrays], Arrays] | None = None
    previous: Arrays = field(default_factory=dict)
    updated: Arrays = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def difference(self) -> Array:
        """Recorded minus reference."""
        return np.asarray(self.recorded - self.reference)

    @cached_property
    def worst(self) -> float:
        """The largest difference."""
        return float(np.max(np.abs(self.difference), initial=0.0))

    @cached_property
    def allowed(self) -> float:
        """What rounding may leave of the difference."""
        return float(ROUNDING[self.dtype] * np.max(np.abs(self.recorded), initial=0.0))

    @cached_property
    def wrong(self) -> Array:
        """Which entries differ by more than rounding, or else by a good part of the largest difference."""
        scale = np.maximum(np.abs(self.recorded), np.abs(self.reference))
        rounding = np.maximum(64 * ROUNDING[self.dtype] * scale, self.allowed / 2**10)
        return np.asarray(np.abs(self.difference) > np.minimum(rounding, self.worst / 16))

    def explained_by(self, predicted: Array | None) -> bool:
        """Whether the recorded tensor is the predicted one to within rounding."""
        if predicted is None or predicted.shape != self.recorded.shape:
            return False
        with np.errstate(all="ignore"):
            left = np.max(np.abs(self.recorded - predicted), initial=0.0)
        return bool(left <= min(self.allowed, SHARE * self.worst))

    def replayed(self, replacements: Arrays, of: str = "") -> Array | None:
        """The reference of this tensor, or of another, with some of its inputs replaced; None where there is none."""
        if self.replay is None or any(np.shape(a) != self.tensors[n].shape for n, a in replacements.items()):
            return None
        return self.replay({name: np.asarray(array) for name, array in replacements.items()}).get(of or self.name)

    @property
    def of(self) -> str:
        """What this is the gradient of, or nothing."""
        return self.name[1:] if self.name.startswith("d") and len(self.name) > 1 else ""

    @cached_property
    def readers(self) -> tuple[str, ...]:
        """The values that are computed from what this is the gradient of."""
        return tuple(name for name, read in self.reads.items() if self.of in read) if self.of else ()

    def descend(self, name: str) -> frozenset[str]:
        """The values that are computed from a value, directly or not."""
        found: set[str] = set()
        pending = {name}
        while pending:
            pending = {value for value, read in self.reads.items() if read & pending} - found
            found |= pending
        return frozenset(found)

    @cached_property
    def earlier(self) -> frozenset[str]:
        """The tensors that exist before this one: those that it may have been computed from by mistake.

        For a value, the values that are not computed from it; for a gradient, all values, and the gradients of what is
        computed from the tensor that it is the gradient of.
        """
        gradients = {name for name in self.tensors if name.startswith("d") and name[1:] in {*self.reads, *self.tensors}}
        values = self.tensors.keys() - gradients - {self.name}
        if not self.reads:
            return frozenset(self.tensors.keys() - {self.name})
        if not self.of:
            return frozenset(values - self.descend(self.name))
        return frozenset(values | {f"d{value}" for value in self.descend(self.of)} & gradients)

    def alike(self, *names: str) -> Iterator[tuple[str, Array]]:
        """Those of the tensors named, or of all that are earlier, gradients first, that have this one's shape."""
        for name in names or sorted(self.earlier, key=lambda name: (name[:1] != "d", list(self.tensors).index(name))):
            array = self.tensors.get(name)
            if array is not None and array.shape == self.recorded.shape:
                yield name, array


Family = Callable[[Scene], Iterator[Cause]]
