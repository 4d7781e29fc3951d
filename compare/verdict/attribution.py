"""Which of the tensors that differ are culprits, and what follows from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from handgrad.compare.causes import Cause, Unknown
from handgrad.compare.failures import Overflow
from handgrad.compare.results import Details, Excerpt, Finding
from handgrad.compare.verdict.steps import Judgement

__all__ = ["Diagnosis", "attribution", "consequences", "culprits", "outranks"]

Diagnosis = Callable[[Finding], Sequence[Cause]]  # the causes that explain a finding, the first one best


def outranks(verdict: str, before: str | None) -> bool:
    """Whether a finding on a tensor counts for more than the one before: the first does, and a failure after WEAK."""
    return before is None or before == "WEAK" != verdict


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
        elif outranks(finding.verdict, known and known.verdict):
            by_name.pop(finding.where.name, None)  # it stands where it fails
            by_name[finding.where.name] = finding
            diverged |= isinstance(finding.cause, Overflow)
    findings = [*by_name.values()]
    if findings and affected:
        findings[0] = replace(findings[0], affects=affected)
    return tuple(findings)


def attribution(findings: Sequence[Finding], diagnose: Diagnosis, first_cause: Diagnosis) -> tuple[Finding, ...]:
    """Findings whose values are wrong with the causes that explain them: the first with all, the others with one."""
    named = list[Finding]()
    for finding in findings:
        if finding.verdict == "FAULT" and finding.cause == Unknown():
            first, *others = first_cause(finding) if named else diagnose(finding)
            cause = replace(first, factor=None) if isinstance(first, Unknown) else first
            finding = replace(finding, cause=cause, others=tuple(others))
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
