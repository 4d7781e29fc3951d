"""All hypotheses on a tensor, cheap ones first: the edits of its segment, by tiers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from handgrad.compare.diagnosis.bits import Observed
from handgrad.compare.diagnosis.edits import (
    arithmetic,
    convolutions,
    functions,
    loops,
    matrices,
    one_use,
    operands,
    reductions,
    times,
    whole,
)
from handgrad.compare.diagnosis.edits.edit import ODD, Edit, says
from handgrad.compare.diagnosis.edits.epsilons import epsilons
from handgrad.compare.diagnosis.edits.segment import Segment
from handgrad.compare.facts.compounds import Repeated
from handgrad.compare.oracle.graph import Node

OF_A_STEP = {  # with the lowest of their tiers
    arithmetic.sums: 1, arithmetic.products: 1, arithmetic.powers: 1, arithmetic.constants: 1, reductions.reductions: 1,
    reductions.other_axes: 1, functions.functions: 1, functions.derivatives: 2, functions.losses: 2,
    functions.comparisons: 1, functions.masks: 1, matrices.products_of_matrices: 1, matrices.factors_inside: 2,
    matrices.parts: 2, matrices.joined: 2, matrices.settings: 2, matrices.transposes: 1, convolutions.convolutions: 1,
    matrices.scatters: 1, matrices.layouts: 2, epsilons: 1, operands.operands: 1, operands.named_tensors: 3,
    arithmetic.multiples_of_terms: 3, operands.multiples: 4, operands.other_tensors: 4, operands.formulas: 5,
    whole.at_named_steps: 1, one_use.at_one_use: 3, one_use.recomputed: 3, one_use.others_at_one_use: 4,
}  # fmt: skip
# of all steps of one kind together, and of what depends on no input, as a mask of places
OF_ALL = (functions.functions, reductions.other_axes, arithmetic.products, epsilons, operands.multiples)
OF_A_CONSTANT = (functions.comparisons, arithmetic.constants, functions.masks, arithmetic.positions)
PASSES = ((0, 1), (2,), (3,), (4,), (5, 6))  # tiers
MOST_TIER = max(map(max, PASSES))
MOST_VISITS = 64  # of a line that is edited at all of them


def hypotheses(
    segment: Segment, observed: Observed, numbers: Mapping[float, str], parameters: frozenset[str], most: int
) -> Iterator[Edit]:
    """All hypotheses of tiers up to one, and some beyond.

    They are of the whole, of every visit of a line, of single steps from the tensor backwards, and fitted.
    """
    kinds = [kind for kind, lowest in OF_A_STEP.items() if lowest <= most]
    for of_the_whole in (
        whole.whole(segment, numbers),
        whole.inserted(segment),
        functions.of_another_function(segment),
        times.other_times(segment, parameters),
        whole.clipped(segment, observed),
        operands.exchanged(segment),
        loops.other_variables(segment),
        arithmetic.shares(segment),
    ):
        yield from _as_far_as_possible(of_the_whole)
    groups = [(group, kinds) for group in (*segment.repeated, *segment.interleaved)]
    groups += [(group, [kind for kind in OF_ALL if kind in kinds]) for group in _of_one_kind(segment)]
    for group, of_group in groups:
        for kind in of_group if len(group) <= MOST_VISITS else ():
            yield from _as_far_as_possible(_together([kind(segment, node, numbers) for node in group]))
    place = {node: i for i, node in enumerate(segment.steps)}
    within = {node for group in segment.repeated for node in group[1:-1]}
    for node in sorted(segment.steps, key=lambda node: (segment.distance[node], -place[node])):
        if node not in within:
            for kind in OF_A_CONSTANT if node in segment.constants else kinds:
                yield from _as_far_as_possible(kind(segment, node, numbers))
    if most >= MOST_TIER:
        yield from _as_far_as_possible(times.at_any_rate(segment, observed, parameters))
        yield from _as_far_as_possible(arithmetic.fitted_numbers(segment, observed))
        yield from _as_far_as_possible(whole.fitted(segment, observed))


def _of_one_kind(segment: Segment) -> Iterator[tuple[Node, ...]]:
    """Steps that do the same with one tensor each, on lines visited once: all, or those of the backward pass."""
    groups: dict[tuple[Any, ...], list[Node]] = {}
    for node in (step for step in segment.steps if step not in segment.mates and step not in segment.constants):
        taken = [each for each in node.args if isinstance(each, Node)]
        if len(taken) == 1 and isinstance(taken[0].value, Tensor):
            kind = "a reduction" if node.kind in reductions.KINDS else node.kind
            numbers, compound = [each for each in node.args if each not in taken], segment.graph.compounds.get(node)
            key = (kind, compound and compound.kind, str(numbers), taken[0].value.ndim)
            for where in {False, node.place is not None and node.place.is_backward}:
                groups.setdefault((where, *key), []).append(node)
    return iter(dict.fromkeys(tuple(group) for group in groups.values() if len(group) > 1))


def _together(of_steps: Sequence[Iterator[Edit]]) -> Iterator[Edit]:
    """The same edit of several steps, made at all of them."""
    for edits in zip(*of_steps, strict=False):
        first = edits[0]
        if all(edit.tier == first.tier and edit.rank == first.rank for edit in edits):
            changes = {node: change for edit in edits for node, change in edit.changes.items()}
            yield Edit(first.tier, first.rank, says(Repeated, first.cause, len(edits)), changes)


def _as_far_as_possible(edits: Iterator[Edit]) -> Iterator[Edit]:
    """Edits up to one that cannot be made on such tensors."""
    try:
        yield from edits
    except ODD:
        return
