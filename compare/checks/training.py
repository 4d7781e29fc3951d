"""A training loop by hand against torch, which follows it step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np

from handgrad.compare.checks.records import Problem, judged_records
from handgrad.compare.checks.updates import result_structure
from handgrad.compare.environment import environment
from handgrad.compare.errors import InputError, kind_of
from handgrad.compare.experiment.exceptions import quietly
from handgrad.compare.names import Key
from handgrad.compare.oracle.optimizer import (
    FORMS,
    MOVED,
    NO_BUFFER,
    Follower,
    Optimizer,
    UpdateRun,
    judge_update,
    named_rule,
    nothing_moved,
    or_reset,
    unmoved,
)
from handgrad.compare.oracle.reference import Reference, moved, run_reference
from handgrad.compare.report import Finding, Report, Row
from handgrad.compare.report.details import Code, Details, joined
from handgrad.compare.sandbox import (
    CAUGHT,
    Call,
    as_record,
    checked_precisions,
    differing,
    fresh,
    in_precision,
    located,
    same,
    undisturbed,
)
from handgrad.compare.source import listing as sources
from handgrad.compare.source import tracing as provenance
from handgrad.compare.trace import is_real
from handgrad.compare.verdict.conventions import FLOAT32_ONLY
from handgrad.compare.verdict.rule import rounds_to_float32
from handgrad.compare.verdict.steps import Judgement, culprits, detailed

__all__ = ["Trainer", "check_training"]

Arrays = dict[str, np.ndarray]
Trainer = Callable[..., Iterator[Mapping[str, Any]]]


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
        problem = Problem(reference, params, batches[0], chosen)
        named = [Problem(reference, params, batch, chosen).batch for batch in batches]
        if not callable(trainer):
            raise InputError(f"trainer is {kind_of(trainer)}; it must be a generator of params and batches")
        return _report(trainer, problem, optimizer, named)


@dataclass
class _Run:
    """What a trainer yielded in one precision, step by step, and what ended it before its time."""

    first: str
    before: list[Arrays] = field(default_factory=list)
    yielded: list[Arrays] = field(default_factory=list)
    failure: tuple[str, str] | None = None
    too_many: bool = False
    broken: bool = False  # a parameter was missing or of another shape
    mutated: str = ""


def _run(trainer: Trainer, start: Arrays, batches: Sequence[Arrays]) -> _Run:
    """Run the trainer on copies, and copy at every yield."""
    run = _Run(next(iter(start)))
    params = start
    handed = [tuple(array.copy() for array in batch.values()) for batch in batches]
    try:
        with quietly():
            training = fresh(trainer)({name: a.copy() for name, a in start.items()}, [*handed])
            if not isinstance(training, Iterable):
                run.failure = (
                    "missing",
                    f"the trainer returns {kind_of(training)}; make it a generator: yield once per batch",
                )
                return run
            if isinstance(training, (list, tuple)) and _shared(training):
                text = "the trainer returns one and the same arrays for every batch; yield at each step, or copy them"
                run.failure = ("aliased", text)
                return run
            if isinstance(training, Mapping):
                run.failure = ("missing", "the trainer returns a dict; make it a generator: yield once per batch")
                return run
            for values in training:
                if len(run.yielded) == len(batches):
                    run.too_many = True
                    break
                if not isinstance(values, Mapping):
                    run.failure = (
                        "missing",
                        f"the trainer yields {kind_of(values)}; yield a dict of the new parameters",
                    )
                    break
                kept = {str(name): as_record(value) for name, value in values.items()}
                run.before.append(params)
                run.yielded.append(kept)
                run.broken = any(
                    n not in kept or not is_real(kept[n]) or kept[n].shape != a.shape for n, a in start.items()
                )
                if run.broken:
                    break
                params = {name: kept[name] for name in start}
    except CAUGHT as error:  # whatever the user's code raises is a finding, not a crash
        run.failure = ("exception", located(error).what)
    for step, (mine, theirs) in enumerate(zip(batches, handed, strict=True), start=1):
        for (name, before), after in zip(mine.items(), theirs, strict=True):
            if not same(before, after):
                run.mutated = run.mutated or f"{name} of batch {step}"
    return run


def _shared(steps: Sequence[Any]) -> bool:
    """Whether the same array stands for several steps."""
    ids = [id(v) for step in steps if isinstance(step, Mapping) for v in step.values() if isinstance(v, np.ndarray)]
    return len(set(ids)) < len(ids)


def _report(trainer: Trainer, problem: Problem, optimizer: Optimizer, batches: list[Arrays]) -> Report:
    runs = {
        dtype: _run(trainer, in_precision(problem.params, dtype), [in_precision(b, dtype) for b in batches])
        for dtype in problem.precisions
    }
    printed = handed = problem.precisions[0]
    judged = _judged_steps(runs, problem, optimizer, batches)
    if len(runs) > 1 and judged.findings and _in_float32(runs["float64"]):
        runs, problem = {"float32": runs["float64"]}, problem.alone("float32")
        judged = _judged_steps(runs, problem, optimizer, batches)
        judged = replace(judged, notes=(FLOAT32_ONLY, *judged.notes))
        printed, handed = "float32", "float64"
    again = _run(trainer, in_precision(problem.params, handed), [in_precision(b, handed) for b in batches])
    findings = judged.findings
    due = Follower(optimizer, problem.params).optimizer
    if findings and all(finding.name.endswith("_next") and finding.cause in FORMS for finding in findings):

        def agrees(other: Optimizer) -> bool:
            return not _judged_steps(runs, problem, other, batches, up_to_a_finding=True).findings

        findings = named_rule(findings, judged.updates, due, agrees)
    still, ended = unmoved(zip(runs[printed].before, runs[printed].yielded, strict=True)), _ended(runs, batches)
    apart = {row.name for row in judged.rows if row.max_abs_diff}
    if len(still) == len(problem.params):
        findings = _never_moved(findings)
    still = [name for name in still if f"{name}_next" not in apart]
    if len(still) == len(problem.params) and not findings and not ended:
        findings = (nothing_moved(still[0], "choose params, batches and a rate with which something moves"),)
    return Report(
        rows=judged.rows,
        findings=(*_not_repeatable(runs[printed], again), *findings, *ended),
        notes=tuple(dict.fromkeys(judged.notes)),
        blind_spots=_blind_spots(runs[printed], problem, batches, still),
        environment=environment(
            f"check_training: by hand (NumPy {np.__version__}) against torch, torch.optim.{type(due).__name__}, "
            f"{len(batches)} steps, {' and '.join(problem.precisions)}",
            problem.precisions,
            notes=judged.notes,
        ),
        details=judged.details._replace(code=_code(trainer, problem, optimizer, judged, batches)),
    )


def _in_float32(run: _Run) -> bool:
    """Whether a trainer that was handed float64 computes the parameters in float32."""
    updated = (values[name] for values in run.yielded for name in run.before[0] if name in values)
    return rounds_to_float32(filter(is_real, updated))


def _code(
    trainer: Trainer, problem: Problem, optimizer: Optimizer, judged: _JudgedStep, batches: Sequence[Arrays]
) -> tuple[Code, ...]:
    """The source of both sides, with the lines that compute what is compared or wrong."""
    names = dict.fromkeys([*(row.name for row in judged.rows), *(finding.name for finding in judged.findings)])
    made = _made(trainer, problem, batches, judged.findings[0].step) if judged.findings else {}
    return (
        *sources.by_hand(trainer, {name: name.removesuffix("_next") for name in names}, made),
        *sources.in_torch(problem.reference, names, judged.details.reads),
        *sources.building(optimizer, [row.name for row in judged.rows if row.phase == "update"]),
    )


def _made(trainer: Trainer, problem: Problem, batches: Sequence[Arrays], step: int) -> dict[str, provenance.At]:
    """Where each array yielded at a step is made, seen in one more run; nothing where that raises."""
    dtype = problem.precisions[0]
    params = {name: array.copy() for name, array in in_precision(problem.params, dtype).items()}
    handed = [tuple(a.copy() for a in in_precision(batch, dtype).values()) for batch in batches]
    return provenance.seen(lambda: next(islice(fresh(trainer)(params, handed), step - 1, None)))


def _judged_steps(
    runs: Mapping[str, _Run],
    problem: Problem,
    optimizer: Optimizer,
    batches: list[Arrays],
    *,
    up_to_a_finding: bool = False,
) -> _JudgedStep:
    """All steps that every run has, each judged with torch following; the findings of each tensor at its first.

    `up_to_a_finding`: the steps after the first one that has a finding are left out.
    """
    followers = {dtype: [Follower(optimizer, problem.params) for _ in range(1 + MOVED)] for dtype in runs}
    rows: list[Row] = []
    details = Details()
    updates: list[Judgement] = []
    findings: dict[str, Finding] = {}
    notes: list[str] = []
    factors: list[float] = []
    previous: Arrays = {}
    for step in range(min(len(run.yielded) for run in runs.values())):
        of_step = _Step(step, {dtype: run.before[step] for dtype, run in runs.items()}, batches[step], previous)
        yielded = {dtype: run.yielded[step] for dtype, run in runs.items()}
        judged = _judged(of_step, yielded, problem, followers, factors)
        rows += judged.rows
        updates += judged.updates
        notes += judged.notes
        details = joined(details, judged.details)
        findings = {finding.name: finding for finding in judged.findings} | findings
        if findings and up_to_a_finding:
            break
        if any(finding.cause in ("missing", "shape") and finding.phase == "update" for finding in judged.findings):
            break
        finest = "float64" if "float64" in runs else "float32"
        previous = {**of_step.before[finest], **{n: a for n, a in yielded[finest].items() if n not in problem.params}}
    in_order = sorted(findings.values(), key=lambda finding: finding.step)
    return _JudgedStep(tuple(rows), tuple(updates), tuple(in_order), tuple(notes), details)


@dataclass(frozen=True)
class _Step:
    """Where a step starts: its number from 0, the parameters before it by dtype, its batch, and the step before."""

    index: int
    before: Mapping[str, Arrays]
    batch: Arrays
    previous: Arrays


@dataclass(frozen=True)
class _JudgedStep:
    rows: tuple[Row, ...]
    updates: tuple[Judgement, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    details: Details


def _judged(
    step: _Step,
    yielded: Mapping[str, Arrays],
    problem: Problem,
    followers: Mapping[str, list[Follower]],
    factors: list[float],
) -> _JudgedStep:
    """The verdicts on one step: its records by local replay, then its velocities and updated parameters.

    `factors` keeps what velocities were times torch's while every update agreed: a convention, if always the same.
    """
    own = {name: f"v{name}" for name in problem.params}
    calls = {
        dtype: Call({n: a for n, a in values.items() if n not in own and n not in own.values()})
        for dtype, values in yielded.items()
    }
    recorded = judged_records(
        problem, step.before, step.batch, calls, step=step.index + 1, owed=False, previous=step.previous
    )
    strange = {finding.name: finding for finding in recorded.findings if finding.cause == "unknown-name"}
    results = {dtype: _followed(step, dtype, calls[dtype].records, problem, followers[dtype]) for dtype in yielded}
    notes = [*recorded.notes, *(f"{name} is not compared: {f.explanation}." for name, f in strange.items())]
    velocities, updates = list[Judgement](), list[Judgement]()
    for name, v in own.items():
        update = _compared(Key(step.index + 1, "update", f"{name}_next"), name, name, step, yielded, results, problem)
        velocity = None
        if all(v in values for values in yielded.values()) and all(v in each[0] for each in results.values()):
            velocity = _compared(Key(step.index + 1, "update", v), v, name, step, yielded, results, problem)
        elif all(v in values for values in yielded.values()):
            optimizer = type(next(iter(followers.values()))[0].optimizer).__name__
            notes.append(NO_BUFFER.format(v, optimizer))
        if velocity is not None and update.finding is None and _same_factor(velocity, factors):
            notes.append(f"Convention: the velocity is {factors[0]:.6g} times torch's, and the update makes up for it.")
            velocity = velocity._replace(row=velocity.row._replace(verdict="OK", rho=None), finding=None)
            velocities.append(velocity)
        elif velocity is not None:
            velocities.append(velocity)
            if velocity.finding is not None:
                update = update._replace(finding=None, differs=True)  # it only follows from the velocity
            for dtype, values in yielded.items():
                for follower in followers[dtype]:
                    follower.set_velocity(name, values[v].astype(np.float64))
        updates.append(update)
    judged = [*velocities, *updates]
    if step.index and any(judgement.finding is not None for judgement in judged):
        anew = {dtype: [Follower(each.build, problem.params) for each in of] for dtype, of in followers.items()}
        scratch = {dtype: _followed(step, dtype, calls[dtype].records, problem, anew[dtype]) for dtype in yielded}
        for at, each in enumerate(judged):
            record = each.row.name.removesuffix("_next")
            if each.finding is not None and all(record in found[0] for found in scratch.values()):
                parameter = record if record in own else record[1:]
                again = _compared(Key(*each.row[:3]), record, parameter, step, yielded, scratch, problem)
                judged[at] = each._replace(finding=or_reset(each.finding, [again]))
    rows = (*(r for r in recorded.rows if r.name not in strange), *(judgement.row for judgement in judged))
    findings = (*(finding for finding in recorded.findings if finding.name not in strange), *culprits(judged))
    return _JudgedStep(rows, (*updates,), findings, tuple(notes), joined(recorded.details, detailed(judged, {})))


def _same_factor(velocity: Judgement, factors: list[float]) -> bool:
    """Whether a velocity that differs is the same multiple of torch's as those before it."""
    if velocity.finding is None or velocity.factor is None:
        return False
    factors.append(velocity.factor)
    return abs(velocity.factor / factors[0] - 1) <= 1e-6


def _compared(
    key: Key,
    record: str,
    parameter: str,
    step: _Step,
    yielded: Mapping[str, Arrays],
    results: Mapping[str, list[Arrays]],
    problem: Problem,
) -> Judgement:
    """The verdict on one updated parameter or velocity."""
    structure = result_structure(
        key, {dtype: values.get(record) for dtype, values in yielded.items()}, problem.params[parameter]
    )
    if structure is not None:
        return structure
    runs = {}
    for dtype, values in yielded.items():
        own, *others = results[dtype]
        before = step.before[dtype][parameter] if record == parameter else np.zeros_like(values[record])
        runs[dtype] = UpdateRun(before, values[record], own[record], [other[record] for other in others])
    return judge_update(key, runs, problem.precisions[0])


def _followed(
    step: _Step, dtype: str, records: Arrays, problem: Problem, followers: Sequence[Follower]
) -> list[Arrays]:
    """The parameters and, as v<name>, velocities after torch's step, and after those of the moved followers.

    torch's gradients are those yielded, or its own at the parameters that the step starts from.
    """
    rng = np.random.default_rng([step.index, 0])
    found = []
    for position, follower in enumerate(followers):
        by = 2.0**-24 if position else 0.0

        def nudged(arrays: Mapping[str, np.ndarray], by: float = by) -> Arrays:
            return {name: moved(array, rng=rng, by=by) for name, array in arrays.items()}

        before = nudged(in_precision(step.before[dtype], "float64"))
        given = {f"d{name}": records.get(f"d{name}") for name in before}
        gradients = {
            name: moved(array, rng=rng, by=by)
            for name, array in given.items()
            if array is not None and is_real(array) and array.shape == before[name[1:]].shape
        }
        if len(gradients) < len(before):
            try:
                made = run_reference(problem.reference, before, nudged(step.batch), {}, "float64").gradients
            except InputError:  # a label of 1 may be as large as it can be
                made = run_reference(problem.reference, before, step.batch, {}, "float64").gradients
            gradients = made | gradients
        after = follower.step(before, gradients)
        buffers = {f"v{name}": follower.velocity(name) for name in before}
        found.append(after | {name: buffer for name, buffer in buffers.items() if buffer is not None})
    return found


def _not_repeatable(run: _Run, again: _Run) -> list[Finding]:
    """The trainer gives another answer when it is run again."""
    for step, (one, other) in enumerate(zip(run.yielded, again.yielded, strict=False), start=1):
        unlike = differing(one, other)
        if unlike:
            text = "the same training run twice gives two answers; keep no state outside the trainer"
            name = f"{unlike[0]}_next" if unlike[0] in run.before[0] else unlike[0]
            return [Finding(step, "update", name, "", "FAULT", "not-repeatable", text)]
    return []


def _never_moved(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Say `zero` of weights that no step changed."""
    text = "no step changes any parameter; update them before the yield"
    return tuple(
        replace(f, cause="zero", explanation=text)
        if f.name.endswith("_next") and f.cause in ("unknown", "update-form")
        else f
        for f in findings
    )


def _ended(runs: Mapping[str, _Run], batches: Sequence[Arrays]) -> list[Finding]:
    """Too few or too many yields, exceptions, and batches that were changed."""
    for run in runs.values():
        name = f"{run.first}_next"
        step = len(run.yielded) + 1
        if run.failure is not None:
            cause, text = run.failure
            verdict = "MISSING" if cause == "missing" else "FAULT"
            return [Finding(step, "update", name, "", verdict, cause, text)]
        if run.mutated:
            text = f"the trainer changes {run.mutated} that it is handed; let it compute a new array instead"
            return [Finding(1, "forward", run.mutated.partition(" ")[0], "", "FAULT", "mutated-input", text)]
        if run.too_many:
            text = f"the trainer yields more than {len(batches)} times for {len(batches)} batches; yield once per batch"
            return [Finding(step, "update", name, "", "FAULT", "unknown", text)]
        if len(run.yielded) < len(batches) and not run.broken:
            times = "once" if len(run.yielded) == 1 else f"{len(run.yielded)} times"
            text = f"the trainer yields {times} for {len(batches)} batches; yield once per batch, after the update"
            return [Finding(step, "update", name, "", "MISSING", "missing", text)]
    return []


def _blind_spots(run: _Run, problem: Problem, batches: Sequence[Arrays], still: Sequence[str]) -> tuple[str, ...]:
    """What this training could not show."""
    sizes = {tuple(array.shape for array in batch.values()) for batch in batches}
    names = {name for values in run.yielded for name in values} - problem.params.keys()
    return tuple(
        text
        for applies, text in (
            (len(batches) == 1, "state carried from step to step (one batch; use three or more)"),
            (len(sizes) == 1, "a short batch divided by the size of the others (all have one shape; shorten the last)"),
            (bool(still), f"the update of {', '.join(still)} (no step changes it; choose values for which one does)"),
            (not names, "where in a step a mistake enters (only parameters are yielded; yield dW1, J ... as well)"),
            (
                len(problem.precisions) == 1,
                f"what the other precision would tell ({problem.precisions[0]} alone; use both)",
            ),
        )
        if applies
    )
