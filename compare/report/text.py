"""The report on a terminal: one row per tensor, its worst step; culprits; two closing lines."""

from collections.abc import Iterable

from tabulate import tabulate

from compare.operations import EQUATIONS
from compare.report import Finding, Report, Row

__all__ = ["closing", "render"]

_GREEN, _RED, _PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[0m"


def render(report: Report, *, colour: bool = False) -> str:
    """The whole report as text, the verdicts coloured if asked for."""
    end = "\n".join(closing(report))
    parts = [_setting(report), _table(report.rows, colour), *_findings(report, colour), *report.notes, end]
    return "\n\n".join(part for part in parts if part) + "\n"


def closing(report: Report) -> tuple[str, ...]:
    """Two lines: what agreed, how closely, over how many tensors and steps; and what the run could not show."""
    steps = len({row.step for row in report.rows})
    compared = len(report.rows)
    differing = sum(row.verdict != "OK" for row in report.rows)
    if report.ok:
        worst = max(report.rows, key=lambda row: row.max_abs_diff)
        first = (
            f"OK: by hand and torch agree on all {compared} tensors of {_count(steps, 'step')}; "
            f"the largest difference is {worst.max_abs_diff:.2g}, in {worst.name} at step {worst.step}."
        )
    else:
        culprit = report.findings[0]
        first = (
            f"{culprit.verdict}: {culprit.name} ({culprit.equation}) is the first tensor that differs, "
            f"at step {culprit.step}; {differing} of {_count(compared, 'compared tensor')} differ "
            f"over {_count(steps, 'step')}."
        )
    return (
        first,
        f"Not shown by this run: {'; '.join(report.blind_spots) or 'nothing on the list of known blind spots'}.",
    )


def _setting(report: Report) -> str:
    environment = report.environment
    return "\n".join(str(environment[key]) for key in ("check", "setting") if key in environment)


def _table(rows: Iterable[Row], colour: bool) -> str:
    """One row per tensor, in dataflow order: its first failing step, or the step where it differs most."""
    shown: dict[str, Row] = {}
    for row in rows:
        best = shown.get(row.name)
        if best is None or (best.verdict == "OK" and (row.verdict != "OK" or row.max_abs_diff > best.max_abs_diff)):
            shown[row.name] = row
    cells = [
        (
            row.equation,
            row.name,
            "x".join(map(str, row.shape)) or "scalar",
            row.step,
            f"{row.max_abs_diff:.2g}",
            "" if row.index is None else ",".join(map(str, row.index)),
            "" if row.by_hand is None else f"{row.by_hand:.7g}",
            "" if row.torch is None else f"{row.torch:.7g}",
            _coloured(row.verdict, colour),
        )
        for row in shown.values()
    ]
    headers = ("eq.", "tensor", "shape", "step", "max |diff|", "at", "by hand", "torch", "verdict")
    align = ("left", "left", "left", "right", "right", "left", "right", "right", "left")
    return tabulate(cells, headers=headers, colalign=align, disable_numparse=True)


def _findings(report: Report, colour: bool) -> list[str]:
    """The first culprit in full, the others in a line each, everything downstream as a count."""
    rows = {(row.step, row.phase, row.name): row for row in report.rows}
    blocks = []
    for position, finding in enumerate(report.findings):
        cause = "" if finding.cause == "unknown" else f"{finding.cause}: "
        head = f"{_head(finding)}  {_coloured(finding.verdict, colour)}  {cause}{finding.explanation}"
        if position == 0:
            row = rows.get((finding.step, finding.phase, finding.name))
            later = sum(row.verdict != "OK" for row in report.rows) - len(report.findings)
            details = [f"affects {_count(later, 'later tensor')}."] if later > 0 else []
            if row is not None and row.index is not None:
                details.append(f"worst at {row.index}: by hand {row.by_hand:.9g}, torch {row.torch:.9g}")
            head += "".join(f"\n  {line}" for line in details)
        blocks.append(head)
    return blocks


def _head(finding: Finding) -> str:
    formula = EQUATIONS.get(finding.equation, "")
    return f"step {finding.step} / {finding.phase} / {finding.name}   ({finding.equation}) {formula}"


def _coloured(verdict: str, colour: bool) -> str:
    if not colour:
        return verdict
    return f"{_GREEN if verdict == 'OK' else _RED}{verdict}{_PLAIN}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
