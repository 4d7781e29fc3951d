"""Where to look for the mistake behind a finding: which lines of the derivation, and how sure that is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

from handgrad.compare.facts.failures import Overflow, Raised
from handgrad.compare.results import Code, Finding, Results, SourceLine, Suspects
from handgrad.compare.source.listing import read_on
from handgrad.compare.source.states import states

DEFINITION = re.compile(r"(?:\s*@.*\n)*\s*(?:async )?def ")
R = TypeVar("R", bound=Results)


def located(results: R) -> R:
    """The same results with the lines to look at: details.suspects, and the first of them as every finding's line."""
    if not results.findings:
        return results
    suspects, pieces = suspects_of(results), results.details.by_hand
    findings = tuple(replace(f, line=_first_line(f, suspects, pieces) or f.line) for f in results.findings)
    return replace(results, findings=findings, details=results.details._replace(suspects=suspects))


def suspects_of(results: Results) -> dict[str, Suspects]:
    """Where to look for the mistake behind each finding for which that can be told, by the name of its tensor."""
    all_suspects: dict[str, Suspects] = {}
    for finding in results.findings:
        suspects = _suspects(finding, results)
        if suspects.lines:
            all_suspects.setdefault(finding.where.name, suspects)
    return all_suspects


def _first_line(finding: Finding, known: Mapping[str, Suspects], pieces: Mapping[str, Code]) -> SourceLine | None:
    """The first suspected line of the first piece that has one; or the line that raised, in a file without a piece."""
    suspects = known.get(finding.where.name)
    if suspects is not None:
        position = min(suspects.lines, key=int)
        piece, number = pieces[position], suspects.lines[position][0]
        return SourceLine(piece.file, number, piece.lines[number].strip())
    cause = finding.cause
    return SourceLine(cause.file, cause.line, "") if isinstance(cause, Raised) and cause.file else None


def _suspects(finding: Finding, results: Results) -> Suspects:
    """The line that raised; or those that compute what several wrong tensors read, or the wrong tensor itself.

    None where both sides overflow: no line is wrong.
    """
    cause, name, pieces = finding.cause, finding.where.name, results.details.by_hand
    if isinstance(cause, Raised):
        raising = (i for i, code in pieces.items() if code.file == cause.file and cause.line in code.lines)
        return Suspects(dict.fromkeys(raising, (cause.line,)))
    if isinstance(cause, Overflow) or cause.code == "exception":
        return Suspects()
    if finding.together and finding.factor is not None and finding.where.phase == "backward":
        names = (name, *finding.together)
        shared = {i: lines for i, code in pieces.items() if (lines := _read_by_all(code, names))}
        right = {name for (_, name), kind in states(results).items() if kind == "agrees"}
        if shared and not any(set(pieces[i].tensors.get(name, ())) & {*shared[i]} for i in shared for name in right):
            return Suspects(shared, shared=names)
    own = {i: code.tensors[name] for i, code in pieces.items() if code.tensors.get(name)}
    doubts = {} if finding.equation else _unjudged(results, own)
    return Suspects(own, sure=not doubts, doubts=doubts)


def _read_by_all(code: Code, names: Iterable[str]) -> tuple[int, ...]:
    """The lines of a piece that assign what the lines of all these tensors read."""
    if not all(name in code.tensors for name in names):
        return ()
    assigned = set.intersection(*({*read_on(code, code.tensors[name]).values()} for name in names)) - {0}
    return tuple(sorted(n for n in assigned if not code.lines[n].strip().startswith(("def ", "async def "))))


def _unjudged(results: Results, own: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """The names, each with a line, that the lines of a wrong tensor read, and that are not judged nor vouched for.

    A tensor that agrees vouches for itself and for what its lines read; what the derivation is handed is right.
    """
    state = states(results)
    wrong = {name for (_, name), kind in state.items() if kind != "agrees"}
    agreeing = {name for _, name in state} - wrong
    doubts: dict[str, int] = {}
    for position, lines in own.items():
        code = results.details.by_hand[position]
        judged = [code.tensors[name] for name in agreeing & code.tensors.keys()]
        vouched = agreeing.union(*(read_on(code, numbers) for numbers in judged))
        definition = DEFINITION.match(code.text) if position == "0" else None
        handed = [] if definition is None else [code.first + definition[0].count("\n")]
        right = {0, *lines, *handed, *(line for numbers in judged for line in numbers)}
        for name, line in read_on(code, lines).items():
            if name not in vouched | wrong and line not in right:  # what is judged wrong has a finding, or follows
                doubts[name] = line
    return doubts
