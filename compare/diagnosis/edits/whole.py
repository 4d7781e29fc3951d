"""Edits of a tensor as a whole: its sign, a named factor, its entries in other places, what is added or multiplied."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import torch
from torch import Tensor

from handgrad.compare.diagnosis.bits import Observed, multiple
from handgrad.compare.diagnosis.edits.edit import Edit, Function, Rank, apply, inside, read, says, text
from handgrad.compare.diagnosis.edits.operands import FORMULAS, NEAR, spreading
from handgrad.compare.diagnosis.edits.segment import Segment
from handgrad.compare.facts.causes import DerivativeTooMuch, Scaled, WrongSign, Zero
from handgrad.compare.facts.edits import Clipped, ExtraTerm, FactorForm, OperandPlaces
from handgrad.compare.facts.operands import Copied, WrongTerm
from handgrad.compare.names import of_gradient
from handgrad.compare.oracle.graph import Node, reached
from handgrad.compare.thresholds import FITTED

ROUND = tuple(digit * 10.0**k for k in range(-6, 7) for digit in (1, 2, 2.5, 3, 4, 5, 8))
DERIVATIVES = ("{0} (1 - {0})", "(1 - {}^2)", "tanh'({})", "sigmoid'({})", "[{} > 0]")  # of activations
EXTRA: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"extra": torch.mul, "extra-divisor": torch.div}


# --- relations of the tensor and what it should be


def whole(segment: Segment, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """Its sign, zero, its entries in other places, a named factor."""
    node = segment.target
    shape = node.value.shape
    yield Edit(0, Rank.LEFT_OUT, says(WrongSign), {node: apply(torch.neg, node)})
    yield Edit(0, Rank.LEFT_OUT, says(Zero), {node: apply(torch.zeros_like, node)})
    for axes in ((axis - 1, axis) for axis in range(1, len(shape)) if shape[axis] > 1 and shape[axis - 1] > 1):
        turned = apply(partial(torch.flip, dims=axes), node)
        yield Edit(0, Rank.OPERAND, says(OperandPlaces, "", "reversed", axes), {node: turned})
    for times, name in {2.0: "2", 0.5: "1/2", **numbers}.items():
        for factor in (times, -times):
            scaled = apply(partial(torch.mul, other=factor), node)
            yield Edit(0, Rank.LEFT_OUT, says(Scaled, factor, (name,)), {node: scaled})


def clipped(segment: Segment, observed: Observed) -> Iterator[Edit]:
    """Clipped at a round number: entry by entry, or in its length."""
    node = segment.target
    bound, length = (_round(float(size)) for size in (observed.recorded.abs().max(), observed.recorded.norm()))
    if bound:
        cut = apply(lambda x: x.clamp(-bound, bound), node)
        yield Edit(2, Rank.LEFT_OUT, says(Clipped, bound), {node: cut})
    if length:
        short = apply(lambda x: x * (length / x.norm()).clamp(max=1.0), node)
        yield Edit(2, Rank.LEFT_OUT, says(Clipped, length, True), {node: short})


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
            yield Edit(2, Rank.OPERAND, says(Copied, name), {node: read(other)})
    for other in segment.alike(node):
        yield Edit(3, Rank.OPERAND, says(Copied, other), {node: read(other)})
    yield from _extra(segment, node)


def at_named_steps(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """The same terms and factors in a named step before the tensor."""
    if node is not segment.target and node in segment.labels and not node.name and node.value.ndim:
        yield from _extra(segment, node)


def _extra(segment: Segment, node: Node) -> Iterator[Edit]:
    """A term or a factor of a tensor in scope that is too much in a step, or a factor that is missing there."""
    is_target, where = node is segment.target, inside(segment, node)
    for other in filter(partial(_is_at_hand, segment), segment.alike(node)):
        label = segment.labels.get(other, "")
        is_near = bool(label) and is_target
        tier = 1 if is_near and label == of_gradient(segment.name) else 3 if is_near else 4
        yield Edit(tier, Rank.OTHER, says(ExtraTerm, other, where), {node: apply(torch.add, node, other)})
        yield Edit(tier, Rank.OTHER, says(ExtraTerm, text("-{}", other), where), {node: apply(torch.sub, node, other)})
        for told, function in FORMULAS.items():
            for how in EXTRA if told != "1/{}" else ():  # a factor 1/T is a divisor T
                is_derivative = how == "extra" and told in DERIVATIVES and is_target
                times = text(told, other)
                cause = says(DerivativeTooMuch, times) if is_derivative else says(FactorForm, times, how, where)
                change = apply(partial(_joined, EXTRA[how], function), node, other)
                yield Edit(2 if is_near else 4, Rank.OTHER, cause, {node: change})
    for other in filter(partial(_is_at_hand, segment), spreading(segment, node)):
        for how, join in EXTRA.items():
            cause = says(FactorForm, text("{}", other), how, where)
            yield Edit(4, Rank.OTHER, cause, {node: apply(join, node, other)})
    for other in segment.scope.get(tuple(node.value.shape[:1]), ()) if node.value.ndim == 2 else ():
        if other in segment.labels and other.value.is_floating_point():
            cause = says(FactorForm, text("{}", other), "extra", where)
            yield Edit(4, Rank.OTHER, cause, {node: apply(_of_each_row, node, other)})


def _is_at_hand(segment: Segment, other: Node) -> bool:
    """Whether somebody may have a tensor at hand: it has a name, or is a few steps away."""
    return other in segment.labels or segment.distance.get(other, NEAR + 1) <= NEAR


def _of_each_row(x: Tensor, other: Tensor) -> Tensor:
    return x * other.unsqueeze(1)


def _joined(join: Callable[[Tensor, Tensor], Tensor], function: Function, x: Tensor, other: Tensor) -> Tensor:
    return join(x, function(other))


# --- fitted numbers


def fitted(segment: Segment, observed: Observed) -> Iterator[Edit]:
    """One number fitted to the tensor: a multiple of a tensor in scope added, or a multiple of torch's own."""
    node = segment.target
    difference = observed.recorded - observed.reference
    for other in segment.alike(node):
        times = multiple(difference, other.value)
        if times:
            added = apply(partial(torch.add, alpha=times), node, other)
            yield Edit(6, Rank.CURIOUS, says(WrongTerm, times, other), {node: added}, fitted=True)
    times = multiple(observed.recorded, observed.reference)
    if times:
        yield Edit(
            6, Rank.CURIOUS, says(Scaled, times), {node: apply(partial(torch.mul, other=times), node)}, fitted=True
        )
