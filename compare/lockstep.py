"""Both sides of an Experiment step by step, judged, and the report on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import torch

from compare.blindspots import blind_spots
from compare.conventions import AS_IN_THE_NOTES, FLOAT32_ONLY, FLOAT64_INSIDE, Convention, conventions
from compare.data import Data, load
from compare.environment import versions
from compare.experiment import DTYPES, Experiment
from compare.findings import Drift, Judgement, StepRun, culprits, is_real, judge_step
from compare.interruptions import interrupted, quietly, raised
from compare.local import LocalStep, allowances
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


def _resynchronised(experiment: Experiment, data: Data) -> Judged:
    """Judge every step by itself: locally in both precisions, end to end in the one that is printed."""
    sides = [_Side(replace(experiment, dtype=dtype), data) for dtype in _printed_first(experiment.dtype)]
    orders = epoch_orders(experiment, data.X.shape[1])
    twin, resynchronise = in_torch(experiment, data, initial_parameters(experiment), orders)
    judgements: list[Judgement] = []
    notes: dict[str, None] = {}
    convention = AS_IN_THE_NOTES
    for step in count(1):
        torch_step = step_trace(twin, to_array)
        for side in sides:
            side.advance(step)
        failure = next((side.failure for side in sides if side.failure is not None), None)
        if not torch_step and not sides[0].recorded:
            return judgements, failure, step - 1, tuple(notes)
        judged = _judged(experiment, sides, torch_step, step, convention)
        if failure is None and step == 1:
            convention, judged = _by_convention(experiment, sides, torch_step, judged)
        judged, told = _told_apart(experiment, sides, torch_step, step, convention, judged)
        notes |= dict.fromkeys([*convention.notes, *told, *(j.note for j in judged if j.note)])
        judgements += judged
        if failure is not None or any(j.finding and j.finding.cause in ("missing", "shape") for j in judged):
            return judgements, failure, step, tuple(notes)  # torch cannot follow from here
        for side in sides:
            side.follow(convention)
        resynchronise(convention.normalised(sides[0].recorded))
    raise AssertionError("unreachable")


def _judged(
    experiment: Experiment, sides: Sequence[_Side], torch_step: Trace, step: int, convention: Convention
) -> list[Judgement]:
    """The verdicts on one step, its records read in a convention."""
    labelled = [(key, _label(experiment, key.name)) for key in _expected(torch_step, sides, step)]
    by_torch = {key.name: value for key, value in torch_step.items()}
    with quietly():
        runs = {side.dtype: side.evaluate(convention) for side in sides}
        return judge_step(labelled, runs, (runs[sides[0].dtype].records, by_torch), sides[0].reads, {})


def _by_convention(
    experiment: Experiment, sides: Sequence[_Side], torch_step: Trace, judged: list[Judgement]
) -> tuple[Convention, list[Judgement]]:
    """The convention in which step 1 has no finding and parameter gradients and updates agree end to end, if any."""
    if any(judgement.finding for judgement in judged):
        n, K = sides[0].recorded["X"].shape[1], sides[0].recorded["Y"].shape[0]
        for convention in conventions(n, K, experiment.beta):
            again = _judged(experiment, sides, torch_step, 1, convention)
            results = [j for j in again if j.row.name.endswith("_next") or j.row.name.startswith(("dW", "db"))]
            if not any(j.finding for j in again) and not any(j.differs for j in results):
                return convention, again
    return AS_IN_THE_NOTES, judged


def _told_apart(
    experiment: Experiment,
    sides: Sequence[_Side],
    torch_step: Trace,
    step: int,
    convention: Convention,
    judged: list[Judgement],
) -> tuple[list[Judgement], list[str]]:
    """Recognise a derivation that works in one precision whatever it is handed, and say so."""
    by_dtype = {side.dtype: side for side in sides}
    records = {dtype: [array for array in side.recorded.values() if is_real(array)] for dtype, side in by_dtype.items()}
    told = []
    if any(array.dtype == np.float64 for array in records["float32"]):
        told.append(FLOAT64_INSIDE)
    if any(j.finding for j in judged) and all(is_float32(array) for array in records["float64"]):
        told.append(FLOAT32_ONLY)
        judged = _judged(experiment, [by_dtype["float32"]], torch_step, step, convention)
    return judged, told


class _Side:
    """The hand-written side in one precision, with the torch twin that follows it step by step."""

    def __init__(self, experiment: Experiment, data: Data) -> None:
        self.experiment, self.dtype = experiment, experiment.dtype
        self.params = initial_parameters(experiment)
        self.velocities: Arrays = operation("optimizer", experiment.optimizer).hands()[0](self.params)
        self.phases = by_hand(experiment, data, self.params, epoch_orders(experiment, data.X.shape[1]))
        self.twin = LocalStep(experiment, self.params)
        self.X, self.Y = torch_data(experiment, data)
        N = data.X.shape[1]
        self.batches = torch_batches(experiment, N, epoch_orders(experiment, N))
        self.batch: Arrays = {}
        self.failure: Finding | None = None
        self.complete: set[str] = set()
        self.recorded: Arrays = {}
        self.reads: dict[str, frozenset[str]] = {}

    def advance(self, number: int) -> None:
        """Let the derivation take one step and keep what it records."""
        trace: Trace = {}
        self.complete = set(PHASES)
        try:
            with quietly():
                extend(trace, self.phases)
        except (Exception, SystemExit) as error:  # whatever the hand-written side raises is a finding, not a crash
            self.complete = {key.phase for key in trace}
            trace |= interrupted(number, error)
            self.failure = raised(number, self.complete, error)
        self.recorded = {key.name: value for key, value in trace.items()}
        selected = next(self.batches, None)
        if selected is not None:
            self.batch = {"X": to_array(self.X[:, selected]), "Y": to_array(self.Y[:, selected])}

    def evaluate(self, convention: Convention) -> StepRun:
        """Evaluate torch on what the step recorded, and what rounding can explain there."""
        records = convention.normalised(self.recorded)
        real = {name: array for name, array in records.items() if is_real(array)}
        local = dict(self.batch)
        if "X" in real and "Y" in real:
            replayed = self.twin.replay(self.params, real, inspect=not self.reads)
            self.reads = replayed.reads or self.reads
            local |= {**replayed.values, **replayed.gradients}
        usable = self._usable(real, local)
        if all(f"d{name}" in usable for name in self.params):
            local |= self.twin.update(self.params, self.velocities, usable)
        return StepRun(records, local, allowances(self.experiment, self.params, self.velocities, usable))

    def follow(self, convention: Convention) -> None:
        """Let torch start the next step from the weights and velocities that the derivation has now."""
        records = convention.normalised(self.recorded)
        self.params = {name: records[f"{name}_next"] for name in self.params}
        self.velocities = {name: records[name] for name in self.velocities}

    def _usable(self, records: Arrays, local: Arrays) -> Arrays:
        """The records of the shape that they must have: their reference's, or their parameter's after the update."""
        shapes = {name: array.shape for name, array in local.items()}
        for name, array in self.params.items():
            shapes |= {f"v{name}": array.shape, f"{name}_next": array.shape}
        return {name: array for name, array in records.items() if shapes.get(name) == array.shape}


def _printed_first(dtype: str) -> tuple[str, ...]:
    return (dtype, *(other for other in DTYPES if other != dtype))


def _expected(torch_step: Trace, sides: Sequence[_Side], step: int) -> list[Key]:
    """What should have been recorded, in dataflow order, then what else was; less what an exception cut off."""
    complete = set.intersection(*(side.complete for side in sides))
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
