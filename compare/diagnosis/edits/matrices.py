"""Edits of matrix products, transposes, parts and scatters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations
from typing import Any

import torch
from torch import Tensor

from handgrad.compare.diagnosis.edits.edit import MOST_INDICES, Edit, Rank, apply, inside, read, redo, says, text
from handgrad.compare.diagnosis.edits.segment import Change, Segment
from handgrad.compare.facts import edits as mistakes
from handgrad.compare.facts.operands import OperandTransposed
from handgrad.compare.oracle.graph import Node, Values

PRODUCTS = ("mm", "bmm")
PARTS, MOST_PARTS = ("slice", "select", "split"), 4


# --- products


def products_of_matrices(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """Operands transposed, in the other order, entry by entry, or some of the summed numbers left out."""
    if node.kind not in PRODUCTS:
        return
    one, other = node.args
    a, b = one.value, other.value
    for transposed in ((0,), (1,), (0, 1)):
        first, second = (x.mT.shape if i in transposed else x.shape for i, x in enumerate((a, b)))
        if first[-1] == second[-2] and (*first[:-1], second[-1]) == tuple(node.value.shape):
            turned: dict[int | str, Change] = {i: apply(lambda x: x.mT, node.args[i]) for i in transposed}
            told = text(" and ".join("{}" for _ in transposed), *(node.args[i] for i in transposed))
            yield Edit(1, Rank.OTHER, says(OperandTransposed, told), {node: redo(node, turned)})
    if b.shape[-2:] == a.shape[-2:][::-1] and a.shape[-1] == a.shape[-2]:
        swapped = redo(node, {0: read(other), 1: read(one)})
        yield Edit(1, Rank.OTHER, says(mistakes.OperandOrder, text("{} @ {}", other, one), node), {node: swapped})
    if a.shape == b.shape == node.value.shape:
        told = text("{} * {}, entry by entry,", one, other)
        yield Edit(1, Rank.OTHER, says(mistakes.OperandOrder, told, node), {node: apply(torch.mul, one, other)})
    size, where = a.shape[-1], inside(segment, node)
    mean = {node: apply(lambda x: x / size, node)}
    yield Edit(2, Rank.OTHER, says(mistakes.OtherReduction, "the mean", "the sum", node, where), mean)
    for index in range(size if 1 < size <= MOST_INDICES else 0):
        part = redo(node, {0: _one_of(one, -1, index), 1: _one_of(other, -2, index)})
        if index in (0, size - 1):
            yield Edit(2, Rank.OTHER, says(mistakes.PartOfSum, other, 0, index, True, where), {node: part})
        yield Edit(3, Rank.OTHER, says(mistakes.PartOfSum, other, 0, index, False, where), {node: _rest(node, part)})


def _one_of(node: Node, axis: int, index: int) -> Change:
    return apply(lambda x: x.narrow(axis, index, 1), node)


def _rest(node: Node, part: Change) -> Change:
    return lambda v: v(node) - part(v)


def factors_inside(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """A factor of what a matrix product gives that multiplies an operand of it instead: (r * h) @ U for r * (h @ U)."""
    if node.kind != "mul":
        return
    for factor, rest in (node.args[:2], node.args[1::-1]):
        if not isinstance(factor, Node) or not isinstance(rest, Node):
            continue
        for product in (rest, *rest.parents):
            for i, operand in enumerate(product.args[:2] if product.kind in PRODUCTS else ()):
                if operand.value.shape == factor.value.shape:
                    inner = redo(product, {i: apply(torch.mul, operand, factor)})
                    yield Edit(
                        2, Rank.OTHER, says(mistakes.FactorInside, factor, operand), {product: inner, node: read(rest)}
                    )


# --- places


def parts(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """The parts that a tensor is split in, taken in another order."""
    taken = [each for each in segment.graph.nodes if node in each.parents and each.kind in PARTS]
    if len(taken) == 1 and taken[0].kind == "split":
        taken = [each for each in segment.graph.nodes if taken[0] in each.parents]
    if not 2 <= len(taken) <= MOST_PARTS or len({_shape(each) for each in taken}) > 1:
        return
    for order in permutations(range(len(taken))):
        moved = [(taken[i], taken[j]) for i, j in enumerate(order) if i != j and taken[i] in segment.distance]
        changes = {part: redo(other, {}) for part, other in moved}  # all are parts of one tensor
        if changes:
            yield _reordered(node, order, changes)


def joined(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """The tensors that are joined to one, or the indices that one is looked up by, in another order."""
    at = {"cat": 0, "index": 1, "index_put": 1}.get(node.kind)
    given = () if at is None else node.args[at]
    if at is None or not all(isinstance(each, Node) for each in given) or len({*map(_shape, given)}) > 1:
        return
    for order in permutations(range(len(given))) if len(given) <= MOST_PARTS else ():
        if order != tuple(sorted(order)):
            yield _reordered(node, order, {node: redo(node, {at: _in_order(given, order)})})


def _in_order(parts: Sequence[Node], order: Sequence[int]) -> Change:
    return lambda v: [v(parts[i]) for i in order]


def _shape(node: Node) -> tuple[int, ...]:
    return tuple(node.value.shape) if isinstance(node.value, Tensor) else ()


def _reordered(node: Node, order: tuple[int, ...], changes: Mapping[Node, Change]) -> Edit:
    return Edit(2, Rank.OPERAND, says(mistakes.PartsReordered, node, order), changes)


def transposes(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """A transpose left out where the shape allows it; a view read as if it were contiguous."""
    if node.kind not in ("t", "transpose", "permute", "slice") or not isinstance(node.args[0], Node):
        return
    of, shape = node.args[0], node.value.shape
    if node.kind != "slice" and of.value.shape == shape:
        yield Edit(1, Rank.LEFT_OUT, says(OperandTransposed, of), {node: read(of)})
        return

    def in_memory(v: Values) -> Any:
        base = v(of).contiguous()
        start = node.operation(base, *node.args[1:], **node.kwargs).storage_offset()
        return base.flatten()[start:][: node.value.numel()].reshape(shape)

    yield Edit(2, Rank.OPERAND, says(mistakes.OperandPlaces, node, "in-memory", ()), {node: in_memory})


def layouts(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """Axes that a view joins to one, or makes of one, in another order."""
    if node.kind not in ("view", "_unsafe_view", "reshape") or not isinstance(node.args[0], Node):
        return
    of, large, small = node.args[0], node.value.shape, node.args[0].value.shape
    splits = len(large) > len(small)
    large, small = (large, small) if splits else (small, large)
    first = next((i for i, (a, b) in enumerate(zip(large, small, strict=False)) if a != b), len(small))
    count = len(large) - len(small) + 1
    if not 2 <= count <= MOST_PARTS or large[first + count :] != small[first + 1 :]:
        return
    for order in permutations(range(first, first + count)):
        if order != tuple(sorted(order)):
            axes = [*range(first), *order, *range(first + count, len(large))]
            back = [axes.index(axis) for axis in range(len(large))]
            other = [large[axis] for axis in axes]

            def split(x: Tensor, other: Sequence[int] = other, back: Sequence[int] = back) -> Tensor:
                return x.reshape(other).permute(*back)

            def join(x: Tensor, axes: Sequence[int] = axes) -> Tensor:
                return x.permute(*axes).reshape(node.value.shape)

            cause = says(mistakes.OperandPlaces, of if not splits else node, "regrouped", tuple(sorted(order)))
            yield Edit(2, Rank.OPERAND, cause, {node: apply(split if splits else join, of)})


def scatters(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """Rows overwritten that should be added up."""
    if node.kind == "index_put" and len(node.args) > 3 and node.args[3]:
        yield Edit(1, Rank.OTHER, says(mistakes.RowsOverwritten), {node: redo(node, {3: read(False)})})


# --- settings


def settings(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """A switch of an operation the other way, as align_corners."""
    if not hasattr(node.operation, "_schema"):
        return
    for i, (argument, value) in enumerate(zip(node.operation._schema.arguments, node.args, strict=False)):
        if isinstance(value, bool):
            changes = {node: redo(node, {i: read(not value)})}
            yield Edit(2, Rank.OTHER, says(mistakes.Setting, argument.name, not value, node.kind), changes)
