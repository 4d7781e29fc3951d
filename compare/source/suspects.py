"""Where to look for the mistake behind a finding: which lines of the derivation, and how sure that is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from handgrad.compare.facts.failures import Overflow, Raised
from handgrad.compare.results import Code, Finding, Results, SourceLine, Suspects
from handgrad.compare.source.listing import read_on
from handgrad.compare.source.states import states

ALLOCATION = re.compile(r"\s*\w+\s*=\s*(?:np|numpy)\.(?:empty|zeros)(?:_like)?\(.*\)\s*(?:#.*)?$")
DEFINITION = re.compile(r"(?:\s*@.*\n)*\s*(?:async )?def ")
R = TypeVar("R", bound=Results)
Lines = Mapping[int, tuple[int, ...]]  # by the position of their piece among the code by hand


def located(results: R) -> R:
    """The same results with the lines to look at: details.suspects, and the first of them as every finding's line."""
    pieces, suspects = _by_hand(results), suspects_of(results)
    findings = (
        replace(
            finding, line=_first_line(finding, suspects.get(finding.where.name, Suspects()), pieces) or finding.line
        )
        for finding in results.findings
    )
    return replace(results, findings=tuple(findings), details=results.details._replace(suspects=suspects))


def suspects_of(results: Results) -> dict[str, Suspects]:
    """Where to look for the mistake behind each finding for which that can be told, by the name of its tensor."""
    pieces = _by_hand(results)
    all_suspects: dict[str, Suspects] = {}
    for finding in results.findings:
        suspects = _suspects(finding, results, pieces)
        if suspects.lines:
            all_suspects.setdefault(finding.where.name, suspects)
    return all_suspects


def _by_hand(results: Results) -> list[Code]:
    return [code for code in results.details.code if code.side == "by hand"]


def _first_line(finding: Finding, suspects: Suspects, pieces: Sequence[Code]) -> SourceLine | None:
    """The line that raised, or the first suspected line of the first piece that has one."""
    cause = finding.cause
    if isinstance(cause, Raised):
        piece = next((code for code in pieces if _has(code, cause.file, cause.line)), None)
        text = "" if piece is None else _text(piece, cause.line)
        return SourceLine(cause.file, cause.line, text) if cause.file else None
    position = min(suspects.lines, key=int, default=None)
    if position is None:
        return None
    piece, number = pieces[int(position)], suspects.lines[position][0]
    return SourceLine(piece.file, number, _text(piece, number))


def _text(code: Code, line: int) -> str:
    return code.text.splitlines()[line - code.first].strip()


def _has(code: Code, file: str, line: int) -> bool:
    return code.file == file and code.first <= line < code.first + len(code.text.splitlines())


def _suspects(finding: Finding, results: Results, pieces: Sequence[Code]) -> Suspects:
    """The line that raised; or those that compute what several wrong tensors read, or the wrong tensor itself.

    None where both sides overflow: no line is wrong.
    """
    cause, name = finding.cause, finding.where.name
    if isinstance(cause, Raised):
        raising = {i: (cause.line,) for i, code in enumerate(pieces) if _has(code, cause.file, cause.line)}
        return Suspects(_by_position(raising))
    if isinstance(cause, Overflow) or cause.code == "exception":
        return Suspects()
    if finding.together and finding.factor is not None and finding.where.phase == "backward":
        names = (name, *finding.together)
        shared = {i: lines for i, code in enumerate(pieces) if (lines := _read_by_all(code, names))}
        if shared:
            return Suspects(_by_position(shared), shared=names)
    own = {i: code.tensors[name] for i, code in enumerate(pieces) if code.tensors.get(name)}
    doubts = {} if finding.equation else _unjudged(results, pieces, own)
    return Suspects(_by_position(own), sure=not doubts, doubts=doubts)


def _by_position(lines: Lines) -> dict[str, tuple[int, ...]]:
    return {str(position): numbers for position, numbers in lines.items()}


def _read_by_all(code: Code, names: Iterable[str]) -> tuple[int, ...]:
    """The lines of a piece that assign what the lines of all these tensors read."""
    if not all(name in code.tensors for name in names):
        return ()
    assigned = set.intersection(*({*read_on(code, code.tensors[name]).values()} for name in names)) - {0}
    return tuple(sorted(n for n in assigned if not _text(code, n).startswith(("def ", "async def "))))


def _unjudged(results: Results, pieces: Sequence[Code], own: Lines) -> dict[str, int]:
    """The names, each with a line, that the lines of a wrong tensor read and that nothing which agrees vouches for.

    A tensor that agrees vouches for itself and for what its lines read; what the derivation is handed is right.
    """
    state = states(results)
    wrong = {name for (_, name), kind in state.items() if kind != "agrees"}
    agreeing = {name for _, name in state} - wrong
    doubts: dict[str, int] = {}
    for position, lines in own.items():
        code = pieces[position]
        judged = [code.tensors[name] for name in agreeing & code.tensors.keys()]
        vouched = agreeing.union(*(read_on(code, numbers) for numbers in judged))
        right = {*lines, *(line for numbers in judged for line in numbers)}
        definition = DEFINITION.match(code.text) if position == 0 else None
        handed = None if definition is None else code.first + definition[0].count("\n")
        for name, line in read_on(code, lines).items():
            if not line or name in vouched or line in right or line == handed:
                continue
            if name in agreeing | wrong and ALLOCATION.match(_text(code, line)):
                continue  # an empty array for a tensor that is judged, filled at a line that is among these
            doubts[name] = line
    return doubts
