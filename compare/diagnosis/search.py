"""The search for an edit of the reference's own graph that gives the recorded tensor: tried, priced, confirmed, ranked.

Accepted is what predicts the tensor to within rounding, here and where everything has moved, with more bits than it has
to pay for being one of many.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from handgrad.compare.diagnosis.bits import ENOUGH_BITS, Observed, price
from handgrad.compare.diagnosis.edits.edit import ODD, Edit
from handgrad.compare.diagnosis.edits.hypotheses import PASSES, hypotheses
from handgrad.compare.diagnosis.edits.roles import told as cause_of
from handgrad.compare.diagnosis.edits.segment import Segment, like
from handgrad.compare.diagnosis.edits.wording import Formulas
from handgrad.compare.facts.causes import Cause
from handgrad.compare.facts.compounds import Alternative, Both
from handgrad.compare.oracle.graph import Node, reached
from handgrad.compare.sandbox import quietly
from handgrad.compare.thresholds import EQUAL, EXACT

# Entries that are evaluated, a step counting as many as it takes the time of: about a second on one core, for a check.
STEP, MOST_WORK = 2_000, 100_000_000
EVALUATED, MADE = 2_000, 100  # the same for an edit that is evaluated, and for one that is only thought of
MOST_AT_ONCE, MOST_ENTRIES = 128, 2**22  # edits that are evaluated together, and all entries that they make
MOST_KEPT = 4096  # entries of a value that is remembered, so that it is not evaluated again
NEAR_MISS, NEAR_MISS_OF_NOISE = 256.0, 1.25  # what leaves so many times more than the best does is none
MOST_CONFIRMED = 200
# A second mistake is sought beside the edits that leave so small a part of the difference, some of them.
NEAR, MOST_NEAR, OF_A_SECOND = 1 / 8, 3, (0, 1, 2)
TELLING: dict[str, Callable[[Tensor], Tensor]] = {
    "numbers ten times as large": lambda x: 10 * x,
    "numbers a hundredth as large": lambda x: x / 100,
    "positive numbers alone": torch.abs,
    "negative numbers alone": lambda x: -x.abs(),
}
Prediction = tuple[Tensor, float] | None  # a tensor that is the recorded one, and what is left by its mean square


@dataclass(frozen=True)
class Elsewhere:
    """The derivation at another place: inputs and records by name, and the tensor there with its noise."""

    inputs: Mapping[str, Tensor]
    recorded: Tensor
    noise: float = 0.0


@dataclass(eq=False)
class Fit:
    """An edit that predicts the tensor, what it leaves, and its bits over all runs."""

    edit: Edit
    predicted: Tensor
    residue: float  # root of the mean square
    bits: float = 0.0
    cost: float = 0.0

    @property
    def net(self) -> float:
        """The bits that are left over."""
        return self.bits - self.cost


@dataclass(frozen=True)
class Explanation:
    """An edit that survives, as the cause that it is."""

    cause: Cause
    edit: Edit
    segment: Segment

    def predicted(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The tensor that the edit gives where inputs and records, by name, are others."""
        with torch.no_grad():
            values = self.segment.graph.valued(inputs)
            tensor: Tensor = self.segment.predicted(self.edit.changes, values)
            return tensor

    def explains(self, name: str, observed: Observed) -> bool:
        """Whether the edit gives another tensor of the graph as well."""
        if name not in self.segment.graph.outputs:
            return False
        segment = replace(self.segment, name=name)
        with torch.no_grad(), suppress(*ODD):
            return observed.is_explained_by(segment.predicted(self.edit.changes, segment.values))
        return False

    def lines_to(self, name: str) -> int:
        """How many lines of the reference lie between the edit and a tensor that it changes, at least."""
        graph, lines = self.segment.graph, dict.fromkeys(self.edit.changes, 0)
        for node in reached(graph.segment(name), lines):
            crossed = ((lines[each] + _is_other_line(each, node)) for each in node.parents if each in lines)
            lines.setdefault(node, min(crossed, default=0))
        return lines[graph.outputs[name]]


def _is_other_line(one: Node, other: Node) -> bool:
    return one.place is not None and other.place is not None and one.place[:2] != other.place[:2]


@dataclass
class Budget:
    """The work that is left to all searches of a check."""

    left: int = MOST_WORK


@dataclass
class Search:
    """The search in one segment; `numbers` are the names of numbers."""

    segment: Segment
    observed: Observed
    numbers: Mapping[float, str] = field(default_factory=dict)
    parameters: frozenset[str] = frozenset()
    passes: Sequence[tuple[int, ...]] = PASSES
    budget: Budget = field(default_factory=Budget)
    tried: Counter[int] = field(default_factory=Counter)
    near: list[tuple[float, Edit]] = field(default_factory=list)  # edits that leave little, with how much
    _seen: dict[Any, Prediction] = field(default_factory=dict)

    @cached_property
    def words(self) -> Formulas:
        """Its steps as formulas."""
        return Formulas(self.segment, self.numbers)

    def edits(self, most: int) -> Iterator[Edit]:
        """All hypotheses of tiers up to one, and some beyond."""
        return hypotheses(self.segment, self.observed, self.numbers, self.parameters, most)

    def fits(self) -> Iterator[list[Fit]]:
        """The edits that predict the tensor, pass by pass, cheap ones first, as far as the budget goes."""
        for tiers in self.passes:
            found: list[Fit] = []
            for edits in _of_the_same_steps(self.edits(max(tiers))):
                if self.budget.left <= 0:
                    break
                found += self._fits([edit for edit in edits if edit.tier in tiers])
                self.budget.left -= MADE * sum(len(edit.changes) for edit in edits)
            yield found

    def pairs(self) -> Iterator[list[Fit]]:
        """Two edits at once that predict the tensor: a second one beside each of those that come nearest."""
        found: list[Fit] = []
        least = max(0, self.budget.left - MOST_WORK // 4)
        nearest = sorted(self.near, key=lambda pair: (pair[0], pair[1].tier))[:MOST_NEAR]
        for edits in _of_the_same_steps(self.edits(max(OF_A_SECOND))) if nearest else ():
            if self.budget.left <= least:
                break
            seconds = [edit for edit in edits if edit.tier in OF_A_SECOND]
            for _, first in nearest:
                if self.budget.left > least and seconds and not first.changes.keys() & seconds[0].changes.keys():
                    found += self._fits([_both(first, edit) for edit in seconds])
        yield found

    def _fits(self, edits: Sequence[Edit]) -> list[Fit]:
        """Those of some edits of the same steps that predict the tensor; what was evaluated once is not again."""
        by_value: dict[Any, list[Edit]] = {}
        odd: list[Edit] = []
        for edit in edits:
            self.tried[edit.tier] += 1
            with suppress(*ODD):
                key = self._value(edit)
                if key is None:
                    odd.append(edit)
                else:
                    by_value.setdefault(key, []).append(edit)
        fresh = [key for key in by_value if key not in self._seen]
        predicted = self._predicted([by_value[key][0] for key in fresh])
        self._seen.update(zip(fresh, predicted, strict=True))
        known = [(edit, self._seen[key]) for key, of_key in by_value.items() for edit in of_key]
        known += [(edit, self._one(edit)) for edit in odd]
        return [Fit(edit, *tensor) for edit, tensor in known if tensor is not None]

    def _value(self, edit: Edit) -> Any:
        """What tells an edit from others of the same steps: what its step gives then, if that is one small tensor.

        None where it gives what is not of the same shape and dtype.
        """
        node, change = next(iter(edit.changes.items()))
        value = like(change(lambda each: self.segment.values[each] if isinstance(each, Node) else each), node.value)
        if not (isinstance(value, Tensor) and isinstance(node.value, Tensor)):
            return None
        if value.shape != node.value.shape or value.dtype != node.value.dtype:
            return None
        if len(edit.changes) > 1 or value.numel() > MOST_KEPT:
            return edit
        return node, value.contiguous().numpy().tobytes()

    def _predicted(self, edits: Sequence[Edit]) -> list[Prediction]:
        """What edits of the same steps predict, as many at once as memory allows."""
        if not edits:
            return []
        plan = self.segment.plan(frozenset(edits[0].changes))
        entries = sum(map(_size, plan))
        found: list[Prediction] = []
        size = max(1, min(MOST_AT_ONCE, MOST_ENTRIES // max(entries, 1)))
        for chunk in (edits[i : i + size] for i in range(0, len(edits), size)):
            self.budget.left -= STEP * len(plan) + (EVALUATED + entries) * len(chunk)
            found += self._at_once(chunk) or [self._one(edit) for edit in chunk]
        return found

    def _at_once(self, edits: Sequence[Edit]) -> list[Prediction]:
        """What they predict, evaluated together; nothing where an operation cannot be done for many."""
        if len(edits) > 1:
            with suppress(*ODD):
                return self._judged(edits, self.segment.alternatives([edit.changes for edit in edits]))
        return []

    def _one(self, edit: Edit) -> Prediction:
        """What one predicts."""
        with suppress(*ODD):
            predicted = self.segment.predicted(edit.changes, self.segment.values)
            if isinstance(predicted, Tensor):
                return self._judged([edit], predicted.unsqueeze(0))[0]
        return None

    def _judged(self, edits: Sequence[Edit], predicted: Tensor) -> list[Prediction]:
        """Predictions that are the tensor, each with what it leaves; what comes near to it is noted."""
        observed = self.observed
        if predicted.shape[1:] != observed.recorded.shape or predicted.is_complex() or not predicted.numel():
            return [None] * len(edits)
        left = (observed.recorded - predicted.double()).abs()
        most, sums = observed.beyond_noise(left).reshape(len(edits), -1).amax(1), left.reshape(len(edits), -1).sum(1)
        fits, shares = (most <= observed.limit).tolist(), (sums / observed.difference.sum()).tolist()
        self.near += [
            (share, edit)
            for edit, is_fit, share in zip(edits, fits, shares, strict=True)
            if not is_fit and share < NEAR and not edit.fitted and edit.count == 1
        ]
        sides = zip(predicted, left, fits, strict=True)
        return [(tensor.double(), float(off.square().mean().sqrt())) if fit else None for tensor, off, fit in sides]


def _both(first: Edit, second: Edit) -> Edit:
    """Two edits as one: the second is told after the first, and pays for both."""
    changes = {**first.changes, **second.changes}
    tier, rank = first.tier + second.tier, max(first.rank, second.rank)
    return Edit(tier, rank, lambda w: Both(first.cause(w), second.cause(w)), changes, count=2)


def explanations(searches: Iterable[Search], elsewhere: Callable[[], Iterable[Elsewhere]]) -> list[Explanation]:
    """What survives in one form of the formula or another, best first: one of each code.

    Where no edit does, two at once are tried. After the first, those alone are told that differ from it on some data.
    """
    known, runs = [*searches], cache(lambda: tuple(elsewhere()))
    with quietly(), _uncollected(), torch.no_grad():
        told = _first_told(known, [search.fits() for search in known], runs)
        told = told or _first_told(known, [search.pairs() for search in known], runs)
        told.sort(key=lambda pair: pair[0])
    by_code: dict[str, Explanation] = {}
    for _, explanation in told:
        by_code.setdefault(explanation.cause.code, explanation)
    found = [*by_code.values()]
    others = ((other, _telling(found[0], other)) for other in found[1:])
    return [*found[:1], *(replace(other, cause=Alternative(other.cause, data)) for other, data in others if data)]


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the search for unused memory, which looks through all that torch has imported, again and again."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _telling(first: Explanation, other: Explanation) -> str:
    """The data on which two formulas differ; nothing where they are one and the same."""
    for data, function in TELLING.items():
        inputs = first.segment.graph.inputs.items()
        there = {name: function(node.value) for name, node in inputs if node.value.is_floating_point()}
        with suppress(*ODD):
            one, two = (each.predicted(there).double() for each in (first, other))
            if float((one - two).abs().max()) > EQUAL * float(one.abs().max()):
                return data
    return ""


def _first_told(
    searches: Sequence[Search], passes: Sequence[Iterator[list[Fit]]], elsewhere: Callable[[], Iterable[Elsewhere]]
) -> list[tuple[tuple[float, ...], Explanation]]:
    """What survives of the first pass of which anything does, in any form: later ones have more to pay for."""
    for of_pass in zip(*passes, strict=True):
        found = zip(searches, of_pass, strict=True)
        told = [pair for search, fits in found for pair in _told(search, fits, elsewhere)]
        if told:
            return told
    return []


def _told(
    search: Search, found: list[Fit], elsewhere: Callable[[], Iterable[Elsewhere]]
) -> list[tuple[tuple[float, ...], Explanation]]:
    """What survives, each with its rank."""
    fits = _exact(found, NEAR_MISS if isinstance(search.observed.noise, float) else NEAR_MISS_OF_NOISE)
    for fit in fits:
        fit.bits = search.observed.bits(fit.predicted)
        tried = search.tried[fit.edit.tier] if fit.edit.count == 1 else search.tried.total()
        fit.cost = price(fit.edit.tier, tried, fit.edit.fitted, fit.edit.count)
    fits = sorted(fits, key=_rank(search.segment))[:MOST_CONFIRMED]
    for there in elsewhere() if fits else ():
        with suppress(*ODD):  # what has been recorded is the path of one run, as through a mask
            values = search.segment.graph.valued(there.inputs)
            due, dtype = values[search.segment.target].double(), search.observed.dtype
            seen = Observed(there.recorded, due, dtype, noise=there.noise or search.observed.noise)
            fits = [fit for fit in fits if _holds(fit, search.segment, seen, values)]
    told = []
    for fit in (fit for fit in fits if fit.net >= ENOUGH_BITS):
        cause = cause_of(search.segment, fit.edit, search.words, search.parameters)
        rank = (*_rank(search.segment)(fit), len(str(cause)))
        told.append((rank, Explanation(cause, fit.edit, search.segment)))
    return told


def _of_the_same_steps(edits: Iterator[Edit]) -> Iterator[list[Edit]]:
    for steps, group in groupby(edits, key=lambda edit: frozenset(edit.changes)):
        if steps:
            yield [*group]


def _exact(fits: Sequence[Fit], times: float) -> list[Fit]:
    """Without those that leave so many times more than the best does."""
    if not fits:
        return []
    floor = max(min(fit.residue for fit in fits), EXACT * float(fits[0].predicted.abs().max()))
    return [fit for fit in fits if fit.residue <= times * floor]


def _rank(segment: Segment) -> Callable[[Fit], tuple[float, ...]]:
    def rank(fit: Fit) -> tuple[float, ...]:
        distance = min(segment.distance[node] for node in fit.edit.changes)
        return (round(-min(fit.net, 60.0) / 8), fit.edit.tier, fit.edit.rank, distance)

    return rank


def _holds(fit: Fit, segment: Segment, there: Observed, values: Mapping[Node, Any]) -> bool:
    """Whether the same edit predicts the tensor at another place; its bits there are added."""
    try:
        predicted = segment.predicted(fit.edit.changes, values)
    except ODD:
        return False
    if not isinstance(predicted, Tensor) or not there.is_nearly(predicted):
        return False
    fit.bits += there.bits(predicted.double())
    return True


def _size(node: Node) -> int:
    return node.value.numel() if isinstance(node.value, Tensor) else 1
