"""Edits of a tensor as a whole: its sign, a named factor, its entries in other places, what is added or multiplied."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from handgrad.compare.diagnosis.bits import Observed, multiple
from handgrad.compare.diagnosis.edits.edit import CURIOUS, LEFT_OUT, OPERAND, OTHER, Edit, Words, apply, read
from handgrad.compare.diagnosis.edits.operands import FORMULAS, NEAR, formula
from handgrad.compare.diagnosis.edits.segment import Segment
from handgrad.compare.facts.causes import Cause, DerivativeTooMuch, Scaled, WrongSign, Zero
from handgrad.compare.facts.edits import Clipped, ExtraTerm, FactorForm, OperandPlaces
from handgrad.compare.facts.operands import Copied, WrongTerm
from handgrad.compare.names import of_gradient
from handgrad.compare.oracle.graph import Node, Values, reached
from handgrad.compare.thresholds import FITTED

ROUND = tuple(digit * 10.0**k for k in range(-6, 7) for digit in (1, 2, 2.5, 3, 4, 5, 8))
DERIVATIVES = ("{} (1 - {})", "(1 - {}^2)", "tanh'({})", "sigmoid'({})", "[{} > 0]")  # of activations
EXTRA: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"extra": torch.mul, "extra-divisor": torch.div}


# --- relations of the tensor and what it should be


def whole(segment: Segment, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """Its sign, zero, its entries in other places, a named factor."""
    node = segment.target
    shape = node.value.shape
    yield Edit(0, LEFT_OUT, lambda w: WrongSign(), {node: apply(torch.neg, node)})
    yield Edit(0, LEFT_OUT, lambda w: Zero(), {node: apply(torch.zeros_like, node)})
    for axis in range(1, len(shape)):
        if shape[axis] > 1 and shape[axis - 1] > 1:
            yield _turned(node, axis - 1, axis)
    for times, name in {2.0: "2", 0.5: "1/2", **numbers}.items():
        yield _scaled(node, times, name)
        yield _scaled(node, -times, name)


def _turned(node: Node, *axes: int) -> Edit:
    return Edit(0, OPERAND, lambda w: OperandPlaces("", "reversed", axes), {node: apply(lambda x: x.flip(axes), node)})


def _scaled(node: Node, factor: float, name: str) -> Edit:
    return Edit(0, LEFT_OUT, lambda w: Scaled(factor, (name,)), {node: apply(lambda x: factor * x, node)})


def clipped(segment: Segment, observed: Observed) -> Iterator[Edit]:
    """Clipped at a round number: entry by entry, or in its length."""
    node = segment.target
    bound, length = (_round(float(size)) for size in (observed.recorded.abs().max(), observed.recorded.norm()))
    if bound:
        cut = apply(lambda x: x.clamp(-bound, bound), node)
        yield Edit(2, LEFT_OUT, lambda w: Clipped(bound), {node: cut})
    if length:
        short = apply(lambda x: x * (length / x.norm()).clamp(max=1.0), node)
        yield Edit(2, LEFT_OUT, lambda w: Clipped(length, by_length=True), {node: short})


def _round(value: float) -> float:
    """The round number that a value is, or 0."""
    return next((each for each in ROUND if abs(value / each - 1) < FITTED), 0.0)


# --- what does not belong


def inserted(segment: Segment) -> Iterator[Edit]:
    """What does not belong: a term or a factor too much, another tensor altogether."""
    node = segment.target
    if not node.value.is_floating_point():
        return
    graph = segment.graph
    record = [graph.inputs[segment.name]] if segment.name in graph.inputs else []
    after = {*reached(graph.nodes, record)}  # may be the record again, which says nothing of it
    for name, other in graph.outputs.items():
        if other is not node and other not in after and other.value.shape == node.value.shape:
            yield _held(node, name, other)
    for other in segment.alike(node):
        yield _copied(node, other)
    yield from extra(segment, node)


def _held(node: Node, name: str, other: Node) -> Edit:
    return Edit(2, OPERAND, lambda w: Copied(name), {node: lambda v: v(other)})


def _copied(node: Node, other: Node) -> Edit:
    return Edit(3, OPERAND, lambda w: Copied(w(other)), {node: read(other)})


def at_named_steps(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """The same terms and factors in a named step before the tensor."""
    if node is not segment.target and node in segment.labels and not node.name and node.value.ndim:
        yield from extra(segment, node)


def extra(segment: Segment, node: Node) -> Iterator[Edit]:
    """A term or a factor of a tensor in scope that is too much in a step, or a factor that is missing there."""
    for other in segment.alike(node):
        if other in segment.labels or segment.distance.get(other, NEAR + 1) <= NEAR:
            yield from _extra(segment, node, other)


def _extra(segment: Segment, node: Node, other: Node) -> Iterator[Edit]:
    label, is_target = segment.labels.get(other, ""), node is segment.target
    is_near = bool(label) and is_target
    tier = 1 if is_near and label == of_gradient(segment.name) else 3 if is_near else 4

    def within(words: Words) -> str:
        return "" if is_target else words(node)

    def factor(told: str, how: str) -> Edit:
        function, joined = FORMULAS.get(told, _itself), EXTRA[how]

        def cause(words: Words) -> Cause:
            times = formula(told, words(other))
            if how == "extra" and told in DERIVATIVES and is_target:
                return DerivativeTooMuch(times)
            return FactorForm(times, how, within(words))

        def change(v: Values) -> Any:
            return joined(v(node), function(v(other)))

        return Edit(2 if is_near else 4, OTHER, cause, {node: change})

    yield Edit(tier, OTHER, lambda w: ExtraTerm(w(other), within(w)), {node: lambda v: v(node) + v(other)})
    yield Edit(tier, OTHER, lambda w: ExtraTerm(f"-{w(other)}", within(w)), {node: lambda v: v(node) - v(other)})
    for told in ("{}", *FORMULAS):
        for how in EXTRA if told != "1/{}" else ():  # a factor 1/T is a divisor T
            yield factor(told, how)


def _itself(x: Tensor) -> Tensor:
    return x


# --- fitted numbers


def fitted(segment: Segment, observed: Observed) -> Iterator[Edit]:
    """One number fitted to the tensor: a multiple of a tensor in scope added, or a multiple of torch's own."""
    node = segment.target
    difference = observed.recorded - observed.reference
    for other in segment.alike(node):
        times = multiple(difference, other.value)
        if times:
            yield _term(node, other, times)
    times = multiple(observed.recorded, observed.reference)
    if times:
        changes = {node: apply(lambda x: times * x, node)}
        yield Edit(6, CURIOUS, lambda w: Scaled(times), changes, fitted=True)


def _term(node: Node, other: Node, times: float) -> Edit:
    change = {node: lambda v: v(node) + times * v(other)}
    return Edit(6, CURIOUS, lambda w: WrongTerm(times, w(other)), change, fitted=True)
