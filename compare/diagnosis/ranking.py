"""Which mistakes explain a tensor: a cause is named only if the tensor that it predicts is the recorded one.

A hypothesis is a formula evaluated on the derivation's own tensors (by torch, where it is the derivation's formula with
one operand exchanged), or a relation between the recorded tensor and what it should be. It is accepted if the recorded
tensor differs from it by no more than rounding. Hypotheses are asked from exact to general. `Unknown` is the cause of
what none of them explains.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from math import isclose

import numpy as np

from handgrad.compare.diagnosis.activations import derivatives
from handgrad.compare.diagnosis.factors import data_part, scaled, unnamed_scale, zero
from handgrad.compare.diagnosis.losses import cost_forms, loss_forms
from handgrad.compare.diagnosis.operands import copied, operands, overwritten
from handgrad.compare.diagnosis.places import masks, moved, parts
from handgrad.compare.diagnosis.scene import Family, Scene
from handgrad.compare.diagnosis.steps import orders, updates, velocities
from handgrad.compare.diagnosis.sums import bias_sums, examples
from handgrad.compare.diagnosis.terms import added
from handgrad.compare.facts.causes import Cause, Unknown, factor_of, fitted_of
from handgrad.compare.thresholds import FITTED, INFORMATIVE

# another form of one kind of equation; a factor; another tensor or term, or its entries in other places
FORMS: tuple[Family, ...] = (zero, orders, updates, velocities, cost_forms, loss_forms, bias_sums)
FACTORS: tuple[Family, ...] = (scaled, data_part)
TENSORS: tuple[Family, ...] = (overwritten, copied, moved, added, derivatives, operands, examples)
FAMILIES = (*FORMS, *FACTORS, *TENSORS)
GENERAL: tuple[Family, ...] = (unnamed_scale, masks, parts)  # asked only where no formula explains the tensor
BY_THEMSELVES: tuple[Family, ...] = (zero, scaled, moved)  # they need nothing but the two tensors
NEED_NO_FORMULA = ("isolated-elements", "kink", "zero", "dropped-example", "mask")


@np.errstate(all="ignore")
def diagnose(scene: Scene, more: Iterable[Scene] = ()) -> tuple[Cause, ...]:
    """All causes that explain a wrong tensor, one for each code, the most exact first; `Unknown` alone if none does.

    A tensor with fewer than three wrong entries is too small to name a cause, unless `more` tensors of the same
    equation, from later steps or other layers, have the same one.
    """
    if not _is_finite(scene):
        return (Unknown(),)
    if _is_small(scene):
        return _shared(scene, FAMILIES, more)
    causes = _one_per_code(_causes(scene, FAMILIES))
    exact = tuple(cause for cause in causes if fitted_of(cause) is None)
    return exact or causes or (_first(scene, GENERAL),)


@np.errstate(all="ignore")
def first_cause(scene: Scene, more: Iterable[Scene] = (), families: tuple[Family, ...] = FAMILIES) -> Cause:
    """The first cause that explains a wrong tensor, as `diagnose` asks for them, which costs less than all of them."""
    if not _is_finite(scene):
        return Unknown()
    return _shared(scene, families, more)[0] if _is_small(scene) else _first(scene, (*families, *GENERAL))


def explained(recorded: np.ndarray, reference: np.ndarray, dtype: str = "float64") -> Cause:
    """The cause that the two tensors alone show: zero, a wrong sign, a factor, another arrangement."""
    scene = Scene("", recorded.astype(np.float64), reference.astype(np.float64), dtype)
    return first_cause(scene, families=BY_THEMSELVES)


def _shared(scene: Scene, families: tuple[Family, ...], more: Iterable[Scene]) -> tuple[Cause, ...]:
    """The causes of a tensor that is too small by itself: those that `more` tensors have as well."""
    own = shared = _one_per_code(_causes(scene, families))
    entries = np.count_nonzero(scene.wrong)
    for other in more if own else ():
        others = {cause.code: cause for cause in _one_per_code(_causes(other, families))}
        shared = tuple(cause for cause in shared if cause.code in others and _alike(cause, others[cause.code]))
        entries += np.count_nonzero(other.wrong)
        if entries >= INFORMATIVE or not shared:
            break
    if shared and entries >= INFORMATIVE:
        return shared
    plain = tuple(cause for cause in own or (_first(scene, GENERAL),) if cause.code in NEED_NO_FORMULA)
    factors = map(factor_of, (*own, *_causes(scene, (unnamed_scale,))))
    return plain or (Unknown(too_few=True, factor=next((f for f in factors if f is not None), None)),)


def _alike(one: Cause, other: Cause) -> bool:
    """Whether two causes of one code have fitted the same number, if they have fitted any."""
    ours, theirs = fitted_of(one), fitted_of(other)
    return ours is theirs if ours is None or theirs is None else isclose(ours, theirs, rel_tol=FITTED)


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


def _is_small(scene: Scene) -> bool:
    return int(np.count_nonzero(scene.wrong)) < INFORMATIVE
