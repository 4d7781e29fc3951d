"""The hand-written side of an Experiment under way: each step in both precisions, and what torch is to make of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice, tee

import numpy as np

from handgrad.compare.experiment.data import Data
from handgrad.compare.experiment.exceptions import interrupted, quietly, raised, unending
from handgrad.compare.experiment.settings import Experiment, printed_first
from handgrad.compare.experiment.sides import by_hand, epoch_orders, initial_parameters, torch_batches, torch_data
from handgrad.compare.names import PHASES
from handgrad.compare.operations import Shape, network_records, operation
from handgrad.compare.report import Finding
from handgrad.compare.trace import frozen, is_real
from handgrad.compare.verdict.conventions import AS_IN_THE_NOTES, FLOAT64_ONLY, Convention
from handgrad.torchref.exchange import view_of_tensor

__all__ = ["SideStep", "Step", "Training"]

Arrays = dict[str, np.ndarray]
Due = Mapping[str, tuple[str, Shape]]


@dataclass(frozen=True)
class SideStep:
    """One step of the hand-written side in one precision.

    `params` and `velocities` are what it started from, `recorded` what it computed, `batch` what it should have
    selected, `complete` the phases that it finished.
    """

    params: Arrays
    velocities: Arrays
    recorded: Arrays
    batch: Arrays
    complete: frozenset[str]
    failure: Finding | None

    def has(self, due: Due) -> bool:
        """Whether it recorded what is due, real numbers in these shapes, and no exception ended it."""
        recorded = self.recorded
        return self.failure is None and all(
            name in recorded and recorded[name].shape == shape and is_real(recorded[name])
            for name, (_, shape) in due.items()
        )


@dataclass(frozen=True)
class Step:
    """One step by hand in both precisions, the printed one first.

    `due` holds what torch records in it, by name: phase and shape.
    """

    number: int
    sides: dict[str, SideStep]
    due: Due

    @cached_property
    def is_whole(self) -> bool:
        """Whether every side recorded just what torch has, in the same shapes."""
        return all(len(side.recorded) == len(self.due) and side.has(self.due) for side in self.sides.values())

    @property
    def printed(self) -> SideStep:
        """The hand-written side in the precision that is printed."""
        return next(iter(self.sides.values()))

    @property
    def failure(self) -> Finding | None:
        """The exception that ended the hand-written side, if one did."""
        return next((side.failure for side in self.sides.values() if side.failure is not None), None)

    @property
    def numbers(self) -> int:
        """How many numbers one side recorded."""
        return sum(array.size for array in self.printed.recorded.values())

    @property
    def can_be_followed(self) -> bool:
        """Whether every side has the weights and velocities from which torch can go on."""
        if self.is_whole:
            return True
        updates = {name: place for name, place in self.due.items() if place[0] == "update"}
        return bool(updates) and all(side.has(updates) for side in self.sides.values())


class Training:
    """The hand-written side under way in both precisions, each on its own generator."""

    def __init__(self, experiment: Experiment, data: Data) -> None:
        """Nothing is computed yet."""
        self.experiment = experiment
        _, other = printed_first(experiment.dtype)
        precisions = {experiment.dtype: experiment, other: replace(experiment, dtype=other)}
        start = initial_parameters(precisions["float64"])
        N = data.X.shape[1]
        of_torch, *by_hand = tee(epoch_orders(experiment, N), 1 + len(precisions))
        self.sides = [_Side(each, data, start, order) for each, order in zip(precisions.values(), by_hand, strict=True)]
        self.X, self.Y = torch_data(precisions["float64"], data)
        self.batches = torch_batches(experiment, N, of_torch)
        self.ahead: deque[Arrays] = deque()  # batches selected before their step: one by one, they would take longer
        self.number = 0
        self.float64_only = ""  # a note, if float32 raised

    def advance(self, count: int, convention: Convention) -> list[Step]:
        """The next steps, up to `count` of them; fewer at the end, and after one that needs a look before going on."""
        steps: list[Step] = []
        with quietly():
            self.ahead += islice(self._selected(), max(0, count - len(self.ahead)))
            while len(steps) < count:
                step = self._step(self.ahead.popleft() if self.ahead else {})
                if not step.due and step.printed.recorded and step.failure is None:
                    end = unending(step.number)
                    sides = {dtype: replace(side, recorded={}, failure=end) for dtype, side in step.sides.items()}
                    step = replace(step, sides=sides)
                if not step.due and not step.printed.recorded:
                    if step.failure is not None:
                        steps.append(step)
                    break
                self.number += 1
                steps.append(step)
                if step.is_whole or convention is AS_IN_THE_NOTES:  # another one needs every record to be read in it
                    self.follow(step, convention)
                if not step.is_whole:
                    break
        return steps

    def _selected(self) -> Iterator[Arrays]:
        """The next batches as torch selects them."""
        for selected in self.batches:
            batch = {"X": self.X.index_select(1, selected), "Y": self.Y.index_select(1, selected)}
            yield {name: view_of_tensor(tensor) for name, tensor in batch.items()}

    def _step(self, batch: Arrays) -> Step:
        """The next step of each side, and what torch records of this batch."""
        sides = self._without_float32({side.dtype: side.advance(self.number + 1, batch) for side in self.sides})
        if not batch:
            return Step(self.number + 1, sides, {})
        reads, l2 = operation("loss", self.experiment.loss).reads, self.experiment.l2 > 0
        n, momentum = batch["X"].shape[1], bool(self.sides[0].velocities)
        due = network_records(self.experiment.layers, n, loss_reads=reads, l2=l2, velocities=momentum)
        return Step(self.number + 1, sides, due)

    def _without_float32(self, sides: dict[str, SideStep]) -> dict[str, SideStep]:
        """A derivation that runs in float64, the precision printed, and raises in float32 goes on in float64 alone."""
        first, *others = sides.values()
        if self.number or first.failure is not None or not others or others[0].failure is None:
            return sides
        if self.sides[0].dtype != "float64":
            return sides
        self.float64_only = FLOAT64_ONLY.format(others[0].failure.explanation)
        self.sides = self.sides[:1]
        return {"float64": first}

    def follow(self, step: Step, convention: Convention) -> None:
        """Let torch start the next step from the weights and velocities that the hand has after this one."""
        if step.can_be_followed:
            for side in self.sides:
                side.follow(convention.normalised(step.sides[side.dtype].recorded))


class _Side:
    """The hand-written side in one precision, taking its steps."""

    def __init__(self, experiment: Experiment, data: Data, start: Arrays, orders: Iterator[np.ndarray]) -> None:
        self.dtype = experiment.dtype
        self.params = {name: array.astype(experiment.dtype) for name, array in start.items()}
        has_velocities = bool(operation("optimizer", experiment.optimizer).hands()[0](self.params))
        zeros = {
            f"v{name}": np.zeros_like(w) for name, w in self.params.items()
        }  # as torch starts, whatever the hand does
        self.velocities: Arrays = zeros if has_velocities else {}
        handed = {name: array.copy() for name, array in self.params.items()}  # it may write into them
        self.phases = by_hand(experiment, data, handed, (order.copy() for order in orders))

    def advance(self, number: int, batch: Arrays) -> SideStep:
        """Let the derivation take one step and keep what it records; `batch` is what it should select."""
        recorded: Arrays = {}
        complete: set[str] = set()
        failure = None
        try:
            for _, phase, values in self.phases:
                for name, value in values.items():
                    recorded[str(name)] = frozen(value)
                    complete.add(phase)
                if phase == PHASES[-1]:
                    break
            complete.update(PHASES)
        except (Exception, SystemExit) as error:  # whatever the hand-written side raises is a finding, not a crash
            recorded |= {key.name: value for key, value in interrupted(number, error).items()}
            failure = raised(number, complete, error)
        batch = {name: array.astype(self.dtype, copy=False) for name, array in batch.items()}
        return SideStep(self.params, self.velocities, recorded, batch, frozenset(complete), failure)

    def follow(self, records: Arrays) -> None:
        """Note what the derivation starts its next step from."""
        self.params = {name: records[f"{name}_next"] for name in self.params}
        self.velocities = {name: records[name] for name in self.velocities}
