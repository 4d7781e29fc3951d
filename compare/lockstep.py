"""Both sides of an Experiment step by step, judged, and the report on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from typing import Any

import numpy as np
import torch

from compare.blindspots import blind_spots
from compare.conventions import AS_IN_THE_NOTES, FLOAT32_ONLY, FLOAT64_INSIDE, Convention, conventions
from compare.data import Data, load
from compare.environment import versions
from compare.experiment import DTYPES, Experiment
from compare.findings import Drift, Judgement, StepRun, agreeing, culprits, is_real, judge_step
from compare.interruptions import interrupted, quietly, raised
from compare.local import LocalTwin, allowances
from compare.operations import equation_of, operation
from compare.report import Finding, Report
from compare.runners import (
    by_hand,
    check_fit,
    epoch_orders,
    in_torch,
    initial_parameters,
    torch_batches,
    torch_data,
)
from compare.trace import PHASES, Key, Trace, extend, step_trace
from compare.verdict import is_float32
from torchref.exchange import to_array

__all__ = ["run"]

Arrays = dict[str, np.ndarray]


def run(experiment: Experiment, source: Any) -> Report:
    """Train both sides on the same weights and batches and judge every step.

    Re-synchronised: torch starts every step from the hand's weights and velocities, so that a step is judged by itself,
    in float64 and in float32. Free-running: torch keeps its own, and is measured by how far rounding alone drifts.
    """
    data = load(source)
    check_fit(experiment, data)
    train = _free_running if experiment.free_running else _resynchronised
    judgements, failure, steps, notes = train(experiment, data)
    return Report(
        rows=tuple(judgement.row for judgement in judgements),
        findings=_with_failure(culprits(judgements), failure),
        notes=notes,
        blind_spots=blind_spots(experiment, data, steps),
        environment=_environment(experiment, data),
    )


Judged = tuple[list[Judgement], Finding | None, int, tuple[str, ...]]
WINDOW = 64  # so many steps are evaluated at once, unless they hold more numbers than this:
NUMBERS = 2**22


def _resynchronised(experiment: Experiment, data: Data) -> Judged:
    """Judge every step by itself: locally in both precisions, end to end in the one that is printed.

    The first step decides on the convention; those after it are judged by windows.
    """
    training, judging = _Training(experiment, data), _Judging(experiment)
    judgements: list[Judgement] = []
    notes: dict[str, None] = {}
    convention, length = AS_IN_THE_NOTES, 1
    while steps := training.advance(length, convention):
        window = judging.window(steps, convention)
        if steps[0].number == 1:
            length = int(np.clip(NUMBERS // max(steps[0].numbers, 1), 1, WINDOW))
            if any(judgement.finding for judgement in window[0][0]):
                convention = judging.convention(steps[0])
                training.follow(steps[0], convention)
                window = judging.window(steps, convention)
        for step, (judged, told) in zip(steps, window, strict=True):
            notes |= dict.fromkeys([*convention.notes, *told, *(j.note for j in judged if j.note)])
            judgements += judged
            if step.failure is not None or any(j.finding and j.finding.cause in ("missing", "shape") for j in judged):
                return judgements, step.failure, step.number, tuple(notes)  # torch cannot follow from here
    return judgements, None, training.number, tuple(notes)


@dataclass(frozen=True)
class _SideStep:
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

    def has(self, shapes: Mapping[str, tuple[int, ...]]) -> bool:
        """Whether it recorded real numbers in these shapes under these names, and no exception ended it."""
        found = {name: array.shape for name, array in self.recorded.items() if is_real(array)}
        return self.failure is None and shapes.items() <= found.items()


@dataclass(frozen=True)
class _Step:
    """One step of both sides: by hand in both precisions, the printed one first, and in torch end to end."""

    number: int
    sides: dict[str, _SideStep]
    torch: Trace

    @cached_property
    def is_whole(self) -> bool:
        """Whether every side recorded just what torch has, in the same shapes."""
        shapes = {key.name: value.shape for key, value in self.torch.items()}
        return all(side.has(shapes) and len(side.recorded) == len(shapes) for side in self.sides.values())

    @property
    def printed(self) -> _SideStep:
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
        shapes = {key.name: value.shape for key, value in self.torch.items() if key.phase == "update"}
        return bool(shapes) and all(side.has(shapes) for side in self.sides.values())


class _Training:
    """Both sides under way: each on its own generator, torch set to where the printed precision stands by hand."""

    def __init__(self, experiment: Experiment, data: Data) -> None:
        self.sides = [_Side(replace(experiment, dtype=dtype), data) for dtype in _printed_first(experiment.dtype)]
        orders = epoch_orders(experiment, data.X.shape[1])
        self.twin, self.resynchronise = in_torch(experiment, data, initial_parameters(experiment), orders)
        self.number = 0

    def advance(self, count: int, convention: Convention) -> list[_Step]:
        """The next steps, up to `count` of them; fewer at the end, and after one that needs a look before going on."""
        steps: list[_Step] = []
        while len(steps) < count:
            torch_step = step_trace(self.twin, to_array)
            with quietly():
                sides = {side.dtype: side.advance(self.number + 1) for side in self.sides}
            step = _Step(self.number + 1, sides, torch_step)
            if not torch_step and not step.printed.recorded:
                if step.failure is not None:
                    steps.append(step)
                break
            self.number += 1
            steps.append(step)
            if not step.is_whole:
                break
            self.follow(step, convention)
        return steps

    def follow(self, step: _Step, convention: Convention) -> None:
        """Start the next step of torch from the weights and velocities that the hand has after this one."""
        if step.can_be_followed:
            for side in self.sides:
                side.follow(convention.normalised(step.sides[side.dtype].recorded))
            self.resynchronise(convention.normalised(step.printed.recorded))


class _Side:
    """The hand-written side in one precision, taking its steps."""

    def __init__(self, experiment: Experiment, data: Data) -> None:
        self.dtype = experiment.dtype
        self.params = initial_parameters(experiment)
        self.velocities: Arrays = operation("optimizer", experiment.optimizer).hands()[0](self.params)
        self.phases = by_hand(experiment, data, self.params, epoch_orders(experiment, data.X.shape[1]))
        self.X, self.Y = torch_data(experiment, data)
        N = data.X.shape[1]
        self.batches = torch_batches(experiment, N, epoch_orders(experiment, N))

    def advance(self, number: int) -> _SideStep:
        """Let the derivation take one step and keep what it records."""
        trace: Trace = {}
        complete, failure = frozenset(PHASES), None
        try:
            extend(trace, self.phases)
        except (Exception, SystemExit) as error:  # whatever the hand-written side raises is a finding, not a crash
            complete = frozenset(key.phase for key in trace)
            trace |= interrupted(number, error)
            failure = raised(number, complete, error)
        recorded = {key.name: value for key, value in trace.items()}
        selected = next(self.batches, None)
        batch = {} if selected is None else {"X": to_array(self.X[:, selected]), "Y": to_array(self.Y[:, selected])}
        return _SideStep(self.params, self.velocities, recorded, batch, complete, failure)

    def follow(self, records: Arrays) -> None:
        """Note what the derivation starts its next step from."""
        self.params = {name: records[f"{name}_next"] for name in self.params}
        self.velocities = {name: records[name] for name in self.velocities}


class _Judging:
    """The verdicts on the steps of an experiment, by torch evaluated on what they recorded."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.twin = LocalTwin(experiment)

    def convention(self, step: _Step) -> Convention:
        """The convention in which a step has no finding, and gradients and updates agree end to end, if any."""
        if step.is_whole:
            n, K = step.printed.recorded["X"].shape[1], step.printed.recorded["Y"].shape[0]
            for convention in conventions(n, K, self.experiment.beta):
                again = self._singly(step, convention)
                results = [j for j in again if j.row.name.endswith("_next") or j.row.name.startswith(("dW", "db"))]
                if not any(j.finding for j in again) and not any(j.differs for j in results):
                    return convention
        return AS_IN_THE_NOTES

    def window(self, steps: Sequence[_Step], convention: Convention) -> list[tuple[list[Judgement], list[str]]]:
        """The verdicts on each step, and notes: at once for steps of equal shapes, singly where one needs a look."""
        alike: dict[tuple[int, ...], list[_Step]] = {}
        for step in steps:
            if step.is_whole:
                alike.setdefault(step.printed.recorded["X"].shape, []).append(step)
        well: dict[int, list[Judgement] | None] = {}
        for group in alike.values():
            well |= zip((step.number for step in group), self._at_once(group, convention), strict=True)
        judged = [well.get(step.number) or self._singly(step, convention) for step in steps]
        return [self._told_apart(*each, convention) for each in zip(steps, judged, strict=True)]

    def _at_once(self, steps: Sequence[_Step], convention: Convention) -> list[list[Judgement] | None]:
        """The verdicts on steps of equal shapes in both precisions, evaluated together; None where one needs a look."""
        sides = {dtype: [step.sides[dtype] for step in steps] for dtype in steps[0].sides}
        every = [side for group in sides.values() for side in group]
        params = _stacked([side.params for side in every])
        velocities = _stacked([side.velocities for side in every])
        records = _stacked([convention.normalised(side.recorded) for side in every])
        runs = {}
        with quietly():
            replayed = self.twin.replay(params, records, stacked=True)
            local = {**_stacked([side.batch for side in every]), **replayed.values, **replayed.gradients}
            local |= self.twin.update(params, velocities, records)
            for position, dtype in enumerate(sides):
                part = slice(position * len(steps), (position + 1) * len(steps))
                p, v, r, l = ({name: a[part] for name, a in of.items()} for of in (params, velocities, records, local))
                runs[dtype] = StepRun(r, l, allowances(self.experiment, p, v, r))
            by_torch = _stacked([{key.name: value for key, value in step.torch.items()} for step in steps])
            labelled = [(key.phase, key.name, _label(self.experiment, key.name)) for key in steps[0].torch]
            printed = next(iter(runs.values())).records
            return agreeing(labelled, [step.number for step in steps], runs, (printed, by_torch))

    def _singly(self, step: _Step, convention: Convention, dtypes: Sequence[str] | None = None) -> list[Judgement]:
        """The verdicts on one step, in both precisions or in those given."""
        sides = {dtype: side for dtype, side in step.sides.items() if dtypes is None or dtype in dtypes}
        labelled = [
            (key, _label(self.experiment, key.name)) for key in _expected(step.torch, [*sides.values()], step.number)
        ]
        by_torch = {key.name: value for key, value in step.torch.items()}
        with quietly():
            evaluated = {dtype: self._evaluated(side, convention) for dtype, side in sides.items()}
            runs = {dtype: run for dtype, (run, _) in evaluated.items()}
            printed, reads = next(iter(evaluated.values()))
            return judge_step(labelled, runs, (printed.records, by_torch), reads, {})

    def _evaluated(self, side: _SideStep, convention: Convention) -> tuple[StepRun, Mapping[str, frozenset[str]]]:
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
        if all(f"d{name}" in usable for name in side.params):
            local |= self.twin.update(side.params, side.velocities, usable)
        return StepRun(records, local, allowances(self.experiment, side.params, side.velocities, usable)), reads

    def _told_apart(
        self, step: _Step, judged: list[Judgement], convention: Convention
    ) -> tuple[list[Judgement], list[str]]:
        """Recognise a derivation that works in one precision whatever it is handed, and say so."""
        records = {
            dtype: [array for array in side.recorded.values() if is_real(array)] for dtype, side in step.sides.items()
        }
        told = []
        if any(array.dtype == np.float64 for array in records["float32"]):
            told.append(FLOAT64_INSIDE)
        if any(j.finding for j in judged) and all(is_float32(array) for array in records["float64"]):
            told.append(FLOAT32_ONLY)
            judged = self._singly(step, convention, ["float32"])
        return judged, told


def _stacked(arrays: Sequence[Arrays]) -> Arrays:
    """The arrays of several runs by name, along a first axis, in float64."""
    return {
        name: np.stack([each[name] for each in arrays], dtype=np.float64, casting="same_kind") for name in arrays[0]
    }


def _printed_first(dtype: str) -> tuple[str, ...]:
    return (dtype, *(other for other in DTYPES if other != dtype))


def _expected(torch_step: Trace, sides: Sequence[_SideStep], step: int) -> list[Key]:
    """What should have been recorded, in dataflow order, then what else was; less what an exception cut off."""
    complete = frozenset.intersection(*(side.complete for side in sides))
    known = [key for key in torch_step if key.phase in complete or all(key.name in side.recorded for side in sides)]
    names = {key.name for key in torch_step}
    extra = [name for name in sides[0].recorded if name not in names]
    return [*known, *(Key(step, "update" if name.endswith("_next") else "backward", name) for name in extra)]


TWINS = 4  # runs that start one rounding apart; fewer are too small a sample where a tensor has one entry


def _one_rounding_apart(w: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Every entry moved to a neighbouring number, up or down at random."""
    towards = np.where(rng.random(w.shape) < 0.5, -np.inf, np.inf).astype(w.dtype)
    return np.asarray(np.nextafter(w, towards))


def _free_running(experiment: Experiment, data: Data) -> Judged:
    """Both sides on their own, judged by ten times the spread of runs by hand that start one rounding apart."""
    N = data.X.shape[1]
    start = initial_parameters(experiment)
    rng = np.random.default_rng([experiment.seed, 2])
    nudged = [{name: _one_rounding_apart(w, rng) for name, w in start.items()} for _ in range(TWINS)]
    runs = [by_hand(experiment, data, params, epoch_orders(experiment, N)) for params in (start, *nudged)]
    twin, _ = in_torch(experiment, data, start, epoch_orders(experiment, N))
    drift, judgements = Drift(), list[Judgement]()
    for step in count(1):
        traces: list[Trace] = [{} for _ in runs]
        try:
            with quietly():
                for trace, phases in zip(traces, runs, strict=True):
                    extend(trace, phases)
        except (Exception, SystemExit) as error:  # as above
            return judgements, raised(step, {key.phase for key in traces[0]}, error), step, ()
        torch_step = step_trace(twin, to_array)
        if not torch_step and not traces[0]:
            return judgements, None, step - 1, ()
        labelled = [(key, _label(experiment, key.name)) for key in torch_step]
        with quietly():
            judgements += drift.judge(labelled, traces, torch_step)
    raise AssertionError("unreachable")


def _label(experiment: Experiment, name: str) -> str:
    """The equation label of a record of this experiment."""
    return equation_of(name, depth=experiment.depth, loss=experiment.loss, optimizer=experiment.optimizer)


def _with_failure(findings: tuple[Finding, ...], failure: Finding | None) -> tuple[Finding, ...]:
    """An exception is a finding of its own only if no tensor before it explains it."""
    if failure is None:
        return findings
    if not findings:
        return (failure,)
    first = replace(findings[0], explanation=f"{findings[0].explanation}; then {failure.explanation}")
    return (first, *findings[1:])


def _environment(experiment: Experiment, data: Data) -> dict[str, Any]:
    """What makes two runs differ: versions, BLAS, threads, precision, seed, determinism, and the experiment itself."""
    widths = "-".join(map(str, experiment.layers))
    size = "full batch" if experiment.batch_size is None else f"batches of {experiment.batch_size}"
    return {
        "check": f"handgrad check: by hand (NumPy {np.__version__}) against torch {torch.__version__}, "
        f"{experiment.dtype}, seed {experiment.seed}" + (", free-running" if experiment.free_running else ""),
        "setting": f"network {widths}, {'/'.join(experiment.activations)}, {experiment.loss}, "
        f"{experiment.initializer} weights, {experiment.optimizer}, {size}; data {data.description}",
        "experiment": experiment.as_dict(),
        "data": data.description,
        **versions(),
        "dtype": experiment.dtype,
        "precisions": [experiment.dtype] if experiment.free_running else _printed_first(experiment.dtype),
        "seed": experiment.seed,
    }
