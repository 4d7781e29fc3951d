"""The hand-written side of the notes' network under way: each step in both precisions, its batch as torch cuts it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from itertools import tee

import numpy as np
from torch import Tensor

from handgrad.compare.experiment.data import Data
from handgrad.compare.experiment.settings import Settings, printed_first
from handgrad.compare.experiment.sides import by_hand, epoch_orders, initial_parameters, torch_batches, training_by_hand
from handgrad.compare.facts.failures import NoBatch, Raised
from handgrad.compare.facts.remarks import Float64Only, Note
from handgrad.compare.names import Key, velocity
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

    `velocities` are what it started from, by precision, `batch` is what torch selects, in float64, and `due` what torch
    records of that by name: phase and shape; both are empty where there is no batch.
    """

    number: int
    sides: dict[str, Taken]
    velocities: dict[str, Arrays]
    batch: Arrays
    due: Due
    convention: OfTheNotes = AS_IN_THE_NOTES

    def read_in(self, convention: OfTheNotes) -> NetworkStep:
        """The step as the notes would have it; its `convention` says how it was read."""
        sides = {dtype: replace(side, records=convention.read(side.records)) for dtype, side in self.sides.items()}
        velocities = {dtype: convention.read(arrays) for dtype, arrays in self.velocities.items()}
        return replace(self, sides=sides, velocities=velocities, convention=convention)

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


def records_due(settings: Settings, n: int, hand: Modules | None = None) -> Due:
    """The phase and shape of each tensor of one step on n examples, by name."""
    start, _ = operation("optimizer", settings.optimizer).hands(hand)
    keeps = bool(start({"w": np.zeros(1)}))
    reads = operation("loss", settings.loss).reads
    return network_records(settings.layers, n, loss_reads=reads, l2=settings.l2 > 0, velocities=keeps)


def _selected(data: Data, batches: Iterator[Tensor]) -> Iterator[Arrays]:
    """The batches as torch selects them."""
    X, Y = to_tensor(data.X), to_tensor(data.Y)
    for selected in batches:
        yield {"X": view_of_tensor(X.index_select(1, selected)), "Y": view_of_tensor(Y.index_select(1, selected))}


class Recording:
    """The hand-written side in both precisions, step by step as it is asked for."""

    def __init__(
        self, settings: Settings, data: Data, hand: Modules | None = None, start: Arrays | None = None
    ) -> None:
        """Nothing is computed yet; `start` stands in for the initial parameters by hand."""
        self.number, self.due = 0, cache(partial(records_due, settings, hand=hand))
        self.notes: tuple[Note, ...] = ()
        precisions = {dtype: replace(settings, dtype=dtype) for dtype in printed_first(settings.dtype)}
        start, N = start or initial_parameters(replace(settings, dtype="float64"), hand), data.X.shape[1]
        of_torch, *orders = tee(epoch_orders(settings, N), 1 + len(precisions))
        names = self.due(1)
        self.sides: dict[str, Iterator[Taken]] = {}
        self.velocities: dict[str, Arrays] = {}
        self.params: dict[str, Arrays] = {}  # what each side has after its last step
        for (dtype, of), order in zip(precisions.items(), orders, strict=True):
            params = {name: array.astype(dtype) for name, array in start.items()}
            self.params[dtype] = params
            handed = {name: array.copy() for name, array in params.items()}  # it may write into them
            phases = by_hand(of, data, handed, (each.copy() for each in order), hand)
            self.sides[dtype] = steps_of(training_by_hand(phases, names), params, copy=np.asarray)
            zeros = {
                velocity(n): np.zeros_like(w) for n, w in params.items()
            }  # as torch starts, whatever the hand does
            self.velocities[dtype] = {name: array for name, array in zeros.items() if name in names}
        self.batches = _selected(data, torch_batches(settings, N, of_torch))
        self.taken: list[NetworkStep] = []  # by step()

    def window(self, count: int) -> list[NetworkStep]:
        """The next steps, up to `count` of them; fewer at the end, and after one that is not whole."""
        steps: list[NetworkStep] = []
        with quietly():
            while len(steps) < count:
                step = self._step(next(self.batches, {}))
                if step is None:
                    break
                self.number += 1
                steps.append(step)
                for dtype, side in step.sides.items():
                    kept = {v: side.records[v] for v in self.velocities[dtype] if v in side.records}
                    self.velocities[dtype] = {**self.velocities[dtype], **kept}
                    self.params[dtype] = {**self.params[dtype], **side.after}
                if not step.is_whole:
                    break
        return steps

    def step(self, number: int) -> NetworkStep | None:
        """The step of a number, with those before it if they have not been taken; None where there is none."""
        while self.number < number:
            taken = self.window(number - self.number)
            self.taken += taken
            if not taken or not taken[-1].is_whole:
                break
        return next((step for step in self.taken if step.number == number), None)

    def _step(self, batch: Arrays) -> NetworkStep | None:
        """The next step of each side, and what torch records of this batch; None at the end of both."""
        number = self.number + 1
        sides = {dtype: side for dtype, steps in self.sides.items() if (side := next(steps, None)) is not None}
        due = self.due(batch["X"].shape[1]) if batch else {}
        before = {dtype: self.velocities[dtype] for dtype in self.sides}
        if not batch and any(side.ended is None for side in sides.values()):
            end = Ended(NoBatch(number), where=Key(number, "forward", "X"), equation="O2")
            sides = {dtype: replace(side, records={}, ended=end) for dtype, side in sides.items()}
        if not batch and not sides:
            return None
        missing = {dtype: Taken(self.params[dtype], {}) for dtype in self.sides if dtype not in sides}
        return NetworkStep(number, self._without_float32({**sides, **missing}), before, batch, due)

    def _without_float32(self, sides: dict[str, Taken]) -> dict[str, Taken]:
        """A derivation that runs in float64, the precision printed, and raises in float32 goes on in float64 alone."""
        sides = {dtype: sides[dtype] for dtype in self.sides}
        coarse = sides["float32"].ended if "float32" in sides else None
        if coarse is None or next(iter(sides)) != "float64" or sides["float64"].ended is not None:
            return sides
        if isinstance(coarse.cause, Raised):
            self.notes = (Float64Only(coarse.cause),)
            del self.sides["float32"]
            return {"float64": sides["float64"]}
        return sides
