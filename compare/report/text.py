"""The report on a terminal: the first finding in six lines, the others in a line each, the table, the outcome."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from handgrad.compare.report.summary import aligned, closing, deciding, setting, table
from handgrad.compare.report.words import Words, equation, location, place, printable, words
from handgrad.compare.results import Finding, Results

if TYPE_CHECKING:
    import numpy as np

WIDTH, LINES = 80, 6  # of the first finding, at most
_GREEN, _RED, _PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[0m"
_ALIGNED = "<<<>>><>><"


def render(results: Results, *, colour: bool = False) -> str:
    """What is wrong and the outcome, with a row per tensor where nothing fails; the verdicts coloured if asked for."""
    findings, left_out = _findings(results, colour)
    return _joined(*findings, _details(left_out), _table(results, colour) if results.ok else "", _outcome(results))


def in_full(results: Results, *, colour: bool = False) -> str:
    """As render, with a row per tensor in any case, and how sure each finding is."""
    findings, left_out = _findings(results, colour)
    evidence = [(place(finding), words(finding).evidence) for finding in results.findings]
    details = _details([*left_out, *(f"{where}: {said}" for where, said in evidence if said)])
    return _joined(*findings, details, _table(results, colour), _outcome(results))


def brief(results: Results, *, colour: bool = False) -> str:
    """What is wrong and nothing else; where nothing is, the outcome in a line."""
    findings, _ = _findings(results, colour)
    return _joined(*(findings or [closing(results)[0]]))


def side_by_side(name: str, step: int, by_hand: np.ndarray, torch: np.ndarray) -> str:
    """Both sides of a tensor and their difference, as NumPy prints arrays: of large ones the corners."""
    import numpy as np  # showing a stored report needs none

    with np.errstate(all="ignore"):
        sides = {"by hand": by_hand, "torch": torch, "by hand - torch": np.subtract(by_hand, torch, dtype=np.float64)}
    shape = f", {'x'.join(map(str, by_hand.shape))}" if by_hand.shape else ""
    blocks = (f"{side}:\n{np.array2string(np.asarray(array), max_line_width=WIDTH)}" for side, array in sides.items())
    return "\n".join((printable(f"{name} at step {step}{shape}"), *blocks)) + "\n"


def render_all(
    reports: Mapping[str, Results],
    not_run: Mapping[str, str] = {},
    *,
    colour: bool = False,
    one: Callable[..., str] = render,
) -> str:
    """Several reports, each under its name as `one` renders it, and why other checks could not run."""
    blocks = [f"{printable(name)}:\n{one(results, colour=colour)}" for name, results in reports.items()]
    blocks += [f"{printable(name)} could not run: {printable(why)}\n" for name, why in not_run.items()]
    return "\n\n".join(blocks) or "No check ran.\n"


def _joined(*blocks: str) -> str:
    return "\n\n".join(block for block in blocks if block) + "\n"


def _outcome(results: Results) -> str:
    """The notes, then what was checked and how it came out."""
    notes = [printable(str(note)) for note in results.notes]
    return _joined("\n".join(notes), "\n".join([*setting(results), *closing(results)])).rstrip()


def _findings(results: Results, colour: bool) -> tuple[list[str], list[str]]:
    """The finding that decides in six lines at most, the others in a line each; and what had no room in the six."""
    first = deciding(results)
    if first is None:
        return [], []
    block, left_out = _block(first)
    others = [(f, f"{f.cause.code}: {words(f).cause}") for f in results.findings if f is not first]
    lines = [_coloured(_cut(_headed(finding, text), WIDTH), finding.verdict, colour) for finding, text in others]
    return [_coloured(block, first.verdict, colour), "\n".join(lines)], left_out


def _block(finding: Finding) -> tuple[str, list[str]]:
    """A finding in six lines at most, and what had no room there."""
    said = words(finding)
    cause, worst = _beside(said.cause, finding.cause.code), _limited(_wrapped(said.worst), 1)
    most = max(2, LINES - 1 - len(worst) - len(said.consequences))
    left_out = [said.cause] if len(cause) > most else []
    body = [*_limited(cause, most), *worst]
    more, rest = _that_fit(said, LINES - 1 - len(body))
    text = printable(finding.line.text.partition("  #")[0]) if finding.line is not None else equation(finding)
    head = [_headed(finding, text)]
    if text and len(head[0]) > WIDTH and len(body) + len(more) + 2 <= LINES:  # there is room for a line of its own
        head = [_headed(finding, ""), _cut(text, WIDTH - 2)]
    return "\n  ".join((_cut(head[0], WIDTH), *head[1:], *body, *more)), left_out + rest


def _headed(finding: Finding, text: str) -> str:
    """A line that says where a finding stands, and a text on it."""
    parts = (f"{finding.verdict}  {place(finding)}", location(finding), text)
    return "   ".join(part for part in parts if part)


def _limited(lines: list[str], most: int) -> list[str]:
    return [*lines[: most - 1], _cut(" ".join(lines[most - 1 :]), WIDTH - 2)] if len(lines) > most else lines


def _that_fit(said: Words, room: int) -> tuple[list[str], list[str]]:
    """The lines of the remaining parts that fit, and the parts left out: first of all other causes, the last first."""
    parts = [*said.others, *said.circumstances, *said.consequences]
    left_out: list[str] = []
    for part in (*reversed(said.others), *reversed(said.circumstances), *reversed(said.consequences)):
        if sum(len(_wrapped(kept)) for kept in parts) <= room:
            break
        parts.remove(part)
        left_out.insert(0, part)
    return [line for part in parts for line in _wrapped(part)], left_out


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH - 2, break_on_hyphens=False)


def _beside(sentence: str, code: str) -> list[str]:
    """A sentence in lines, with the code at the right margin of the first."""
    indent = " " * (len(code) + 2)
    first, *others = textwrap.wrap(sentence, WIDTH - 2, initial_indent=indent, break_on_hyphens=False) or [""]
    return [f"{first.strip():{WIDTH - 2 - len(code)}}{code}", *others]


def _details(parts: list[str]) -> str:
    return textwrap.fill(f"details: {'; '.join(parts)}", WIDTH, subsequent_indent="  ") if parts else ""


def _table(results: Results, colour: bool) -> str:
    if not results.rows:
        return ""
    columns, rows = table(results)
    head, rule, *lines = aligned(columns, rows, _ALIGNED[-len(columns) :])
    verdicts = [row[-1] for row in rows]
    pairs = zip(lines, verdicts, strict=True)
    coloured = (line.removesuffix(verdict) + _coloured(verdict, verdict, colour) for line, verdict in pairs)
    return "\n".join((head, rule, *coloured))


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else f"{line[: width - 3].rstrip()}..."


def _coloured(line: str, verdict: str, colour: bool) -> str:
    """A line that a verdict begins, that verdict coloured if asked for."""
    if not colour:
        return line
    return f"{_GREEN if verdict == 'OK' else _RED}{verdict}{_PLAIN}{line.removeprefix(verdict)}"
