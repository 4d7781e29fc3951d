"""A difference that is a multiple of another tensor: weight decay, or what is kept from the step before."""

from __future__ import annotations

from collections.abc import Iterator
from math import isclose

from handgrad.compare.diagnosis.factors import named_factors
from handgrad.compare.diagnosis.scene import Scene
from handgrad.compare.facts.causes import Cause
from handgrad.compare.facts.operands import Accumulated, DecayAdded, OfStepBefore
from handgrad.compare.thresholds import EQUAL, TIMES


def added(scene: Scene) -> Iterator[Cause]:
    """Regularisation, and gradients accumulated over steps."""
    c = scene.multiple_of(scene.tensors.get(scene.of)) if scene.of in scene.parameters else None
    if c is not None:
        l2 = scene.settings.get("l2", 0.0)
        plain = bool(l2) and any(isclose(c / l2, times, rel_tol=EQUAL) for times in TIMES)
        yield DecayAdded(c, scene.of, l2, () if l2 else named_factors(c, scene.numbers), plain)
    earlier = scene.previous.get(scene.name)
    if scene.explained_by(earlier):
        yield OfStepBefore()
    c = scene.multiple_of(earlier, (1.0,))
    if c is not None and abs(c - 1) <= EQUAL:
        yield Accumulated(scene.name)
