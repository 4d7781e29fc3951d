"""Edits of what one step takes alone: another tensor, or what a backward pass computes once more and otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from handgrad.compare.diagnosis.edits.arithmetic import products, sums
from handgrad.compare.diagnosis.edits.edit import Edit, Words, redo
from handgrad.compare.diagnosis.edits.functions import functions, masks
from handgrad.compare.diagnosis.edits.operands import multiples, named_tensors, operands, other_tensors, skipped
from handgrad.compare.diagnosis.edits.segment import Change, Segment
from handgrad.compare.facts.causes import Cause
from handgrad.compare.facts.compounds import AtOneUse
from handgrad.compare.oracle.graph import Node, Values

FAR = 3  # steps between a step and what is computed otherwise for it
Kind = Callable[[Segment, Node, Mapping[float, str]], Iterator[Edit]]
Place = tuple[int, int | None]  # of an argument, and within a list that is one


def at_one_use(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """What a step and others take, in another way or by another name, where this one takes it."""
    for place, taken in _shared(segment, node):
        for edit in _of((operands, skipped, named_tensors), segment, taken, numbers):
            yield _edit(node, place, (taken,), edit, _inside)


def others_at_one_use(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """A multiple or a tensor without a name there."""
    for place, taken in _shared(segment, node):
        for edit in _of((multiples, other_tensors), segment, taken, numbers):
            yield _edit(node, place, (taken,), edit, _inside)


def recomputed(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """An edit of a step a little before, of which only this one step knows."""
    for place, taken in _shared(segment, node):
        for path in _paths((taken,)):
            for edit in _of((sums, products, functions, masks), segment, path[0], numbers):
                if edit.tier <= 2:
                    yield _edit(node, place, path, edit, AtOneUse)


def _of(kinds: Sequence[Kind], segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    return (edit for kind in kinds for edit in kind(segment, node, numbers))


def _shared(segment: Segment, node: Node) -> Iterator[tuple[Place, Node]]:
    """What a step takes and others take as well, with its place, and that in a list."""
    places: list[tuple[Place, Any]] = [((i, None), each) for i, each in enumerate(node.args)]
    places += [((i, k), each) for i, of in enumerate(node.args) if isinstance(of, list) for k, each in enumerate(of)]
    for place, each in places:
        if isinstance(each, Node) and any(len(segment.users[mate]) > 1 for mate in segment.mates.get(each, (each,))):
            yield place, each


def _paths(path: tuple[Node, ...]) -> Iterator[tuple[Node, ...]]:
    """The ways from a step a little before to the last of a path, in the order in which they are computed."""
    yield path
    for parent in path[0].parents if len(path) < FAR else ():
        yield from _paths((parent, *path))


def _edit(node: Node, place: Place, path: tuple[Node, ...], edit: Edit, told: Callable[[Cause, str], Cause]) -> Edit:
    """An edit of the first step of a path, of which the step at its end alone knows."""
    (i, k), change = place, _along(path, edit.changes[path[0]])

    def cause(words: Words) -> Cause:
        return told(edit.cause(words), words(node))

    def in_list(v: Values) -> Any:
        return [change(v) if j == k else v(each) for j, each in enumerate(node.args[i])]

    return Edit(max(edit.tier, 3), edit.rank, cause, {node: redo(node, {i: change if k is None else in_list})})


def _inside(cause: Cause, step: str) -> Cause:
    place: dict[str, Any] = {"inside": step} if hasattr(cause, "inside") else {}
    return replace(cause, **place)


def _along(path: tuple[Node, ...], change: Change) -> Change:
    """What the last step of a path gives where the first gives something else."""

    def changed(v: Values) -> Any:
        known = {path[0]: change(v)}
        for step in path[1:]:
            known[step] = step.done(lambda each: known[each] if each in known else v(each))
        return known[path[-1]]

    return changed
