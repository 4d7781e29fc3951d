"""The verdicts on the tensors of one step, in dataflow order: rows, findings, and what only follows from others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from handgrad.compare.facts.causes import Cause, Unknown
from handgrad.compare.facts.fact import Fact
from handgrad.compare.facts.failures import LosesDigits, NotFinite, Overflow, Unstable
from handgrad.compare.facts.remarks import AsFloat32, Operands, Reads
from handgrad.compare.names import Key, gradient, of_gradient, of_updated, of_velocity, remembered
from handgrad.compare.results import Finding, Worst
from handgrad.compare.trace import Arrays, is_real
from handgrad.compare.verdict.attribution import Excuses, Suspect
from handgrad.compare.verdict.bounds import PRECISIONS
from handgrad.compare.verdict.closeness import closest
from handgrad.compare.verdict.judgement import EndToEnd, Judgement, ReadBy, excerpt, judgement_of
from handgrad.compare.verdict.rounding import Outcome, Witness
from handgrad.compare.verdict.rule import judge
from handgrad.compare.verdict.shapes import misfit_of_step


def judge_step(
    keys: Iterable[tuple[Key, str]],
    witnesses: Mapping[str, Witness],
    end_to_end: EndToEnd,
    reads: ReadBy,
) -> list[Judgement]:
    """Judge the records of one step, given in dataflow order with their equation labels.

    `witnesses` are of the same step by dtype, `end_to_end` the two sides that are printed. Names come first, then
    shapes, then finiteness and value.
    """
    excuses = Excuses(reads, witnesses)
    judgements = list[Judgement]()
    for key, equation in keys:
        judgement = misfit_of_step(key, equation, witnesses, end_to_end)
        if judgement is None:
            suspect = _suspect(key, witnesses)
            judgement = judgement_of(key, equation, suspect.outcome, end_to_end)
            row = judgement.row
            if row.verdict != "OK" and not excuses.cover(suspect, row):
                judgement = with_finding(judgement, suspect, reads, end_to_end[0])
            if row.verdict != "OK" or suspect.outcome.rho > 1:
                excuses.note(key.name, row.verdict)
        excuses.has_finding |= judgement.finding is not None
        judgements.append(judgement)
    return judgements


def _suspect(key: Key, witnesses: Mapping[str, Witness]) -> Suspect:
    """The verdict on a tensor, which both sides have in the same shape, and what it was judged by."""
    outcome = judge(key.name, witnesses)
    shown = witnesses[outcome.dtype].beside(key.name)
    assert shown is not None
    shown_in = "" if outcome.dtype == next(iter(witnesses)) else outcome.dtype
    return Suspect(key, outcome, shown, shown_in, witnesses[outcome.dtype].allowance(key.name))


def with_finding(judgement: Judgement, suspect: Suspect, reads: ReadBy, records: Arrays) -> Judgement:
    """A judgement with its finding, whose cause is still unknown if it is a FAULT, and entries of both sides."""
    outcome = suspect.outcome
    ours, theirs = (float(side[outcome.index]) for side in suspect.local)
    is_fault = outcome.verdict == "FAULT"
    leaves = frozenset[str]().union(*reads.values()) - reads.keys()
    inputs = tuple(name for name in _inputs_of(suspect.key.name, reads) if name in records or name in leaves)
    finding = Finding(
        suspect.key,
        outcome.verdict,
        _cause_of(suspect.key, outcome, ours, theirs),
        worst=Worst(outcome.index, ours, theirs, suspect.shown_in, inputs, suspect.before),
        equation=judgement.row.equation,
        rho=outcome.rho,
        circumstances=_of_fault(suspect) if is_fault else _of_operands(suspect, reads, records),
    )
    return judgement._replace(
        finding=finding,
        local=suspect.local if is_fault else None,
        excerpt=excerpt(suspect.key, *suspect.local, outcome.index),
    )


def _cause_of(key: Key, outcome: Outcome, by_hand: float, torch: float) -> Cause:
    """What the verdict alone says of the cause."""
    if outcome.verdict == "NONFINITE":
        moved = key.step > 1 or key.phase == "update"
        return NotFinite(by_hand, torch) if np.isfinite(by_hand) or np.isfinite(torch) else Overflow(moved)
    if outcome.verdict == "UNTOLD":
        return Unstable()
    usual = LosesDigits() if outcome.verdict == "WEAK" else Unknown()
    return outcome.why if isinstance(outcome.why, Cause) else usual


def _of_fault(suspect: Suspect) -> tuple[Fact, ...]:
    """How a FAULT was told from rounding, and whether it is no more than what float32 may be off by."""
    why = suspect.outcome.why
    told = () if why is None or isinstance(why, Cause) else (why,)
    return (*told, *([AsFloat32()] if _is_as_float32(suspect) else []))


def _is_as_float32(suspect: Suspect) -> bool:
    """Whether a difference in float64 is everywhere within what rounding explains in float32."""
    if suspect.allowance is None or suspect.outcome.dtype != "float64":
        return False
    return bool(closest(suspect.local, suspect.allowance, PRECISIONS["float32"])[0] <= 1)


def _of_operands(suspect: Suspect, reads: ReadBy, records: Arrays) -> tuple[Fact, ...]:
    """What an operation that overflows or loses digits was handed: there, where it is as large, or else by name."""
    name, index = suspect.key.name, suspect.outcome.index
    operands = sorted(reads.get(name, ()))
    alike = [n for n in operands if n in records and records[n].shape == records[name].shape and is_real(records[n])]
    if alike:
        return (Operands(tuple((n, float(records[n][index])) for n in alike)),)
    return (Reads(tuple(operands)),) if operands else ()


def _inputs_of(name: str, reads: ReadBy) -> tuple[str, ...]:
    """What a tensor is computed from: by its equation, or by what reads it if it is a gradient."""
    if name in reads:
        return tuple(sorted(reads[name]))
    if of_updated(name) != name:
        return (*remembered("vms", [of_updated(name)]), gradient(of_updated(name)))
    if of_velocity(name):
        return (gradient(of_velocity(name)),)
    readers = [value for value, read in reads.items() if of_gradient(name) in read]
    return tuple(dict.fromkeys([*map(gradient, readers), *sorted({n for value in readers for n in reads[value]})]))
