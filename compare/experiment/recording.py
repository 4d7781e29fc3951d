"""The hand-written side of the notes' network under way: each step in both precisions, its batch as torch cuts it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from itertools import count, tee

import numpy as np
from torch import Tensor

from handgrad.compare.experiment.data import Data
from handgrad.compare.experiment.settings import Settings, printed_first
from handgrad.compare.experiment.sides import by_hand, epoch_orders, initial_parameters, torch_batches, training_by_hand
from handgrad.compare.facts.failures import NoBatch
from handgrad.compare.facts.remarks import Note, runs_in_one
from handgrad.compare.names import Key, remembered
from handgrad.compare.operations import Modules, Shape, network_records, operation
from handgrad.compare.pipeline.recording import Ended, Taken, steps_of
from handgrad.compare.sandbox import quietly
from handgrad.compare.trace import is_real
from handgrad.compare.verdict.conventions import OfTheNotes
from handgrad.torchref.exchange import to_tensor, view_of_tensor

Arrays = dict[str, np.ndarray]
Due = Mapping[str, tuple[str, Shape]]
AS_IN_THE_NOTES = OfTheNotes()


@dataclass(frozen=True)
class NetworkStep:
    """One step by hand in both precisions, the printed one first.

    `state` is what its optimiser started from, by precision, `batch` is what torch selects, in float64, and `due` what
    torch records of that by name: phase and shape; both are empty where there is no batch.
    """

    number: int
    sides: dict[str, Taken]
    state: dict[str, Arrays]
    batch: Arrays
    due: Due
    notes: tuple[Note, ...] = ()
    convention: OfTheNotes = AS_IN_THE_NOTES

    def read_in(self, convention: OfTheNotes) -> NetworkStep:
        """The step as the notes would have it; its `convention` says how it was read."""
        if convention == self.convention:
            return self
        sides = {dtype: replace(side, records=convention.read(side.records)) for dtype, side in self.sides.items()}
        state = {dtype: convention.read(arrays) for dtype, arrays in self.state.items()}
        return replace(self, sides=sides, state=state, convention=convention)

    @cached_property
    def is_whole(self) -> bool:
        """Whether every side recorded just what torch has, in the same shapes, and nothing ended it."""
        return all(
            side.ended is None and len(side.records) == len(self.due) and _has(side.records, self.due)
            for side in self.sides.values()
        )

    @property
    def printed(self) -> Taken:
        """The hand-written side in the precision that is printed."""
        return next(iter(self.sides.values()))

    @property
    def ended(self) -> Ended | None:
        """What ended the hand-written side, if anything did."""
        return next((side.ended for side in self.sides.values() if side.ended is not None), None)

    def batch_in(self, dtype: str) -> Arrays:
        """The batch in a precision."""
        return {name: array.astype(dtype, copy=False) for name, array in self.batch.items()}


def _has(records: Arrays, due: Due) -> bool:
    return all(
        name in records and records[name].shape == shape and is_real(records[name]) for name, (_, shape) in due.items()
    )


def records_due(settings: Settings, n: int) -> Due:
    """The phase and shape of each tensor of one step on n examples, by name."""
    reads = operation("loss", settings.loss).reads
    return network_records(settings.layers, n, loss_reads=reads, l2=settings.l2 > 0, optimizer=settings.optimizer)


def recorded(
    settings: Settings, data: Data, hand: Modules | None = None, start: Arrays | None = None
) -> Iterator[NetworkStep]:
    """The steps of the hand-written side in both precisions; `start` stands in for the initial parameters by hand."""
    due = cache(partial(records_due, settings))
    precisions, names = printed_first(settings.dtype), due(1)
    start = start or initial_parameters(replace(settings, dtype="float64"), hand)
    of_torch, *orders = tee(epoch_orders(settings, data.X.shape[1]), 1 + len(precisions))
    params = {dtype: {name: array.astype(dtype) for name, array in start.items()} for dtype in precisions}
    kept = remembered(operation("optimizer", settings.optimizer).state, start)
    state = {  # as torch starts, whatever the hand does
        dtype: {name: np.zeros_like(of[parameter] if parameter else np.array(0)) for name, parameter in kept.items()}
        for dtype, of in params.items()
    }
    sides: dict[str, Iterator[Taken]] = {}
    for dtype, order in zip(precisions, orders, strict=True):
        phases = by_hand(replace(settings, dtype=dtype), data, params[dtype], (each.copy() for each in order), hand)
        sides[dtype] = steps_of(training_by_hand(phases, names), params[dtype], copy=np.asarray)
    batches = _selected(data, torch_batches(settings, data.X.shape[1], of_torch))
    for number in count(1):
        with quietly():
            batch = next(batches, {})
            found = {dtype: next(steps, None) for dtype, steps in sides.items()}
        taken = {dtype: side or Taken(params[dtype], {}) for dtype, side in found.items()}
        if not batch and any(side is not None and side.ended is None for side in found.values()):
            end = Ended(NoBatch(number), where=Key(number, "forward", "X"), equation="O2")
            taken = {dtype: replace(side, records={}, ended=end) for dtype, side in taken.items()}
        elif not batch and not any(found.values()):
            return
        notes = _not_in_float32(taken)
        for _ in notes:  # it goes on in float64 alone
            del sides["float32"], taken["float32"]
        yield NetworkStep(number, taken, {**state}, batch, due(batch["X"].shape[1]) if batch else {}, notes)
        if any(side.ended is not None or not side.records for side in taken.values()):
            return
        for dtype, side in taken.items():
            state[dtype] = {**state[dtype], **{name: side.records[name] for name in kept if name in side.records}}
            params[dtype] = {**params[dtype], **side.after}


def _selected(data: Data, batches: Iterator[Tensor]) -> Iterator[Arrays]:
    """The batches as torch selects them."""
    X, Y = to_tensor(data.X), to_tensor(data.Y)
    for selected in batches:
        yield {"X": view_of_tensor(X.index_select(1, selected)), "Y": view_of_tensor(Y.index_select(1, selected))}


def _not_in_float32(sides: Mapping[str, Taken]) -> tuple[Note, ...]:
    """A note on a derivation that raises in float32 and runs in float64, the precision printed."""
    ended = {dtype: None if side.ended is None else side.ended.cause for dtype, side in sides.items()}
    alone = runs_in_one(ended)
    return (alone[1],) if alone is not None and alone[0] == "float64" else ()
