"""Which of the tensors that differ are culprits, wrong by themselves, and which only follow from others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from handgrad.compare.facts.causes import Cause, Unknown
from handgrad.compare.facts.failures import Overflow
from handgrad.compare.names import Key, gradient, is_sibling
from handgrad.compare.results import FAILING, UNSURE, Details, Excerpt, Finding, Row
from handgrad.compare.thresholds import CAST_DERIVATIVE, CAST_GRADIENT, MOST_SIBLINGS, RIGHT_AFTER_ALL
from handgrad.compare.verdict.bounds import Allowance
from handgrad.compare.verdict.closeness import Local
from handgrad.compare.verdict.judgement import Judgement, ReadBy
from handgrad.compare.verdict.rounding import Outcome, Witness

Diagnosis = Callable[[Finding], Sequence[Cause]]  # the causes that explain a finding, the first one best

# --- within a step


class Suspect(NamedTuple):
    """A judged tensor: its verdict, both sides in the dtype that shows it, what rounding explains if that is known.

    `shown_in` is that dtype where another one is printed, `before` the value that an update started from.
    """

    key: Key
    outcome: Outcome
    local: Local
    shown_in: str = ""
    allowance: Allowance | None = None
    before: float | None = None


@dataclass
class Excuses:
    """What the tensors of a step so far excuse: those computed from them that are not OK either.

    `reads` and `witnesses` are those of the step. `inherited` holds the gradients of what a FAULT reads, `less_exact`
    those of what a WEAK value reads, or an OK one that rounding alone does not explain, each with that value and the
    share that it may be off besides; `not_finite`: some tensor was not.
    """

    reads: ReadBy
    witnesses: Mapping[str, Witness]
    inherited: set[str] = field(default_factory=set)
    less_exact: dict[str, tuple[str, float]] = field(default_factory=dict)
    not_finite: bool = False
    has_finding: bool = False

    def note(self, name: str, verdict: str) -> None:
        """Keep what follows from a tensor that rounding does not explain; J's own value enters no gradient."""
        self.not_finite |= verdict == "NONFINITE"
        follow = {gradient(read) for read in self.reads.get(name, ()) if name != "J"}
        if verdict == "FAULT":
            self.inherited |= follow
        elif verdict == "WEAK":
            self.less_exact |= dict.fromkeys(follow, (name, CAST_GRADIENT))
        elif verdict == "OK":
            self.less_exact = dict.fromkeys(follow, (name, 0.0)) | self.less_exact

    def cover(self, suspect: Suspect, row: Row) -> bool:
        """Whether a tensor that is not OK only follows from one before it."""
        return (
            suspect.key.name in self.inherited  # torch's tanh backward uses its own output, which is not what was wrong
            or self._are_both_not_finite(suspect)
            or self._follows_from_a_cast(suspect)
            or (self.has_finding and _is_right_end_to_end(suspect, row))
        )

    def _are_both_not_finite(self, suspect: Suspect) -> bool:
        """Whether the worst entry is finite on neither side, after something that was not."""
        both = not any(np.isfinite(side[suspect.outcome.index]) for side in suspect.local)
        return suspect.outcome.verdict == "NONFINITE" and both and self.not_finite

    def _follows_from_a_cast(self, suspect: Suspect) -> bool:
        """Whether the difference of a gradient is what a less exact value makes of it, where it takes a derivative.

        g' of tanh and sigmoid changes at most twice as fast as the value does, so dZ = dA g' is off by
        2 |dA| |A - A'|; where 1 - A^2 cancels, that is more than the value's own share.
        """
        if suspect.key.name not in self.less_exact:
            return False
        value, share = self.less_exact[suspect.key.name]
        run, (recorded, reference) = self.witnesses[suspect.outcome.dtype], suspect.local
        difference = np.abs(recorded - reference)
        allowed = share * np.max(np.abs(reference), initial=0.0)
        cotangent = run.records.get(gradient(value))
        if cotangent is not None and cotangent.shape == difference.shape == run.records[value].shape:
            allowed = allowed + CAST_DERIVATIVE * np.abs(cotangent * (run.records[value] - run.local[value]))
        return bool((difference <= allowed).all())


def _is_right_end_to_end(suspect: Suspect, row: Row) -> bool:
    """Whether a value that does not follow from the records is torch's own: it was not computed from a wrong one."""
    if not np.isfinite(row.max_abs_diff):
        return False
    off = np.abs(np.subtract(*suspect.local, dtype=np.float64)).max()
    return not row.max_abs_diff > RIGHT_AFTER_ALL * off


# --- over all steps


def outranks(verdict: str, before: str | None) -> bool:
    """Whether a finding counts for more than the one before: the first does, and a failure after what is unsure."""
    return before is None or (before in UNSURE and verdict in FAILING)


def culprits(judgements: Iterable[Judgement]) -> tuple[Finding, ...]:
    """The findings in dataflow order, each tensor at the first step where it fails, or else where it is WEAK.

    The first says how many tensors it affects.
    """
    by_name: dict[str, Finding] = {}
    affected, diverged = 0, False
    for judgement in judgements:
        finding = judgement.finding
        known = by_name.get(finding.where.name) if finding is not None else None
        if finding is None or (diverged and finding.verdict == "NONFINITE"):
            affected += bool(by_name) and judgement.differs
        elif outranks(finding.verdict, None if known is None else known.verdict):
            by_name.pop(finding.where.name, None)  # it stands where it fails
            by_name[finding.where.name] = finding
            diverged |= isinstance(finding.cause, Overflow)
    findings = [*by_name.values()]
    if findings and affected:
        findings[0] = replace(findings[0], affects=affected)
    return tuple(findings)


def attribution(findings: Sequence[Finding], diagnose: Diagnosis, first_cause: Diagnosis) -> tuple[Finding, ...]:
    """Findings whose values are wrong with the causes that explain them: the first with all, the others with one.

    Its siblings, as at other steps over time, are asked as it is, some of them: the mistake may be one.
    """
    named = list[Finding]()
    siblings = [f for f in findings[1:] if is_sibling(f.where.name, findings[0].where.name)][:MOST_SIBLINGS]
    for finding in findings:
        if finding.verdict == "FAULT" and finding.cause == Unknown():
            is_asked = not named or (finding in siblings and named[0].cause != Unknown())
            first, *others = diagnose(finding) if is_asked else first_cause(finding)
            finding = replace(finding, cause=first, others=tuple(others))
        named.append(finding)
    return tuple(named)


def consequences(judgements: Iterable[Judgement], reads: Mapping[str, Iterable[str]]) -> Details:
    """What verdicts tell beside their rows: entries of each wrong tensor where its finding is, and what follows.

    `reads` is what each value is computed from.
    """
    excerpts: dict[str, tuple[str, Excerpt]] = {}  # with the verdict there
    downstream: dict[str, list[int]] = {}
    has_finding = False
    for judgement in judgements:
        row = judgement.row
        has_finding |= judgement.finding is not None
        before, _ = excerpts.get(row.name, (None, None))
        if judgement.excerpt is not None and outranks(row.verdict, before):
            excerpts[row.name] = row.verdict, judgement.excerpt
        if has_finding and judgement.finding is None and (judgement.differs or row.verdict != "OK"):
            downstream.setdefault(row.name, []).append(row.step)
    return Details(
        reads={name: tuple(sorted(read)) for name, read in reads.items()},
        downstream={name: tuple(steps) for name, steps in downstream.items()},
        excerpts=tuple(shown for _, shown in excerpts.values()),
    )
