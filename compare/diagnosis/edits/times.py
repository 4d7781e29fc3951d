"""Edits that take a tensor of another time: a parameter after its update, or what the step before had.

Where the graph has such tensors they are inputs beside it, by the names that say so, and no step takes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import isclose
from typing import Any

from torch import Tensor

from handgrad.compare.diagnosis.bits import Observed, multiple
from handgrad.compare.diagnosis.edits.edit import LEFT_OUT, OPERAND, Edit, Words, read, redo
from handgrad.compare.diagnosis.edits.segment import Change, Segment
from handgrad.compare.facts.causes import Cause
from handgrad.compare.facts.operands import (
    Accumulated,
    OfStepBefore,
    Stale,
    StaleTogether,
    UpdatedAtRate,
    UpdatedOperand,
    UpdatedTogether,
)
from handgrad.compare.names import before, gradient, updated, velocity
from handgrad.compare.oracle.graph import Node, Values
from handgrad.compare.thresholds import EQUAL

TIMES: tuple[tuple[Callable[[str], str], Callable[[str], Cause], Callable[[tuple[str, ...]], Cause]], ...] = (
    (updated, UpdatedOperand, UpdatedTogether),
    (before, Stale, StaleTogether),
)


def other_times(segment: Segment, parameters: frozenset[str]) -> Iterator[Edit]:
    """The sum over steps; the step before; a tensor of another time at all its uses, or in the backward pass alone.

    At one use as well; and all parameters at once, all of the batch, and both.
    """
    node, inputs = segment.target, segment.graph.inputs
    earlier = inputs.get(before(segment.name))
    if earlier is not None and earlier.value.shape == node.value.shape:
        yield Edit(1, LEFT_OUT, lambda w: Accumulated(segment.name), {node: lambda v: v(node) + v(earlier)})
        yield Edit(1, OPERAND, lambda w: OfStepBefore(), {node: read(earlier)})
    for then, one, several in TIMES:
        known = {label: of for of, label in segment.labels.items() if of in segment.distance and of is not node}
        there = {label: inputs[then(label)] for label in known if then(label) in inputs}
        pairs = {label: (known[label], other) for label, other in there.items() if _is_another(known[label], other)}
        for label, (of, other) in pairs.items():
            yield from _of_one(segment, of, other, one(label))
        given = {label: pair for label, pair in pairs.items() if label in inputs}
        for labels in (given.keys() & parameters, given.keys() - parameters, given.keys()):
            if len(labels) > 1:
                yield from _of_several(segment, dict(given[label] for label in labels), several(tuple(sorted(labels))))


def _is_another(node: Node, other: Node) -> bool:
    is_alike = isinstance(node.value, Tensor) and node.value.shape == other.value.shape
    return is_alike and node.value.dtype == other.value.dtype and not node.value.equal(other.value)


def _of_one(segment: Segment, node: Node, other: Node, cause: Cause) -> Iterator[Edit]:
    yield from _of_several(segment, {node: other}, cause)
    for user in segment.users.get(node, ()):
        for i, each in enumerate(user.args):
            if each is node:
                yield Edit(3, OPERAND, lambda w: cause, {user: redo(user, {i: read(other)})})


def _of_several(segment: Segment, instead: Mapping[Node, Node], cause: Cause) -> Iterator[Edit]:
    changes = {node: read(other) for node, other in instead.items()}
    yield Edit(2, OPERAND, lambda w: cause, changes)
    if behind := _in_backward(segment, changes):
        yield Edit(2, OPERAND, lambda w: cause, behind)


def _in_backward(segment: Segment, instead: Mapping[Node, Change]) -> dict[Node, Change]:
    """What the steps of the backward pass give where they alone take something else."""
    places: dict[Node, dict[int | str, Change]] = {}
    for node, change in instead.items():
        for user in segment.users.get(node, ()):
            if user.place is not None and user.place.is_backward:
                places.setdefault(user, {}).update({i: change for i, each in enumerate(user.args) if each is node})
    return {user: redo(user, at) for user, at in places.items()}


def at_any_rate(segment: Segment, observed: Observed, parameters: frozenset[str]) -> Iterator[Edit]:
    """A parameter read after a step along its gradient or velocity, at whatever rate, where the tensor is linear."""
    inputs = segment.graph.inputs
    directions = {**segment.graph.outputs, **inputs}  # the gradient of a parameter is no record that replay reads
    for name in sorted(parameters & inputs.keys()):
        for of in (gradient(name), velocity(name)) if inputs[name] in segment.distance else ():
            direction = directions.get(of, segment.target)
            if direction is not segment.target and direction.value.shape == inputs[name].value.shape:
                yield from _at_rate(segment, observed, inputs[name], direction)


def _at_rate(segment: Segment, observed: Observed, parameter: Node, direction: Node) -> Iterator[Edit]:
    if direction.value.numel() < 2:
        return

    def moved(times: float) -> Callable[[Values], Any]:
        return lambda v: v(parameter) + times * v(direction)

    def cause(times: float) -> Callable[[Words], Cause]:
        return lambda w: UpdatedAtRate(parameter.name, w(direction), -times)

    for at in (dict[Node, Change], lambda changes: _in_backward(segment, changes)):
        changes = at({parameter: moved(1.0)})
        after = segment.predicted(changes, segment.values) - observed.reference
        times = _short(multiple(observed.recorded - observed.reference, after))
        if times < 0:
            yield Edit(6, LEFT_OUT, cause(times), at({parameter: moved(times)}), fitted=True)


def _short(rate: float) -> float:
    """A rate with few digits, where that is one to within how it was fitted."""
    short = float(f"{rate:.6g}")
    return short if isclose(short, rate, rel_tol=EQUAL) else rate
