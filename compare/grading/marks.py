"""What a report is worth: the mark of every equation, with credit carried forward, and the remarks that may cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from handgrad.compare.facts.causes import Cause, Zero
from handgrad.compare.facts.fact import Fact
from handgrad.compare.facts.failures import IgnoresArguments, Mutates, RaisesAgain, TwoAnswers
from handgrad.compare.facts.remarks import NoDerivation
from handgrad.compare.grading.facts import Ended
from handgrad.compare.grading.key import Key
from handgrad.compare.report.report import Report
from handgrad.compare.results import FAILING, Code, Finding
from handgrad.compare.trace import is_real

STATES = ("right", "carried", "wrong", "missing")
EARNING = STATES[:2]
DECIMALS = 6  # of points: beyond them is only what adding shares leaves


@dataclass(frozen=True)
class Mark:
    """The mark of one equation: the tensor, its points, how it came out, and the finding if it is wrong by itself.

    `carried`: it is right from the submission's own inputs, which are not right themselves. Where `finding` is of
    another tensor, both are wrong by one mistake.
    """

    name: str
    points: float
    state: str
    finding: Finding | None = None
    cause: Cause | None = None

    @property
    def earned(self) -> float:
        """The points that it earns."""
        return self.points if self.state in EARNING else 0.0


@dataclass(frozen=True)
class Remark:
    """Something about how an answer was got, its code, and the points that the key takes for it."""

    code: str
    fact: Fact
    cost: float = 0.0


@dataclass(frozen=True)
class Grade:
    """The grade of one submission.

    `ended` says why nothing was judged, `printed` what the submission printed, `confined` what its process could not
    do, `code` the submission's own code.
    """

    name: str
    path: str
    marks: tuple[Mark, ...]
    remarks: tuple[Remark, ...] = ()
    ended: Ended | None = None
    printed: str = ""
    confined: tuple[str, ...] = ()
    code: tuple[Code, ...] = field(default=(), repr=False)

    @property
    def most(self) -> float:
        """The points that can be had."""
        return round(math.fsum(mark.points for mark in self.marks), DECIMALS)

    @property
    def score(self) -> float:
        """The points earned, less what remarks cost; never below 0."""
        earned = math.fsum(mark.earned for mark in self.marks)
        return round(max(0.0, earned - sum(remark.cost for remark in self.remarks)), DECIMALS)


def marks_of(report: Report, points: Mapping[str, float]) -> tuple[Mark, ...]:
    """The mark of every equation that has points."""
    wrong: dict[str, tuple[Finding, Cause]] = {}
    for finding in report.findings:
        if finding.verdict in FAILING and not isinstance(finding.cause, Mutates):
            for name in _named(finding):
                wrong.setdefault(name, (finding, finding.cause))
    compared = {row.name for row in report.rows}
    return tuple(_mark(name, worth, report, wrong.get(name), compared) for name, worth in points.items())


def _named(finding: Finding) -> tuple[str, ...]:
    """The tensors that a finding is about."""
    cause = finding.cause
    named = cause.names if isinstance(cause, (TwoAnswers, IgnoresArguments)) else ()
    return (finding.where.name, *finding.together, *named)


def _mark(name: str, points: float, report: Report, wrong: tuple[Finding, Cause] | None, compared: set[str]) -> Mark:
    if wrong is not None:
        return Mark(name, points, "missing" if wrong[0].verdict == "MISSING" else "wrong", *wrong)
    if name not in compared:
        return Mark(name, points, "missing")
    if name not in report.details.downstream:
        return Mark(name, points, "right")
    return Mark(name, points, "wrong", None, Zero()) if _is_empty(name, report) else Mark(name, points, "carried")


def _is_empty(name: str, report: Report) -> bool:
    """Whether a tensor that follows from wrong ones is 0 everywhere, where torch's is not: any formula gives that."""
    pairs = [sides for (_, other), sides in report.arrays.items() if other == name]
    return any(is_real(ours) and not np.any(ours) and np.any(theirs) for ours, theirs in pairs)


def remarks_of(report: Report, key: Key) -> tuple[Remark, ...]:
    """What is to be remarked about how an answer was got."""
    found: dict[str, Fact] = {note.by: note for note in report.notes if isinstance(note, NoDerivation)}
    for finding in report.findings:
        if isinstance(finding.cause, (Mutates, TwoAnswers, IgnoresArguments, RaisesAgain)):
            found.setdefault(finding.cause.code, finding.cause)
    return tuple(Remark(code, fact, key.costs.get(code, 0.0)) for code, fact in found.items())
