"""What a picture says of a tensor: it agrees, is a culprit, only follows from one, loses digits, or is not recorded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from handgrad.compare.report import Report

__all__ = ["LEGEND", "MARKS", "states", "worst"]

MARKS: Mapping[str, str] = MappingProxyType(
    {"agrees": "\u2713", "culprit": "\u2717", "follows": "\u2193", "weak": "\u2248", "absent": "?", "given": ""}
)
LEGEND: Mapping[str, str] = MappingProxyType(
    {
        "agrees": "agrees with torch on the same inputs",
        "culprit": "wrong by itself",
        "follows": "differs, but not by itself",
        "weak": "right, but loses digits",
        "absent": "not recorded, so not judged",
        "given": "given to both sides",
    }
)
ORDER = ("agrees", "absent", "follows", "weak", "culprit")


def states(report: Report) -> dict[tuple[int, str], str]:
    """The state of every tensor at every step that was compared, by step and name."""
    wrong = {finding.name: finding for finding in report.findings}
    found = {}
    for row in report.rows:
        finding = wrong.get(row.name)
        if row.verdict == "OK":
            state = "follows" if row.step in report.details.downstream.get(row.name, ()) else "agrees"
        elif finding is None or row.step < finding.step:
            state = "follows"
        else:
            state = "weak" if row.verdict == "WEAK" else "culprit"
        found[row.step, row.name] = state
    for finding in report.findings:
        found.setdefault((finding.step, finding.name), "weak" if finding.verdict == "WEAK" else "culprit")
    return found


def worst(states: Iterable[str]) -> str:
    """The one of several states that needs attention most."""
    return max(states, key=ORDER.index, default="absent")
