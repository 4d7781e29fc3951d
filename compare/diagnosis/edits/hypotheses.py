"""All hypotheses on a tensor, cheap ones first: the edits of its segment, by tiers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from handgrad.compare.diagnosis.bits import Observed
from handgrad.compare.diagnosis.edits import (
    arithmetic,
    convolutions,
    functions,
    matrices,
    one_use,
    operands,
    reductions,
    times,
    whole,
)
from handgrad.compare.diagnosis.edits.edit import ODD, Edit, says
from handgrad.compare.diagnosis.edits.everywhere import everywhere
from handgrad.compare.diagnosis.edits.segment import Segment
from handgrad.compare.facts.compounds import Repeated

OF_A_STEP = {  # with the lowest of their tiers
    arithmetic.sums: 1, arithmetic.products: 1, arithmetic.powers: 1, arithmetic.constants: 1, reductions.reductions: 1,
    functions.functions: 1, functions.derivatives: 2, functions.losses: 2, functions.comparisons: 1, functions.masks: 1,
    matrices.products_of_matrices: 1, matrices.factors_inside: 2, matrices.parts: 2, matrices.joined: 2,
    matrices.settings: 2, matrices.transposes: 1, convolutions.convolutions: 1, matrices.scatters: 1,
    operands.operands: 1, operands.named_tensors: 3, arithmetic.multiples_of_terms: 3, operands.multiples: 4,
    operands.other_tensors: 4, operands.formulas: 5, whole.at_named_steps: 1, one_use.at_one_use: 3,
    one_use.recomputed: 3, one_use.others_at_one_use: 4,
}  # fmt: skip
OF_A_CONSTANT = (
    functions.comparisons,
    arithmetic.constants,
    functions.masks,
    arithmetic.positions,
)  # as of a mask that depends on places alone
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
        everywhere(segment, numbers),
    ):
        yield from _as_far_as_possible(of_the_whole)
    for group in (*segment.repeated, *segment.interleaved):
        for kind in kinds if len(group) <= MOST_VISITS else ():
            yield from _as_far_as_possible(_together([kind(segment, node, numbers) for node in group]))
    place = {node: i for i, node in enumerate(segment.steps)}
    within = {node for group in segment.repeated for node in group[1:-1]}
    for node in sorted(segment.steps, key=lambda node: (segment.distance[node], -place[node])):
        if node not in within:
            for kind in OF_A_CONSTANT if node in segment.constants else kinds:
                yield from _as_far_as_possible(kind(segment, node, numbers))
    yield from _as_far_as_possible(times.at_any_rate(segment, observed, parameters))
    if most >= MOST_TIER:
        yield from _as_far_as_possible(arithmetic.fitted_numbers(segment, observed))
    yield from _as_far_as_possible(whole.fitted(segment, observed))


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
