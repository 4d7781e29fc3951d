"""A difference that is a multiple of another tensor: weight decay, a term left out, added, or kept from before."""

from __future__ import annotations

from collections.abc import Iterator
from math import isclose

import numpy as np

from handgrad.compare.diagnosis.factors import named_factors
from handgrad.compare.diagnosis.scene import Array, Cause, Scene

__all__ = ["added"]

PLAIN = (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0)  # how often a term can be missing or too many


def added(scene: Scene) -> Iterator[Cause]:
    """Regularisation, gradients accumulated over steps, and terms missing or too many."""
    own = scene.tensors.get(scene.of)
    c = _multiple(scene, own) if scene.of in scene.parameters else None
    if c is not None:
        l2 = scene.settings.get("l2", 0.0)
        names = () if l2 else named_factors(c, scene.numbers)
        named = f" = {c / l2:.6g} l2" if l2 else f" = {'-' if c < 0 else ''}{' or '.join(names[:2])}" if names else ""
        told = f"it differs by {c:.6g}{named} times {scene.of}, as a weight decay that is not J's would make it"
        told += f" (or {scene.of} is left out before)" if isclose(abs(c), 1) or (c < 0 and names) else ""
        plain = l2 and any(isclose(c / l2, times, rel_tol=1e-9) for times in PLAIN)
        yield Cause("regularisation", told, fitted=None if plain else c)
    before = scene.previous.get(scene.name)
    c = _multiple(scene, before)
    if c is not None and abs(c - 1) <= 1e-9:
        yield Cause(
            "accumulated", f"it is the sum of this step's {scene.name} and the one before: set it anew each step"
        )
    for name, other in scene.alike():
        c = None if name in (scene.name, scene.of) else _multiple(scene, other)
        if c is None or not any(abs(c - plain) <= 1e-9 for plain in PLAIN):
            continue
        if c < 0:
            yield Cause("wrong-operand", f"{_times(-c)}{name} is missing from it, or has the wrong sign")
        else:
            told = f"{_times(c)}{name} is added to it, where it does not belong, has a minus, or stands already"
            yield Cause("wrong-operand", told)


def _multiple(scene: Scene, other: Array | None) -> float | None:
    """c where the difference is c times another tensor, to within rounding."""
    if other is None or other.shape != scene.recorded.shape or not other.any():
        return None
    scale = float(np.max(np.abs(other)))
    unit = other / scale
    c = float(np.vdot(scene.difference / scale, unit) / np.vdot(unit, unit))
    return c if c and scene.explained_by(scene.reference + c * other) else None


def _times(c: float) -> str:
    return "" if abs(c - 1) <= 1e-9 else f"{c:g} times "
