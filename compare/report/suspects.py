"""Where to look for the mistake behind a finding: which lines, and how sure that is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from handgrad.compare.report import DIVERGED, Finding, Report
from handgrad.compare.report.details import Code
from handgrad.compare.report.states import states
from handgrad.compare.source.listing import read_on

__all__ = ["Sought", "pieces_of", "sought", "where"]


ALLOCATED = re.compile(r"\s*\w+\s*=\s*(?:np|numpy)\.(?:empty|zeros)(?:_like)?\(.*\)\s*(?:#.*)?$")


@dataclass(frozen=True)
class Sought:
    """Where to look for the mistake behind a finding: the lines of each piece of code, and a sentence for the reader.

    `sure`: everything that these lines read agrees, so the mistake is in them.
    """

    lines: Mapping[int, tuple[int, ...]]
    sure: bool
    hint: str


def where(report: Report) -> str:
    """The file and the line to look at first, where that can be told: manual/network.py, line 59."""
    if report.first is None:
        return ""
    found_at = sought(report, report.first)
    found = [(c.file, found_at.lines[i]) for i, c in enumerate(pieces_of(report)) if found_at.lines.get(i)]
    files = dict.fromkeys(file for file, _ in found)
    told = " and ".join(f"{f}, {_lines_in_words(n for file, at in found if file == f for n in at)}" for f in files)
    return told if found_at.sure or not told else f"{told}, or at what is computed before it and was not returned"


def _lines_in_words(lines: Iterable[int]) -> str:
    """line 4, lines 4 and 7, lines 4 to 7."""
    numbers = sorted({*lines})
    if len(numbers) == 1:
        return f"line {numbers[0]}"
    if numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"lines {numbers[0]} to {numbers[-1]}"
    return f"lines {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"


def sought(report: Report, finding: Finding) -> Sought:
    """The line that raised; or those that compute what several wrong tensors read, or the wrong tensor itself.

    None where both sides overflow: no line is wrong.
    """
    pieces = pieces_of(report)
    if finding.explanation.startswith(DIVERGED):
        return Sought({}, True, "")
    raised = re.search(r"\bin (\S+) line (\d+):", finding.explanation) if finding.cause == "exception" else None
    if finding.cause == "exception":
        file, line = (raised[1], int(raised[2])) if raised else ("", 0)
        at = {i: (line,) for i, code in enumerate(pieces) if code.side == "by hand" and _has(code, file, line)}
        return Sought(at, True, "")
    others = report.details.together.get(finding.name, ())
    shared: dict[int, tuple[int, ...]] = {}
    for i, code in enumerate(pieces):
        if others and code.side == "by hand" and all(name in code.tensors for name in (finding.name, *others)):
            read = [read_on(code, code.tensors[name]) for name in (finding.name, *others)]
            common = {line for _, line in set.intersection(*({*each.items()} for each in read)) if line}
            text = code.text.splitlines()
            lines = {line for line in common if not text[line - code.first].lstrip().startswith(("def ", "async def "))}
            if lines:
                shared[i] = tuple(sorted(lines))
    if shared:
        lines_of_all = [line for each in shared.values() for line in each]
        named = " and ".join((finding.name, *others))
        return Sought(shared, True, f"{named} are computed from what {_lines_in_words(lines_of_all)} assigns.")
    by_hand = {i: code for i, code in enumerate(pieces) if code.side == "by hand"}
    own = {i: code.tensors[finding.name] for i, code in by_hand.items() if finding.name in code.tensors}
    doubts = {} if finding.equation else _unjudged(report, own)
    if not doubts:
        return Sought(own, True, "")
    named = ", ".join(f"{name} (line {line})" for name, line in doubts.items())
    hint = f"Or the mistake comes before it, in {named}: not returned and so not judged. Return it, and it is."
    return Sought(own, False, hint)


def _has(code: Code, file: str, line: int) -> bool:
    return code.file == file and code.first <= line < code.first + len(code.text.splitlines())


def _unjudged(report: Report, own: Mapping[int, tuple[int, ...]]) -> dict[str, int]:
    """The names, each with a line, that the lines of a wrong tensor read and that nothing which agrees vouches for.

    A tensor that agrees vouches for itself and for what its lines read; what the derivation is handed is right.
    """
    state = states(report)
    wrong = {name for (_, name), kind in state.items() if kind != "agrees"}
    agreeing = {name for _, name in state} - wrong
    pieces, doubts = pieces_of(report), dict[str, int]()
    first = next((i for i, code in enumerate(pieces) if code.side == "by hand"), -1)
    for i, lines in own.items():
        code = pieces[i]
        judged = [code.tensors[name] for name in agreeing & code.tensors.keys()]
        vouched = agreeing.union(*(read_on(code, each) for each in judged))
        right = {*lines, *(line for each in judged for line in each)}
        definition = re.match(r"(?:\s*@.*\n)*\s*(?:async )?def ", code.text) if i == first else None
        handed = None if definition is None else code.first + definition[0].count("\n")
        for name, line in read_on(code, lines).items():
            if not line or name in vouched or line in right or line == handed:
                continue
            if name in agreeing | wrong and ALLOCATED.match(code.text.splitlines()[line - code.first]):
                continue  # an empty array for a tensor that is judged, filled at a line that is among these
            doubts[name] = line
    return doubts


def pieces_of(report: Report) -> list[Code]:
    """The code, the hand's first."""
    return sorted(report.details.code, key=lambda code: code.side)
