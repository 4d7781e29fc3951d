"""What kind of mistake explains a tensor: a cause is named only if the tensor it predicts is the recorded one.

A hypothesis is a formula evaluated on the derivation's own tensors, by torch where it is the derivation's formula with
one operand exchanged, or a relation between the recorded tensor and what it should be. It is accepted if the recorded
tensor differs from it by no more than rounding. Hypotheses are ordered from exact to general; all that fit are listed.
What nothing explains is `unknown`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import isclose

import numpy as np

from handgrad.compare.diagnosis.activations import derivatives
from handgrad.compare.diagnosis.factors import data_part, named_factors, scaled, unnamed_scale, zero
from handgrad.compare.diagnosis.losses import cost_forms, loss_forms
from handgrad.compare.diagnosis.operands import copied, operands, overwritten
from handgrad.compare.diagnosis.places import masks, moved, parts
from handgrad.compare.diagnosis.rules import relatives
from handgrad.compare.diagnosis.scene import INFORMATIVE, UNKNOWN, Cause, Family, Scene
from handgrad.compare.diagnosis.steps import orders, updates, velocities
from handgrad.compare.diagnosis.sums import bias_sums, examples
from handgrad.compare.diagnosis.terms import added

__all__ = ["INFORMATIVE", "TOO_FEW", "UNKNOWN", "Cause", "Scene", "diagnose", "explained", "named_factors", "relatives"]

FAMILIES: tuple[Family, ...] = (
    zero,
    orders,
    updates,
    velocities,
    cost_forms,
    loss_forms,
    bias_sums,
    scaled,
    data_part,
    overwritten,
    copied,
    moved,
    added,
    derivatives,
    operands,
    examples,
)
GENERAL: tuple[Family, ...] = (unnamed_scale, masks, parts)  # asked only where no formula explains the tensor
BY_THEMSELVES: tuple[Family, ...] = (zero, scaled, moved)
TOO_FEW = "too few entries differ to name a cause"
NEED_NO_FORMULA = ("isolated-elements", "kink", "zero", "dropped-example", "mask")


def explained(recorded: np.ndarray, reference: np.ndarray, dtype: str = "float64") -> Cause:
    """The cause that the two tensors alone show: zero, a wrong sign, a factor, another arrangement."""
    return diagnose(Scene("", recorded.astype(np.float64), reference.astype(np.float64), dtype), BY_THEMSELVES)[0]


def diagnose(
    scene: Scene, families: Sequence[Family] = FAMILIES, more: Iterable[Scene] = (), *, every: bool = True
) -> tuple[Cause, ...]:
    """All causes that explain a wrong tensor, the most exact first; `unknown` alone if there is none.

    A tensor with fewer than three entries that tell hypotheses apart is too small to name a cause, unless `more` of the
    same equation, from later steps or other layers, have the same one. Without `every`, the first cause is enough.
    """
    is_finite = np.isfinite(scene.recorded).all() and np.isfinite(scene.reference).all()
    if not is_finite:
        return (UNKNOWN,)
    entries = np.count_nonzero(scene.wrong)
    if entries >= INFORMATIVE:
        return _exact(_asked(scene, families, every=every)) or _asked(scene, GENERAL, every=False) or (UNKNOWN,)
    found = _asked(scene, families)
    kept = tuple(cause for cause in found or _asked(scene, GENERAL, every=False) if cause.code in NEED_NO_FORMULA)
    for other in more if found else ():
        shared = {cause.code: cause for cause in _asked(other, families)}
        found = tuple(cause for cause in found if cause.code in shared and _alike(cause, shared[cause.code]))
        entries += np.count_nonzero(other.wrong)
        if entries >= INFORMATIVE or not found:
            break
    if found and entries >= INFORMATIVE:
        return found
    factors = (cause.factor for cause in (*_asked(scene, families), *unnamed_scale(scene)))
    factor = next((factor for factor in factors if factor is not None), None)
    return kept or (Cause("unknown", TOO_FEW, factor),)


def _exact(found: tuple[Cause, ...]) -> tuple[Cause, ...]:
    """Without the causes that have a fitted number, if there are others."""
    return tuple(cause for cause in found if cause.fitted is None) or found


def _alike(one: Cause, other: Cause) -> bool:
    """Whether two causes of one code have fitted the same number, if they have fitted any."""
    if one.fitted is None or other.fitted is None:
        return one.fitted is other.fitted
    return isclose(one.fitted, other.fitted, rel_tol=1e-6)


def _told(family: Family, scene: Scene) -> Iterator[Cause]:
    """What a family says; a hypothesis that cannot be evaluated on these tensors explains nothing."""
    try:
        yield from family(scene)
    except (ArithmeticError, IndexError, RuntimeError, ValueError):
        return


def _asked(scene: Scene, families: Sequence[Family], *, every: bool = True) -> tuple[Cause, ...]:
    """One cause for each code that explains the tensor; or the first alone."""
    found: dict[str, Cause] = {}
    with np.errstate(all="ignore"):
        for cause in (cause for family in families for cause in _told(family, scene)):
            known = found.setdefault(cause.code, cause)
            if known.fitted is not None and cause.fitted is None:
                found[cause.code] = cause  # one without a fitted number says more
            if not every:
                return (cause,)
    return tuple(found.values())
