"""What to return or tap so that a check can tell more of a finding that nothing known explains."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import replace
from itertools import chain
from typing import TypeVar

from handgrad.compare.diagnosis.scene import Scene
from handgrad.compare.facts.causes import Unknown
from handgrad.compare.facts.remarks import Tap, Unrecorded
from handgrad.compare.names import gradient, is_updated, of_updated, of_velocity
from handgrad.compare.oracle.graph import FORMS
from handgrad.compare.ownership import named
from handgrad.compare.results import Finding, Results
from handgrad.compare.source.listing import assigned

R = TypeVar("R", bound=Results)
Reads = Mapping[str, tuple[str, ...]]


def narrowed(results: R, scenes: Callable[[str], Scene | None]) -> R:
    """The same results, each finding that nothing explains with what to return or tap next.

    `scenes` give the material on a tensor by name: where the reference taps nothing, the graph of the first says which
    of its lines lie there.
    """
    findings = list[Finding]()
    is_first = True
    for finding in results.findings:
        if isinstance(finding.cause, Unknown) and (fact := to_record(results, finding)) is not None:
            if is_first and not fact.names:
                fact = _with_taps(fact, results.details.reads, scenes(finding.where.name))
            finding, is_first = replace(finding, circumstances=(fact, *finding.circumstances)), False
        findings.append(finding)
    return replace(results, findings=tuple(findings))


def _with_taps(fact: Unrecorded, reads: Reads, scene: Scene | None) -> Unrecorded:
    """With the values that the reference could tap there, as its graph has it: none of large tensors."""
    graph = None if scene is None else scene.recorded_graph(FORMS[0])
    if graph is None or fact.end not in graph.outputs:
        return fact
    known, is_backward = {"J", *reads, *chain(*reads.values())}, fact.end in _of_gradients(reads)
    places = (node.place for node in graph.segment(fact.end) if node.place is not None)
    lines = dict.fromkeys(place[:2] for place in places if place.is_backward == is_backward)
    lines.pop((graph.outputs["J"].place or ("", 0))[:2], None)
    at = {name: line for line in reversed(lines) for name in assigned(*line) if name not in known}
    taps = tuple(Tap(name, named(file), line) for name, (file, line) in reversed(at.items()))
    return replace(fact, names=tuple(gradient(t.name) if is_backward else t.name for t in taps), taps=taps)


def to_record(results: Results, finding: Finding) -> Unrecorded | None:
    """What to return or tap to narrow down the mistake in a tensor; None where what it is computed from is not known.

    Nor is anything where it differs only in another precision than that printed: there its operation rounds.

    A value is computed from what it reads, the gradient of a value from those of its readers, what is updated from its
    gradient.
    """
    reads, name = results.details.reads, finding.where.name
    if finding.worst is not None and finding.worst.dtype:
        return None
    act = "yield" if any(row.phase == "update" for row in results.rows) else "return"
    gradients = _of_gradients(reads)
    recorded = {row.name for row in results.rows}
    due = gradient(of_updated(name) if is_updated(name) else of_velocity(name))
    if due in gradients:
        return None if due in recorded else Unrecorded(("J",), name, (due,), act=act)
    computed_from = gradients if name in gradients else reads
    if name not in computed_from:
        return None
    start, names = _before(name, computed_from, recorded)
    return Unrecorded(start, name, ("J", *names) if "J" in start and "J" not in recorded else names, act=act)


def _of_gradients(reads: Reads) -> dict[str, tuple[str, ...]]:
    """What each gradient is computed from: the gradients of the values that read it, J itself for what J reads."""
    computed_from: dict[str, tuple[str, ...]] = {}
    for value, operands in reads.items():
        source = "J" if value == "J" else gradient(value)
        for operand in operands:
            computed_from[gradient(operand)] = (*computed_from.get(gradient(operand), ()), source)
    return computed_from


def _before(name: str, computed_from: Reads, recorded: Container[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The nearest recorded or given tensors that one is computed from, and those between them that are neither."""
    start: dict[str, None] = {}
    between: dict[str, None] = {}
    waiting = [name]
    while waiting:
        for source in computed_from[waiting.pop(0)]:
            if source in recorded or source not in computed_from:
                start[source] = None
            elif source not in between:
                between[source] = None
                waiting.append(source)
    return tuple(start), tuple(between)
