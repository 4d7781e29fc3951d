"""First and second derivatives, each judged on some draws: verdicts, findings, notes, and what would not have shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

import torch
from torch import Tensor

from handgrad.compare.checks.functions import fine, upstream
from handgrad.compare.checks.functions.causes import explained
from handgrad.compare.checks.functions.hidden import hidden_steps, unseen
from handgrad.compare.checks.functions.operands import reads_ten_bits
from handgrad.compare.checks.functions.passes import Pass, run, same_bits
from handgrad.compare.checks.functions.returned import precisions, without_gradients
from handgrad.compare.checks.functions.second import told_of_second
from handgrad.compare.checks.functions.structure import Apart, Wrong, misshapen, other_answers, situations, unwritten
from handgrad.compare.checks.functions.subject import Subject
from handgrad.compare.checks.functions.verdicts import Verdict, kernels_of, names_of, verdicts, with_cause
from handgrad.compare.checks.functions.witness import check_range, check_repeats
from handgrad.compare.facts.failures import Mutates
from handgrad.compare.facts.functions import CoarserInside, OpaqueSteps, SecondAbsent, SecondOff
from handgrad.compare.facts.remarks import BlindSpot, Note
from handgrad.compare.oracle.coarse.evaluation import Draw
from handgrad.compare.oracle.coarse.exact import exact_of
from handgrad.compare.oracle.coarse.formats import FORMATS, TF32, Format, coarsest
from handgrad.compare.report.report import Report
from handgrad.compare.results import SourceLine
from handgrad.compare.verdict.coarse.case import Case, case_of
from handgrad.compare.verdict.coarse.rule import judge, suspect

FAILED = ("FAULT", "NONFINITE")


@dataclass(frozen=True)
class Told:
    """What is said: verdicts by position, what is wrong beside them, what was changed, notes and blind spots.

    `fine` is the report of the finer rule, where the function computes in float64; `line` that of the backward,
    `format` what everything is judged in.
    """

    verdicts: Mapping[int, Verdict]
    wrong: tuple[Wrong, ...] = ()
    changed: tuple[Mutates, ...] = ()
    notes: tuple[Note, ...] = ()
    spots: tuple[BlindSpot, ...] = ()
    fine: Report | None = None
    line: SourceLine | None = None
    format: Format | None = None


def first_order(subject: Subject, draws: Sequence[Draw]) -> Told:
    """Every output and gradient judged, and what they may not depend on."""
    passes = [run(subject, draw) for draw in draws]
    exact = exact_of(subject.reference, draws)
    plain = exact.results[0]
    check_range(subject, plain)
    count = len(draws[0].cotangents)
    unusable = tuple(misshapen(subject, draws[0], passes[0], plain[:count], plain[count:]))
    told = Told({}, unusable, passes[0].changed, line=passes[0].line)
    if passes[0].raised is not None:
        return told
    is_fine = subject.dtype == "float64" and fine.is_fine(passes[0])
    finest = "float32" if subject.dtype == "float64" and not is_fine else subject.dtype
    format = coarsest([getattr(torch, finest), *(y.dtype for y in passes[0].floating)])
    kernels = kernels_of(subject, passes)
    case = case_of(exact, FORMATS[format])
    is_off = format == "float32" and any(suspect(case, i, tensors).verdict != "OK" for i, tensors in kernels.items())
    if is_off and reads_ten_bits(subject, draws[0], passes[0], plain):
        case = case_of(exact, TF32)
    judged = verdicts(case, names_of(subject, case), kernels)
    beside = [*precisions(subject, passes[0]), *without_gradients(subject, draws[0], passes[0], case.format)]
    told = replace(told, wrong=(*told.wrong, *(each for each in beside if isinstance(each, Wrong))))
    notes = [each for each in beside if isinstance(each, Note)]
    notes += [CoarserInside(case.format.name)] if case.format.name != subject.dtype else []
    notes += [OpaqueSteps(exact.opaque)] if exact.opaque else []
    has_gradients = any(bool(g.any()) for g in plain[count:])
    finer = fine.report_on(subject, draws[0]) if is_fine and has_gradients else None
    is_apart = partial(_is_apart, lambda: case)
    check_repeats(subject, draws[0], plain, is_apart)
    again = other_answers(subject, draws[0], passes[0], is_apart)
    faulty = {i for i, each in judged.items() if each.row.verdict in FAILED}
    held = tuple(unwritten(subject, draws[0], passes[0])) if again or faulty else ()
    by_memory = {each.name for each in held}
    if not by_memory.issuperset(each.name for each in again):
        return replace(told, wrong=(*told.wrong, *again))
    judged = {i: each for i, each in judged.items() if each.row.name not in by_memory}
    faulty &= judged.keys()
    linear = tuple(upstream.not_linear(subject, draws[0], passes[0], is_apart))
    linear = (*held, *(each for each in linear if each.name not in by_memory))
    spots: tuple[BlindSpot, ...] = ()
    if faulty:
        known = {each.name: each.cause for each in linear}
        judged, more = explained(subject, case, passes[0], judged, known)
        notes += more
    elif passes[0].is_connected and not told.changed and not held and (finer is None or finer.ok):
        linear += _unlike(subject, draws[0], passes[0], case)
        spots = hidden_steps(case) if finer is None else ()
    named = {each.finding.where.name for each in judged.values() if each.finding is not None}
    wrong = (*told.wrong, *(each for each in linear if each.name not in named))
    if finer is not None:
        finer, judged = fine.with_causes(finer, judged, wrong), {}
    spots = (*unseen(subject, passes[0], plain[count:]), *spots)
    told = replace(told, verdicts=judged, wrong=wrong, notes=tuple(notes), spots=spots)
    return replace(told, fine=finer, format=case.format)


def second_order(subject: Subject, draws: Sequence[Draw], format: Format) -> Told:
    """The gradients of a backward, judged in a format; nothing where the reference has none."""
    passes = [run(subject, draw) for draw in draws]
    exact = exact_of(subject.reference, draws)
    plain = exact.results[0]
    count = len(draws[0].cotangents)
    if not any(bool(g.any()) for g in plain[count:]):
        return Told({})
    if not passes[0].has_gradients:
        return Told({}, (Wrong(subject.gradients[0], SecondAbsent(passes[0].raised)),))
    wrong = [told_of_second(each) for each in misshapen(subject, draws[0], passes[0], plain[:count], plain[count:])]
    case = case_of(exact, format)
    kernels = {i: tensors for i, tensors in kernels_of(subject, passes).items() if i >= count}
    judged = verdicts(case, names_of(subject, case), kernels)
    for i, each in judged.items():
        if each.row.verdict == "FAULT":
            judged[i] = with_cause(each, SecondOff(subject.names[subject.trained[i - count]]))
    return Told(judged, tuple(wrong))


def _is_apart(case: Callable[[], Case], position: int, before: Tensor | None, now: Tensor | None) -> bool:
    """Whether a change of a tensor in the first draw of a case is a FAULT where the reference has it."""
    if before is None or now is None or before.shape != now.shape or same_bits(before, now):
        return False
    change = now.double() - before.double()
    if not bool(torch.isfinite(change).all()):
        return True
    first, *others = case().measures[position].deviation.references
    return judge(case(), position, [first + change, *others]).verdict == "FAULT"


def _unlike(subject: Subject, draw: Draw, base: Pass, case: Case) -> tuple[Wrong, ...]:
    """What is wrong in another situation than the plain one; of each tensor, the first."""
    is_apart = partial(_is_apart, lambda: case)

    def apart_in(other: Draw) -> Apart:
        return partial(_is_apart, cache(lambda: case_of(exact_of(subject.reference, [other]), case.format)))

    found = [*situations(subject, draw, base, is_apart), *upstream.for_one_number(subject, draw, is_apart)]
    if len(draw.cotangents) > 1:
        found += upstream.for_one_output(subject, draw, base, is_apart, apart_in)
    first = dict[str, Wrong]()
    for each in found:
        first.setdefault(each.name, each)
    return tuple(first.values())
