"""Another tensor in an operand's place: itself in another way, another one in scope, a formula of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from handgrad.compare.diagnosis.edits.edit import (
    CONSTANT,
    LEFT_OUT,
    OPERAND,
    OTHER,
    POWER,
    SIGN,
    SIZE,
    Edit,
    Function,
    Words,
    apply,
    is_like,
    read,
    redo,
)
from handgrad.compare.diagnosis.edits.segment import Change, Segment
from handgrad.compare.facts.causes import Cause, LabelsSwapped
from handgrad.compare.facts.edits import OneForAll, OperandPlaces, OtherOperand, TermSign, TermTimes
from handgrad.compare.facts.operands import OperandTransposed, Unused
from handgrad.compare.oracle.graph import Node

FORMULAS: dict[str, Function] = {
    "(1 - {})": lambda x: 1 - x,
    "{} (1 - {})": lambda x: x * (1 - x),
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
Place = tuple[int, int | None]  # of an argument, and within a list that is one
NEAR = 6  # steps: an unnamed tensor further away is no candidate for a factor


def formula(told: str, name: str) -> str:
    """A formula of a tensor, with the name that the tensor has."""
    return told.replace("{}", name)


@dataclass(frozen=True)
class Instead:
    """What may stand in an operand's place; the cause is told where: a formula, or nothing for everywhere."""

    tier: int
    rank: int
    cause: Callable[[Words, str], Cause]
    change: Change

    def everywhere(self, node: Node) -> Edit:
        """In the place of a step."""
        return Edit(self.tier, self.rank, lambda w: self.cause(w, ""), {node: self.change})

    def at(self, node: Node, place: Place) -> Edit:
        """As one argument of a step, or one of a list that it takes, and no other's."""
        change = with_other(node, place, self.change)
        return Edit(max(self.tier, 3), self.rank, lambda w: self.cause(w, w(node)), {node: change})


def with_other(node: Node, place: Place, change: Change) -> Change:
    """A step done again with something else in one place."""
    i, k = place
    return redo(node, {i: change if k is None else _in_list(node.args[i], k, change)})


def _in_list(given: Sequence[Any], k: int, change: Change) -> Change:
    return lambda v: [change(v) if j == k else v(each) for j, each in enumerate(given)]


def operands(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """A step's own tensor in another way: its negative, nothing, multiples, its entries in other places."""
    for instead in _itself(segment, node):
        yield instead.everywhere(node)


def multiples(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """A named multiple of it, its square or root."""
    for instead in _multiples(node, numbers):
        yield instead.everywhere(node)


def named_tensors(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """A tensor that has a name in a step's place."""
    for instead in _others(segment, node, segment.is_named):
        yield instead.everywhere(node)


def other_tensors(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """One that has none, or one that spreads to the shape."""
    for instead in (*_others(segment, node, segment.is_unnamed), *_spread(segment, node)):
        yield instead.everywhere(node)


def formulas(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """A formula of one."""
    for instead in _formulas(segment, node):
        yield instead.everywhere(node)


def at_one_use(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """A step's own tensor in another way, or one that has a name, at one of several steps that take it."""
    for place, each in shared(segment, node):
        for instead in (*_itself(segment, each), *_skipped(each), *_others(segment, each, segment.is_named)):
            yield instead.at(node, place)


def others_at_one_use(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """One that has none there."""
    for place, each in shared(segment, node):
        others = _others(segment, each, segment.is_unnamed)
        for instead in (*_multiples(each, numbers), *others, *_spread(segment, each)):
            yield instead.at(node, place)


def shared(segment: Segment, node: Node) -> Iterator[tuple[Place, Node]]:
    """What a step takes and others take as well, with its place, and that in a list."""
    places: list[tuple[Place, Any]] = [((i, None), each) for i, each in enumerate(node.args)]
    places += [((i, k), each) for i, of in enumerate(node.args) if isinstance(of, list) for k, each in enumerate(of)]
    for place, each in places:
        if isinstance(each, Node) and any(len(segment.users[mate]) > 1 for mate in segment.mates.get(each, (each,))):
            yield place, each


def _itself(segment: Segment, node: Node) -> Iterator[Instead]:
    if isinstance(node.value, Tensor) and node.value.is_floating_point():
        yield from _own(segment, node)
        yield from _places(node)


# --- formulas of the operand itself


def _own(segment: Segment, node: Node) -> Iterator[Instead]:
    """Its negative, nothing, 1 minus it, a row of it, twice and half of it."""
    if node is not segment.target:
        yield Instead(2, SIGN, lambda w, at: TermSign((w(node),), at), apply(torch.neg, node))
        yield Instead(2, LEFT_OUT, lambda w, at: Unused(w(node)), apply(torch.zeros_like, node))
    value = node.value
    if node.name and value.numel() and bool((value >= 0).all() and (value <= 1).all()):
        is_computed = node.name in segment.graph.outputs

        def cause(w: Words, at: str) -> Cause:
            return OtherOperand(f"1 - {w(node)}", w(node)) if is_computed else LabelsSwapped(w(node))

        yield Instead(1, OPERAND, cause, apply(lambda x: 1 - x, node))
    for times, name in {2.0: "twice", 0.5: "half of"}.items():
        yield _multiple(node, 3, times, name)


def _multiples(node: Node, numbers: Mapping[float, str]) -> Iterator[Instead]:
    value = node.value
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return
    for axis in range(value.ndim):
        if value.shape[axis] > 1:
            yield from _of_an_axis(node, axis)
    for times, name in numbers.items():
        yield _multiple(node, 4, times, f"{name} times")
        if value.numel() == 1:
            yield _number(node, times, name)
    yield _own_formula(node, 4, POWER, "{}^2", lambda x: x * x)
    if bool((value >= 0).all()):
        yield _own_formula(node, 4, POWER, "sqrt({})", torch.sqrt)


def _number(node: Node, number: float, name: str) -> Instead:
    """A number in place of what is computed, as the number of examples for the sum of their weights."""
    return Instead(
        4,
        CONSTANT,
        lambda w, at: OtherOperand(name, w(node), at),
        apply(partial(torch.full_like, fill_value=number), node),
    )


def _own_formula(node: Node, tier: int, rank: int, told: str, function: Function) -> Instead:
    return Instead(tier, rank, lambda w, at: OtherOperand(formula(told, w(node)), w(node), at), apply(function, node))


def _of_an_axis(node: Node, axis: int) -> Iterator[Instead]:
    yield Instead(4, OTHER, lambda w, at: OneForAll(w(node), axis), apply(lambda x: x.narrow(axis, 0, 1), node))
    told = f"{{}} minus its mean along axis {axis}"
    yield _own_formula(node, 4, OTHER, told, lambda x: x - x.mean(axis, keepdim=True))


def _multiple(node: Node, tier: int, times: float, name: str) -> Instead:
    return Instead(tier, SIZE, lambda w, at: TermTimes(w(node), name, times, at), apply(lambda x: times * x, node))


def _places(node: Node) -> Iterator[Instead]:
    """Its entries in other places: transposed, shifted, reversed."""
    shape = node.value.shape
    if len(shape) > 1 and shape[-1] == shape[-2] > 1:
        yield Instead(2, OPERAND, lambda w, at: OperandTransposed(w(node)), apply(lambda x: x.mT, node))
    for axis in range(len(shape)):
        if shape[axis] > 1:
            yield from _moved(node, axis)


def _moved(node: Node, axis: int) -> Iterator[Instead]:
    def moved(how: str, function: Function, *axes: int) -> Instead:
        return Instead(3, OPERAND, lambda w, at: OperandPlaces(w(node), how, axes, at), apply(function, node))

    def exchanged(other: int) -> Instead:
        return moved("exchanged", lambda x: x.transpose(axis, other), axis, other)

    yield moved("earlier", lambda x: x.roll(1, axis), axis)
    yield moved("later", lambda x: x.roll(-1, axis), axis)
    yield moved("earlier-zero", lambda x: _shifted(x, axis), axis)
    yield moved("reversed", lambda x: x.flip(axis), axis)
    shape = node.value.shape
    for other in range(axis + 1, len(shape)):
        if shape[axis] == shape[other] and (axis, other) != (len(shape) - 2, len(shape) - 1):
            yield exchanged(other)


def _shifted(x: Tensor, axis: int) -> Tensor:
    shifted = x.roll(1, axis)
    shifted.select(axis, 0).zero_()
    return shifted


# --- other tensors


def _others(segment: Segment, node: Node, among: Callable[[Node], bool]) -> Iterator[Instead]:
    """Other tensors in scope of the same shape."""
    if isinstance(node.value, Tensor):
        for other in filter(among, segment.alike(node)):
            yield _other(node, other, 3 if segment.is_named(other) else 4, OPERAND)


def _skipped(node: Node) -> Iterator[Instead]:
    """What the step was made from: the step is forgotten."""
    for parent in node.parents:
        if is_like(parent, node):
            yield _other(node, parent, 3, LEFT_OUT)


def _spread(segment: Segment, node: Node) -> Iterator[Instead]:
    """Those that spread to the shape."""
    shape = tuple(node.value.shape) if isinstance(node.value, Tensor) else ()
    for other_shape, others in segment.scope.items() if shape else ():
        if other_shape in (shape, ()) or not _spreads(other_shape, shape):
            continue
        for other in others:
            if other.value.dtype == node.value.dtype and other.value.numel() > 1 and other is not node:
                yield _other(node, other, 4, OPERAND)


def _formulas(segment: Segment, node: Node) -> Iterator[Instead]:
    """Formulas of itself and of others of the same shape."""
    value = node.value
    if node is segment.target or not isinstance(value, Tensor) or not value.is_floating_point() or not value.ndim:
        return
    for other in (node, *segment.alike(node)):
        if other in segment.labels or other in segment.distance:
            for told in FORMULAS:
                yield _other(node, other, 5, CONSTANT, told)


def _other(node: Node, other: Node, tier: int, rank: int, told: str = "{}") -> Instead:
    change = apply(FORMULAS[told], other) if told in FORMULAS else read(other)
    return Instead(tier, rank, lambda w, at: OtherOperand(formula(told, w(other)), w(node), at), change)


def _spreads(small: tuple[int, ...], large: tuple[int, ...]) -> bool:
    if len(small) > len(large):
        return False
    return all(m in (1, n) for m, n in zip(small[::-1], large[::-1], strict=False))
