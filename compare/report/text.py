"""The report on a terminal: one row per tensor, its worst step; culprits; two closing lines."""

from collections.abc import Iterable

from tabulate import tabulate

from compare.operations import EQUATIONS
from compare.report import Finding, Report, Row

__all__ = ["closeness", "closing", "render"]

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
    if report.ok:
        worst = max(report.rows, key=lambda row: row.rho or 0.0)
        first = (
            f"OK: by hand and torch agree on all {compared} tensors of {_count(steps, 'step')}{_precisions(report)}; "
            f"the largest difference is {closeness(worst)} ({worst.name} at step {worst.step})."
        )
        if report.findings:
            weak = report.findings[0]
            first = (
                f"OK, but WEAK: the formulas are right on all {compared} tensors of {_count(steps, 'step')}, and the "
                f"arithmetic of {len(report.findings)} loses digits, first {weak.name} at step {weak.step}."
            )
    else:
        culprit = report.findings[0]
        first = (
            f"{culprit.verdict}: {culprit.name}{_bracketed(culprit.equation)} is the first tensor that differs, "
            f"at step {culprit.step}; {_count(len(report.findings), 'tensor')} wrong by itself "
            f"among {_count(compared, 'compared tensor')} of {_count(steps, 'step')}."
        )
    return (
        first,
        f"Not shown by this run: {'; '.join(report.blind_spots) or 'nothing on the list of known blind spots'}.",
    )


def closeness(row: Row) -> str:
    """How close a row came to being flagged, in words: 0.4 of what rounding explains."""
    if row.rho is None:
        return f"{row.max_abs_diff:.2g}"
    explained = "what rounding can drift to" if row.rho_basis == "twins" else "what rounding explains"
    return f"{row.rho:.2g} of {explained}"


def _precisions(report: Report) -> str:
    judged = report.environment.get("precisions", ())
    return f", in {' and '.join(judged)}" if judged else ""


def _bracketed(label: str) -> str:
    return f" ({label})" if label else ""


def _setting(report: Report) -> str:
    environment = report.environment
    return "\n".join(str(environment[key]) for key in ("check", "setting") if key in environment)


def _table(rows: Iterable[Row], colour: bool) -> str:
    """One row per tensor, in dataflow order: its first failing step, or the step where it came closest to that."""
    shown: dict[str, Row] = {}
    for row in rows:
        best = shown.get(row.name)
        if best is None or (best.verdict == "OK" and (row.verdict != "OK" or (row.rho or 0) > (best.rho or 0))):
            shown[row.name] = row
    cells = [
        (
            row.equation,
            row.name,
            "x".join(map(str, row.shape)) or "scalar",
            row.step,
            "" if row.rho is None else f"{row.rho:.2g}",
            f"{row.max_abs_diff:.2g}",
            "" if row.index is None else ",".join(map(str, row.index)),
            "" if row.by_hand is None else f"{row.by_hand:.7g}",
            "" if row.torch is None else f"{row.torch:.7g}",
            _coloured(row.verdict, colour),
        )
        for row in shown.values()
    ]
    headers = ("eq.", "tensor", "shape", "step", "x rounding", "max |diff|", "at", "by hand", "torch", "verdict")
    align = ("left", "left", "left", "right", "right", "right", "left", "right", "right", "left")
    return tabulate(cells, headers=headers, colalign=align, disable_numparse=True)


def _findings(report: Report, colour: bool) -> list[str]:
    """The first culprit in full, the others in a line each, everything downstream as a count."""
    blocks = []
    for position, finding in enumerate(report.findings):
        cause = "" if finding.cause == "unknown" else f"{finding.cause}: "
        parts = finding.explanation.split("; ")
        head = f"{_head(finding)}  {_coloured(finding.verdict, colour)}  {cause}{parts[0]}"
        if position == 0:
            head += "".join(f"\n  {part}" for part in parts[1:])
        blocks.append(head)
    return blocks


def _head(finding: Finding) -> str:
    place = f"step {finding.step} / {finding.phase} / {finding.name}"
    return f"{place}   ({finding.equation}) {EQUATIONS.get(finding.equation, '')}" if finding.equation else place


def _coloured(verdict: str, colour: bool) -> str:
    if not colour:
        return verdict
    return f"{_GREEN if verdict == 'OK' else _RED}{verdict}{_PLAIN}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
