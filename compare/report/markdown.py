"""The report as Markdown, for pull requests and job summaries: verdict, culprits, and the rest folded."""

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from tabulate import tabulate

from handgrad.compare.report import Finding, Report
from handgrad.compare.report.summary import (
    closeness,
    closest,
    closing,
    counted,
    deciding,
    differing,
    equation,
    outcome,
    printable,
    setting,
    shared_environment,
    table,
    value,
)

__all__ = ["escaped", "grid", "render", "render_all"]

IN_FULL, LISTED = 20, 200  # a job summary may hold 1 MiB, a comment 64 KiB


def render(report: Report) -> str:
    """One report: its verdict, a table of culprits, and folded below it every tensor and the environment."""
    return _joined([*_section(report, "### handgrad:"), *_environment(report.environment)])


def render_all(reports: Mapping[str, Report], not_run: Mapping[str, str] = MappingProxyType({})) -> str:
    """Several reports by name: a table of them, then each that differs in full; and why checks could not run."""
    stopped = [f"- {escaped(name)} could not run: {escaped(why)}" for name, why in not_run.items()]
    if not reports:
        return _joined([f"### handgrad: {outcome(reports, not_run)}", "\n".join(stopped)])
    wrong = differing(reports)
    passed = [name for name in reports if name not in wrong]
    listed = [*wrong, *passed[:LISTED]]
    overview = grid(
        ("check", "verdict", "tensors", "closest to being flagged", "first that differs"),
        [_line(name, reports[name]) for name in listed],
    )
    blocks = [f"### handgrad: {outcome(reports, not_run)}", "\n".join(stopped), overview]
    if len(listed) < len(reports):
        blocks.append(f"{len(reports) - len(listed)} more agree.")
    shared = shared_environment(reports.values())
    for name in wrong[:IN_FULL]:
        own = {key: value for key, value in reports[name].environment.items() if key not in shared and key != "check"}
        blocks += [*_section(reports[name], f"#### {escaped(name)}:"), *_environment(own)]
    if len(wrong) > IN_FULL:
        blocks.append(f"{len(wrong) - IN_FULL} more differ; the table above has them.")
    return _joined([*blocks, *_environment(shared)])


def _section(report: Report, heading: str) -> list[str]:
    verdict, _, rest = closing(report)[0].partition(": ")
    blocks = [f"{heading} {verdict}", escaped(rest), *map(escaped, setting(report))]
    if report.findings:
        headings = ("step", "tensor", "equation", "verdict", "cause", "what is wrong")
        blocks.append(grid(headings, map(_culprit, report.findings)))
    blocks += [f"- {escaped(note)}" for note in report.notes]
    columns, rows = table(report)
    tensors = grid(columns, [tuple(map(escaped, row)) for row in rows])
    return [
        *blocks,
        escaped(closing(report)[1]),
        *_folded(f"All {counted(len(rows), 'tensor')}, each at its worst step", tensors),
    ]


def _culprit(finding: Finding) -> tuple[str, ...]:
    told = (str(finding.step), finding.name, equation(finding), finding.verdict, finding.cause, finding.explanation)
    return tuple(map(escaped, told))


def _line(name: str, report: Report) -> tuple[str, ...]:
    """A report as one row of the table of several."""
    near, first = closest(report), deciding(report)
    culprit = "" if first is None else f"{first.name} at step {first.step}: {first.cause}"
    verdict = "OK" if first is None else first.verdict
    close = "" if near is None else f"{closeness(near)} ({near.name})"
    return tuple(map(escaped, (name, verdict, str(len(report.rows)), close, culprit)))


def _environment(environment: Mapping[str, object]) -> list[str]:
    if not environment:
        return []
    told = [(escaped(key), escaped(value(item))) for key, item in environment.items()]
    return _folded("Environment", grid(("", ""), told))


def grid(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as GitHub shows it."""
    return tabulate(
        list(rows), headers=[escaped(column) for column in columns], tablefmt="github", disable_numparse=True
    )


def _folded(title: str, content: str) -> list[str]:
    return [f"<details><summary>{html.escape(title)}</summary>", content, "</details>"]


def _joined(blocks: Iterable[str]) -> str:
    return "\n\n".join(block for block in blocks if block) + "\n"


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, in one line: no column ends early and no tag of the user's begins."""
    one_line = printable(" ".join(text.split()))
    return re.sub(r"([\\`*\[\]<>|~$&]|(?<!\w)_|_(?!\w)|^[#+-](?=\s))", r"\\\1", one_line)
