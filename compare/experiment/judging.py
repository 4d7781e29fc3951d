"""The verdicts on the steps of an Experiment, at once where all is well and singly where one needs a look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from handgrad.compare.experiment.exceptions import quietly
from handgrad.compare.experiment.recording import SideStep, Step
from handgrad.compare.experiment.settings import Experiment
from handgrad.compare.experiment.twin import LocalTwin, allowance, allowances, operands
from handgrad.compare.names import Key
from handgrad.compare.operations import equation_of
from handgrad.compare.trace import is_real
from handgrad.compare.verdict.batched import agreeing
from handgrad.compare.verdict.bounds import Allowance
from handgrad.compare.verdict.conventions import AS_IN_THE_NOTES, FLOAT32_ONLY, FLOAT64_INSIDE, Convention, conventions
from handgrad.compare.verdict.rule import rounds_to_float32
from handgrad.compare.verdict.steps import Judgement, StepRun, judge_step

__all__ = ["Judging", "label_of"]

Arrays = dict[str, np.ndarray]


class Judging:
    """The verdicts on the steps of an experiment, by torch evaluated on what they recorded."""

    def __init__(self, experiment: Experiment) -> None:
        """Build the torch twin."""
        self.experiment = experiment
        self.twin = LocalTwin(experiment)

    def convention(self, step: Step) -> Convention:
        """The convention in which a step has no finding, and gradients and updates agree end to end, if any."""
        if step.is_whole:
            n, K = step.printed.recorded["X"].shape[1], step.printed.recorded["Y"].shape[0]
            for convention in conventions(n, K, self.experiment.beta):
                again = self._singly(step, convention)
                results = [j for j in again if j.row.name.endswith("_next") or j.row.name.startswith(("dW", "db"))]
                if not any(j.finding for j in again) and not any(j.differs for j in results):
                    return convention
        return AS_IN_THE_NOTES

    def window(self, steps: Sequence[Step], convention: Convention) -> list[tuple[list[Judgement], list[str]]]:
        """The verdicts on each step, and notes: at once for steps of equal shapes, singly where one needs a look."""
        alike: dict[tuple[int, ...], list[Step]] = {}
        for step in steps:
            if step.is_whole:
                alike.setdefault(step.printed.recorded["X"].shape, []).append(step)
        well: dict[int, list[Judgement] | None] = {}
        for group in alike.values():
            well |= zip((step.number for step in group), self._at_once(group, convention), strict=True)
        judged = [well.get(step.number) or self._singly(step, convention) for step in steps]
        return [self._told_apart(*each, convention) for each in zip(steps, judged, strict=True)]

    def _at_once(self, steps: Sequence[Step], convention: Convention) -> list[list[Judgement] | None]:
        """The verdicts on steps of equal shapes in both precisions, evaluated together; None where one needs a look."""
        dtypes = [*steps[0].sides]  # the one that is printed first
        sides = [step.sides[dtype] for dtype in dtypes for step in steps]
        with quietly():
            records = _stacked([convention.normalised(side.recorded) for side in sides])
            params, velocities, batch = _started(sides)
            local = self.twin.at_once(params, velocities, records)
            printed = [{name: array[: len(steps)] for name, array in of.items()} for of in (params, velocities, batch)]
            by_torch = self._alone(*printed)
            read, before = operands(params, records), operands(velocities)

            def allowed(name: str, part: slice) -> Allowance:
                here = ({n: array[part] for n, array in of.items()} for of in (read, before))
                return allowance(self.experiment, name, *((read, before) if part == slice(None) else here))

            labelled = [(phase, name, label_of(self.experiment, name)) for name, (phase, _) in steps[0].due.items()]
            ours = {name: array[: len(steps)] for name, array in records.items()}
            numbers, run = [step.number for step in steps], StepRun(records, local | batch)
            return agreeing(labelled, numbers, dtypes, run, allowed, (ours, by_torch))

    def _alone(self, params: Arrays, velocities: Arrays, batch: Arrays) -> Arrays:
        """What torch makes of stacked steps by itself in the precision that is printed, from where the hand started."""
        batch = {name: array.astype(self.experiment.dtype, copy=False) for name, array in batch.items()}
        return batch | self.twin.at_once(params, velocities, batch, dtype=self.experiment.dtype)

    def _singly(self, step: Step, convention: Convention, dtypes: Sequence[str] | None = None) -> list[Judgement]:
        """The verdicts on one step, in both precisions or in those given."""
        sides = {dtype: side for dtype, side in step.sides.items() if dtypes is None or dtype in dtypes}
        with quietly():
            alone = self._alone(*_started([step.printed])) if step.due else {}
            by_torch = {name: stack[0] for name, stack in alone.items() if name in step.due}
            evaluated = {dtype: self._evaluated(side, convention) for dtype, side in sides.items()}
            runs = {dtype: run for dtype, (run, _) in evaluated.items()}
            printed, reads = next(iter(evaluated.values()))
            labelled = [
                (key, label_of(self.experiment, key.name))
                for key in _expected(step, [*sides.values()])
                if key.phase != "update"
                or key.name not in step.due
                or all(key.name in run.local for run in runs.values())
            ]
            return judge_step(labelled, runs, (printed.records, by_torch), reads, {})

    def _evaluated(self, side: SideStep, convention: Convention) -> tuple[StepRun, Mapping[str, frozenset[str]]]:
        """Torch on what one side recorded, what rounding can explain there, and what each tensor was computed from."""
        records = convention.normalised(side.recorded)
        real = {name: array for name, array in records.items() if is_real(array)}
        local, reads = dict(side.batch), dict[str, frozenset[str]]()
        if "X" in real and "Y" in real:
            replayed = self.twin.replay(side.params, real, inspect=True)
            local |= {**replayed.values, **replayed.gradients}
            reads = replayed.reads
        shapes = {name: array.shape for name, array in local.items()}
        for name, array in side.params.items():
            shapes |= {f"v{name}": array.shape, f"{name}_next": array.shape}
        usable = {name: array for name, array in real.items() if shapes.get(name) == array.shape}
        movable = {name: array for name, array in side.params.items() if f"d{name}" in usable}
        if movable:
            before = {f"v{name}": side.velocities[f"v{name}"] for name in movable if side.velocities}
            local |= self.twin.update(movable, before, usable)
        return StepRun(records, local, allowances(self.experiment, side.params, side.velocities, usable)), reads

    def _told_apart(
        self, step: Step, judged: list[Judgement], convention: Convention
    ) -> tuple[list[Judgement], list[str]]:
        """Recognise a derivation that works in one precision whatever it is handed, and say so."""
        told = []
        sides = step.sides
        if "float32" in sides and any(array.dtype == np.float64 for array in sides["float32"].recorded.values()):
            told.append(FLOAT64_INSIDE)
        recorded = sides["float64"].recorded.values() if len(sides) > 1 else ()
        if any(j.finding for j in judged) and rounds_to_float32(filter(is_real, recorded)):
            told = [FLOAT32_ONLY]
            judged = self._singly(step, convention, ["float32"])
        return judged, told


def _started(sides: Sequence[SideStep]) -> tuple[Arrays, Arrays, Arrays]:
    """The weights and velocities that each side started from, and its batch, stacked."""
    params, velocities, batch = (
        _stacked([getattr(side, of) for side in sides]) for of in ("params", "velocities", "batch")
    )
    return params, velocities, batch


def _stacked(arrays: Sequence[Arrays]) -> Arrays:
    """The arrays of several runs by name, along a first axis, in float64."""
    found = {}
    for name, first in arrays[0].items():
        runs = [each[name] for each in arrays]
        end_to_end = np.concatenate if first.ndim else np.array  # np.stack takes twice as long
        found[name] = end_to_end(runs, dtype=np.float64).reshape(len(runs), *first.shape)
    return found


def _expected(step: Step, sides: Sequence[SideStep]) -> list[Key]:
    """What should have been recorded, in dataflow order, then what else was; less what an exception cut off."""
    complete = frozenset.intersection(*(side.complete for side in sides))
    due = [Key(step.number, phase, name) for name, (phase, _) in step.due.items()]
    known = [key for key in due if key.phase in complete or all(key.name in side.recorded for side in sides)]
    extra = [name for name in sides[0].recorded if name not in step.due]
    return [*known, *(Key(step.number, "update" if name.endswith("_next") else "backward", name) for name in extra)]


def label_of(experiment: Experiment, name: str) -> str:
    """The equation label of a record of this experiment."""
    return equation_of(name, depth=experiment.depth, loss=experiment.loss, optimizer=experiment.optimizer)
