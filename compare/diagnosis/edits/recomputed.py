"""Edits of what one step takes alone: a backward pass that computes a forward quantity once more, and otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from handgrad.compare.diagnosis.edits.arithmetic import products, sums
from handgrad.compare.diagnosis.edits.edit import Edit, Words
from handgrad.compare.diagnosis.edits.functions import functions, masks
from handgrad.compare.diagnosis.edits.operands import Place, shared, with_other
from handgrad.compare.diagnosis.edits.segment import Change, Segment
from handgrad.compare.facts.causes import Cause
from handgrad.compare.facts.compounds import AtOneUse
from handgrad.compare.oracle.graph import Node, Values

FAR = 3  # steps between a step and what is computed otherwise for it
KINDS = (sums, products, functions, masks)


def recomputed(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """An edit of a step a little before, of which only this one step knows."""
    for place, taken in shared(segment, node):
        for path in _paths((taken,)):
            for kind in KINDS:
                for edit in kind(segment, path[0], numbers):
                    if edit.tier <= 2:
                        yield _at_one_use(node, place, path, edit)


def _paths(path: tuple[Node, ...]) -> Iterator[tuple[Node, ...]]:
    """The ways from a step a little before to the last of a path, in the order in which they are computed."""
    if path[0].operation is not None and len(path) <= FAR:
        yield path
        for parent in path[0].parents:
            yield from _paths((parent, *path))


def _at_one_use(node: Node, place: Place, path: tuple[Node, ...], edit: Edit) -> Edit:
    def cause(words: Words) -> Cause:
        return AtOneUse(edit.cause(words), words(node))

    return Edit(3, edit.rank, cause, {node: with_other(node, place, _along(path, edit.changes[path[0]]))})


def _along(path: tuple[Node, ...], change: Change) -> Change:
    """What the last step of a path gives where the first gives something else."""

    def changed(v: Values) -> Any:
        known = {path[0]: change(v)}
        for step in path[1:]:
            known[step] = step.done(lambda each: known[each] if each in known else v(each))
        return known[path[-1]]

    return changed
