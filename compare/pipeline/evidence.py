"""One precision of a derivation's run beside the reference, and the further runs that a verdict may ask for.

Each further run serves all tensors, and is made when it is first asked for: replays with drawn roundings, one with
torch's inexact kernels put right, runs of both sides at moved parameters, and the slope of the derivation's own J.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from handgrad.compare.errors import InputError
from handgrad.compare.names import gradient, of_gradient
from handgrad.compare.oracle.graph import Form, Graph
from handgrad.compare.oracle.inexact import PutRight
from handgrad.compare.oracle.noise import Noise
from handgrad.compare.oracle.reference import Reference, recorded_graph, run_on_records
from handgrad.compare.pipeline.finite_differences import loss_in, quotient, slope
from handgrad.compare.source.variables import variables
from handgrad.compare.thresholds import (
    LEFT_OF_FLOAT32,
    LEFT_OF_SUMS,
    NORMALISED,
    NOTHING,
    OWN_LOSS_ERRORS,
    OWN_LOSS_GAP,
    OWN_LOSS_IN_VAIN,
    PLACES,
    REFERENCE_IN_FLOAT32,
    UNIT_ROUNDOFF,
)
from handgrad.compare.trace import Arrays, in_precision, is_real
from handgrad.compare.verdict.closeness import Local
from handgrad.compare.verdict.rounding import Witness, largest

Derive = Callable[[Arrays, Arrays], Arrays]


class Situation(NamedTuple):
    """What the derivation was handed, in float64 or float32, what it returned, and what the step before had."""

    params: Arrays
    batch: Arrays
    records: Arrays
    previous: Arrays = MappingProxyType({})


Beside = tuple[Arrays, Arrays]  # what the derivation returned, and the reference on that
Elsewhere = Callable[[float], Iterable[Situation]]  # the derivation where everything has moved by a share


@dataclass(frozen=True)
class Evidence(Witness):
    """A derivation's records in one precision beside the reference, and what a verdict may ask besides.

    `situations` runs the derivation where its parameters and its batch have moved, `derive` on parameters of choice,
    and `raises_overflow` says whether it overflows; None where it cannot be run again. Taps that the reference itself
    differentiates through are not replaced by records: `differentiated`.
    """

    reference: Reference
    params: Arrays
    batch: Arrays
    records: Arrays
    dtype: str = "float64"
    situations: Elsewhere | None = None
    derive: Derive | None = None
    raises_overflow: Callable[[], bool] | None = None
    reads: Mapping[str, frozenset[str]] = field(default_factory=dict)
    differentiated: frozenset[str] = frozenset()
    _with_noise: dict[float, list[Arrays]] = field(default_factory=dict, init=False)
    _places: dict[float, tuple[list[tuple[Arrays, Arrays]], Iterator[Situation]]] = field(
        default_factory=dict, init=False
    )
    _graphs: dict[Form, Graph] = field(default_factory=dict, init=False)
    _in_vain: list[str] = field(default_factory=list, init=False)  # the tensors whose slope was taken and told nothing

    @cached_property
    def local(self) -> Arrays:  # type: ignore[override]  # it is computed where it is first asked for
        """The reference in float64, evaluated on the records."""
        return self._replayed(self.params, self.batch, self.records)

    def beside(self, name: str) -> Local | None:
        """A record and the reference on the records, where both have real numbers in the same shape.

        Infinities on both sides, as in masked scores, count as 0 where J is finite. A value that the reference itself
        computes in float32, as in (Z > 0).float().mean(), is compared to within a rounding of that.
        """
        local = super().beside(name)
        if local is None:
            return None
        if local.reference.dtype == np.float32 and _is_rounded(local):
            return Local(local.recorded, local.recorded.astype(np.float64))
        both = np.isinf(local.recorded) & (local.recorded == local.reference)
        if both.any() and np.isfinite(self.local["J"]).all():
            return Local(*(np.where(both, 0.0, side) for side in local))
        return local

    def graph(self, form: Form) -> Graph:
        """The reference's own steps on the records, recorded where they are first asked for."""
        if form not in self._graphs:
            used = self._used(self.records)
            graph = recorded_graph(self.reference, self.params, self.batch, used, form)
            self._graphs[form] = replace(graph, variables=variables(graph))
        return self._graphs[form]

    def _used(self, records: Arrays) -> Arrays:
        """The records that stand in taps' places."""
        kept = {*self.differentiated, *map(gradient, self.differentiated)}
        return {name: array for name, array in records.items() if is_real(array) and name not in kept}

    def _replayed(self, params: Arrays, batch: Arrays, records: Arrays, mode: Any = None) -> dict[str, np.ndarray]:
        with nullcontext() if mode is None else mode:
            run = run_on_records(self.reference, params, batch, self._used(records))
        return _in_float64({**run.values, **run.gradients})

    # --- the reference with other roundings

    def noisy(self, name: str, count: int, by: float) -> list[np.ndarray]:
        """A tensor in so many replays with drawn roundings of a size; fewer where an operation takes no noise."""
        made = self._with_noise.setdefault(by, [])
        while len(made) < count:
            try:
                made.append(self._replayed(self.params, self.batch, self.records, Noise(by, len(made))))
            except InputError:
                made.append({})
        return [run[name] for run in made[:count] if name in run]

    @cached_property
    def _once_more(self) -> dict[str, np.ndarray]:
        return self._replayed(self.params, self.batch, self.records)

    def again(self, name: str) -> np.ndarray | None:
        """The reference once more, on the same."""
        return self._once_more.get(name)

    @cached_property
    def _exact(self) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
        mode = PutRight()
        try:
            run = self._replayed(self.params, self.batch, self.records, mode)
        except InputError:
            return {}, ()
        return run, tuple(mode.met)

    def put_right(self, name: str) -> tuple[np.ndarray | None, tuple[str, ...]]:
        """The reference where torch's inexact kernels and constants are exact, and which those are."""
        run, met = self._exact
        return (np.atleast_1d(run[name]) if name in run else None), met

    @cached_property
    def torch_is_finite(self) -> bool:
        """Whether torch's own run in this precision is finite everywhere."""
        try:
            run = run_on_records(self.reference, self.params, self.batch, {}, self.dtype)
        except InputError:
            return False
        return all(np.isfinite(array).all() for array in (*run.values.values(), *run.gradients.values()))

    # --- other places

    def elsewhere(self, by: float) -> Iterator[Beside]:
        """What the derivation returned, and the reference on that, where everything has moved by a share.

        One direction after another, as far as that is asked for.
        """
        if by not in self._places:
            self._places[by] = ([], iter(() if self.situations is None else self.situations(by)))
        made, left = self._places[by]
        yield from made
        for params, batch, records, _ in left:
            with suppress(InputError):  # there the reference does not run
                made.append((records, self._replayed(params, batch, records)))
                yield made[-1]

    @cached_property
    def overflows(self) -> bool:
        """Whether the derivation overflows, or divides 0 by 0, on its way."""
        return self.raises_overflow is not None and self.raises_overflow()

    # --- what it is beside the others

    def reach(self, name: str) -> float:
        """The largest entry of the reference, of the values that it is computed from, or of the gradients."""
        of = of_gradient(name)
        readers = [tap for tap, read in self.reads.items() if tap != "J" and of and of in read]
        read_by_it = [*map(gradient, readers), *self.reads.get(name, ())]
        return max(largest(self.local[name]), *map(self._largest_of, read_by_it), 0.0)

    def _largest_of(self, name: str) -> float:
        """The largest entry of a tensor, as it was returned or else in torch or handed over."""
        tables = (self.records, self.local, self.batch, self.params)
        array = next((table[name] for table in tables if name in table), None)
        return largest(array) if array is not None and is_real(array) else 0.0

    def is_nothing(self, name: str) -> bool:
        """Whether a tensor is nothing beside J and its gradients, or beside what all is computed from."""
        most = max(largest(self.local[name]), self._largest_of(name))
        others = max(largest(self.local.get(each, np.zeros(1))) for each in ("J", *map(gradient, self.params)))
        given = max(largest(a) for a in (*self.params.values(), *self.batch.values()) if a.dtype.kind == "f")
        if self.dtype == "float32":
            return most <= LEFT_OF_FLOAT32 * max(others, given)
        return most <= max(NOTHING * others, LEFT_OF_SUMS * given)

    def contradicts(self, name: str, difference: np.ndarray) -> bool:
        """Whether the derivation's own J has another slope along a difference than its gradient says.

        Two runs of the derivation tell where it has not; else some ten are taken, until they told nothing a few times.
        """
        of = of_gradient(name)
        is_large = largest(difference) > NOTHING * largest(self.local[name])
        if self.derive is None or of not in self.params or "J" not in self.records or not is_large:
            return False
        if len(self._in_vain) >= OWN_LOSS_IN_VAIN:
            return False
        at = self.params[of].astype(np.float64)
        along = np.where(np.abs(difference) > largest(difference) / 4, np.sign(difference), 0.0).reshape(at.shape)
        along *= max(largest(at), 1e-3)
        returned = float(np.sum(self.records[name] * along))
        off = abs(float(np.sum(difference.reshape(at.shape) * along)))

        @cache
        def cost(t: float) -> float:
            assert self.derive is not None
            return loss_in(self.derive({**self.params, of: at + t * along}, self.batch))

        if not abs(quotient(cost, 0.0) - returned) > off / 4:
            return False
        estimate = slope(cost, 0.0)
        gap, bar = abs(estimate.value - returned), OWN_LOSS_ERRORS * estimate.error
        accuses = not estimate.kink and gap > bar + off / 4 and bar < OWN_LOSS_GAP * off and estimate.tells(off)
        self._in_vain.extend([] if accuses else [name])
        return accuses


def _in_float64(arrays: Arrays) -> dict[str, np.ndarray]:
    """Arrays whose numbers are real and floating as they are, others in float64."""
    return {n: array if array.dtype.kind == "f" else array.real.astype(np.float64) for n, array in arrays.items()}


def _is_rounded(local: Local) -> bool:
    """Whether a float32 value of the reference is a record, to within a few of its roundings."""
    apart = largest(local.recorded.astype(np.float64) - local.reference)
    return apart <= REFERENCE_IN_FLOAT32 * UNIT_ROUNDOFF["float32"] * largest(local.reference)


def situations(derive: Derive, params: Arrays, batch: Arrays, dtype: str, by: float) -> Iterator[Situation]:
    """The derivation in a few directions where the parameters and the batch have moved by a share."""
    for theirs, inputs in directions(params, batch, by):
        theirs, inputs = in_precision(theirs, dtype), in_precision(inputs, dtype)
        yield Situation(theirs, inputs, derive(theirs, inputs))


def with_records(elsewhere: Elsewhere | None, change: Callable[[Arrays], Arrays]) -> Elsewhere | None:
    """The same situations with the records changed; None where there are none."""
    if elsewhere is None:
        return None
    return lambda by: (each._replace(records=change(each.records)) for each in elsewhere(by))


def directions(params: Arrays, batch: Arrays, by: float) -> Iterator[tuple[Arrays, Arrays]]:
    """Parameters and a batch moved by a share, in a few directions, in float64; what is whole in the batch stays."""
    rng = np.random.default_rng(3)
    for _ in range(PLACES):
        yield (
            {name: moved(array, rng, by) for name, array in params.items()},
            {name: array if is_whole(array) else moved(array, rng, by) for name, array in batch.items()},
        )


def is_whole(array: np.ndarray) -> bool:
    """Whether an array holds labels, a mask or counts: whole numbers, which have no neighbours."""
    return array.dtype.kind != "f" or bool((array == np.round(array)).all())


def moved(array: np.ndarray, rng: np.random.Generator, by: float) -> np.ndarray:
    """Every entry up or down at random by up to a share; what is symmetric stays so."""
    steps = rng.choice([-1.0, 1.0], array.shape) * rng.uniform(0.5, 1.0, array.shape)
    if array.ndim == 2 and array.shape[0] == array.shape[1] and np.array_equal(array, array.T):
        steps = np.triu(steps) + np.triu(steps, 1).T
    return _normalised_as(array, np.asarray(array.astype(np.float64) * (1 + by * steps)))


def _normalised_as(before: np.ndarray, array: np.ndarray) -> np.ndarray:
    """With the sums and lengths along axes that were one number: a derivation may rely on them, as on probabilities."""
    for axis in range(array.ndim):
        for power in (1, 2):
            was, now = ((each.astype(np.float64) ** power).sum(axis, keepdims=True) for each in (before, array))
            if was.size == 1 and abs(was.item() - 1) > NORMALISED:
                continue
            is_kept = (np.abs(now - was) < np.abs(was)).all()  # not where it cancels: no factor brings that back
            if is_kept and np.ptp(was) <= NORMALISED * np.abs(was).min():
                array = array * (was / now) ** (1 / power)
    return array
