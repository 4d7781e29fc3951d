"""All hypotheses on a tensor, cheap ones first: the edits of its segment, by tiers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from handgrad.compare.diagnosis.bits import Observed
from handgrad.compare.diagnosis.edits.arithmetic import (
    constants,
    fitted_numbers,
    multiples_of_terms,
    positions,
    powers,
    products,
    sums,
)
from handgrad.compare.diagnosis.edits.convolutions import convolutions
from handgrad.compare.diagnosis.edits.edit import ODD, Edit, says
from handgrad.compare.diagnosis.edits.everywhere import everywhere
from handgrad.compare.diagnosis.edits.functions import (
    comparisons,
    derivatives,
    functions,
    losses,
    masks,
    of_another_function,
)
from handgrad.compare.diagnosis.edits.matrices import (
    factors_inside,
    joined,
    parts,
    products_of_matrices,
    scatters,
    settings,
    transposes,
)
from handgrad.compare.diagnosis.edits.one_use import at_one_use, others_at_one_use, recomputed
from handgrad.compare.diagnosis.edits.operands import formulas, multiples, named_tensors, operands, other_tensors
from handgrad.compare.diagnosis.edits.reductions import reductions
from handgrad.compare.diagnosis.edits.segment import Segment
from handgrad.compare.diagnosis.edits.times import at_any_rate, other_times
from handgrad.compare.diagnosis.edits.whole import at_named_steps, clipped, fitted, inserted, whole
from handgrad.compare.facts.compounds import Repeated

OF_A_STEP = (
    sums, products, powers, constants, reductions, functions, derivatives, losses, comparisons, masks,
    products_of_matrices, factors_inside, parts, joined, settings, transposes, convolutions, scatters, operands,
    named_tensors, multiples_of_terms, multiples, other_tensors, formulas, at_named_steps, at_one_use, recomputed,
    others_at_one_use,
)  # fmt: skip
LOWEST = {  # tiers, where it is not 1
    derivatives: 2, losses: 2, factors_inside: 2, parts: 2, joined: 2, settings: 2, named_tensors: 3, at_one_use: 3,
    recomputed: 3, multiples_of_terms: 3, multiples: 4, other_tensors: 4, others_at_one_use: 4, formulas: 5,
}  # fmt: skip
OF_A_CONSTANT = (comparisons, constants, masks, positions)  # as of a mask that depends on places alone
PASSES = ((0, 1), (2,), (3,), (4,), (5, 6))  # tiers
MOST_TIER = max(map(max, PASSES))
MOST_VISITS = 64  # of a line that is edited at all of them


def hypotheses(
    segment: Segment, observed: Observed, numbers: Mapping[float, str], parameters: frozenset[str], most: int
) -> Iterator[Edit]:
    """All hypotheses of tiers up to one, and some beyond.

    They are of the whole, of every visit of a line, of single steps from the tensor backwards, and fitted.
    """
    kinds = [kind for kind in OF_A_STEP if LOWEST.get(kind, 1) <= most]
    yield from _as_far_as_possible(whole(segment, numbers))
    yield from _as_far_as_possible(inserted(segment))
    yield from _as_far_as_possible(of_another_function(segment))
    yield from _as_far_as_possible(other_times(segment, parameters))
    yield from _as_far_as_possible(clipped(segment, observed))
    yield from _as_far_as_possible(everywhere(segment, numbers))
    for group in (*segment.repeated, *segment.interleaved):
        for kind in kinds if len(group) <= MOST_VISITS else ():
            yield from _as_far_as_possible(_together([kind(segment, node, numbers) for node in group]))
    place = {node: i for i, node in enumerate(segment.steps)}
    within = {node for group in segment.repeated for node in group[1:-1]}
    for node in sorted(segment.steps, key=lambda node: (segment.distance[node], -place[node])):
        if node not in within:
            for kind in OF_A_CONSTANT if node in segment.constants else kinds:
                yield from _as_far_as_possible(kind(segment, node, numbers))
    yield from _as_far_as_possible(at_any_rate(segment, observed, parameters))
    if most >= MOST_TIER:
        yield from _as_far_as_possible(fitted_numbers(segment, observed))
    yield from _as_far_as_possible(fitted(segment, observed))


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
