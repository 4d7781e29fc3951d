"""The report on a terminal: one row per tensor, its worst step; culprits; two closing lines."""

from collections.abc import Mapping

from handgrad.compare.report import Report
from handgrad.compare.report.summary import aligned, closing, equation, place, printable, setting, table

__all__ = ["culprits_and_closing", "render", "render_all"]

_GREEN, _RED, _PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[0m"
_ALIGNED = "<<<>>><>><"


def render(report: Report, *, colour: bool = False) -> str:
    """The whole report as text, the verdicts coloured if asked for."""
    parts = [
        "\n".join(setting(report)),
        _table(report, colour),
        *_findings(report, colour),
        *map(printable, report.notes),
        "\n".join(map(printable, closing(report))),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def render_all(reports: Mapping[str, Report], *, colour: bool = False) -> str:
    """Several reports, one after the other, each under its name."""
    named = (f"{printable(name)}:\n{render(report, colour=colour)}" for name, report in reports.items())
    return "\n\n".join(named) or "No check ran.\n"


def culprits_and_closing(report: Report) -> str:
    """The first culprit and the outcome, without the rows of what is right."""
    return "\n\n".join([*_findings(report, False)[:1], printable(closing(report)[0])])


def _table(report: Report, colour: bool) -> str:
    columns, rows = table(report)
    head, rule, *lines = aligned(columns, rows, _ALIGNED[-len(columns) :])
    coloured = (
        f"{line[: len(line) - len(row[-1])]}{_coloured(row[-1], colour)}" for line, row in zip(lines, rows, strict=True)
    )
    return "\n".join((head, rule, *coloured))


def _findings(report: Report, colour: bool) -> list[str]:
    """The first culprit in full, the others in a line each, everything downstream as a count."""
    blocks = []
    for position, finding in enumerate(report.findings):
        cause = "" if finding.cause == "unknown" else f"{finding.cause}: "
        parts = printable(finding.explanation).split("; ")
        formula = equation(finding)
        where = f"{place(finding)}   {formula}" if formula else place(finding)
        head = f"{where}  {_coloured(finding.verdict, colour)}  {cause}{parts[0]}"
        if position == 0:
            head += "".join(f"\n  {part}" for part in parts[1:])
        blocks.append(head)
    return blocks


def _coloured(verdict: str, colour: bool) -> str:
    if not colour:
        return verdict
    return f"{_GREEN if verdict == 'OK' else _RED}{verdict}{_PLAIN}"
