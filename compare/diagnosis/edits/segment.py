"""The segment of a tensor: the recorded steps by which the reference computes it from what was returned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from handgrad.compare.oracle.graph import Graph, Node, Values, reached

Change = Callable[[Values], Any]  # what a step gives instead


@dataclass(frozen=True)
class Segment:
    """The steps between a tensor and what was returned before it.

    `later` names the tensors that do not exist yet where this one is computed.
    """

    graph: Graph
    name: str
    later: frozenset[str] = frozenset()

    @property
    def target(self) -> Node:
        """The step that gives the tensor."""
        return self.graph.outputs[self.name]

    @cached_property
    def steps(self) -> tuple[Node, ...]:
        """All steps, in order."""
        return self.graph.segment(self.name)

    @cached_property
    def values(self) -> Mapping[Node, Any]:
        """What every step of the graph gave when it was recorded."""
        return {node: node.value for node in self.graph.nodes}

    @cached_property
    def users(self) -> Mapping[Node, tuple[Node, ...]]:
        """The steps of the segment that take what a step gives."""
        users: dict[Node, list[Node]] = {node: [] for node in self.steps}
        for node in self.steps:
            for parent in node.parents:
                users[parent].append(node)
        return {node: tuple(of) for node, of in users.items()}

    @cached_property
    def distance(self) -> Mapping[Node, int]:
        """How many steps lie between each and the tensor, at least."""
        distance = {self.target: 0}
        pending = [self.target]
        for node in pending:
            for parent in node.parents:
                if parent not in distance:
                    distance[parent] = distance[node] + 1
                    pending.append(parent)
        return distance

    @cached_property
    def labels(self) -> Mapping[Node, str]:
        """The names that steps have: of inputs and records, and of what else the reference has tapped."""
        outputs = {node: name for name, node in self.graph.outputs.items()}
        return outputs | {node: node.name for node in self.graph.nodes if node.name}

    @cached_property
    def repeated(self) -> tuple[tuple[Node, ...], ...]:
        """Steps that one line of the reference does again and again, as in a loop over time."""
        return repeated(self.steps)

    @cached_property
    def interleaved(self) -> tuple[tuple[Node, ...], ...]:
        """Of a line that is come to several times in each turn of a loop, the same visit of every turn.

        As of a comprehension over gates within a loop over time: other lines tell how many turns there are.
        """
        counts: dict[tuple[str, int], int] = {}
        for node in self.graph.nodes:
            if node.place is not None:
                counts[node.place[:2]] = max(node.place.visit, counts.get(node.place[:2], 0))
        groups: list[list[Node]] = []
        for group in self.repeated:
            places = [node.place for node in group if node.place is not None]
            many = counts[places[0][:2]]
            for each in {many // turns for turns in counts.values() if 1 < turns < many and many % turns == 0}:
                by_visit: dict[int, list[Node]] = {}
                for node, place in zip(group, places, strict=True):
                    by_visit.setdefault(place.visit % each, []).append(node)
                groups += by_visit.values()
        return tuple(tuple(group) for group in groups if len(group) > 1)

    @cached_property
    def mates(self) -> Mapping[Node, tuple[Node, ...]]:
        """The same by each of the steps."""
        return {node: group for group in self.repeated for node in group}

    @property
    def constants(self) -> frozenset[Node]:
        """Steps that depend on no input."""
        return self.graph.constants

    @cached_property
    def scope(self) -> Mapping[tuple[int, ...], tuple[Node, ...]]:
        """The steps before the tensor, by shape: what it may have been computed from by mistake."""
        after: set[Node] = {self.target}
        found: dict[tuple[int, ...], list[Node]] = {}
        named = {node.name for node in self.graph.nodes if node.name}
        for node in self.graph.nodes:
            label = self.labels.get(node, "")
            replaced = not node.name and label in named  # a local reference, where the record is what went on
            if node in after or label in self.later or any(parent in after for parent in node.parents):
                after.add(node)
            elif isinstance(node.value, Tensor) and not replaced and (node.name or node not in self.constants):
                found.setdefault(tuple(node.value.shape), []).append(node)
        return {shape: tuple(nodes) for shape, nodes in found.items()}

    def alike(self, node: Node) -> tuple[Node, ...]:
        """The steps in scope whose tensors have the shape and kind of a step's own, named ones first."""
        value = node.value
        if not isinstance(value, Tensor):
            return ()
        others = (each for each in self.scope.get(tuple(value.shape), ()) if each is not node)
        same = [each for each in others if each.value.is_floating_point() == value.is_floating_point()]
        return tuple(sorted(same, key=lambda each: not each.name))

    def plan(self, changed: frozenset[Node]) -> tuple[Node, ...]:
        """The steps that give something else once some do, and these, in order."""
        if changed not in self._plans:
            self._plans[changed] = reached(self.steps, changed)
        return self._plans[changed]

    @cached_property
    def _plans(self) -> dict[frozenset[Node], tuple[Node, ...]]:
        return {}

    def alternatives(self, changes: Sequence[Mapping[Node, Change]]) -> Tensor:
        """The tensor by each of several changes of the same steps, one after another along a new first axis.

        All other steps are done for all of them at once, by torch.vmap. Raises what torch raises where that cannot be.
        """
        many: dict[Node, Any] = {}
        waiting: list[Node] = []  # to be done for all at once, up to the next change
        plan = self.plan(frozenset(changes[0]))
        others = {*plan}
        for node in plan:
            if not others.isdisjoint(node.parents):
                waiting.append(node)
            if node in changes[0]:
                many |= self._for_all(waiting, waiting, many)
                waiting = []
                before = {} if node.operation is None else many
                instead = (each[node](self._of(before, k)) for k, each in enumerate(changes))
                many[node] = torch.stack([like(value, node.value) for value in instead])
        many |= self._for_all(waiting, waiting[-1:], many)
        tensor: Tensor = many[self.target]
        return tensor

    def _of(self, many: Mapping[Node, Any], k: int) -> Values:
        """What steps give with the change of a number."""

        def of(node: Any) -> Any:
            if not isinstance(node, Node) or node not in many:
                return self.values[node] if isinstance(node, Node) else node
            return many[node][k] if isinstance(many[node], Tensor) else [each[k] for each in many[node]]

        return of

    def _for_all(self, steps: Sequence[Node], wanted: Sequence[Node], many: Mapping[Node, Any]) -> dict[Node, Any]:
        """What some of the steps give for every one of many values of those before them."""
        taken = [*dict.fromkeys(parent for node in steps for parent in node.parents if parent in many)]

        def done(*values: Any) -> list[Any]:
            here = dict(zip(taken, values, strict=True))
            for node in steps:
                here[node] = node.done(lambda of: here.get(of, self.values[of]) if isinstance(of, Node) else of)
            return [here[node] for node in wanted]

        given = torch.vmap(done)(*(many[parent] for parent in taken)) if steps else []
        return dict(zip(wanted, given, strict=True))

    def predicted(self, changes: Mapping[Node, Change], values: Mapping[Node, Any]) -> Any:
        """The tensor where some steps give something else, `values` being what all steps give otherwise."""
        return self.changed(changes, values).get(self.target, values[self.target])

    def changed(
        self, changes: Mapping[Node, Change], values: Mapping[Node, Any], moved: Iterable[Node] = ()
    ) -> dict[Node, Any]:
        """What steps give then that give something else, `moved` being inputs that are others than they were.

        What stands in the place of an input is another one as it was.
        """
        changed: dict[Node, Any] = {}

        def before(node: Any) -> Any:
            return values[node] if isinstance(node, Node) else node

        def of(node: Any) -> Any:
            return changed[node] if isinstance(node, Node) and node in changed else before(node)

        for node in self.plan(frozenset([*changes, *moved])):
            change, is_given = changes.get(node), node.operation is None
            if change is None or any(parent in changed for parent in node.parents):
                changed[node] = values[node] if is_given else node.done(of)
            if change is not None:
                changed[node] = like(change(before if is_given else of), of(node))
        return changed


def repeated(steps: Iterable[Node]) -> tuple[tuple[Node, ...], ...]:
    """Of some steps, those that one line of the reference does again and again.

    Two steps of a line are told apart by what they take at every visit, as weights, and by their order.
    """
    placed = [(node, node.place) for node in steps if node.place is not None]
    visits: dict[tuple[Any, ...], set[int]] = {}
    for node, place in placed:
        for parent in node.parents:
            visits.setdefault((place[:2], node.kind, parent), set()).add(place.visit)
    times: Counter[tuple[Any, ...]] = Counter()
    groups: dict[tuple[Any, ...], list[Node]] = {}
    for node, place in placed:
        always = [parent for parent in node.parents if len(visits[place[:2], node.kind, parent]) > 1]
        sort = (node.kind, getattr(node.value, "shape", None), len(node.parents), *always)
        nth = times[place, sort]
        times[place, sort] += 1
        groups.setdefault((place.file, place.line, place.is_backward, sort, nth), []).append(node)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def like(value: Any, before: Any) -> Any:
    """A tensor of the dtype, and where it can be of the shape, of the one whose place it takes."""
    if not isinstance(before, Tensor):
        return value
    if not isinstance(value, Tensor):
        value = torch.full((), value, dtype=before.dtype)
    if value.dtype != before.dtype and before.dtype != torch.bool and not value.is_complex():
        value = value.to(before.dtype)
    if value.shape != before.shape:
        try:
            return value.expand(before.shape)
        except RuntimeError:
            return value
    return value
