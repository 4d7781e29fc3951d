"""What the verdicts say of a tensor: it agrees, is a culprit, only follows from one, is not told, or is absent."""

from __future__ import annotations

from collections.abc import Iterable

from handgrad.compare.results import UNSURE, Details, Finding, Results, Row

ORDER = ("agrees", "absent", "follows", "weak", "culprit")


def states(results: Results) -> dict[tuple[int, str], str]:
    """The state of every tensor at every step that was compared, by step and name."""
    findings = {finding.where.name: finding for finding in results.findings}
    state = {(row.step, row.name): _state(row, findings.get(row.name), results.details) for row in results.rows}
    for finding in results.findings:
        state.setdefault((finding.where.step, finding.where.name), "weak" if finding.verdict in UNSURE else "culprit")
    return state


def _state(row: Row, finding: Finding | None, details: Details) -> str:
    if row.verdict == "OK":
        return "follows" if row.step in details.downstream.get(row.name, ()) else "agrees"
    if finding is None or row.step < finding.where.step:
        return "follows"
    return "weak" if row.verdict in UNSURE else "culprit"


def gravest(states: Iterable[str]) -> str:
    """The one of several states that needs attention most."""
    return max(states, key=ORDER.index, default="absent")
