"""A torch function with a backward of its own against a reference of torch operations, in the inputs' precision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from handgrad.compare.checks.functions.orders import Told, first_order, second_order
from handgrad.compare.checks.functions.passes import compiled_anew, run
from handgrad.compare.checks.functions.second import note_on_second, second_draw, second_of
from handgrad.compare.checks.functions.structure import Wrong, misshapen
from handgrad.compare.checks.functions.subject import Subject, subject_of
from handgrad.compare.checks.functions.witness import outputs_due
from handgrad.compare.environment import environment
from handgrad.compare.errors import InputError
from handgrad.compare.facts.causes import Unknown
from handgrad.compare.facts.functions import NoGradient, WouldShow
from handgrad.compare.facts.remarks import Note
from handgrad.compare.names import PHASES, Key, of_gradient
from handgrad.compare.oracle.coarse.evaluation import Draw, is_floating
from handgrad.compare.report.report import Report
from handgrad.compare.results import FAILING, Details, Finding
from handgrad.compare.sandbox import undisturbed
from handgrad.compare.thresholds import COARSE_DRAWS, MANY_NUMBERS

UNEVEN = 0.5  # spread of the sizes of a cotangent's numbers, as a power of e
# what the finer rule says of a loss that the user has none of
OF_A_LOSS = ("J", "one-precision", "not-returned", "own-loss-differs", "own-loss-kinks")


def check_function(
    function: Callable[..., Any], reference: Callable[..., Any], inputs: Sequence[Any], *, second: bool = False
) -> Report:
    """Check the outputs and gradients of a torch function with a backward of its own against a reference.

    function(*inputs) is what an autograd.Function's apply, an operator of torch.library, a module or a wrapper of a
    kernel is; reference(*inputs) is the same in plain torch operations. Both are judged in the dtype and on the device
    of the inputs, of which those are differentiated that require a gradient, or else every floating one. Modules are
    checked with their parameters as further inputs. `second` judges the backward's own gradients as well. Raises
    InputError, a ValueError, if the arguments cannot be used, or the reference fails or draws random numbers; whatever
    the function does is a finding.
    """
    if not isinstance(second, bool):
        raise InputError(f"second is {second!r}; it must be True or False")
    with undisturbed(), compiled_anew():
        return _report(subject_of(function, reference, inputs), second)


def _report(subject: Subject, second: bool) -> Report:
    drawn = torch.Generator().manual_seed(0)
    plain = Draw(subject.inputs, subject.trained, ())
    due = outputs_due(subject)
    first = run(subject, plain)
    wrong = tuple(misshapen(subject, plain, first, due))
    if wrong:
        return _reported(subject, Told({}, wrong, first.changed, line=first.line))
    numbers = sum(t.numel() for t in (*due, *(subject.inputs[i] for i in subject.trained)))
    count = COARSE_DRAWS if numbers <= MANY_NUMBERS else 1
    draws = [plain._replace(cotangents=_cotangents(first.floating, drawn)) for _ in range(count)]
    told = first_order(subject, draws)
    if second and told.format is not None and _is_right(told):  # else what is wrong is wrong in its derivative as well
        backward = second_of(subject, draws[0])
        outputs = [subject.inputs[i] for i in subject.trained]
        along = [second_draw(backward, draw, _cotangents(outputs, drawn)) for draw in draws]
        told = _both(told, second_order(backward, along, told.format))
    elif not second and not any(isinstance(each.cause, NoGradient) for each in told.wrong):
        note = note_on_second(subject, draws[0])
        told = replace(told, notes=(*told.notes, *([note] if note is not None else [])))
    return _reported(subject, told)


def _is_right(told: Told) -> bool:
    """Whether nothing is wrong about first derivatives."""
    is_fine = told.fine is None or told.fine.ok
    return is_fine and not told.wrong and not any(each.row.verdict in FAILING for each in told.verdicts.values())


def _cotangents(outputs: Sequence[Tensor], drawn: torch.Generator) -> tuple[Tensor, ...]:
    """Random cotangents of uneven sizes, in the outputs' own type and place."""

    def one(y: Tensor) -> Tensor:
        size = torch.exp(UNEVEN * torch.randn(y.shape, generator=drawn))
        return (torch.randn(y.shape, generator=drawn) * size).to(y.device, y.dtype)

    return tuple(map(one, outputs))


def _both(first: Told, second: Told) -> Told:
    """First and second derivatives in one."""
    after = 1 + max(first.verdicts, default=0)
    more = {after + i: each for i, each in second.verdicts.items()}
    return replace(first, verdicts={**first.verdicts, **more}, wrong=(*first.wrong, *second.wrong))


def _reported(subject: Subject, told: Told) -> Report:
    """The report: a row for each output and gradient, and a finding for each cause, which several may have."""
    judged = [*told.verdicts.values()]
    findings = list[Finding]()
    for change in told.changed:
        key = Key(1, PHASES[0] if change.who == "function" else PHASES[2], change.name)
        findings.append(Finding(key, "FAULT", change))
    findings += map(_finding, told.wrong)
    findings += [each.finding for each in judged if each.finding is not None]
    rows, notes = [each.row for each in judged], [*told.notes]
    spots, arrays = [*told.spots], {(each.row.step, each.row.name): each.sides for each in judged}
    if told.fine is not None:
        rows = [row for row in told.fine.rows if row.name not in OF_A_LOSS] + rows
        findings += [finding for finding in told.fine.findings if finding.where.name not in OF_A_LOSS]
        notes += [note for note in told.fine.notes if note.code not in OF_A_LOSS]
        codes = {*OF_A_LOSS, *(spot.code for spot in spots)}
        spots += [spot for spot in told.fine.blind_spots if spot.code not in codes]
        arrays |= {key: sides for key, sides in told.fine.arrays.items() if key[1] not in OF_A_LOSS}
    shown = _shown(told) if not findings else []
    device = next(t.device for t in subject.inputs if is_floating(t))
    return Report(
        rows=tuple(rows),
        findings=tuple(_with_line(finding, told) for finding in _merged(findings)),
        notes=(*shown, *notes),
        blind_spots=tuple(spots),
        environment=environment(
            f"check_function: {subject.dtype} on {device}, against torch in float64", (subject.dtype,), seed=0
        ),
        details=Details(excerpts=tuple(each.excerpt for each in judged if each.excerpt is not None)),
        arrays=arrays,
    )


def _shown(told: Told) -> list[Note]:
    """What would have shown, of tensors that are right."""
    shares = [(each.row.name, each.judged.resolution) for each in told.verdicts.values() if each.judged is not None]
    return [WouldShow(tuple(shares))] if shares else []


def _finding(wrong: Wrong) -> Finding:
    verdict = "MISSING" if isinstance(wrong.cause, NoGradient) else "FAULT"
    return Finding(Key(1, "backward" if of_gradient(wrong.name) else "forward", wrong.name), verdict, wrong.cause)


def _with_line(finding: Finding, told: Told) -> Finding:
    """A finding on a gradient leads to the backward."""
    is_backward = finding.where.phase == "backward" and finding.line is None
    return replace(finding, line=told.line) if is_backward else finding


def _merged(findings: Sequence[Finding]) -> list[Finding]:
    """One finding for a cause that several tensors have, but for unknown ones."""
    leads: dict[object, Finding] = {}
    for i, finding in enumerate(findings):
        lead = leads.setdefault(i if isinstance(finding.cause, Unknown) else (finding.verdict, finding.cause), finding)
        if lead is not finding:
            key = next(key for key, other in leads.items() if other is lead)
            leads[key] = replace(lead, together=(*lead.together, finding.where.name, *finding.together))
    return [*leads.values()]
