"""A variable of a loop in another's place, at every visit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from handgrad.compare.diagnosis.edits.edit import Edit, Rank, is_like, read, redo, says
from handgrad.compare.diagnosis.edits.segment import Segment, repeated
from handgrad.compare.facts import edits as mistakes
from handgrad.compare.facts.compounds import Repeated
from handgrad.compare.oracle.graph import Node
from handgrad.compare.oracle.lines import Place


def other_variables(segment: Segment) -> Iterator[Edit]:
    """An operand of a step that a loop does again and again is another variable of the same visit."""
    variables = _variables(segment)
    for group in segment.repeated:
        for i, first in enumerate(group[0].args):
            due = [node.args[i] for node in group if len(node.args) > i and isinstance(node.args[i], Node)]
            if isinstance(first, Node) and isinstance(first.value, Tensor) and len(due) == len(group):
                for variable in variables:
                    visits = [node.place.visit for node in group if node.place is not None]
                    used = [variable[visit] for visit in visits if visit in variable]
                    if len(used) == len(group) and used != due and all(is_like(each, first) for each in used):
                        yield _other_variable(group, i, used)


def _variables(segment: Segment) -> list[dict[int, Node]]:
    """What lines of loops give, and what they take from elsewhere, by the visit."""
    given: dict[tuple[str, int], dict[int, Node]] = {}
    taken: list[dict[int, Node]] = []
    graph = segment.graph
    records = {node: graph.inputs[name] for name, node in graph.outputs.items() if name in graph.inputs}
    known = {node for nodes in segment.scope.values() for node in nodes}
    for group in repeated([node for node in graph.nodes if records.get(node, node) in known]):
        placed = [(node.place, records.get(node, node)) for node in group]
        visits = [(place, node) for place, node in placed if place is not None and not place.is_backward]
        for place, node in visits:
            given.setdefault(place[:2], {})[place.visit] = node
        for args in zip(*(node.args for _, node in visits), strict=False):
            pairs = [*zip(visits, args, strict=True)]
            if all(isinstance(arg, Node) and _is_from_elsewhere(arg, place) for (place, _), arg in pairs):
                taken.append({place.visit: arg for (place, _), arg in pairs})
    distinct = {tuple(each.items()): each for each in (*given.values(), *taken)}
    return [*distinct.values()]


def _is_from_elsewhere(node: Node, place: Place) -> bool:
    return node.place is None or node.place[:3] != place[:3]


def _other_variable(group: Sequence[Node], i: int, used: Sequence[Node]) -> Edit:
    changes = {node: redo(node, {i: read(other)}) for node, other in zip(group, used, strict=True)}
    cause = says(mistakes.OtherOperand, used[0], group[0].args[i], group[0])
    return Edit(3, Rank.OPERAND, says(Repeated, cause, len(group)), changes)
