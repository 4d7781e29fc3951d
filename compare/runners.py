"""The two runners of an Experiment, step by step in lockstep, and the report on them."""

from __future__ import annotations

import linecache
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import chain, count, islice
from math import ceil
from pathlib import Path
from traceback import walk_tb
from types import FrameType
from typing import Any

import numpy as np
import torch

import manual.batches
import manual.initializers
import manual.training
import torchref.batches
import torchref.exchange
import torchref.network
import torchref.optimizers
import torchref.training
from compare.blindspots import blind_spots
from compare.conventions import AS_IN_THE_NOTES, Convention, conventions
from compare.data import Data, load
from compare.environment import versions
from compare.errors import InputError
from compare.experiment import DTYPES, FLOAT32_MAX, Experiment
from compare.findings import Drift, Judgement, StepRun, culprits, is_real, judge_step
from compare.local import LocalStep, allowances
from compare.operations import EQUATIONS, equation_of, operation
from compare.report import Finding, Report
from compare.trace import PHASES, Key, Phases, Trace, extend, frozen, step_trace
from compare.verdict import is_float32
from manual.network import Activation, Network

__all__ = ["by_hand", "check_fit", "epoch_orders", "in_torch", "initial_parameters", "interrupted", "label", "run"]

Arrays = dict[str, np.ndarray]


def run(experiment: Experiment, source: Any) -> Report:
    """Train both sides on the same weights and batches and judge every step.

    Re-synchronised: torch starts every step from the hand's weights and velocities, so that a step is judged by itself,
    in float64 and in float32. Free-running: torch keeps its own, and is measured by how far rounding alone drifts.
    """
    data = load(source)
    check_fit(experiment, data)
    judgements, failure, steps, notes = (_free_running if experiment.free_running else _resynchronised)(
        experiment, data
    )
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
        torch_step = step_trace(twin, torchref.exchange.to_array)
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
    labelled = [(key, label(experiment, key.name)) for key in _expected(torch_step, sides, step)]
    by_torch = {key.name: value for key, value in torch_step.items()}
    with _quietly():
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
        told.append("The derivation computes in float64 also where it is handed float32; that is no fault.")
    if any(j.finding for j in judged) and all(is_float32(array) for array in records["float64"]):
        told.append(
            "The derivation computes in float32 also where it is handed float64: it is judged in float32 alone, "
            "which hides faults below a relative size of 2e-4."
        )
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
        self.failure: Finding | None = None
        self.complete: set[str] = set()
        self.recorded: Arrays = {}
        self.reads: dict[str, frozenset[str]] = {}

    def advance(self, number: int) -> None:
        """Let the derivation take one step and keep what it records."""
        trace: Trace = {}
        self.complete = set(PHASES)
        try:
            with _quietly():
                extend(trace, self.phases)
        except (Exception, SystemExit) as error:  # whatever the hand-written side raises is a finding, not a crash
            self.complete = {key.phase for key in trace}
            trace |= interrupted(number, error)
            self.failure = _raised(number, self.complete, error)
        self.recorded = {key.name: value for key, value in trace.items()}

    def evaluate(self, convention: Convention) -> StepRun:
        """Evaluate torch on what the step recorded, and what rounding can explain there."""
        records = convention.normalised(self.recorded)
        real = {name: array for name, array in records.items() if is_real(array)}
        local: Arrays = {}
        if "X" in real and "Y" in real:
            replayed = self.twin.replay(self.params, real, inspect=not self.reads)
            self.reads = replayed.reads or self.reads
            local = {"X": records["X"], "Y": records["Y"], **replayed.values, **replayed.gradients}
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
            with _quietly():
                for trace, phases in zip(traces, runs, strict=True):
                    extend(trace, phases)
        except (Exception, SystemExit) as error:  # as above
            return judgements, _raised(step, {key.phase for key in traces[0]}, error), step, ()
        torch_step = step_trace(twin, torchref.exchange.to_array)
        if not torch_step and not traces[0]:
            return judgements, None, step - 1, ()
        labelled = [(key, label(experiment, key.name)) for key in torch_step]
        with _quietly():
            judgements += drift.judge(labelled, traces, torch_step)
    raise AssertionError("unreachable")


def check_fit(experiment: Experiment, data: Data) -> None:
    """Raise InputError unless the layers and the batch size suit the data and the labels suit the loss."""
    (n_x, N), K = data.X.shape, data.Y.shape[0]
    if experiment.layers[0] != n_x:
        raise InputError(
            f"layers starts with {experiment.layers[0]} and the data has {n_x} inputs; start layers with {n_x}"
        )
    if experiment.layers[-1] != K:
        raise InputError(
            f"layers ends with {experiment.layers[-1]} and the data has {K} labels per example; end layers with {K}"
        )
    if experiment.batch_size is not None and experiment.batch_size > N:
        raise InputError(
            f"batch_size is {experiment.batch_size} and the data has {N} examples; it must be at most {N}, "
            "so lower it or use the full batch (None, on the command line `full`)"
        )
    for name, array in (("X", data.X), ("y", data.Y)):
        large = np.argwhere(np.abs(array) > FLOAT32_MAX)
        if len(large):
            column, row = large[0]
            raise InputError(
                f"{name} is {array[column, row]:g} at row {row + 1}, column {column + 1}; float32 holds no more than "
                f"{FLOAT32_MAX:.1e}, so rescale it"
            )
    if experiment.loss == "binary-cross-entropy":
        outside = np.argwhere((data.Y < 0) | (data.Y > 1))
        if len(outside):
            output, example = outside[0]
            raise InputError(
                f"y is {data.Y[output, example]:g} at row {example + 1}, column {output + 1}; binary-cross-entropy "
                "needs labels from 0 to 1, so rescale them or use the loss squared-error"
            )


def initial_parameters(experiment: Experiment) -> Arrays:
    """W1, b1, ..., WL, bL in the experiment's dtype: drawn once, by hand, for both sides."""
    rng = np.random.default_rng([experiment.seed, 0])
    (standard_deviation,) = operation("initializer", experiment.initializer).hands()
    params = {}
    for l, (n_in, n_out) in enumerate(zip(experiment.layers, experiment.layers[1:], strict=False), start=1):
        params[f"W{l}"] = manual.initializers.draw(standard_deviation, (n_out, n_in), rng, experiment.distribution)
        params[f"b{l}"] = experiment.bias_scale * rng.standard_normal((n_out, 1))
    return {name: array.astype(experiment.dtype) for name, array in params.items()}


def epoch_orders(experiment: Experiment, N: int) -> Iterator[np.ndarray]:
    """The order of the examples in each epoch of the run: as they stand for the full batch, else reshuffled."""
    per_epoch = ceil(N / (experiment.batch_size or N))
    epochs = experiment.epochs if experiment.steps is None else ceil(experiment.steps / per_epoch)
    if experiment.batch_size is None:
        return iter([np.arange(N)] * epochs)
    return islice(manual.batches.orders(N, np.random.default_rng([experiment.seed, 1])), epochs)


def by_hand(experiment: Experiment, data: Data, params: Arrays, orders: Iterator[np.ndarray]) -> Phases:
    """The hand-written side: an iterator over (step, phase, {name: array})."""
    loss = operation("loss", experiment.loss)
    network = Network(
        activations=tuple(Activation(*operation("activation", name).hands()) for name in experiment.activations),
        loss=loss.hands()[0],
        loss_reads=loss.reads,
        l2=experiment.l2,
    )
    start, optimizer = operation("optimizer", experiment.optimizer).hands()
    rate = partial(optimizer, learning_rate=experiment.learning_rate, beta=experiment.beta)
    X, Y = data.X.astype(experiment.dtype), data.Y.astype(experiment.dtype)
    batches = manual.batches.mini_batches(orders, experiment.batch_size or X.shape[1])
    phases: Phases = manual.training.train(
        network, params, start(params), rate, X, Y, islice(batches, experiment.steps)
    )
    return phases


def in_torch(
    experiment: Experiment, data: Data, params: Arrays, orders: Iterator[np.ndarray]
) -> tuple[Phases, Callable[[Mapping[str, np.ndarray]], None]]:
    """The torch side: an iterator over (step, phase, {name: tensor}), and a function that sets its state.

    That function takes the records of an update phase, W1_next and vW1 and so on, and copies them.
    """
    loss = operation("loss", experiment.loss)
    activations = [operation("activation", name).twin() for name in experiment.activations]
    model = torchref.network.build(experiment.layers, activations, getattr(torch, experiment.dtype))
    torchref.exchange.load(model, params)
    named = torchref.exchange.parameters(model)
    build_optimizer = operation("optimizer", experiment.optimizer).twin()
    optimizer = build_optimizer(named, learning_rate=experiment.learning_rate, beta=experiment.beta)
    X = torchref.exchange.to_tensor(data.X.astype(experiment.dtype))
    Y = torchref.exchange.to_tensor(data.Y.astype(experiment.dtype))
    batches = chain.from_iterable(
        torchref.batches.split(torchref.exchange.to_tensor(order), experiment.batch_size or X.shape[1])
        for order in orders
    )
    cost = partial(torchref.network.cost, model, loss=loss.twin(), loss_reads=loss.reads, l2=experiment.l2)

    def resynchronise(updates: Mapping[str, np.ndarray]) -> None:
        torchref.exchange.load(model, {name: updates[f"{name}_next"] for name in named})
        torchref.optimizers.set_velocities(optimizer, named, updates)

    return torchref.training.train(model, cost, optimizer, X, Y, islice(batches, experiment.steps)), resynchronise


# The variables of `manual` that hold the selected batch; the dictionaries in which its functions collect what they
# return, with the phase of each and its record names.
_SELECTED = {"X_batch": "X", "Y_batch": "Y"}
_COLLECTED = {
    "cache": ("forward", "{}"),
    "costs": ("loss", "{}"),
    "gradients": ("backward", "{}"),
    "moved": ("update", "{}"),
    "updated": ("update", "{}_next"),
}


def interrupted(step: int, error: BaseException) -> Trace:
    """What the hand-written side had computed in the functions that an exception left, read from its traceback.

    A tensor of the wrong shape often raises only where it is used next; this is how its own equation gets the blame.
    """
    trace: Trace = {}
    for frame, _ in _frames_by_hand(error):
        for variable, name in _SELECTED.items():
            if variable in frame.f_locals:
                trace[Key(step, "forward", name)] = frozen(frame.f_locals[variable])
        for variable, (phase, pattern) in _COLLECTED.items():
            if variable in frame.f_code.co_varnames[frame.f_code.co_argcount + frame.f_code.co_kwonlyargcount :]:
                collected = frame.f_locals.get(variable)
                for name, value in collected.items() if isinstance(collected, dict) else ():
                    trace[Key(step, phase, pattern.format(name))] = frozen(value)
    return trace


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the warnings of NumPy and Python: what overflows or loses its imaginary part shows in the values."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _frames_by_hand(error: BaseException) -> list[tuple[FrameType, int]]:
    """The frames of an exception that lie in `manual`, outermost first, each with the line it had come to."""
    entries = list(walk_tb(error.__traceback__))
    return [(frame, line) for frame, line in entries if Path(frame.f_code.co_filename).parent.name == "manual"]


def label(experiment: Experiment, name: str) -> str:
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


def _raised(step: int, complete: set[str], error: BaseException) -> Finding:
    """An exception of the hand-written side, against the equation on whose line it was raised."""
    phase = next(phase for phase in PHASES if phase not in complete)
    label, place = "", ""
    for frame, line_number in _frames_by_hand(error):
        path = Path(frame.f_code.co_filename)
        found = re.search(r"# \(([A-Z]\d)\)", linecache.getline(str(path), line_number))
        label = found[1] if found else label
        place = f"manual/{path.name} line {line_number}"
    name = EQUATIONS.get(label, phase).partition(" = ")[0]
    what = " ".join(f"{type(error).__name__} in {place}: {error}".split())
    return Finding(step, phase, name, label, "FAULT", "exception", what)


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
