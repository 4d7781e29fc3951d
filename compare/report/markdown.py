"""The report as Markdown, for pull requests and job summaries: verdict, culprits, and the rest folded."""

import html
import re
from collections.abc import Iterable, Mapping, Sequence

from tabulate import tabulate

from handgrad.compare.facts.fact import counted
from handgrad.compare.report import summary
from handgrad.compare.report.words import equation, location, place, printable, words
from handgrad.compare.results import Finding, Results

IN_FULL, LISTED = 20, 200  # a job summary may hold 1 MiB, a comment 64 KiB


def render(results: Results) -> str:
    """One report: its verdict, a table of culprits, and folded below it every tensor and the environment."""
    return _joined([*_section(results, "### handgrad:"), *_environment(results.environment)])


def render_all(reports: Mapping[str, Results], not_run: Mapping[str, str] = {}) -> str:
    """Several reports by name: a table of them, then each that differs in full; and why checks could not run."""
    stopped = [f"- {escaped(name)} could not run: {escaped(why)}" for name, why in not_run.items()]
    blocks = [f"### handgrad: {summary.outcome(reports, not_run)}", "\n".join(stopped)]
    if not reports:
        return _joined(blocks)
    wrong = summary.differing(reports)
    passed = [name for name in reports if name not in wrong]
    headings = ("check", "verdict", "tensors", "closest to being flagged", "first that differs")
    blocks.append(grid(headings, [_line(name, reports[name]) for name in (*wrong, *passed[:LISTED])]))
    if len(passed) > LISTED:
        blocks.append(f"{len(passed) - LISTED} more agree.")
    shared = summary.shared_environment(reports.values())
    for name in wrong[:IN_FULL]:
        own = {key: item for key, item in reports[name].environment.items() if key not in shared and key != "check"}
        blocks += [*_section(reports[name], f"#### {escaped(name)}:"), *_environment(own)]
    if len(wrong) > IN_FULL:
        blocks.append(f"{len(wrong) - IN_FULL} more differ; the table above has them.")
    return _joined([*blocks, *_environment(shared)])


def _section(results: Results, heading: str) -> list[str]:
    verdict, outcome = summary.headline(results)
    blocks = [f"{heading} {verdict}", *map(escaped, [outcome, *summary.setting(results)])]
    if results.findings:
        headings = ("tensor", "where", "verdict", "cause", "what is wrong")
        blocks.append(grid(headings, [_culprit(finding) for finding in results.findings]))
    blocks += [f"- {escaped(str(note))}" for note in results.notes]
    columns, rows = summary.table(results)
    tensors = grid(columns, rows)
    hidden = escaped(summary.closing(results)[1])
    return [*blocks, hidden, *_folded(f"All {counted(len(rows), 'tensor')}, each at its worst step", tensors)]


def _culprit(finding: Finding) -> tuple[str, ...]:
    where = [location(finding), finding.line.text] if finding.line is not None else [equation(finding)]
    return place(finding), "  ".join(where), finding.verdict, finding.cause.code, str(words(finding))


def _line(name: str, results: Results) -> tuple[str, ...]:
    """A report as one row of the table of several."""
    near, first = summary.closest(results), summary.deciding(results)
    close = "" if near is None else f"{summary.closeness(near)} ({near.name})"
    if first is None:
        return name, "OK", str(len(results.rows)), close, ""
    parts = (place(first), location(first), first.cause.code)
    return name, first.verdict, str(len(results.rows)), close, ", ".join(part for part in parts if part)


def _environment(environment: Mapping[str, object]) -> list[str]:
    fields = [(key, summary.value(item)) for key, item in environment.items()]
    return _folded("Environment", grid(("", ""), fields)) if fields else []


def grid(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as GitHub shows it, whatever its cells hold."""
    headings, *cells = (list(map(escaped, line)) for line in (columns, *rows))
    return tabulate(cells, headers=headings, tablefmt="github", disable_numparse=True)


def _folded(title: str, content: str) -> list[str]:
    return [f"<details><summary>{html.escape(title)}</summary>", content, "</details>"]


def _joined(blocks: Iterable[str]) -> str:
    return "\n\n".join(block for block in blocks if block) + "\n"


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, in one line: no column ends early and no tag of the user's begins."""
    one_line = printable(" ".join(text.split()))
    return re.sub(r"([\\`*\[\]<>|~$&]|(?<!\w)_|_(?!\w)|^[#+-](?=\s))", r"\\\1", one_line)
