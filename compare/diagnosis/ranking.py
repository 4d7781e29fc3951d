"""Which mistakes explain a tensor: a cause is named only if the tensor that it predicts is the recorded one.

A hypothesis is a formula evaluated on the derivation's own tensors (by torch, where it is the derivation's formula with
one operand exchanged), or a relation between the recorded tensor and what it should be. It is accepted if the recorded
tensor differs from it by no more than rounding. Hypotheses are asked from exact to general. `Unknown` is the cause of
what none of them explains.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from handgrad.compare.diagnosis.edits.hypotheses import MOST_TIER, PASSES
from handgrad.compare.diagnosis.edits.roles import of_bias
from handgrad.compare.diagnosis.edits.segment import Segment
from handgrad.compare.diagnosis.factors import data_part, names_of, scaled, unnamed_scale, zero
from handgrad.compare.diagnosis.moments import adam_updates, moments
from handgrad.compare.diagnosis.places import masks, moved, parts
from handgrad.compare.diagnosis.scene import Family, Scene
from handgrad.compare.diagnosis.search import Budget, Explanation, Search, explanations
from handgrad.compare.diagnosis.steps import orders, updates, velocities
from handgrad.compare.diagnosis.sums import examples
from handgrad.compare.diagnosis.terms import added, of_another_moment, overwritten
from handgrad.compare.facts.causes import Cause, Scaled, Unknown, fitted_of
from handgrad.compare.oracle.graph import FORMS
from handgrad.torchref.exchange import to_tensor

# another form of one kind of equation; a factor; another tensor or term, or its entries in other places
KINDS: tuple[Family, ...] = (zero, orders, updates, velocities, moments, adam_updates)
FACTORS: tuple[Family, ...] = (scaled, data_part)
TENSORS: tuple[Family, ...] = (overwritten, moved, added, of_another_moment, examples)
FAMILIES = (*KINDS, *FACTORS, *TENSORS)
GENERAL: tuple[Family, ...] = (unnamed_scale, masks, parts)  # asked only where no formula explains the tensor
BY_THEMSELVES: tuple[Family, ...] = (zero, scaled, moved)  # they need nothing but the two tensors


@dataclass(frozen=True)
class Diagnosis:
    """The causes that explain a tensor, the most exact first, and the edit of the graph that the first is, if it is."""

    causes: tuple[Cause, ...]
    edit: Explanation | None = None


def diagnose(scene: Scene) -> tuple[Cause, ...]:
    """All causes that explain a wrong tensor, one for each code, the most exact first; `Unknown` alone if none does."""
    return diagnosis_of(scene).causes


@np.errstate(all="ignore")
def diagnosis_of(scene: Scene, most: int = MOST_TIER, budget: Budget | None = None) -> Diagnosis:
    """The same, with the edit; none of a tier beyond `most` is tried, nor what goes beyond the budget."""
    budget = budget or Budget()
    if not _is_finite(scene):
        return Diagnosis((Unknown(),))
    causes = _one_per_code(_causes(scene, FAMILIES))
    exact = tuple(cause for cause in causes if fitted_of(cause) is None)
    if exact:
        return Diagnosis((*_of_bias(scene, exact),))
    kinks = tuple(cause for cause in _causes(scene, (masks,)) if cause.code == "kink")
    sure = tuple(cause for cause in causes if cause.code == "regularisation")
    if sure and not kinks:
        return Diagnosis(sure)
    edits = searched(scene, most, budget)
    if kinks and not (edits and edits[0].cause.code == "missing-factor"):  # zeros that a mask has made are no kink
        return Diagnosis(kinks)
    if edits and not (scene.is_large and isinstance(edits[0].cause, Scaled)):  # whose number is that of shorter data
        return Diagnosis(tuple(each.cause for each in edits), edits[0])
    if scene.coarse is not None and not causes:
        return diagnosis_of(scene.at_its_digits, most, budget)
    return Diagnosis(causes or (_first(scene, GENERAL),))


@np.errstate(all="ignore")
def first_cause(scene: Scene, families: tuple[Family, ...] = FAMILIES) -> Cause:
    """The first cause that explains a wrong tensor, as `diagnose` asks for them, which costs less than all of them."""
    return _first(scene, (*families, *GENERAL)) if _is_finite(scene) else Unknown()


def explained(recorded: np.ndarray, reference: np.ndarray, dtype: str = "float64") -> Cause:
    """The cause that the two tensors alone show: zero, a wrong sign, a factor, another arrangement."""
    scene = Scene("", recorded.astype(np.float64), reference.astype(np.float64), dtype)
    return first_cause(scene, families=BY_THEMSELVES)


@np.errstate(all="ignore")
def of_families(scene: Scene) -> tuple[Cause, ...]:
    """Every cause by which a family explains a wrong tensor."""
    return tuple(_causes(scene, (*FAMILIES, *GENERAL))) if _is_finite(scene) else ()


def searched(scene: Scene, most: int, budget: Budget) -> tuple[Explanation, ...]:
    """The edits of the reference's own graph that explain a wrong tensor, at most one of another kind beside the first.

    In the textbook's form, and in torch's where that differs. Of large tensors those that explain them on shorter data.
    """
    if scene.is_large:
        small = None if scene.smaller is None else scene.smaller()
        return () if small is None or small.is_large else searched(small, most, budget)
    return tuple(explanations(_searches(scene, most, budget), scene.elsewhere)[:2])


def _of_bias(scene: Scene, causes: Iterable[Cause]) -> Iterator[Cause]:
    """A factor of a gradient that is a sum may be that of a mean."""
    for cause in causes:
        is_of_sum = isinstance(cause, Scaled) and scene.of in scene.parameters
        search = next(_searches(scene, MOST_TIER, Budget()), None) if is_of_sum else None
        yield cause if search is None else of_bias(search.segment, cause, search.words, scene.parameters)


def _searches(scene: Scene, most: int, budget: Budget) -> Iterator[Search]:
    passes = [tiers for tiers in PASSES if min(tiers) <= most]
    times = {name: to_tensor(array) for name, array in scene.other_times.items()}
    later = frozenset(scene.tensors.keys() - scene.earlier) | times.keys()
    sizes = {n for a in scene.tensors.values() for n in a.shape if n > 2}
    known: set[tuple[str, ...]] = set()
    for form in FORMS:
        graph = scene.recorded_graph(form)
        if graph is None or scene.name not in graph.outputs:
            return
        segment = Segment(graph.beside(times), scene.name, later)
        kinds = tuple(node.kind for node in segment.steps)
        if kinds not in known and scene.observed.is_same(segment.target.value):
            known.add(kinds)
            yield Search(segment, scene.observed, names_of(sizes), scene.parameters, passes, budget)


def _causes(scene: Scene, families: tuple[Family, ...]) -> Iterator[Cause]:
    """What the families say, in order; a hypothesis that cannot be evaluated on these tensors explains nothing."""
    for family in families:
        with suppress(ArithmeticError, IndexError, RuntimeError, ValueError):
            yield from family(scene)


def _one_per_code(causes: Iterable[Cause]) -> tuple[Cause, ...]:
    """The first cause of each code, or the first without a fitted number: that says more."""
    by_code: dict[str, Cause] = {}
    for cause in causes:
        known = by_code.setdefault(cause.code, cause)
        if fitted_of(known) is not None and fitted_of(cause) is None:
            by_code[cause.code] = cause
    return tuple(by_code.values())


def _first(scene: Scene, families: tuple[Family, ...]) -> Cause:
    return next(_causes(scene, families), Unknown())


def _is_finite(scene: Scene) -> bool:
    return bool(np.isfinite(scene.recorded).all() and np.isfinite(scene.reference).all())
