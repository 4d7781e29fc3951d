"""Edits that take a tensor of another time: a parameter after its update, or what the step before had.

Where the graph has such tensors they are inputs beside it, by the names that say so, and no step takes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import isclose

import torch

from handgrad.compare.diagnosis.bits import Observed, multiple
from handgrad.compare.diagnosis.edits.edit import Edit, Rank, Told, apply, is_like, read, says, where_taken
from handgrad.compare.diagnosis.edits.segment import Change, Segment
from handgrad.compare.facts import operands as mistakes
from handgrad.compare.facts.causes import Cause
from handgrad.compare.names import before, gradient, updated, velocity
from handgrad.compare.oracle.graph import Node
from handgrad.compare.thresholds import EQUAL

TIMES: tuple[tuple[Callable[[str], str], Callable[[str], Cause], Callable[[tuple[str, ...]], Cause]], ...] = (
    (updated, mistakes.UpdatedOperand, mistakes.UpdatedTogether),
    (before, mistakes.Stale, mistakes.StaleTogether),
)


def other_times(segment: Segment, parameters: frozenset[str]) -> Iterator[Edit]:
    """The sum over steps; the step before; a tensor of another time at all its uses, or in the backward pass alone.

    At one use as well; and all parameters at once, all of the batch, and both.
    """
    node, inputs = segment.target, segment.graph.inputs
    earlier = inputs.get(before(segment.name))
    if earlier is not None and earlier.value.shape == node.value.shape:
        yield Edit(1, Rank.LEFT_OUT, says(mistakes.Accumulated, segment.name), {node: apply(torch.add, node, earlier)})
        yield Edit(1, Rank.OPERAND, says(mistakes.OfStepBefore), {node: read(earlier)})
    there = {label: of for of, label in segment.labels.items() if of in segment.distance and of is not node}
    for then, one, several in TIMES:
        others = {label: inputs[then(label)] for label in there if then(label) in inputs}
        moved = {label: other for label, other in others.items() if _is_another(there[label], other)}
        given = moved.keys() & inputs.keys()
        several_at_once = [group for group in (given & parameters, given - parameters, given) if len(group) > 1]
        for group in [*({label} for label in moved), *several_at_once]:
            cause = says(several, tuple(sorted(group))) if len(group) > 1 else says(one, *group)
            yield from _taken(segment, {there[label]: read(moved[label]) for label in group}, cause)


def _is_another(node: Node, other: Node) -> bool:
    return is_like(node, other) and not node.value.equal(other.value)


def _taken(segment: Segment, changes: Mapping[Node, Change], cause: Told) -> Iterator[Edit]:
    yield Edit(2, Rank.OPERAND, cause, changes)
    if behind := _in_backward(segment, changes):
        yield Edit(2, Rank.OPERAND, cause, behind)
    for node in changes if len(changes) == 1 else ():
        for user in segment.users.get(node, ()):
            yield Edit(3, Rank.OPERAND, cause, where_taken(changes, [user]))


def _in_backward(segment: Segment, instead: Mapping[Node, Change]) -> dict[Node, Change]:
    """What the steps of the backward pass give where they alone take something else."""
    return where_taken(instead, (step for step in segment.steps if step.place is not None and step.place.is_backward))


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

    def moved(times: float) -> Change:
        return lambda v: v(parameter) + times * v(direction)

    for at in (dict[Node, Change], lambda changes: _in_backward(segment, changes)):
        changes = at({parameter: moved(1.0)})
        after = segment.predicted(changes, segment.values) - observed.reference
        times = _short(multiple(observed.recorded - observed.reference, after))
        if times < 0:
            cause = says(mistakes.UpdatedAtRate, parameter.name, direction, -times)
            yield Edit(6, Rank.LEFT_OUT, cause, at({parameter: moved(times)}), fitted=True)


def _short(rate: float) -> float:
    """A rate with few digits, where that is one to within how it was fitted."""
    short = float(f"{rate:.6g}")
    return short if isclose(short, rate, rel_tol=EQUAL) else rate
