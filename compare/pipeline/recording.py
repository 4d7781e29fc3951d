"""The one recorder: what a hand-written side computes, step by step, copied as it goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from handgrad.compare.autograd import Starts
from handgrad.compare.errors import kind_of
from handgrad.compare.facts.causes import Cause
from handgrad.compare.facts.failures import Aliased, Mutates, ReturnedInstead, TooManyYields
from handgrad.compare.mapping import as_mapping
from handgrad.compare.names import PHASES, Key, of_velocity, updated, velocity
from handgrad.compare.results import Finding
from handgrad.compare.sandbox import CAUGHT, as_record, fresh, located, quietly
from handgrad.compare.trace import is_real, same

Arrays = dict[str, np.ndarray]
Trainer = Callable[..., Iterator[Mapping[str, Any]]]


@dataclass(eq=False)
class Ended(Exception):
    """What ends a run before its time: its cause, and what was recorded of the step that it ends.

    `where` is the tensor against which it is told, if that is known, with the label of its equation; `complete` are the
    phases of the step that were finished. `follows`: the step before was whole, and it is that step's fault.
    """

    cause: Cause
    records: Arrays = field(default_factory=dict)
    where: Key | None = None
    equation: str = ""
    complete: frozenset[str] = frozenset()
    follows: bool = False

    def finding(self, otherwise: Key) -> Finding:
        """The finding that it is, against a tensor where it names none."""
        verdict = "MISSING" if self.cause.code == "missing" else "FAULT"
        return Finding(self.where or otherwise, verdict, self.cause, equation=self.equation)


@dataclass(frozen=True)
class Taken:
    """One step in one precision: the parameters that it started from, what it computed, and what ended it.

    A parameter's new value stands under its updated name. `complete` are the phases that were finished.
    """

    before: Arrays
    records: Arrays
    ended: Ended | None = None
    complete: frozenset[str] = frozenset(PHASES)

    @cached_property
    def after(self) -> Arrays:
        """The parameters after the step, as far as they are usable."""
        after = {name: self.records.get(updated(name)) for name in self.before}
        return {
            name: array
            for name, array in after.items()
            if array is not None and is_real(array) and array.shape == self.before[name].shape
        }

    @property
    def others(self) -> Arrays:
        """What it computed beside the updated parameters and their velocities."""
        own = {*self.before, *map(velocity, self.before), *map(updated, self.before)}
        return {name: array for name, array in self.records.items() if name not in own}


@dataclass(frozen=True)
class Run:
    """A whole run in one precision: its steps, and what ended it or was wrong about it.

    `upstream` says how it comes that the upstream gradient of an autograd.Function in it is 1.
    """

    steps: tuple[Taken, ...]
    failure: Ended | None = None
    upstream: str = ""

    @property
    def changes(self) -> list[tuple[Arrays, Arrays]]:
        """The parameters before and after every step."""
        return [(taken.before, taken.after) for taken in self.steps]


def steps_of(training: Iterable[Any], params: Arrays, copy: Callable[[Any], np.ndarray] = as_record) -> Iterator[Taken]:
    """The steps of a trainer as it yields them, each a copy; the last one may have been ended by an exception.

    Parameters are yielded under their updated names. It ends with a step after which one is missing or has another
    shape.
    """
    before, steps = params, iter(training)
    while (taken := _next(steps, before, copy)) is not None:
        yield taken
        if taken.ended is not None or len(taken.after) < len(params):
            return
        before = taken.after


def _next(steps: Iterator[Any], before: Arrays, copy: Callable[[Any], np.ndarray]) -> Taken | None:
    """The next step of a trainer, or what ended it there; None after its last one."""
    try:
        for values in steps:
            if not isinstance(values, Mapping):
                instead = kind_of(values)
                raise Ended(ReturnedInstead("trainer", "yields", instead, "yield a dict of the new parameters"))
            return Taken(before, {str(name): copy(value) for name, value in values.items()})
    except Ended as ended:
        return Taken(before, ended.records, ended, ended.complete)
    except CAUGHT as error:  # whatever the user's code raises is a finding, not a crash
        return Taken(before, {}, Ended(located(error)), frozenset())
    return None


def record(trainer: Trainer, params: Arrays, batches: Sequence[Arrays]) -> Run:
    """Run a trainer on copies to its end, or one step beyond the last batch."""
    handed = [tuple(array.copy() for array in batch.values()) for batch in batches]
    steps: list[Taken] = []
    failure = None
    with quietly(), Starts() as starts:
        training = _started(trainer, {name: a.copy() for name, a in params.items()}, handed)
        for taken in steps_of(training, params):
            if taken.ended is not None:
                failure = taken.ended
            elif len(steps) == len(batches):
                failure = Ended(TooManyYields(len(batches)))
                break
            else:
                steps.append(taken)
    return Run(tuple(steps), failure or _changed(batches, handed), starts.upstream)


def _started(trainer: Trainer, params: Arrays, batches: Sequence[tuple[np.ndarray, ...]]) -> Iterator[Any]:
    """What a trainer yields, new values under their updated names; Ended where it is no generator of steps."""
    due = {*params}
    training = fresh(trainer)(params, [*batches])
    if not isinstance(training, Iterable) or isinstance(training, Mapping):
        instead = "a dict" if isinstance(training, Mapping) else kind_of(training)
        raise Ended(ReturnedInstead("trainer", "returns", instead, "make it a generator: yield once per batch"))
    if isinstance(training, (list, tuple)) and _shared(training):
        raise Ended(Aliased())
    for values in map(as_mapping, training):
        is_step = isinstance(values, Mapping)
        yield {updated(n) if n in due else n: value for n, value in values.items()} if is_step else values


def _shared(steps: Sequence[Any]) -> bool:
    """Whether the same array stands for several steps."""
    ids = [id(v) for step in steps if isinstance(step, Mapping) for v in step.values() if isinstance(v, np.ndarray)]
    return len(set(ids)) < len(ids)


def _changed(batches: Sequence[Arrays], handed: Sequence[tuple[np.ndarray, ...]]) -> Ended | None:
    """The first array of a batch that was changed in place."""
    for number, (batch, theirs) in enumerate(zip(batches, handed, strict=True), start=1):
        for (name, before), after in zip(batch.items(), theirs, strict=True):
            if not same(before, after):
                return Ended(Mutates("trainer", f"batch {number}'s", name), where=Key(1, "forward", name))
    return None


def trainer_of(update: Callable[..., Any], gradients: Sequence[Arrays]) -> Trainer:
    """An optimiser's update by hand as a trainer: its steps are those of the gradients given.

    Its own object is copied, so that no run leaves state to the next. Of a state that is a mapping, v<name> is yielded.
    """

    def trainer(params: Arrays, _: Sequence[Any]) -> Iterator[dict[str, Any]]:
        mine, state = fresh(update), None
        for along in gradients:
            given = {name: array.copy() for name, array in along.items()}
            handed = {name: array.copy() for name, array in params.items()}
            returned = mine(handed, given, state)
            if returned is None:
                returned = (handed, state)
            if not (isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[0], Mapping)):
                instead = kind_of(returned)
                raise Ended(ReturnedInstead("update", "returned", instead, "return (params, state) or None"))
            result, state = returned
            kept = {str(name): value for name, value in state.items()} if isinstance(state, Mapping) else {}
            records = {**{name: value for name, value in kept.items() if of_velocity(name)}, **result}
            yield records
            changed = [name for name, array in given.items() if not same(array, along[name])]
            if changed:
                raise Ended(Mutates("update", "gradient", changed[0]), follows=True)
            params = {name: as_record(records[name]) for name in params}

    return trainer
