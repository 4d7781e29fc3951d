"""What a derivation returned in one precision beside the reference, and what the verdict asks for where it must."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np

from handgrad.compare import thresholds
from handgrad.compare.errors import InputError
from handgrad.compare.names import gradient, of_gradient
from handgrad.compare.oracle.reference import Reference, moved, run_on_records
from handgrad.compare.trace import Arrays, is_real
from handgrad.compare.verdict.closeness import Local
from handgrad.compare.verdict.rule import Ladder

UNKNOWN = (np.nan, np.nan)


@dataclass(frozen=True)
class Evidence:
    """A derivation's records in one precision beside the reference, and what the ladder asks for where it must.

    `derive` runs the derivation again on other parameters, or is None where it cannot be run again. Taps that the
    reference itself differentiates through are not replaced by records: `differentiated`.
    """

    reference: Reference
    params: Arrays
    batch: Arrays
    records: Arrays
    derive: Callable[[Arrays], Arrays] | None = None
    reads: Mapping[str, frozenset[str]] = field(default_factory=dict)
    differentiated: frozenset[str] = frozenset()

    @cached_property
    def local(self) -> dict[str, np.ndarray]:
        """The reference in float64, evaluated on the records."""
        return self._replayed(self.params, self.batch, self.records)

    def ladder(self, name: str) -> Ladder:
        """Further evidence on one record."""
        return Ladder(
            spread=lambda: self._spreads.get(name, 0.0),
            cotangent=partial(self._cotangent, name),
            jitter=lambda: self._jitters.get(name, UNKNOWN)[0],
            tremor=lambda: self._tremors.get(name, UNKNOWN)[0],
            swing=lambda: self._tremors.get(name, UNKNOWN)[1],
            is_nothing=partial(self._is_nothing, name),
        )

    def _replayed(
        self, params: Arrays, batch: Arrays, records: Arrays, dtype: str = "float64"
    ) -> dict[str, np.ndarray]:
        kept = {*self.differentiated, *map(gradient, self.differentiated)}
        used = {name: array for name, array in records.items() if is_real(array) and name not in kept}
        run = run_on_records(self.reference, params, batch, used, dtype)
        both = {**run.values, **run.gradients}
        return {
            name: array if array.dtype.kind == "f" else array.real.astype(np.float64) for name, array in both.items()
        }

    def _cotangent(self, name: str) -> float:
        """The largest gradient of the taps that are computed from the tap that `name` is the gradient of.

        For a parameter it is that of the taps which read it, where theirs is not returned, in proportion.
        """
        of = of_gradient(name)
        if not of:
            return 0.0
        readers = [tap for tap, read in self.reads.items() if tap != "J" and of in read]
        if of in self.reads:
            return max((self._largest_of(gradient(tap)) for tap in readers), default=0.0)
        sizes = {tap: self._largest_of(gradient(tap)) for tap in readers if gradient(tap) not in self.records}
        shares = (self._cotangent(gradient(tap)) / size for tap, size in sizes.items() if size)
        return max(shares, default=0.0) * self._largest_of(name)

    def _largest_of(self, name: str) -> float:
        """The largest entry of a tensor, as it was returned or else in torch."""
        array = self.records.get(name, self.local.get(name))
        return _largest(array) if array is not None and is_real(array) else 0.0

    @cached_property
    def _spreads(self) -> dict[str, float]:
        """The largest change of each local reference by one rounding of float32 in all it is computed from, or in it.

        What cancels exactly, as the gradient of a bias before batch normalisation, does so whatever it is computed
        from; that it is a rounding of nothing shows where torch computes it in float32 itself.
        """
        rng = np.random.default_rng(0)
        nudged = partial(moved, rng=rng, by=thresholds.UNIT_ROUNDOFF["float32"])
        runs = []
        for _ in range(thresholds.MOVED_RUNS):
            params, batch, records = (
                {n: nudged(a) for n, a in of.items()} for of in (self.params, self.batch, self.records)
            )
            for others in (batch, self.batch):  # a label of 1 may be as large as it can be
                with suppress(InputError):
                    runs.append(self._replayed(params, others, records))
                    break
        with suppress(InputError):  # a reference that runs in float64 alone
            coarse = self._replayed(self.params, self.batch, self.records, "float32")
            runs.append({name: array for name, array in coarse.items() if np.isfinite(array).all()})
        found: dict[str, float] = {}
        for again in runs:
            for name, reference in again.items():
                found[name] = max(found.get(name, 0.0), _largest(reference - self.local[name]))
        return found

    @cached_property
    def _jitters(self) -> dict[str, tuple[float, float]]:
        return self._changes(thresholds.JITTER_STEP)

    @cached_property
    def _tremors(self) -> dict[str, tuple[float, float]]:
        return self._changes(thresholds.TREMOR_STEP, below_float32=True)

    def _changes(self, by: float, *, below_float32: bool = False) -> dict[str, tuple[float, float]]:
        """How much of each local difference, and of each reference, changes from one place near by to another.

        Both lie in the same direction from where the derivation was run, so that no kink is between them even where one
        is there. Medians over a few directions; nothing where the derivation cannot be run again.
        """
        if self.derive is None:
            return {}
        rng = np.random.default_rng(1)
        here = _beside(self.records, self.local)
        found: dict[str, list[tuple[float, float]]] = {}
        for _ in range(thresholds.MOVED_RUNS):
            towards = {name: _direction(array, rng) for name, array in self.params.items()}
            try:
                near, further = (self._run_at(self.derive, towards, times * by) for times in (1, 2))
            except InputError:  # there the reference does not run
                continue
            for name in here.keys() & near.keys() & further.keys():
                change = self._change(name, here[name], near[name], further[name])
                by_hand, swing = map(_moved, near[name], further[name])
                if below_float32 and near[name].recorded.any() and thresholds.STILL * by_hand < swing:
                    change = np.inf  # the reference moves, and a derivation that is cast to float32 does not
                found.setdefault(name, []).append((change, swing))
        medians = {name: np.median(changes, axis=0) for name, changes in found.items()}
        return {name: (float(change), float(swing)) for name, (change, swing) in medians.items()}

    def _run_at(self, derive: Callable[[Arrays], Arrays], towards: Arrays, by: float) -> dict[str, Local]:
        """The derivation and the reference on its records, where all parameters have moved by a relative amount."""
        params = {
            name: np.asarray(array * (1 + by * towards[name]), dtype=np.float64) for name, array in self.params.items()
        }
        records = derive(params)
        return _beside(records, self._replayed(params, self.batch, records))

    def _change(self, name: str, here: Local, near: Local, further: Local) -> float:
        """How much of a local difference changes between two places, relative to it.

        A value that swallowed its digits (1 + tanh z where z is -40), on either side, stays as it is although the other
        moves; where the difference is below one rounding of what it is computed from, that counts as change. Where
        neither side moves, nothing is known.
        """
        if max(map(_share, (near, further))) <= thresholds.SPECIAL_POINT * _share(here):
            return 0.0  # gone as soon as anything moves: it is a special point, like z = 0, not rounding
        one, other = (place.recorded - place.reference for place in (near, further))
        still = [not np.any(after != before, where=one != 0) for before, after in zip(near, further, strict=True)]
        reach = max(self._largest_read(name), self._cotangent(name))
        small = _largest(one) <= thresholds.FEW_ROUNDINGS * thresholds.UNIT_ROUNDOFF["float64"] * reach
        if any(still) and small:
            return np.inf
        largest = max(_largest(one), _largest(other), np.finfo(float).tiny)
        return np.nan if all(still) else _largest(other - one) / largest

    def _is_nothing(self, name: str) -> bool:
        """Whether a tensor is nothing beside J and its gradients, or beside what all is computed from."""
        largest = max(_largest(self.local[name]), self._largest_of(name))
        others = max(self._largest_of(each) for each in ("J", *map(gradient, self.params)))
        given = max((_largest(a) for a in (*self.params.values(), *self.batch.values()) if is_real(a)), default=0.0)
        return largest <= max(thresholds.NOTHING * others, thresholds.LEFT_OF_SUMS * given)

    def _largest_read(self, name: str) -> float:
        """The largest value that a tapped value is computed from."""
        everything = {**self.params, **self.batch, **self.local, **self.records}
        read = (everything[name] for name in self.reads.get(name, ()) if name in everything)
        return max((_largest(array) for array in read if is_real(array)), default=0.0)


def _beside(records: Arrays, local: Arrays) -> dict[str, Local]:
    """Records beside the reference on them, where both have real numbers in the same shape."""
    both = {name: Local(records[name], reference) for name, reference in local.items() if name in records}
    return {name: one for name, one in both.items() if is_real(one.recorded) and one.recorded.shape == one[1].shape}


def _direction(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Up or down for every entry, at random; what is symmetric stays so."""
    signs = rng.choice([-1.0, 1.0], array.shape)
    is_symmetric = array.ndim == 2 and array.shape[0] == array.shape[1] and np.array_equal(array, array.T)
    return np.asarray(np.triu(signs) + np.triu(signs, 1).T if is_symmetric else signs)


def _moved(near: np.ndarray, further: np.ndarray) -> float:
    """How much of an array changes between two places, relative to its largest entry."""
    largest = max(_largest(near), _largest(further), np.finfo(float).tiny)
    return _largest(np.subtract(further, near, dtype=np.float64)) / largest


def _share(local: Local) -> float:
    """The largest difference relative to the largest value."""
    largest = max(*map(_largest, local), np.finfo(float).tiny)
    return _largest(local.recorded - local.reference) / largest


def _largest(difference: Any) -> float:
    return float(np.max(np.abs(np.nan_to_num(difference)), initial=0.0))
