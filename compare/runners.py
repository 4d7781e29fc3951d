"""The two runners of an Experiment, step by step in lockstep, and the report on them."""

from __future__ import annotations

import linecache
import platform
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import chain, islice, tee
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
from compare.data import Data, load
from compare.errors import InputError
from compare.experiment import Experiment
from compare.operations import EQUATIONS, equation_of, operation
from compare.report import FAILING, Finding, Report
from compare.trace import PHASES, Key, Phases, Trace, extend, frozen, step_trace
from compare.verdict import Judgement, judge_step
from manual.network import Activation, Network

__all__ = ["by_hand", "check_fit", "epoch_orders", "in_torch", "initial_parameters", "interrupted", "run"]

Arrays = dict[str, np.ndarray]


def run(experiment: Experiment, source: Any) -> Report:
    """Train both sides on the same weights and batches and compare every step.

    Re-synchronised: after each step torch is set back to the hand's weights and velocities, so that a step is judged by
    itself. Free-running: torch keeps its own.
    """
    data = load(source)
    check_fit(experiment, data)
    params = initial_parameters(experiment)
    hand_orders, torch_orders = tee(epoch_orders(experiment, data.X.shape[1]))
    hand = by_hand(experiment, data, params, hand_orders)
    twin, resynchronise = in_torch(experiment, data, params, torch_orders)

    judgements: list[Judgement] = []
    failure: Finding | None = None
    steps = 0
    while failure is None:
        hand_step: Trace = {}
        complete = set(PHASES)
        try:
            with np.errstate(all="ignore"):  # what overflows shows in the values
                extend(hand_step, hand)
        except Exception as error:  # whatever the hand-written side raises is a finding, not a crash of the check
            complete = {key.phase for key in hand_step}
            hand_step |= interrupted(steps + 1, error)
            failure = _raised(steps + 1, complete, error)
        torch_step = step_trace(twin, torchref.exchange.to_array)
        if not torch_step and not hand_step:
            break
        steps += 1
        torch_step = {key: value for key, value in torch_step.items() if key.phase in complete or key in hand_step}
        judged = judge_step(hand_step, torch_step, _equations(experiment, {*hand_step, *torch_step}))
        judgements += judged
        if any(judgement.cause in ("missing", "shape") for judgement in judged):
            break  # torch cannot follow from here
        if not experiment.free_running and failure is None:
            resynchronise({key.name: value for key, value in hand_step.items() if key.phase == "update"})

    return Report(
        rows=tuple(judgement.row for judgement in judgements),
        findings=_culprits(judgements, failure),
        blind_spots=blind_spots(experiment, data, steps),
        environment=_environment(experiment, data),
    )


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


# The dictionaries in which the functions of `manual` collect what they return, the phase of each, and its record names.
_COLLECTED = {
    "cache": ("forward", "{}"),
    "costs": ("loss", "{}"),
    "gradients": ("backward", "{}"),
    "moved": ("update", "{}"),
    "updated": ("update", "{}_next"),
}


def interrupted(step: int, error: Exception) -> Trace:
    """What the hand-written side had computed in the functions that an exception left, read from its traceback.

    A tensor of the wrong shape often raises only where it is used next; this is how its own equation gets the blame.
    """
    trace: Trace = {}
    for frame, _ in _frames_by_hand(error):
        for variable, (phase, pattern) in _COLLECTED.items():
            if variable in frame.f_code.co_varnames[frame.f_code.co_argcount + frame.f_code.co_kwonlyargcount :]:
                for name, value in frame.f_locals.get(variable, {}).items():
                    trace[Key(step, phase, pattern.format(name))] = frozen(value)
    return trace


def _frames_by_hand(error: Exception) -> list[tuple[FrameType, int]]:
    """The frames of an exception that lie in `manual`, outermost first, each with the line it had come to."""
    entries = list(walk_tb(error.__traceback__))
    return [(frame, line) for frame, line in entries if Path(frame.f_code.co_filename).parent.name == "manual"]


def _equations(experiment: Experiment, keys: set[Key]) -> dict[str, str]:
    """The equation label of each recorded name."""
    label = partial(equation_of, depth=experiment.depth, loss=experiment.loss, optimizer=experiment.optimizer)
    return {key.name: label(key.name) for key in keys}


def _culprits(judgements: list[Judgement], failure: Finding | None) -> tuple[Finding, ...]:
    """The first tensor that differs; all that differ after it may do so because of it, and are only counted."""
    for judgement in judgements:
        row = judgement.row
        if row.verdict in FAILING:
            culprit = Finding(
                row.step,
                row.phase,
                row.name,
                row.equation,
                row.verdict,
                judgement.cause,
                judgement.explanation,
                index=row.index,
            )
            if failure is None:
                return (culprit,)
            return (replace(culprit, explanation=f"{culprit.explanation}; then {failure.explanation}"),)
    return () if failure is None else (failure,)


def _raised(step: int, complete: set[str], error: Exception) -> Finding:
    """An exception of the hand-written side, against the equation on whose line it was raised."""
    phase = next(phase for phase in PHASES if phase not in complete)
    label, place = "", ""
    for frame, line_number in _frames_by_hand(error):
        path = Path(frame.f_code.co_filename)
        found = re.search(r"# \(([A-Z]\d)\)", linecache.getline(str(path), line_number))
        label = found[1] if found else label
        place = f"manual/{path.name} line {line_number}"
    name = EQUATIONS.get(label, phase).partition(" = ")[0]
    return Finding(step, phase, name, label, "FAULT", "exception", f"{type(error).__name__} in {place}: {error}")


def _environment(experiment: Experiment, data: Data) -> dict[str, Any]:
    """What makes two runs differ: versions, BLAS, threads, precision, seed, determinism, and the experiment itself."""
    widths = "-".join(map(str, experiment.layers))
    size = "full batch" if experiment.batch_size is None else f"batches of {experiment.batch_size}"
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "check": f"handgrad check: by hand (NumPy {np.__version__}) against torch {torch.__version__}, "
        f"{experiment.dtype}, seed {experiment.seed}" + (", free-running" if experiment.free_running else ""),
        "setting": f"network {widths}, {'/'.join(experiment.activations)}, {experiment.loss}, "
        f"{experiment.initializer} weights, {experiment.optimizer}, {size}; data {data.description}",
        "experiment": experiment.as_dict(),
        "data": data.description,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "blas": f"{blas['name']} {blas['version']}",
        "threads": torch.get_num_threads(),
        "dtype": experiment.dtype,
        "seed": experiment.seed,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "tf32": torch.backends.cuda.matmul.allow_tf32,
    }
