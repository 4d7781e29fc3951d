"""Every output and gradient judged in the precision of the inputs, with its row, and its cause where it is wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from handgrad.compare.checks.functions.passes import Pass
from handgrad.compare.checks.functions.subject import Subject
from handgrad.compare.facts.causes import Cause, Scaled, Unknown, WrongSign, Zero
from handgrad.compare.facts.edits import OtherNumber
from handgrad.compare.facts.failures import NotFinite
from handgrad.compare.facts.functions import NotTold, StepOff
from handgrad.compare.names import Key
from handgrad.compare.oracle.coarse.effects import Step
from handgrad.compare.results import Excerpt, Finding, Row, Worst
from handgrad.compare.sandbox import as_record
from handgrad.compare.thresholds import LEFT_OUT
from handgrad.compare.verdict.coarse.case import Case
from handgrad.compare.verdict.coarse.directions import Along
from handgrad.compare.verdict.coarse.rule import Judged, judge
from handgrad.compare.verdict.judgement import excerpt

SIGN, SHOWN_DIGITS = -1.0, 6
Sides = tuple[np.ndarray, np.ndarray]
"""A tensor by hand and in torch."""


@dataclass(frozen=True)
class Verdict:
    """One tensor: its row, its finding if there is one, what the rule said of it, and both sides of the row's draw."""

    row: Row
    finding: Finding | None
    judged: Judged | None
    sides: Sides
    excerpt: Excerpt | None = None


def kernels_of(subject: Subject, passes: Sequence[Pass]) -> dict[int, list[Tensor]]:
    """The function's outputs and gradients on each draw, by their position in a case; those that are there."""
    count = len(passes[0].floating)
    found = {i: [made.floating[i] for made in passes] for i in range(count)}
    for k, position in enumerate(subject.trained):
        gradients = [made.gradients.get(position) for made in passes]
        there = [g for g in gradients if g is not None]
        if len(there) == len(gradients):
            found[count + k] = there
    return found


def names_of(subject: Subject, case: Case) -> list[Key]:
    """Where each tensor of a case stands."""
    outputs = subject.outputs(len(case.measures) - len(subject.trained))
    return [*(Key(1, "forward", name) for name in outputs), *(Key(1, "backward", name) for name in subject.gradients)]


def verdicts(case: Case, keys: Sequence[Key], kernels: Mapping[int, Sequence[Tensor]]) -> dict[int, Verdict]:
    """The verdict on each tensor, by its position."""
    return {i: _verdict(case, i, keys[i], tensors) for i, tensors in kernels.items()}


def _verdict(case: Case, position: int, key: Key, tensors: Sequence[Tensor]) -> Verdict:
    references = case.measures[position].deviation.references
    wrong = next((d for d, t in enumerate(tensors) if not bool(torch.isfinite(t).all())), None)
    if wrong is not None:
        at = int((~torch.isfinite(tensors[wrong])).reshape(-1).int().argmax())
        row, worst, sides = _row(key, tensors[wrong], references[wrong], at, (math.inf, "NONFINITE"))
        finding = Finding(key, "NONFINITE", NotFinite(worst.by_hand, worst.torch), worst=worst)
        return Verdict(row, finding, None, sides)
    judged = judge(case, position, tensors)
    found = judged.statistics
    draw = found.draw
    row, worst, sides = _row(key, tensors[draw], references[draw], found.entry, (found.worst, judged.verdict))
    if judged.verdict == "OK":
        return Verdict(row, None, judged, sides)
    is_wrong = judged.verdict == "FAULT"
    not_told = NotTold(judged.why, judged.resolution, case.format.finer)
    cause = _cause(case, position, tensors, judged) if is_wrong else not_told
    shown = excerpt(key, *sides, worst.index) if is_wrong and worst.index else None
    return Verdict(row, Finding(key, judged.verdict, cause, worst=worst, rho=found.worst), judged, sides, shown)


def _row(key: Key, ours: Tensor, reference: Tensor, at: int, said: tuple[float, str]) -> tuple[Row, Worst, Sides]:
    """The row of a tensor, which shows an entry by its position, the entry, and both sides."""
    index = tuple(int(i) for i in torch.unravel_index(torch.tensor(at), ours.shape)) if ours.dim() else ()
    by_hand, torchs = float(ours.double().reshape(-1)[at]), float(reference.reshape(-1)[at])
    apart = float((ours.double() - reference).abs().max())
    row = Row(*key, "", tuple(ours.shape), apart, index, by_hand, torchs, said[0], "noise", said[1])
    return row, Worst(index, by_hand, torchs), (as_record(ours.double()), as_record(reference))


def _cause(case: Case, position: int, tensors: Sequence[Tensor], judged: Judged) -> Cause:
    """The step whose share explains the whole difference, or the one that it is furthest off along, alone."""
    if not any(bool(t.any()) for t in tensors):
        return Zero()
    along = case.explained(position, tensors)
    times = judged.statistics.times
    if along is None and times["along"] > 1 and max(times["entry"], times["slice"]) <= 1:
        along = judged.statistics.along
    shares = case.measures[position].directions.resolution
    return Unknown() if along is None else _named(along, shares, case)


def _named(along: Along, shares: Mapping[Step | None, float], case: Case) -> Cause:
    """What it is that is off along a direction; `shares` are those of steps that would have shown."""
    step, resolution = along.step, shares[None]
    factor = _or_zero(1 + along.share, min(shares.get(step, 1.0), LEFT_OUT))
    if step is None:
        if abs(factor - SIGN) <= resolution:
            return WrongSign()
        sizes = {size for t in case.exact.draws[0].inputs if isinstance(t, Tensor) for size in t.shape if size > 2}
        names = [name for n in sorted(sizes) for name, value in ((f"1/{n}", 1 / n), (str(n), float(n)))
                 if abs(factor / value - 1) <= resolution]  # fmt: skip
        return Scaled(_rounded(factor, resolution), tuple(names))
    if step.constant is not None:
        return OtherNumber(f"{step.constant * factor:.3g}", f"{step.constant:g}")
    line, is_backward = (step.place.line, step.place.is_backward) if step.place is not None else (0, False)
    return StepOff(step.operation, _rounded(factor - 1, resolution), line, is_backward, step.axis, step.of)


def _or_zero(factor: float, resolution: float) -> float:
    """A factor, or 0 where it cannot be told from that."""
    return 0.0 if abs(factor) <= resolution else factor


def _rounded(number: float, resolution: float) -> float:
    """A fitted number with the digits that can be told."""
    return round(number, min(SHOWN_DIGITS, max(2, 1 - math.floor(math.log10(resolution or 1.0)))))


def with_cause(verdict: Verdict, cause: Cause) -> Verdict:
    """The same with another cause of its finding."""
    assert verdict.finding is not None
    return replace(verdict, finding=replace(verdict.finding, cause=cause))
