"""A training loop by hand against torch, which follows it step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from handgrad.compare.checks.arguments import ignored_by_trainer
from handgrad.compare.checks.formulas import formula_instead
from handgrad.compare.checks.implied import gradient_instead
from handgrad.compare.environment import environment
from handgrad.compare.errors import InputError, kind_of
from handgrad.compare.facts.remarks import Float32Only
from handgrad.compare.names import is_updated, of_updated
from handgrad.compare.oracle.optimizer import Follower, Optimizer
from handgrad.compare.oracle.reference import Reference
from handgrad.compare.pipeline.blind_spots import hardly_moved, of_arrays, of_graph, of_precisions, of_training
from handgrad.compare.pipeline.judged import Judged, reported
from handgrad.compare.pipeline.problem import Problem, checked_precisions, problem_of
from handgrad.compare.pipeline.recording import Run, Trainer, record
from handgrad.compare.pipeline.rules import rule_instead, without_consequences
from handgrad.compare.pipeline.steps import (
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
from handgrad.compare.results import Code, Finding
from handgrad.compare.sandbox import fresh, undisturbed
from handgrad.compare.source import listing, tracing
from handgrad.compare.source.reached import reached, shortcuts
from handgrad.compare.trace import Arrays, in_precision

REMEDY = "update them before the yield"  # where no step changes anything


def check_training(
    trainer: Trainer,
    reference: Reference,
    optimizer: Optimizer,
    params: Mapping[str, Any],
    batches: Sequence[Sequence[Any]],
    *,
    precisions: Sequence[str] = ("float64", "float32"),
) -> Report:
    """Check a training loop by hand against a torch reference and optimiser that follow it.

    trainer(params, batches) is a generator that yields once per batch, after the update, a mapping: a parameter's name
    means its new value, other names (J, Z1, dW1, vW1) belong to that step. At each step torch starts from the
    parameters yielded before, computes its own gradients there, or takes those yielded, and keeps its own optimiser
    state; a velocity v<name> that is yielded is compared and then replaces torch's. `reference` and `optimizer` are as
    in check_gradients and check_updates; `batches` is a list of tuples. Raises InputError, a ValueError, if the
    arguments cannot be used; whatever the trainer does is a finding.
    """
    with undisturbed():
        chosen = checked_precisions(precisions)
        if isinstance(batches, (str, bytes, Mapping, np.ndarray)) or not isinstance(batches, Sequence) or not batches:
            raise InputError("batches must be a list with one tuple of arrays a step, like [(X1, Y1), (X2, Y2)]")
        problem = problem_of(reference, params, batches[0], chosen)
        named = [problem_of(reference, params, batch, chosen).batch for batch in batches]
        if not callable(trainer):
            raise InputError(f"trainer is {kind_of(trainer)}; it must be a generator of params and batches")
        return _report(trainer, problem, optimizer, named)


def _report(trainer: Trainer, problem: Problem, optimizer: Optimizer, batches: Sequence[Arrays]) -> Report:
    """Record the trainer in each precision, judge its steps, and say what the run could not show."""

    def recorded(dtype: str, params: Arrays = problem.params, handed: Sequence[Arrays] = batches) -> Run:
        return record(trainer, in_precision(params, dtype), [in_precision(batch, dtype) for batch in handed])

    runs, alone = in_one_precision({dtype: recorded(dtype) for dtype in problem.precisions})
    made = nearby(Training(runs, problem.params, optimizer, batches, problem), recorded)
    outcome = judged_training(made, REMEDY)
    if len(runs) > 1 and outcome.judged.has_finding and in_float32(runs["float64"]):
        outcome, alone = judged_training(outcome.training.in_float32(), REMEDY), [Float32Only()]
    training, judged, findings, still = outcome
    findings = rule_instead(without_consequences(findings, outcome), [outcome])
    findings = formula_instead(gradient_instead(findings, outcome), [outcome])
    run, ends = training.runs[training.printed], ended(training)
    if len(still) == len(problem.params) and not findings and not ends:
        findings = (nothing_moved(still[0], "choose params, batches and a rate with which something moves"),)
    twice = not_repeatable(training, recorded(next(iter(runs))), "trainer", "keep no state outside the trainer")
    things = reached(trainer)
    if not (findings or ends or twice):
        twice = ignored_by_trainer(things, training, partial(recorded, training.printed))
    follower, small = Follower(optimizer, problem.params), hardly_moved(run.changes, training.printed)
    yielded = {name for taken in run.steps for name in taken.records if not is_updated(name)}
    return reported(
        judged,
        (*twice, *findings, *ends),
        environment(
            f"check_training: by hand (NumPy {np.__version__}) against torch, torch.optim.{follower.kind}, "
            f"{len(batches)} steps, {' and '.join(problem.precisions)}",
            problem.precisions,
            notes=[*alone, *judged.notes],
        ),
        notes=lambda: (*alone, *shortcuts(things, problem.reference, optimizer)),
        blind_spots=lambda: (
            *of_training(batches, yielded, still, follower.memory, small),
            *of_graph(judged.absent_signs, run.upstream),
            *of_arrays(run.steps[-1].before if run.steps else problem.params, batches[0]),
            *of_precisions(problem.precisions, [*alone, *judged.notes]),
        ),
        code=partial(_code, trainer, problem, optimizer, judged, batches, findings),
    )


def _code(
    trainer: Trainer,
    problem: Problem,
    optimizer: Optimizer,
    judged: Judged,
    batches: Sequence[Arrays],
    findings: Sequence[Finding],
) -> tuple[Code, ...]:
    """The source of both sides, with the lines that compute what is compared or wrong."""
    rows = [judgement.row for judgement in judged.judgements]
    names = dict.fromkeys([*(row.name for row in rows), *(finding.where.name for finding in findings)])
    made = _made(trainer, problem, batches, findings[0].where.step) if findings else {}
    return (
        *listing.by_hand(trainer, {name: of_updated(name) for name in names}, made),
        *listing.in_torch(problem.reference, names, judged.reads),
        *listing.building(optimizer, [row.name for row in rows if row.phase == "update"]),
    )


def _made(trainer: Trainer, problem: Problem, batches: Sequence[Arrays], step: int) -> dict[str, tracing.At]:
    """Where each array yielded at a step is made, seen in one more run; nothing where that raises."""
    params = {name: array.copy() for name, array in in_precision(problem.params, problem.printed).items()}
    handed = [tuple(a.copy() for a in in_precision(batch, problem.printed).values()) for batch in batches]
    return tracing.seen(lambda: next(islice(fresh(trainer)(params, handed), step - 1, None)))
