"""Edits of what one step takes alone: another tensor, or what a backward pass computes once more and otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from handgrad.compare.diagnosis.edits.arithmetic import products, sums
from handgrad.compare.diagnosis.edits.edit import Edit, redo, where_taken
from handgrad.compare.diagnosis.edits.functions import functions, masks
from handgrad.compare.diagnosis.edits.operands import multiples, named_tensors, operands, other_tensors, skipped
from handgrad.compare.diagnosis.edits.segment import Change, Segment
from handgrad.compare.facts.causes import Cause
from handgrad.compare.facts.compounds import AtOneUse
from handgrad.compare.oracle.graph import Node, Values

FAR = 3  # steps between a step and what is computed otherwise for it
Kind = Callable[[Segment, Node, Mapping[float, str]], Iterator[Edit]]


def at_one_use(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """What a step and others take, in another way or by another name, where this one takes it."""
    return _of_taken((operands, skipped, named_tensors), segment, node, numbers)


def others_at_one_use(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """A multiple or a tensor without a name there."""
    return _of_taken((multiples, other_tensors), segment, node, numbers)


def _of_taken(kinds: Sequence[Kind], segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    for taken in _shared(segment, node):
        for edit in (edit for kind in kinds for edit in kind(segment, taken, numbers)):
            yield from _at(node, taken, edit.changes[taken], edit, _inside)


def recomputed(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """An edit of a step a little before, of which only this one step knows."""
    for taken in _shared(segment, node):
        for path in _paths((taken,)):
            kinds = (sums, products, functions, masks)
            for edit in (edit for kind in kinds for edit in kind(segment, path[0], numbers)):
                if edit.tier <= 2:
                    yield from _at(node, taken, partial(_along, path, edit.changes[path[0]]), edit, AtOneUse)


def _shared(segment: Segment, node: Node) -> Iterator[Node]:
    """What a step takes and others take as well."""
    mates = ((taken, segment.mates.get(taken, (taken,))) for taken in node.parents)
    return (taken for taken, each in mates if any(len(segment.users[mate]) > 1 for mate in each))


def _paths(path: tuple[Node, ...]) -> Iterator[tuple[Node, ...]]:
    """The ways from a step a little before to the last of a path, in the order in which they are computed."""
    yield path
    for parent in path[0].parents if len(path) < FAR else ():
        yield from _paths((parent, *path))


def _along(path: tuple[Node, ...], change: Change, v: Values) -> Any:
    """What the last step of a path gives where the first gives something else."""
    known = {path[0]: change(v)}
    for step in path[1:]:
        known[step] = step.done(lambda each: known[each] if each in known else v(each))
    return known[path[-1]]


def _at(node: Node, taken: Node, change: Change, edit: Edit, told: Callable[[Cause, str], Cause]) -> Iterator[Edit]:
    """An edit of what a step takes, or of one factor alone where it takes it twice, of which nothing else knows."""
    places = [i for i, each in enumerate(node.args) if each is taken]
    everywhere = where_taken({taken: change}, [node])
    for changes in [{node: redo(node, {i: change})} for i in places] if len(places) > 1 else [everywhere]:
        yield Edit.of(max(edit.tier, 3), edit.rank, changes, told, edit.cause, node)


def _inside(cause: Cause, step: str) -> Cause:
    place: dict[str, Any] = {"inside": step} if hasattr(cause, "inside") else {}
    return replace(cause, **place)
