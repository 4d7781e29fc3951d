"""The segment of a tensor: the recorded steps by which the reference computes it from what was returned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from handgrad.compare.oracle.graph import Graph, Node, Values
from handgrad.compare.thresholds import LINEAR

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
        visits: Counter[tuple[Any, ...]] = Counter()
        groups: dict[tuple[Any, ...], list[Node]] = {}
        for node in self.steps:
            if node.place is None:
                continue
            nth = visits[node.place, node.kind]
            visits[node.place, node.kind] += 1
            line = (node.place.file, node.place.line, node.place.is_backward)
            groups.setdefault((*line, node.kind, nth, len(node.parents)), []).append(node)
        return tuple(tuple(group) for group in groups.values() if len(group) > 1)

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
        others = (each for each in self.scope.get(tuple(value.shape), ()) if each is not node)
        same = [each for each in others if each.value.is_floating_point() == value.is_floating_point()]
        return tuple(sorted(same, key=lambda each: not each.name))

    def plan(self, changed: frozenset[Node]) -> tuple[Node, ...]:
        """The steps that give something else once some do, and these, in order."""
        if changed not in self._plans:
            ordered: list[Node] = []
            touched = set(changed)
            for node in self.steps:
                if node in touched or any(parent in touched for parent in node.parents):
                    touched.add(node)
                    ordered.append(node)
            self._plans[changed] = tuple(ordered)
        return self._plans[changed]

    @cached_property
    def _plans(self) -> dict[frozenset[Node], tuple[Node, ...]]:
        return {}

    def predicted(self, changes: Mapping[Node, Change], values: Mapping[Node, Any]) -> Any:
        """The tensor where some steps give something else, `values` being what all steps give otherwise.

        What stands in the place of an input is another one as it was.
        """
        changed: dict[Node, Any] = {}

        def of(node: Any) -> Any:
            if not isinstance(node, Node):
                return node
            return changed[node] if node in changed else values[node]

        def before(node: Any) -> Any:
            return values[node] if isinstance(node, Node) else node

        for node in self.plan(frozenset(changes)):
            change = changes.get(node)
            if change is None:
                changed[node] = node.done(of)
            else:
                changed[node] = like(change(before if node.operation is None else of), node.value)
        return of(self.target)


@dataclass(frozen=True)
class Screen:
    """How a tensor in which one step enters linearly answers to a change of it, seen along a random direction."""

    before: Tensor
    slope: Tensor
    due: float  # along the direction, recorded minus reference
    tolerance: float

    def rules_out(self, value: Any) -> bool:
        """Whether a value in the step's place cannot give the recorded tensor."""
        if not isinstance(value, Tensor) or value.shape != self.before.shape or value.dtype != self.before.dtype:
            return False
        change = float(torch.sum((value - self.before) * self.slope))
        return not abs(change - self.due) <= self.tolerance + LINEAR * abs(change)


def screen(segment: Segment, node: Node, recorded: Tensor, limit: float) -> Screen | None:
    """The screen of a step; None where the tensor is not linear in it, which one more evaluation shows."""
    before, reference = node.value, segment.target.value
    if not isinstance(before, Tensor) or before.dtype != torch.float64 or reference.dtype != torch.float64:
        return None
    drawn = torch.Generator().manual_seed(1)
    probe = torch.randn(reference.shape, generator=drawn, dtype=torch.float64)
    step = torch.randn(before.shape, generator=drawn, dtype=torch.float64) * before.abs().clamp(min=1e-3)
    with torch.enable_grad():
        leaf = before.detach().clone().requires_grad_()
        along = torch.sum(segment.predicted({node: lambda v: leaf}, segment.values) * probe)
        if not along.requires_grad:
            return None
        (slope,) = torch.autograd.grad(along, leaf)
    there = torch.sum((segment.predicted({node: lambda v: before + step}, segment.values) - reference) * probe)
    change = torch.sum(slope * step)
    if not abs(float(there - change)) <= LINEAR * max(abs(float(change)), abs(float(there))):
        return None
    due = float(torch.sum((recorded - reference) * probe))
    return Screen(before, slope, due, 4 * limit * float(probe.abs().sum()))


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
