"""The causes of what is wrong that only other passes tell: with other upstream gradients, in float64 and float32."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from handgrad.compare.checks.functions import fine, upstream
from handgrad.compare.checks.functions.passes import Pass, run
from handgrad.compare.checks.functions.subject import Subject
from handgrad.compare.checks.functions.verdicts import Verdict, kernels_of, with_cause
from handgrad.compare.checks.functions.witness import is_detached
from handgrad.compare.facts.causes import Cause, Unknown
from handgrad.compare.facts.functions import Detached, NamedIn, RightInFloat32, StepOff, ThroughUpstream
from handgrad.compare.facts.remarks import Note
from handgrad.compare.names import gradient
from handgrad.compare.oracle.coarse.evaluation import Draw, promoted
from handgrad.compare.oracle.coarse.exact import exact_of
from handgrad.compare.oracle.coarse.formats import FORMATS
from handgrad.compare.report.report import Report
from handgrad.compare.verdict.coarse.case import Case, case_of
from handgrad.compare.verdict.coarse.rule import judge

Judgements = dict[int, Verdict]


def explained(
    subject: Subject, case: Case, base: Pass, judged: Judgements, known: Mapping[str, Cause]
) -> tuple[Judgements, list[Note]]:
    """The verdicts of a case with such causes, and a note where one is from float64; `known` has causes by tensor."""
    draw = case.exact.draws[0]
    count, causes, notes = len(draw.cotangents), dict(known), list[Note]()
    wrong = {subject.trained[i - count]: i for i, each in judged.items() if i >= count and each.row.verdict == "FAULT"}
    for position, cause in upstream.misread(subject, draw, base, wrong).items():
        causes.setdefault(judged[wrong[position]].row.name, cause)
    detached = (k for k, i in wrong.items() if is_detached(case.exact, k, i))
    causes |= {judged[wrong[k]].row.name: Detached(subject.names[k]) for k in detached}
    judged = {i: _named(each, causes) for i, each in judged.items()}
    judged = _by_upstream(subject, case, judged) if count > 1 else judged
    judged = _by_float32(subject, draw, judged)
    if subject.dtype != "float64" and any(_has_cause(each, Unknown) for each in judged.values()):
        for dtype, report in fine.named_in(subject, draw):
            there = _causes_of(report)
            unknown = {i for i, each in judged.items() if _has_cause(each, Unknown) and each.row.name in there}
            judged = {i: _named(each, there) if i in unknown else each for i, each in judged.items()}
            notes += [NamedIn(dtype)] if unknown and dtype != subject.dtype else []
    return judged, notes


def _named(verdict: Verdict, causes: Mapping[str, Cause]) -> Verdict:
    """The verdict with the cause that its tensor has, if it has one and is wrong."""
    name = verdict.row.name
    return with_cause(verdict, causes[name]) if verdict.row.verdict == "FAULT" and name in causes else verdict


def _causes_of(report: Report) -> dict[str, Cause]:
    """The causes that a report knows of what is wrong, by tensor."""
    known = (f for f in report.findings if f.verdict == "FAULT" and not isinstance(f.cause, Unknown))
    return {name: finding.cause for finding in known for name in (finding.where.name, *finding.together)}


def _by_upstream(subject: Subject, of: Case, judged: Judgements) -> Judgements:
    """Of gradients that nothing else explains, through which of several upstream gradients they are wrong."""
    draw = of.exact.draws[0]
    count = len(draw.cotangents)
    unknown = {i for i, each in judged.items() if i >= count and _has_cause(each, Unknown)}
    through: dict[int, tuple[list[str], list[str]]] = {i: ([], []) for i in unknown}
    for k, name in enumerate(map(gradient, subject.outputs(count) if unknown else ())):
        alone = upstream.only(draw, k)
        case = case_of(exact_of(subject.reference, [alone]), of.format)
        kernels = kernels_of(subject, [run(subject, alone)])
        for i in unknown & kernels.keys():
            is_wrong = judge(case, i, kernels[i]).verdict == "FAULT"
            through[i][0 if is_wrong else 1].append(name)
    causes = {
        i: ThroughUpstream(tuple(wrong), tuple(right)) for i, (wrong, right) in through.items() if wrong and right
    }
    return {i: with_cause(each, causes[i]) if i in causes else each for i, each in judged.items()}


def _by_float32(subject: Subject, draw: Draw, judged: Judgements) -> Judgements:
    """Of what is wrong in 16 bits as no mistake would make it, what is right where the same is handed in float32."""
    lossy = {i for i, each in judged.items() if _has_cause(each, (Unknown, StepOff))}
    if not lossy or FORMATS[subject.dtype].stored <= FORMATS["float32"].stored:
        return judged
    made = run(subject, promoted(draw, torch.float32))
    if made.raised is not None or len(made.floating) != len(draw.cotangents):
        return judged
    case = case_of(exact_of(subject.reference, [draw]), FORMATS["float32"])
    kernels = kernels_of(subject, [made])
    right = {i for i in lossy & kernels.keys() if judge(case, i, kernels[i]).verdict == "OK"}
    cause = RightInFloat32(subject.dtype)
    return {i: with_cause(each, cause) if i in right else each for i, each in judged.items()}


def _has_cause(verdict: Verdict, kinds: type[Cause] | tuple[type[Cause], ...]) -> bool:
    return verdict.finding is not None and isinstance(verdict.finding.cause, kinds)
