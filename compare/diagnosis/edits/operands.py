"""Another tensor in an operand's place: itself in another way, another one in scope, a formula of one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import combinations

import torch
from torch import Tensor

from handgrad.compare.diagnosis.edits.edit import Edit, Function, Rank, apply, is_like, read, says, text, where_taken
from handgrad.compare.diagnosis.edits.segment import Segment
from handgrad.compare.facts.causes import LabelsSwapped
from handgrad.compare.facts.edits import OneForAll, OperandPlaces, OperandsExchanged, OtherOperand, TermSign, TermTimes
from handgrad.compare.facts.operands import OperandTransposed, Unused
from handgrad.compare.oracle.graph import Node

ITSELF = "{}"
FORMULAS: dict[str, Function] = {
    ITSELF: lambda x: x,
    "(1 - {})": lambda x: 1 - x,
    "{0} (1 - {0})": lambda x: x * (1 - x),
    "(1 - {}^2)": lambda x: 1 - x * x,
    "{}^2": lambda x: x * x,
    "tanh'({})": lambda x: 1 - torch.tanh(x) ** 2,
    "sigmoid'({})": lambda x: torch.sigmoid(x) * (1 - torch.sigmoid(x)),
    "[{} > 0]": lambda x: (x > 0).double(),
    "[{} >= 0]": lambda x: (x >= 0).double(),
    "tanh({})": torch.tanh,
    "sigmoid({})": torch.sigmoid,
    "exp({})": torch.exp,
    "log({})": torch.log,
    "relu({})": torch.relu,
    "(1 + {}^2)": lambda x: 1 + x * x,
    "1/{}": lambda x: 1 / x,
    "sqrt({})": torch.sqrt,
    "|{}|": torch.abs,
    "the sign of {}": torch.sign,
}
TOTALS: dict[str, Callable[..., Tensor]] = {"the sum": torch.sum, "the mean": torch.mean}
NEAR = 6  # steps: an unnamed tensor further away is no candidate for a factor


def operands(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """A step's own tensor in another way: its negative, nothing, 1 minus it, twice or half, entries in other places."""
    value = node.value
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return
    if node is not segment.target:
        yield Edit(2, Rank.SIGN, says(_negative, node), {node: apply(torch.neg, node)})
        yield Edit(2, Rank.LEFT_OUT, says(Unused, node), {node: apply(torch.zeros_like, node)})
    if node.name and value.numel() and bool((value >= 0).all() and (value <= 1).all()):
        is_computed = node.name in segment.graph.outputs
        cause = says(OtherOperand, text("1 - {}", node), node) if is_computed else says(LabelsSwapped, node)
        yield Edit(1, Rank.OPERAND, cause, {node: apply(lambda x: 1 - x, node)})
    yield _multiple(node, 3, 2.0, "twice")
    yield _multiple(node, 3, 0.5, "half of")
    yield from _places(node)


def _negative(term: str) -> TermSign:
    return TermSign((term,))


def _multiple(node: Node, tier: int, times: float, name: str) -> Edit:
    return Edit(tier, Rank.SIZE, says(TermTimes, node, name, times), {node: apply(lambda x: times * x, node)})


def _places(node: Node) -> Iterator[Edit]:
    """Its entries in other places: transposed, shifted, reversed."""
    shape = node.value.shape
    last = (len(shape) - 2, len(shape) - 1)
    if len(shape) > 1 and shape[-1] == shape[-2] > 1:
        yield Edit(2, Rank.OPERAND, says(OperandTransposed, node), {node: apply(lambda x: x.mT, node)})
    for axis in range(len(shape)):
        if shape[axis] < 2:
            continue
        yield _moved(node, "earlier", partial(torch.roll, shifts=1, dims=axis), axis)
        yield _moved(node, "later", partial(torch.roll, shifts=-1, dims=axis), axis)
        yield _moved(node, "earlier-zero", partial(_shifted, axis=axis), axis)
        yield _moved(node, "reversed", partial(torch.flip, dims=[axis]), axis)
        for other in range(axis + 1, len(shape)):
            if shape[axis] == shape[other] and (axis, other) != last:
                exchanged = partial(torch.transpose, dim0=axis, dim1=other)
                yield _moved(node, "exchanged", exchanged, axis, other)


def _moved(node: Node, how: str, function: Function, *axes: int) -> Edit:
    return Edit(3, Rank.OPERAND, says(OperandPlaces, node, how, axes), {node: apply(function, node)})


def _shifted(x: Tensor, axis: int) -> Tensor:
    shifted = x.roll(1, axis)
    shifted.select(axis, 0).zero_()
    return shifted


def multiples(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """A named multiple or number, its square or root; of an axis the first index for all, or each minus their mean."""
    value = node.value
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return
    for axis in range(value.ndim):
        if value.shape[axis] > 1:
            first = apply(partial(torch.narrow, dim=axis, start=0, length=1), node)
            yield Edit(4, Rank.OTHER, says(OneForAll, node, axis), {node: first})
            told = text(f"{{}} minus its mean along axis {axis}", node)
            yield Edit(4, Rank.OTHER, says(OtherOperand, told, node), {node: apply(partial(_centred, axis=axis), node)})
            for name, total in TOTALS.items():
                told, along = text(f"{name} of {{}} over axis {axis}", node), partial(total, dim=axis, keepdim=True)
                yield Edit(4, Rank.OTHER, says(OtherOperand, told, node), {node: apply(along, node)})
    for times, name in numbers.items():
        yield _multiple(node, 4, times, f"{name} times")
        if value.numel() == 1:  # as the number of examples for the sum of their weights
            full = apply(partial(torch.full_like, fill_value=times), node)
            yield Edit(4, Rank.CONSTANT, says(OtherOperand, name, node), {node: full})
    yield _other(node, node, 4, Rank.POWER, "{}^2")
    if bool((value >= 0).all()):
        yield _other(node, node, 4, Rank.POWER, "sqrt({})")


def _centred(x: Tensor, axis: int) -> Tensor:
    return x - x.mean(axis, keepdim=True)


# --- other tensors


def named_tensors(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """A tensor in scope that has a name, of the same shape."""
    return _others(node, (other for other in segment.alike(node) if other in segment.labels), 3)


def other_tensors(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """One that has none, or one that spreads to the shape."""
    yield from _others(node, (other for other in segment.alike(node) if other not in segment.labels), 4)
    yield from _others(node, spreading(segment, node), 4)


def skipped(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """What the step was made from: the step is forgotten."""
    return (_other(node, parent, 3, Rank.LEFT_OUT) for parent in node.parents if is_like(parent, node))


def formulas(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """A formula of itself, or of another of the same shape."""
    value = node.value
    if node is segment.target or not isinstance(value, Tensor) or not value.is_floating_point() or not value.ndim:
        return
    for other in (node, *segment.alike(node)):
        if other in segment.labels or other in segment.distance:
            yield from (_other(node, other, 5, Rank.CONSTANT, told) for told in FORMULAS if told != ITSELF)


def exchanged(segment: Segment) -> Iterator[Edit]:
    """Two inputs or records, each in the place of the other."""
    named = [n for n in segment.steps if n.name and n.value.is_floating_point() and n.value.numel() > 1]
    behind = [step for step in segment.steps if step.place is not None and step.place.is_backward]
    for one, other in combinations(named, 2):
        if one.value.shape == other.value.shape:
            instead = {one: read(other), other: read(one)}
            yield Edit(3, Rank.OPERAND, says(OperandsExchanged, one, other), instead)
            backward = where_taken(instead, behind)
            if backward:
                yield Edit(3, Rank.OPERAND, says(OperandsExchanged, one, other, True), backward)


def _others(node: Node, others: Iterable[Node], tier: int) -> Iterator[Edit]:
    return (_other(node, other, tier, Rank.OPERAND) for other in others)


def _other(node: Node, other: Node, tier: int, rank: Rank, told: str = ITSELF) -> Edit:
    return Edit(tier, rank, says(OtherOperand, text(told, other), node), {node: apply(FORMULAS[told], other)})


def spreading(segment: Segment, node: Node) -> Iterator[Node]:
    """The tensors in scope that spread to the shape."""
    shape = tuple(node.value.shape) if isinstance(node.value, Tensor) else ()
    for small, others in segment.scope.items():
        if small and small != shape and _spreads(small, shape):
            yield from (each for each in others if each.value.dtype == node.value.dtype and each.value.numel() > 1)


def _spreads(small: tuple[int, ...], large: tuple[int, ...]) -> bool:
    if len(small) > len(large):
        return False
    return all(m in (1, n) for m, n in zip(small[::-1], large[::-1], strict=False))
