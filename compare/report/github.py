"""The report as GitHub Actions reads it from a log: a finding annotates its line, and the outcome stays in the log."""

import os
from collections.abc import Mapping
from pathlib import Path

from handgrad.compare.report.summary import closing, fails, setting
from handgrad.compare.report.words import place, words
from handgrad.compare.results import FAILING, Finding, Results


def render(results: Results) -> str:
    """An annotation for each finding, an error where it fails the check and else a warning; then the outcome."""
    annotations = [_annotation(finding, results) for finding in results.findings]
    return "\n".join([*annotations, *setting(results), *closing(results)]) + "\n"


def render_all(reports: Mapping[str, Results]) -> str:
    """Several reports, one after the other."""
    return "".join(map(render, reports.values()))


def _annotation(finding: Finding, results: Results) -> str:
    fatal = finding.verdict in FAILING or fails(results, bool(results.environment.get("strict")))
    said, line = words(finding), finding.line
    title = f"{finding.verdict} {place(finding)} ({finding.cause.code})"
    at = {} if line is None else {"file": _from_root(line.file), "line": str(line.number)}
    properties = ",".join(f"{name}={_escaped(text, ':,')}" for name, text in {**at, "title": title}.items())
    message = _escaped("\n".join(filter(None, (said.cause, *said.remarks))))
    return f"::{'error' if fatal else 'warning'} {properties}::{message}"


def _from_root(file: str) -> str:
    """A path from the current folder as one from the root of the repository, which GitHub names."""
    root, here = os.environ.get("GITHUB_WORKSPACE"), Path.cwd()
    return (here.relative_to(root) / file).as_posix() if root and here.is_relative_to(root) else file


def _escaped(text: str, reserved: str = "") -> str:
    """Text without what would end a command of GitHub's, or begin the next part of one."""
    return "".join(f"%{ord(c):02X}" if c in f"%\r\n{reserved}" else c for c in text)
