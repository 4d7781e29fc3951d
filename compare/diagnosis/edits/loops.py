"""A variable of a loop in another's place, at every visit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from handgrad.compare.diagnosis.edits.edit import Edit, Rank, is_like, read, redo, says
from handgrad.compare.diagnosis.edits.segment import Change, Segment, repeated
from handgrad.compare.facts import edits as mistakes
from handgrad.compare.facts.compounds import Repeated
from handgrad.compare.oracle.graph import Node
from handgrad.compare.oracle.lines import Place

TURNED = ("t", "transpose", "permute")


def other_variables(segment: Segment) -> Iterator[Edit]:
    """An operand of a step that a loop does again and again, or what that is a transpose of, is another variable."""
    variables = _variables(segment)
    for group in segment.repeated:
        visits = [node.place.visit for node in group if node.place is not None]
        for i in range(len(group[0].args)):
            taken = [node.args[i] for node in group if len(node.args) > i and isinstance(node.args[i], Node)]
            turned = all(each.kind in TURNED for each in taken)
            due = [each.args[0] for each in taken] if turned else taken
            if len(due) == len(group) and isinstance(due[0].value, Tensor):
                for variable in variables:
                    used = [variable[visit] for visit in visits if visit in variable]
                    if len(used) == len(group) and used != due and all(is_like(each, due[0]) for each in used):
                        pairs = zip(taken, map(read, used), strict=True)
                        instead = [redo(each, {0: other}) if turned else other for each, other in pairs]
                        yield _other_variable(group, i, due[0], used, instead)


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


def _other_variable(group: Sequence[Node], i: int, due: Node, used: Sequence[Node], instead: Sequence[Change]) -> Edit:
    changes = {node: redo(node, {i: change}) for node, change in zip(group, instead, strict=True)}
    cause = says(mistakes.OtherOperand, used[0], due, group[0])
    return Edit(3, Rank.OPERAND, says(Repeated, cause, len(group)), changes)
