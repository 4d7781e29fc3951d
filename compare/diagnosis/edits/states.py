"""Slips in one of an optimiser's states alone: what it takes, its share, and whether it is a sum or a weighted mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import torch

from handgrad.compare.diagnosis.edits.edit import Edit, Rank, apply, is_like, read, says, where_taken
from handgrad.compare.diagnosis.edits.segment import Segment
from handgrad.compare.diagnosis.edits.slips import SHARES, Open, is_share
from handgrad.compare.facts.edits import OtherNumber, OtherOperand
from handgrad.compare.facts.updates import StateForm
from handgrad.compare.oracle.graph import Graph, Node
from handgrad.compare.oracle.recurrence import AFTER, COUNT, before


def in_one_state(segment: Segment) -> Iterator[Edit]:
    """A share exchanged for what is left of 1; a step forgotten on the way to one state; a sum for a weighted mean."""
    for name, state in _states(segment.graph):
        own = _own_steps(segment.graph, state)
        for taken in {parent: None for step in own for parent in step.parents if parent not in own}:
            if is_share(segment, taken):
                cause = says(OtherNumber, f"1 - {taken.name}", taken.name, name)
                yield Edit(2, Rank.OTHER, cause, where_taken({taken: apply(lambda x: 1 - x, taken)}, own))
            for parent in taken.parents:
                if taken.value.ndim and is_like(parent, taken):
                    cause = says(OtherOperand, parent, taken, name)
                    yield Edit(2, Rank.LEFT_OUT, cause, where_taken({taken: read(parent)}, own))
        kept, new = state.args[:2]
        if kept.kind == new.kind == "mul" and not new.args[1].value.ndim:
            total = apply(torch.add, segment.graph.inputs[before(name)], new.args[0])
            yield Edit(2, Rank.OTHER, says(StateForm, name), {state: total})


def means_in_place_of_sums(segment: Segment) -> Iterator[Open]:
    """A state that forgets, with an open share, where it should add up."""
    for name, state in _states(segment.graph):
        if state.args[0] is segment.graph.inputs[before(name)]:
            yield partial(_averaged, name, state), SHARES


def _states(graph: Graph) -> Iterator[tuple[str, Node]]:
    """The states that are sums of what is kept and what is new."""
    for name, node in graph.outputs.items():
        if name not in (AFTER, COUNT) and node.kind == "add" and node.value.ndim:
            yield name, node


def _own_steps(graph: Graph, state: Node) -> Sequence[Node]:
    """The steps that lead to a state and, but through it, to nothing else."""
    pending = [node for node in graph.outputs.values() if node is not state]
    elsewhere = {*pending}
    while pending:
        parents = {*pending.pop().parents} - elsewhere - {state}
        elsewhere |= parents
        pending += parents
    name = next(name for name, node in graph.outputs.items() if node is state)
    return [node for node in graph.segment(name) if node.operation is not None and node not in elsewhere]


def _averaged(name: str, state: Node, share: float) -> Edit:
    mean = apply(lambda kept, new: share * kept + (1 - share) * new, *state.args[:2])
    return Edit(5, Rank.OTHER, says(StateForm, name, share), {state: mean})
