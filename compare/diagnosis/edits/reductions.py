"""Edits of sums, means and maxima along axes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor

from handgrad.compare.diagnosis.edits.edit import MOST_INDICES, Edit, Function, Rank, apply, inside, read, says
from handgrad.compare.diagnosis.edits.segment import Change, Segment
from handgrad.compare.facts.edits import NotReduced, OtherReduction, PartOfSum
from handgrad.compare.oracle.graph import Node, Values

KINDS = {"sum": "the sum", "mean": "the mean", "amax": "the maximum", "amin": "the minimum", "prod": "the product"}
ALONG: dict[str, Callable[..., Tensor]] = {
    "sum": torch.sum, "mean": torch.mean, "amax": torch.amax, "amin": torch.amin, "prod": torch.prod,
}  # fmt: skip


def reductions(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """The mean for the sum, other axes, all axes, parts alone or left out, entry by entry."""
    if node.kind == "cumsum":
        yield from _cumulative(segment, node)
    if node.kind not in KINDS or not isinstance(node.args[0], Node):
        return
    of, axes = node.args[0], axes_of(node)
    count = prod(of.value.shape[axis] for axis in axes)
    if count < 2:
        return
    kind, due, where = KINDS[node.kind], due_of(node), inside(segment, node)

    def edit(tier: int, used: str, function: Function, rank: Rank = Rank.OTHER) -> Edit:
        return Edit(tier, rank, says(OtherReduction, used, due, of, where), {node: _shaped(node, of, function)})

    def times(size: int) -> Iterator[Edit]:
        yield edit(2, f"{size} times {kind}", lambda x: size * _reduced(node, x))
        yield edit(2, f"1/{size} of {kind}", lambda x: _reduced(node, x) / size)

    if node.kind != "mean":
        yield edit(1, "the mean", lambda x: x.mean(axes, keepdim=True), Rank.LEFT_OUT)
    if node.kind != "sum":
        yield edit(1, "the sum", lambda x: x.sum(axes, keepdim=True), Rank.LEFT_OUT)
    scale = count if node.kind == "mean" else 1
    yield edit(1, f"the {'mean' if node.kind == 'mean' else 'sum'} of all", lambda x: _of_all(node, x))
    yield edit(2, f"1/({count} - 1) of the sum", lambda x: x.sum(axes, keepdim=True) / (count - 1))
    yield edit(2, "the maximum", lambda x: x.amax(axes, keepdim=True), Rank.CURIOUS)
    yield edit(2, "the minimum", lambda x: x.amin(axes, keepdim=True), Rank.CURIOUS)
    for axis in axes if len(axes) > 1 else ():
        yield from times(of.value.shape[axis])
    if node.kind in ("sum", "mean"):
        yield from _parts(segment, node, axes, scale)
    yield Edit(1, Rank.OTHER, says(NotReduced, due, of, where), {node: read(of)})


def other_axes(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """The same along another axis, where the shape is the step's own or spreads to it."""
    if node.kind not in KINDS or not isinstance(node.args[0], Node):
        return
    of, axes, keeps = node.args[0], axes_of(node), node.value.ndim == node.args[0].value.ndim
    shape = of.value.shape
    for axis in range(len(shape)):
        if [axis] != axes and (keeps or len(axes) > 1 or shape[axis] == shape[axes[0]]):
            cause = says(
                OtherReduction, f"{KINDS[node.kind]} {_along([axis])}", due_of(node), of, inside(segment, node)
            )
            along = partial(ALONG[node.kind], dim=axis, keepdim=keeps)
            yield Edit(1, Rank.OTHER, cause, {node: _shaped(node, of, along)})


def due_of(node: Node) -> str:
    """What a step is: the sum over axis 1."""
    return f"{KINDS[node.kind]} {_along(axes_of(node))}"


def axes_of(node: Node) -> list[int]:
    """The axes along which a step reduces, from 0."""
    ndim = node.args[0].value.ndim
    given = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
    if given is None or given == []:
        return [*range(ndim)]
    return [axis % ndim for axis in ([given] if isinstance(given, int) else given)]


def _along(axes: list[int]) -> str:
    return f"over axis {' and '.join(map(str, axes))}"


def _reduced(node: Node, x: Tensor) -> Tensor:
    """What the step gives of a tensor, with its axes kept."""
    axes = axes_of(node)
    if node.kind == "prod":
        return x.prod(axes[0], keepdim=True) if len(axes) == 1 else x.prod().reshape([1] * x.ndim)
    return ALONG[node.kind](x, axes, True)


def _shaped(node: Node, of: Node, function: Function) -> Change:
    """A reduced tensor in the step's shape, where the step drops the axes that it reduces."""

    def shaped(v: Values) -> Any:
        value = function(v(of))
        keeps = node.value.ndim == of.value.ndim or value.numel() != node.value.numel()
        return value if keeps else value.reshape(node.value.shape)

    return shaped


def _of_all(node: Node, x: Tensor) -> Tensor:
    total = x.mean() if node.kind == "mean" else x.sum()
    return total.reshape([1] * node.value.ndim).expand(node.value.shape)


def _parts(segment: Segment, node: Node, axes: list[int], scale: int) -> Iterator[Edit]:
    """Each index of each axis."""
    for axis in axes:
        size = node.args[0].value.shape[axis]
        for index in range(size if 1 < size <= MOST_INDICES else 0):
            yield from _part(segment, node, axis, index, scale)


def _part(segment: Segment, node: Node, axis: int, index: int, scale: int) -> Iterator[Edit]:
    """One index of an axis left out; the first and the last also alone."""
    of, axes, shape = node.args[0], axes_of(node), node.value.shape
    where = inside(segment, node)

    def only(x: Tensor) -> Tensor:
        return x.narrow(axis, index, 1).sum(axes)

    if index in (0, of.value.shape[axis] - 1):
        alone = apply(lambda x: only(x).reshape(shape), of)
        yield Edit(1, Rank.OTHER, says(PartOfSum, of, axis, index, True, where), {node: alone})
    rest = apply(lambda x: ((x.sum(axes) - only(x)) / scale).reshape(shape), of)
    yield Edit(2, Rank.OTHER, says(PartOfSum, of, axis, index, False, where), {node: rest})


def _cumulative(segment: Segment, node: Node) -> Iterator[Edit]:
    of, axis = node.args[:2]
    due = "the cumulative sum"
    yield Edit(1, Rank.LEFT_OUT, says(NotReduced, due, of), {node: read(of)})
    cause = says(OtherReduction, "the backward cumulative sum", due, of, inside(segment, node))
    yield Edit(1, Rank.OTHER, cause, {node: apply(lambda x: x.flip(axis).cumsum(axis).flip(axis), of)})
