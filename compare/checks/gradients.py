"""A derivation against any torch reference: forward values, J and gradients, judged without knowing the formulas."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from handgrad.compare.checks.arguments import ignored_arguments
from handgrad.compare.checks.own_loss import own_loss_notes
from handgrad.compare.environment import environment
from handgrad.compare.errors import InputError, kind_of
from handgrad.compare.facts.failures import Mutates, RaisesAgain, TwoAnswers
from handgrad.compare.names import Key, gradient, phase_of
from handgrad.compare.oracle.reference import Reference
from handgrad.compare.oracle.replay import Replay
from handgrad.compare.pipeline.blind_spots import of_arrays, of_gradients, of_precisions
from handgrad.compare.pipeline.judged import Judged, collected, findings_of, reported
from handgrad.compare.pipeline.problem import Problem, checked_precisions, problem_of
from handgrad.compare.pipeline.records import Returned, calls_in_one, judge_records
from handgrad.compare.report.report import Report
from handgrad.compare.results import FAILING, Code, Finding
from handgrad.compare.sandbox import Call, call, undisturbed
from handgrad.compare.source import listing, tracing
from handgrad.compare.source.reached import reached, shortcuts
from handgrad.compare.trace import in_precision, is_real
from handgrad.compare.verdict.differences import differing

Derivation = Callable[..., Mapping[str, Any]]


def check_gradients(
    derivation: Derivation,
    reference: Reference,
    params: Mapping[str, Any],
    batch: Sequence[Any],
    *,
    precisions: Sequence[str] = ("float64", "float32"),
) -> Report:
    """Check the forward values, J and the gradients of a derivation against a torch reference.

    derivation(params, *batch) is NumPy code and returns a mapping of names to arrays: any of the intermediates that the
    reference names by taps, J, and d<name> for parameters, intermediates and inputs. reference(params, *batch) is torch
    code that returns the scalar J. Floating arrays are cast to each of `precisions`, the others pass unchanged. Both
    sides get copies. Raises InputError, a ValueError, if the arguments cannot be used, the reference fails or misuses
    taps, or there is nothing to compare, as where every gradient is zero on both sides; whatever the derivation does is
    a finding.
    """
    with undisturbed():
        problem = problem_of(reference, params, batch, checked_precisions(precisions))
        if not callable(derivation):
            raise InputError(f"derivation is {kind_of(derivation)}; it must be a function of params and the batch")
        return _report(derivation, problem)


def _report(derivation: Derivation, problem: Problem) -> Report:
    """Call the derivation in each precision and judge what it returned; ask it again where that may tell something."""

    def called(dtype: str) -> Call:
        return again(in_precision(problem.params, dtype), in_precision(problem.batch, dtype))

    again = partial(call, derivation)
    every = {dtype: called(dtype) for dtype in problem.precisions}
    calls, alone = calls_in_one(every)
    problem = replace(problem, precisions=tuple(calls))
    everywhere = dict.fromkeys(problem.precisions, problem.params)
    returned = Returned(1, calls, everywhere, frozenset(problem.params), derivation=derivation)
    step, end_to_end, _ = judge_records(problem, returned)
    judged = collected([step])
    findings = (*findings_of(judged), *step.ended)
    records = calls["float64"].records if "float64" in calls else {}
    doubted = _doubted(judged, findings, end_to_end, problem.params)
    notes = own_loss_notes(derivation, in_precision(problem.params, "float64"), problem.batch, records, doubted)
    is_told = not findings and _one_answer([made.without(step.arrays) for made in calls.values()])
    second = calls[problem.printed] if is_told else called(problem.printed)
    misbehaviour, things = _misbehaviour(calls, second, problem), reached(derivation)
    if any(finding.cause.code == "not-repeatable" for finding in misbehaviour):
        findings = ()
    if not misbehaviour and not any(finding.verdict in {*FAILING} - {"MISSING"} for finding in findings):
        misbehaviour = [*ignored_arguments(things, every, again, problem, end_to_end)]
    if not findings and not misbehaviour:
        _check_gradients_are_something(calls[problem.printed], end_to_end, problem)
    made, own = calls[problem.printed], {**end_to_end.values, **end_to_end.gradients}
    return reported(
        judged,
        (*misbehaviour, *findings),
        environment(
            f"check_gradients: by hand (NumPy {np.__version__}) against torch, {' and '.join(problem.precisions)}",
            problem.precisions,
            notes=[*alone, *judged.notes],
        ),
        notes=lambda: (*alone, *notes, *shortcuts(things, problem.reference)),
        blind_spots=lambda: (
            *of_gradients(made.records, end_to_end, problem.params, problem.batch, made.upstream),
            *of_arrays(problem.params, problem.batch),
            *of_precisions(problem.precisions, [*alone, *judged.notes]),
        ),
        code=partial(_code, derivation, problem, [*own, *made.records], judged.reads, traced=bool(findings)),
    )


def _doubted(
    judged: Judged, findings: Sequence[Finding], end_to_end: Replay, params: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """torch's gradients of the parameters whose own differs; none where J, or what leads to it, is wrong itself."""
    wrong = {f.where.name for f in findings if f.verdict in FAILING and f.where.phase in ("forward", "loss")}
    if not findings or wrong - end_to_end.side_outputs:
        return {}
    apart = {j.row.name for j in judged.judgements if j.finding is not None or j.differs}
    return {name: end_to_end.gradients[gradient(name)] for name in params if gradient(name) in apart}


def _code(
    derivation: Derivation, problem: Problem, names: Sequence[str], reads: Mapping[str, frozenset[str]], *, traced: bool
) -> tuple[Code, ...]:
    """The source of both sides, with the lines that compute what is compared or wrong."""
    made = _made(derivation, problem) if traced else {}
    return (
        *listing.by_hand(derivation, {name: name for name in names}, made),
        *listing.in_torch(problem.reference, names, reads),
    )


def _made(derivation: Derivation, problem: Problem) -> dict[str, tracing.At]:
    """Where each returned array is made, seen in one more run; nothing where that raises."""
    params, batch = (in_precision(of, problem.printed) for of in (problem.params, problem.batch))
    handed = [{n: a.copy() for n, a in params.items()}, *(a.copy() for a in batch.values())]
    return tracing.seen(lambda: derivation(*handed))


def _one_answer(calls: Sequence[Call]) -> bool:
    """Whether a derivation has answered more than once, and the same but for the roundings of the coarser precision.

    What is torch's own in both needs no look.
    """
    first, *others = calls
    return bool(others) and all(
        other.is_usable and not differing(first.records, other.records) for other in others if first.is_usable
    )


def _misbehaviour(calls: Mapping[str, Call], again: Call, problem: Problem) -> list[Finding]:
    """What makes any comparison worthless: changed inputs, another answer when asked again."""
    made = calls[problem.printed]
    findings = []
    for name in dict.fromkeys(name for each in calls.values() for name in each.mutated):
        kind = "parameter" if name in problem.params else "input"
        findings.append(Finding(Key(1, "forward", name), "FAULT", Mutates("derivation", kind, name)))
    if made.raised is None and again.raised is not None:
        findings.append(Finding(Key(1, "loss", "J"), "FAULT", RaisesAgain(again.raised)))
    elif made.raised is None and (unlike := differing(made.records, again.records)):
        remedy = "keep no state between calls, and pass dropout masks in the batch"
        key = Key(1, phase_of(unlike[0]), unlike[0])
        findings.append(Finding(key, "FAULT", TwoAnswers("derivation", unlike, remedy)))
    return findings


def _check_gradients_are_something(made: Call, end_to_end: Replay, problem: Problem) -> None:
    """Raise InputError where every gradient of a parameter is exactly zero on both sides: any formula agrees there."""
    due = [gradient(name) for name in problem.params if gradient(name) in made.records]
    known = [name for name in due if name in end_to_end.gradients and is_real(made.records[name])]
    if known and not any(side[name].any() for side in (made.records, end_to_end.gradients) for name in known):
        raise InputError(
            f"every gradient of a parameter ({', '.join(known)}) is exactly zero on both sides, where any formula "
            "agrees; choose params and a batch whose gradients are not zero"
        )
