"""A user's torch reference: run on its own, replayed on records, and with its inputs moved a little."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from torch import Tensor

from handgrad.compare.errors import InputError
from handgrad.compare.oracle.replay import Replay, replay
from handgrad.compare.sandbox import CAUGHT, defaulting_to, in_precision, located, same
from handgrad.compare.trace import is_real
from handgrad.compare.verdict.rule import Ladder, Local
from handgrad.torchref.exchange import to_array, to_tensor, view_of_tensor

__all__ = ["ROUNDINGS", "Evidence", "Reference", "check_repeatable", "input_names", "moved", "run_reference"]

Arrays = Mapping[str, np.ndarray]
Reference = Callable[..., Tensor]

UNKNOWN = (np.nan, np.nan)
ROUNDINGS = 2.0**-48  # of float64, a few dozen
STILL = 2**6  # so many times less than the reference moves what is cast
NOTHING = 2.0**-30  # the share of J and the gradients up to which a tensor may be what cancels but for its roundings
REPLAYS = 3  # replays with moved inputs, and reruns with moved parameters


def input_names(reference: Reference, count: int) -> list[str]:
    """The names of the reference's positional parameters after the first, or numbers where it has none."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    try:
        parameters = inspect.signature(reference).parameters.values()
    except (TypeError, ValueError):
        parameters = {}.values()
    named = [p.name for p in parameters if p.kind in kinds][1:]
    return [named[i] if i < len(named) else f"input{i + 1}" for i in range(count)]


def run_reference(
    reference: Reference, params: Arrays, batch: Arrays, records: Arrays, dtype: str, *, check: bool = False
) -> Replay:
    """Replay reference(params, *batch) in a dtype on some records; without records it is the reference's own run.

    An input has a gradient if `records` holds one for it. With `check`, taps are inspected, and InputError is raised
    where the reference fails or changes what it is handed.
    """
    leaves, inputs = _handed(params, batch, dtype)
    tracked = {
        name: tensor.requires_grad_()
        for name, tensor in inputs.items()
        if f"d{name}" in records and tensor.is_floating_point()
    }
    used = records if not check else {}
    wanted = {name[1:] for name in records if name.startswith("d")}
    with _running(batch, dtype):
        forward = partial(_called, reference, leaves, inputs)
        found = replay(forward, {**leaves, **tracked}, used, wanted=wanted, inspect=check)
    if check and not found.gradients.keys() & {f"d{name}" for name in leaves}:
        raise InputError(
            "J depends on no parameter in the reference; compute it from params without detach, no_grad or numpy()"
        )
    if check:
        _check_unchanged({**params, **batch}, {**leaves, **inputs}, dtype)
    independent = [name for name in (*leaves, *tracked) if f"d{name}" in records and f"d{name}" not in found.gradients]
    zeros = {f"d{name}": np.zeros(tuple({**leaves, **tracked}[name].shape), dtype) for name in independent}
    return replace(found, gradients=found.gradients | zeros)


def _handed(params: Arrays, batch: Arrays, dtype: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Copies of what the reference is handed: parameters, which have a gradient, and the batch."""
    leaves = {name: to_tensor(array).requires_grad_() for name, array in in_precision(params, dtype).items()}
    return leaves, {name: to_tensor(array) for name, array in in_precision(batch, dtype).items()}


def _called(reference: Reference, leaves: Mapping[str, Tensor], inputs: Mapping[str, Tensor]) -> Tensor:
    return reference(dict(leaves), *inputs.values())


@contextmanager
def _running(batch: Arrays, dtype: str) -> Iterator[None]:
    """While entered, torch makes tensors of this dtype, and what the reference raises is an InputError."""
    try:
        with defaulting_to(dtype):
            yield
    except InputError:
        raise
    except CAUGHT as error:
        raise InputError(f"the reference raises {located(error).what}; {_remedy(error, batch)}") from None


def _remedy(error: BaseException, batch: Arrays) -> str:
    if "backward through the graph a second time" in str(error):
        return "it must leave backward() to the check and return J"
    whole = [name for name, array in batch.items() if array.dtype.kind != "f"]
    if whole and any(word in str(error) for word in ("dtype", "Float", "Long", "Int", "Bool")):
        return f"{whole[0]} holds {batch[whole[0]].dtype} and passes unchanged, so perhaps write .astype(float)"
    return "it must run on params and batch"


def check_repeatable(reference: Reference, params: Arrays, batch: Arrays, dtype: str, first: Replay) -> None:
    """Raise InputError if the reference, called again on what `first` is the run on, gives another answer."""
    again = run_reference(reference, params, batch, {}, dtype)
    remedy = "it must be repeatable, so put a module in eval() or pass dropout masks in the batch"
    for name, value in {**again.values, **again.gradients}.items():
        before = {**first.values, **first.gradients}.get(name)
        if before is None or _near(before, value):
            continue
        if before.ndim:
            raise InputError(f"the reference, called twice, gives two answers for {name}; {remedy}")
        raise InputError(
            f"the reference gives {name} = {float(before):.9g} and, called again, {float(value):.9g}; {remedy}"
        )
    leaves, inputs = _handed(params, batch, dtype)
    with _running(batch, dtype):
        bare = to_array(_called(reference, leaves, inputs)).reshape(())
    if not _near(first.values["J"], bare):
        raise InputError(
            f"the reference gives J = {float(first.values['J']):.9g} and, where taps do nothing, {float(bare):.9g}; a "
            "tap hands out a tensor of its own, so write into none of which a tap is a view"
        )


def _near(before: np.ndarray, again: np.ndarray) -> bool:
    """Whether two answers are one but for another order of summation."""
    if before.shape != again.shape:
        return False
    before, again = (array.astype(np.result_type(array, np.float64)) for array in (before, again))
    with np.errstate(all="ignore"):
        apart, scale = np.abs(before - again), np.abs(before)
        same = np.array_equal(before, again, equal_nan=True)
        return bool(same or np.max(apart, initial=0.0) <= 1e-6 * np.max(scale, initial=0.0))


def _check_unchanged(before: Arrays, after: Mapping[str, Tensor], dtype: str) -> None:
    for name, array in in_precision(before, dtype).items():
        if not same(array, view_of_tensor(after[name])):
            raise InputError(f"the reference changes {name} in place; let it compute a new tensor instead")


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
        kept = {*self.differentiated, *(f"d{name}" for name in self.differentiated)}
        used = {name: array for name, array in records.items() if is_real(array) and name not in kept}
        found = run_reference(self.reference, params, batch, used, dtype)
        both = {**found.values, **found.gradients}
        return {
            name: array if array.dtype.kind == "f" else array.real.astype(np.float64) for name, array in both.items()
        }

    def _cotangent(self, name: str) -> float:
        """The largest gradient of the taps that are computed from the tap that `name` is the gradient of.

        For a parameter it is that of the taps which read it, where theirs is not returned, in proportion.
        """
        if not name.startswith("d"):
            return 0.0
        readers = [tap for tap, read in self.reads.items() if tap != "J" and name[1:] in read]
        if name[1:] in self.reads:
            return max((self._largest_of(f"d{tap}") for tap in readers), default=0.0)
        sizes = {tap: self._largest_of(f"d{tap}") for tap in readers if f"d{tap}" not in self.records}
        shares = (self._cotangent(f"d{tap}") / size for tap, size in sizes.items() if size)
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
        nudged = partial(moved, rng=rng, by=2.0**-24)
        runs = []
        for _ in range(REPLAYS):
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
        return self._changes(2.0**-20)

    @cached_property
    def _tremors(self) -> dict[str, tuple[float, float]]:
        return self._changes(2.0**-45, below_float32=True)

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
        for _ in range(REPLAYS):
            towards = {name: _direction(array, rng) for name, array in self.params.items()}
            try:
                near, further = (self._run_at(self.derive, towards, times * by) for times in (1, 2))
            except InputError:  # there the reference does not run
                continue
            for name in here.keys() & near.keys() & further.keys():
                change = self._change(name, here[name], near[name], further[name])
                by_hand, swing = map(_moved, near[name], further[name])
                if below_float32 and near[name].recorded.any() and STILL * by_hand < swing:
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
        if max(map(_share, (near, further))) <= 2.0**-20 * _share(here):
            return 0.0  # gone as soon as anything moves: it is a special point, like z = 0, not rounding
        one, other = (place.recorded - place.reference for place in (near, further))
        still = [not np.any(after != before, where=one != 0) for before, after in zip(near, further, strict=True)]
        small = _largest(one) <= 8 * 2.0**-53 * max(self._largest_read(name), self._cotangent(name))
        if any(still) and small:
            return np.inf
        largest = max(_largest(one), _largest(other), np.finfo(float).tiny)
        return np.nan if all(still) else _largest(other - one) / largest

    def _is_nothing(self, name: str) -> bool:
        """Whether a tensor is nothing beside J and its gradients, or beside what all is computed from."""
        largest = max(_largest(self.local[name]), self._largest_of(name))
        others = max(self._largest_of(each) for each in ("J", *(f"d{parameter}" for parameter in self.params)))
        given = max((_largest(a) for a in (*self.params.values(), *self.batch.values()) if is_real(a)), default=0.0)
        return largest <= max(NOTHING * others, ROUNDINGS * given)

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


def moved(array: np.ndarray, *, rng: np.random.Generator, by: float) -> np.ndarray:
    """Every entry of a floating array moved by a relative amount, up or down at random, in float64."""
    if array.dtype.kind != "f":
        return array
    return np.asarray(array.astype(np.float64) * (1 + by * rng.choice([-1.0, 1.0], array.shape)))


def _largest(difference: Any) -> float:
    return float(np.max(np.abs(np.nan_to_num(difference)), initial=0.0))
