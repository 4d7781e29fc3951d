"""A wrong tensor with everything that it may have been computed from, and when a hypothesis explains it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from handgrad.compare.diagnosis.bits import ENOUGH_BITS, MOST_BITS, Observed, multiple
from handgrad.compare.diagnosis.search import Elsewhere
from handgrad.compare.errors import InputError
from handgrad.compare.facts.causes import Cause
from handgrad.compare.names import before, gradient, is_gradient, is_updated, of_gradient, updated
from handgrad.compare.oracle.graph import Form, Graph
from handgrad.compare.thresholds import EQUAL, SCREEN, UNEXPLAINED, UNIT_ROUNDOFF
from handgrad.compare.trace import Arrays
from handgrad.torchref.exchange import to_tensor

Array = np.ndarray
MOST_RECORDED = 2**19  # numbers that were at hand
PRICE_OF_FAMILIES = ENOUGH_BITS + 8.0  # some two hundred formulas are tried on a tensor


@dataclass(frozen=True)
class Scene:
    """One wrong tensor in the finest precision that was run.

    `recorded` is what the derivation has, `reference` what torch makes of the same inputs; `rounding` may move that
    so far, and `noise` leaves each recorded entry open; `coarse` does where it has been rounded to so few digits as it
    has. `tensors` are all that the derivation had at hand in that
    step, by name: parameters, the batch, values and gradients, "vW before" for a velocity before the step, and "all
    of X" for the data that a batch is taken from. `reads` says what each value is computed from. `replay` gives the
    reference of every tensor with some of `tensors` replaced. `previous` are the tensors of the step before,
    `updated` the parameters after this one. `numbers` names what a factor may be; `settings` are the rates of the
    update and the number of the step. `graph` is the reference's own, recorded on what was returned, and
    `elsewhere` reruns the derivation where all has moved. `smaller` gives the same tensor on shorter data, for tensors
    too large to be recorded.
    """

    name: str
    recorded: Array
    reference: Array
    dtype: str = "float64"
    rounding: float = 0.0
    noise: Array | float = 0.0
    coarse: Array | None = None
    tensors: Arrays = field(default_factory=dict)
    parameters: frozenset[str] = frozenset()
    inputs: frozenset[str] = frozenset()
    reads: Mapping[str, frozenset[str]] = field(default_factory=dict)
    replay: Callable[[Arrays], Arrays] | None = None
    previous: Arrays = field(default_factory=dict)
    updated: Arrays = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, float] = field(default_factory=dict)
    graph: Callable[[Form], Graph] | None = None
    elsewhere: Callable[[], Iterable[Elsewhere]] = tuple
    smaller: Callable[[], Scene | None] | None = None

    @property
    def at_its_digits(self) -> Scene:
        """The same with a rounding to as few digits as it has left open."""
        return replace(self, noise=0.0 if self.coarse is None else self.coarse, coarse=None)

    @property
    def other_times(self) -> Arrays:
        """The tensors of the step before and the parameters after this one, by names that say so."""
        earlier = {before(name): array for name, array in self.previous.items()}
        return earlier | {updated(name): array for name, array in self.updated.items()}

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
        return self.observed.rounding

    @cached_property
    def wrong(self) -> Array:
        """Which entries differ by more than rounding, or else by a good part of the largest difference."""
        scale = np.maximum(np.abs(self.recorded), np.abs(self.reference))
        rounding = np.maximum(64 * UNEXPLAINED[self.dtype] * scale, self.allowed / 2**10)
        return np.asarray(np.abs(self.difference) > np.minimum(rounding, self.worst / 16))

    def explained_by(self, predicted: Array | None, *, fitted: int = 0) -> bool:
        """Whether the recorded tensor is the predicted one to within rounding, with enough bits for a family's price.

        `fitted` numbers of the prediction were fitted to the tensor.
        """
        if predicted is None:
            return False
        tensor = to_tensor(np.asarray(predicted, np.float64))
        least = PRICE_OF_FAMILIES + fitted * MOST_BITS
        return self.observed.is_explained_by(tensor) and self.observed.bits(tensor) >= least

    @property
    def is_large(self) -> bool:
        """Whether too many numbers are at hand for every step on them to be kept."""
        return sum(array.size for array in self.tensors.values()) > MOST_RECORDED

    def recorded_graph(self, form: Form) -> Graph | None:
        """The graph in a form; None where there is none, and of large tensors, as every step is kept."""
        if self.graph is None or self.is_large:
            return None
        with suppress(InputError):  # what the reference does cannot be looked at inside
            return self.graph(form)
        return None

    @cached_property
    def observed(self) -> Observed:
        """The two sides, for what counts bits: of an update, which may be a small step, a few roundings are allowed."""
        noise = self.noise if isinstance(self.noise, float) else to_tensor(self.noise)
        allowed = max(self.rounding, float(np.max(self.noise)))
        share = SCREEN * UNIT_ROUNDOFF[self.dtype] if is_updated(self.name) else None
        return Observed(to_tensor(self.recorded), to_tensor(self.reference), self.dtype, allowed, share, noise)

    def explaining(self, predictions: Iterable[tuple[Cause, Array | None]]) -> Iterator[Cause]:
        """The causes that predict the recorded tensor."""
        return (cause for cause, predicted in predictions if self.explained_by(predicted))

    def multiple_of(self, other: Array | None, exact: tuple[float, ...] = ()) -> float | None:
        """c where the difference is c times another tensor, to within rounding; one of the exact ones is not fitted."""
        if other is None or other.shape != self.recorded.shape or not other.any():
            return None
        c = multiple(to_tensor(self.difference), to_tensor(other))
        is_exact = any(abs(c - times) <= EQUAL for times in exact)
        return c if c and self.explained_by(self.reference + c * other, fitted=not is_exact) else None

    @property
    def times(self) -> float:
        """The factor of the reference that comes nearest to the recorded tensor; 0 where there is none."""
        return multiple(self.observed.recorded, self.observed.reference)

    def replayed(self, replacements: Arrays, of: str = "") -> Array | None:
        """The reference of this tensor, or of another, with some of its inputs replaced; None where there is none."""
        if self.replay is None or any(np.shape(a) != self.tensors[n].shape for n, a in replacements.items()):
            return None
        return self.replay({name: np.asarray(array) for name, array in replacements.items()}).get(of or self.name)

    @property
    def of(self) -> str:
        """What this is the gradient of, or nothing."""
        return of_gradient(self.name)

    @cached_property
    def readers(self) -> tuple[str, ...]:
        """The values that are computed from what this is the gradient of."""
        return tuple(name for name, read in self.reads.items() if self.of in read) if self.of else ()

    def descend(self, name: str) -> frozenset[str]:
        """The values that are computed from a value, directly or not."""
        computed: set[str] = set()
        pending = {name}
        while pending:
            pending = {value for value, read in self.reads.items() if read & pending} - computed
            computed |= pending
        return frozenset(computed)

    @cached_property
    def earlier(self) -> frozenset[str]:
        """The tensors that exist before this one: those that it may have been computed from by mistake.

        For a value, the values that are not computed from it; for a gradient, all values, and the gradients of what is
        computed from the tensor that it is the gradient of.
        """
        if not self.reads:
            return frozenset(self.tensors.keys() - {self.name})
        known = {*self.reads, *self.tensors}
        gradients = {name for name in self.tensors if is_gradient(name, known)}
        values = self.tensors.keys() - gradients - {self.name}
        if not self.of:
            return frozenset(values - self.descend(self.name))
        return frozenset(values | {gradient(value) for value in self.descend(self.of)} & gradients)


Family = Callable[[Scene], Iterator[Cause]]
