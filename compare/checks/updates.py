"""An optimiser step by hand against any torch optimiser, on the same gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from handgrad.compare.checks.formulas import formula_instead
from handgrad.compare.environment import environment
from handgrad.compare.errors import InputError, kind_of
from handgrad.compare.facts.remarks import Float32Only, FromZero, Note
from handgrad.compare.names import gradient, of_gradient, updated
from handgrad.compare.oracle.optimizer import Follower, Optimizer
from handgrad.compare.pipeline.blind_spots import of_precisions, of_updates
from handgrad.compare.pipeline.judged import reported
from handgrad.compare.pipeline.problem import checked_arrays, checked_precisions
from handgrad.compare.pipeline.recording import Run, record, trainer_of
from handgrad.compare.pipeline.rules import rule_instead
from handgrad.compare.pipeline.steps import (
    JudgedTraining,
    Training,
    ended,
    in_float32,
    in_one_precision,
    judged_training,
    nearby,
    not_repeatable,
)
from handgrad.compare.pipeline.updates import nothing_moved
from handgrad.compare.report.report import Report
from handgrad.compare.results import Code, Finding, Row
from handgrad.compare.sandbox import fresh, undisturbed
from handgrad.compare.source import listing, tracing
from handgrad.compare.source.reached import reached, shortcuts
from handgrad.compare.trace import Arrays, in_precision
from handgrad.compare.verdict.judgement import Judgement

Update = Callable[..., Any]
QUIET = 2.0**-20  # times the others: gradients whose norm stays below a threshold for clipping
STATE = "keep what the optimiser remembers in `state`"


def check_updates(
    update: Update,
    optimizer: Optimizer,
    params: Mapping[str, Any],
    *,
    steps: int = 5,
    gradients: Sequence[Mapping[str, Any]] | None = None,
    precisions: Sequence[str] = ("float64", "float32"),
) -> Report:
    """Check an optimiser's update by hand against a torch optimiser, step by step.

    update(params, grads, state) returns (params, state), or None if it changes params in place; state is None at step 1
    and afterwards what it returned. optimizer(list_of_tensors) returns a torch.optim.Optimizer. Both sides get the same
    gradients, named d<name>, and keep their own state; torch starts each step from the parameters by hand. The
    gradients of `steps` steps are drawn to expose optimisers (zeros, changing signs, 1e-8, 1e4, a step where all are
    small) unless given, one mapping a step. Of a state that is a mapping, the keys v<name> are compared with torch's
    momentum buffers.
    Everything is run from `params` and once more from zero, where small steps show. Raises InputError, a ValueError, if
    the arguments cannot be used; whatever the update does is a finding.
    """
    with undisturbed():
        chosen, start = checked_precisions(precisions), checked_arrays("params", params, trained=True)
        if not callable(update):
            raise InputError(f"update is {kind_of(update)}; it must be a function of params, grads and state")
        sequence = _checked_gradients(gradients, start) if gradients is not None else exposing_gradients(start, steps)
        return _report(update, optimizer, start, sequence, chosen, drawn=gradients is None)


def exposing_gradients(params: Arrays, steps: int) -> list[dict[str, np.ndarray]]:
    """Gradients that tell optimisers apart, named d<name>, in float64; the same for the same shapes.

    Entry by entry ordinary, 1e-8, 1e4, of changing sign, or zero every other step; at every fourth step all of them
    2^-20 times that, so that their norm stays below a threshold for clipping.
    """
    if not isinstance(steps, int) or isinstance(steps, bool) or not 1 <= steps <= 10_000:
        raise InputError(f"steps is {steps!r}; it must be a whole number from 1 to 10000, so write for example 5")
    rng = np.random.default_rng(0)
    sequence = []
    for step in range(steps):
        gradients = {}
        for position, (name, array) in enumerate(params.items()):
            kind = (np.arange(array.size).reshape(array.shape) + position) % 5
            size = np.choose(kind, [1.0, 1e-8, 1e4, 1.0 if step % 2 else -1.0, 1.0 if step % 2 == 0 else 0.0])
            size *= QUIET if step % 4 == 3 else 1.0
            draw = rng.standard_normal(array.shape)
            gradients[gradient(name)] = size * np.where(kind == 3, np.abs(draw) + 0.5, draw)
        sequence.append(gradients)
    return sequence


def _checked_gradients(gradients: Any, params: Arrays) -> list[dict[str, np.ndarray]]:
    """One mapping of gradients a step; InputError for anything else."""
    if isinstance(gradients, (str, Mapping)) or not isinstance(gradients, Sequence) or not gradients:
        raise InputError("gradients must be a list with one mapping a step, like [{'dW1': ...}, {'dW1': ...}]")
    sequence = []
    for step, given in enumerate(gradients, start=1):
        arrays = checked_arrays(f"gradients of step {step}", given, trained=False)
        unknown = [name for name in arrays if of_gradient(name) not in params]
        if unknown:
            names = ", ".join(map(gradient, params))
            raise InputError(f"{unknown[0]!r} in the gradients of step {step} is of no parameter; name them {names}")
        for name, array in params.items():
            got = arrays.get(gradient(name))
            if got is None or got.shape != array.shape:
                what = "is missing" if got is None else f"has shape {got.shape}"
                due = f"it must have shape {array.shape}"
                raise InputError(f"{gradient(name)} {what} in the gradients of step {step}; {due}")
        sequence.append(arrays)
    return sequence


class _Started(NamedTuple):
    """The steps from one start, judged."""

    outcome: JudgedTraining
    findings: tuple[Finding, ...]
    notes: list[Note]


def _started(
    update: Update, optimizer: Optimizer, start: Arrays, gradients: Sequence[Arrays], precisions: Sequence[str]
) -> _Started:
    """Take the steps from one start in each precision, and judge them."""

    def recorded(dtype: str, params: Arrays = start, along: Sequence[Arrays] = gradients) -> Run:
        trainer = trainer_of(update, [in_precision(given, dtype) for given in along])
        return record(trainer, in_precision(params, dtype), [{}] * len(along))

    runs, alone = in_one_precision({dtype: recorded(dtype) for dtype in precisions})
    training = nearby(Training(runs, start, optimizer, [], gradients=gradients), recorded)
    twice = not_repeatable(training, recorded(training.printed), "update", STATE)
    ends = ended(training)
    if "float64" in training.runs and in_float32(training.runs["float64"]):
        training, alone = training.in_float32(), [Float32Only()]
    if twice and not ends:  # what such an update does says nothing
        training = replace(training, runs={dtype: replace(run, steps=()) for dtype, run in training.runs.items()})
    outcome = judged_training(training, "return the new ones, or change them in place")
    findings = sorted((*(ends or twice), *outcome.findings), key=lambda finding: finding.where.step)
    return _Started(outcome, tuple(findings), alone)


def _report(
    update: Update,
    optimizer: Optimizer,
    start: Arrays,
    gradients: Sequence[Arrays],
    precisions: tuple[str, ...],
    *,
    drawn: bool,
) -> Report:
    """The steps from where the user starts, and from zero."""
    zero = {name: np.zeros_like(array) for name, array in start.items()}
    starts = [_started(update, optimizer, params, gradients, precisions) for params in (start, zero)]
    first, second = (each.outcome for each in starts)
    still = [name for name in first.still if name in second.still]
    from_zero = (replace(f, circumstances=(*f.circumstances, FromZero())) for f in starts[1].findings)
    findings = rule_instead(starts[0].findings or tuple(from_zero), [first, second])
    findings = formula_instead(findings, [first, second])
    if len(still) == len(start) and not findings:
        findings = (nothing_moved(still[0], "give gradients, and a rate, that move them"),)
    notes = dict.fromkeys(note for each in starts for note in (*each.notes, *each.outcome.judged.notes))
    from_start = first.judged.has_finding or not second.judged.has_finding
    shown = replace(first.judged if from_start else second.judged, notes=notes)
    follower = Follower(optimizer, start)
    report = reported(
        shown,
        findings,
        environment(
            f"check_updates: by hand (NumPy {np.__version__}) against torch.optim.{follower.kind}, "
            f"{len(gradients)} steps, {' and '.join(precisions)}",
            precisions,
            notes=notes,
        ),
        notes=lambda: shortcuts(reached(update), None, optimizer),
        blind_spots=lambda: (
            *of_updates(len(gradients), len(start), still, follower.memory, drawn=drawn),
            *of_precisions(precisions, notes),
        ),
        code=partial(_code, update, optimizer, start, gradients[0], precisions[0], traced=bool(findings)),
    )
    return replace(report, rows=_closest([*first.judged.judgements, *second.judged.judgements]))


def _closest(judgements: Sequence[Judgement]) -> tuple[Row, ...]:
    """One row for each tensor and step: the first that fails, or else the one that came closest to that."""
    best: dict[tuple[int, str], Row] = {}
    for row in (judgement.row for judgement in judgements):
        known = best.get((row.step, row.name))
        if known is None or (known.verdict == "OK" and not (row.rho or 0.0) <= (known.rho or 0.0)):
            best[row.step, row.name] = row
    return tuple(best.values())


def _code(
    update: Update, optimizer: Optimizer, start: Arrays, gradients: Arrays, dtype: str, *, traced: bool
) -> tuple[Code, ...]:
    """The source of both sides, with the lines that make the updated parameters, seen in one more first step."""

    def stepped() -> Any:
        params, given = ({n: a.copy() for n, a in in_precision(of, dtype).items()} for of in (start, gradients))
        returned = fresh(update)(params, given, None)
        return params if returned is None else returned[0]

    made = tracing.seen(stepped) if traced else {}
    names = {updated(name): name for name in start}
    return (*listing.by_hand(update, names, made), *listing.building(optimizer, names))
