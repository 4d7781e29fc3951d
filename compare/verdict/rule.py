"""Rounding or fault: the verdict on one tensor, with no tolerance to set.

What is judged is the local difference: the recorded tensor against the reference evaluated in float64 on the records
that it was computed from (oracle.replay). Two questions decide. Is the difference larger than rounding can explain
(verdict.bounds, where the operation is in the registry)? And does it shrink, as rounding does, about 2^29-fold from
float32 to float64, or stay, as a wrong formula does? The cut is the geometric midpoint, 2^-14.5. Where float32 says
nothing, because the mathematics amplifies, a third one decides: does it change as mathematics does or as rounding does,
when the parameters move by less than float32 can follow?

    OK         rounding explains it in every precision that was run
    FAULT      it does not, and the difference did not shrink
    WEAK       it does not, but the difference shrank: the formula is right, the arithmetic loses digits; or rounding
               changes the reference itself by as much, so that nothing is told
    NONFINITE  nan or infinity where the reference is finite, or the first place where both overflow
    MISSING    nothing was recorded
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from handgrad.compare.thresholds import CAST, CUT, FEW_ENTRIES, FEW_ROUNDINGS, JITTER_CUT, LARGE, SMOOTH, SUSPICIOUS
from handgrad.compare.trace import is_float32
from handgrad.compare.verdict.bounds import PRECISIONS, Allowance
from handgrad.compare.verdict.closeness import Local, closest, difference_of, index_of

__all__ = ["Ladder", "Outcome", "judge"]


Array = np.ndarray


@dataclass(frozen=True)
class Ladder:
    """Further evidence on one tensor whose operation has no allowance, computed only where it is needed.

    `spread()` is the largest change of the local float64 reference when everything its segment reads moves by one
    float32 rounding. `cotangent()` is the largest gradient that a tap's gradient is computed from: where units are
    saturated, the result is less than one of its roundings and has no digits. `jitter()` is the ratio of change of the
    local difference when the parameters move by 2^-20, and `tremor()` when they move by 2^-45, by which mathematics
    that float32 cannot follow is still smooth. `swing()` is how much of the reference itself changes by the latter.
    They are nan where that is not known. `is_nothing()`: the tensor is next to nothing beside J and its gradients, or
    beside what all is computed from, and may be what cancels but for its roundings.
    """

    spread: Callable[[], float]
    cotangent: Callable[[], float]
    jitter: Callable[[], float]
    tremor: Callable[[], float]
    swing: Callable[[], float]
    is_nothing: Callable[[], bool]


@dataclass(frozen=True)
class Outcome:
    """The verdict on one tensor, its difference in units of what rounding explains, the rule, and the worst entry.

    It is told by moves if float32 says nothing, and the difference moves with the parameters as mathematics does; it is
    unstable if roundings change the reference itself by 1 % or so, and the difference tells nothing either.
    """

    verdict: str
    rho: float
    basis: str
    index: tuple[int, ...]
    is_told_by_moves: bool = False
    is_unstable: bool = False


def judge(
    runs: Mapping[str, Local],
    allowances: Mapping[str, Allowance] | None,
    ladder: Ladder | None = None,
    *,
    beside_float32: bool = False,
) -> Outcome:
    """Judge one tensor from its runs by dtype, "float64" and "float32" or one of them alone.

    With `allowances`, one per run, the bound of rounding decides and the ladder tells FAULT from WEAK. Without, the
    precision ladder decides alone. `beside_float32`: in the run in float64 some record is float32, and what is computed
    with it may have float32's roundings in any precision.
    """
    differences = {dtype: difference_of(local) for dtype, local in runs.items()}
    for dtype, difference in differences.items():
        index = None if difference.max() < np.inf else _not_finite(runs[dtype])
        if index is not None:
            return Outcome("NONFINITE", float("inf"), "ladder" if allowances is None else "bound", index)
    if allowances is None:
        return _by_ladder(runs, differences, ladder)
    return _by_bound(runs, differences, allowances, beside_float32=beside_float32)


def _not_finite(local: Local) -> tuple[int, ...] | None:
    """The first entry that is not finite on either side."""
    wrong = ~(np.isfinite(local.recorded) & np.isfinite(local.reference))
    return index_of(int(np.argmax(wrong)), local.recorded.shape) if wrong.any() else None


def _by_bound(
    runs: Mapping[str, Local],
    differences: Mapping[str, Array],
    allowances: Mapping[str, Allowance],
    *,
    beside_float32: bool,
) -> Outcome:
    rho, worst = 0.0, 0
    for dtype, local in runs.items():
        times, entry = closest(local, allowances[dtype], PRECISIONS[dtype], runs=1)
        if not times[0] <= rho:
            rho, worst = float(times[0]), int(entry[0])
    shape = next(iter(runs.values())).recorded.shape
    if rho <= 1:
        return Outcome("OK", rho, "bound", index_of(worst, shape))
    fault = _fault(runs, differences, allowances, beside_float32=beside_float32)
    if (
        fault is None
        and not beside_float32
        and "float64" in runs
        and _is_factor(runs["float64"], allowances["float64"])
    ):
        fault = worst
    return Outcome(
        "WEAK" if fault is None else "FAULT", rho, "bound", index_of(worst if fault is None else fault, shape)
    )


def _is_factor(local: Local, allowance: Allowance) -> bool:
    """Whether more than rounding of a difference is one share of the reference, or of one of the terms of which it is
    the sum, which lost digits are not.
    """
    apart = local.recorded - local.reference
    allowed = allowance.everywhere(PRECISIONS["float64"])
    if np.count_nonzero(np.abs(apart) > allowed) <= FEW_ENTRIES or is_float32(local.recorded):
        return False
    term = 0.0 if allowance.beside is None else allowance.beside[0] * allowance.beside[1]
    units = (local.reference, local.reference - term, np.broadcast_to(term, apart.shape))
    shares = ((unit, np.vdot(apart, unit) / np.vdot(unit, unit)) for unit in units if unit.any())
    return any(bool((np.abs(apart - share * unit) <= allowed).all()) for unit, share in shares)


def _fault(
    runs: Mapping[str, Local],
    differences: Mapping[str, Array],
    allowances: Mapping[str, Allowance],
    *,
    beside_float32: bool,
) -> int | None:
    """The flat index of the worst entry that rounding cannot explain and that did not shrink, if there is one."""
    if "float64" not in runs:
        return _stored_only(runs["float32"], differences["float32"])
    difference = differences["float64"]
    allowed = allowances["float64"].everywhere(PRECISIONS["float64"])
    source = allowances.get("float32", allowances["float64"])
    coarse = source.everywhere(PRECISIONS["float32"])
    floor = CUT * np.maximum(coarse, differences.get("float32", 0.0))
    if beside_float32 or is_float32(runs["float64"].recorded):
        coarse_u = PRECISIONS["float32"].u  # the values were cast: their difference cannot shrink
        floor = np.maximum(coarse, coarse_u * np.abs(np.atleast_1d(runs["float64"].reference)))
    exceeding = ~(difference <= allowed) & ~(difference <= floor)
    return int(np.argmax(np.where(exceeding, difference, -1.0))) if exceeding.any() else None


def _stored_only(local: Local, difference: Array) -> int | None:
    """One precision and nothing that could shrink: no fault below a relative difference of sqrt(u)."""
    scale = np.max(np.abs(local.reference), initial=0.0)
    worst = int(difference.argmax())
    return worst if not difference.max() <= np.sqrt(PRECISIONS["float32"].u) * scale else None


def _by_ladder(runs: Mapping[str, Local], differences: Mapping[str, Array], ladder: Ladder | None) -> Outcome:
    """Screen, floor and jitter, each only if the one before flags the tensor; in the maximum norm."""
    coarse, fine = PRECISIONS["float32"], PRECISIONS["float64"]
    dtype = "float64" if "float64" in runs else "float32"
    local, difference = runs[dtype], differences[dtype]
    scale = float(np.abs(local.reference).max())
    rounding = coarse.u * scale
    at = int(difference.argmax())
    worst, index = difference.item(at), index_of(at, local.recorded.shape)
    if dtype == "float32":
        spread = 0.0 if ladder is None or local.recorded.dtype.kind != "f" else ladder.spread()
        allowed = max(np.sqrt(coarse.u) * scale, FEW_ROUNDINGS * spread) + coarse.eta
        return Outcome("OK" if worst <= allowed else "FAULT", worst / allowed, "ladder", index)
    error32 = float(differences["float32"].max()) if "float32" in differences else 0.0
    allowed = max(CUT * (error32 + rounding), FEW_ROUNDINGS * (fine.u * scale + fine.eta))
    if not worst <= allowed and ladder is not None:
        allowed = max(allowed, CUT * (max(error32, ladder.spread()) + rounding))
        if worst <= LARGE * scale or not local.recorded.any():
            allowed = max(allowed, FEW_ROUNDINGS * fine.u * ladder.cotangent())
    rho = worst / allowed
    if ladder is None:
        systematic = rho > 1 and worst > np.sqrt(fine.u) * scale
        return Outcome("OK" if rho <= 1 else "FAULT" if systematic else "WEAK", rho, "ladder", index)
    if rho > 1 and is_float32(local.recorded) and worst <= CAST * rounding:  # it was cast
        return Outcome("WEAK", rho, "ladder", index)
    if rho > 1 and not ladder.jitter() > JITTER_CUT:
        return Outcome("FAULT", rho, "ladder", index)
    is_large = worst > LARGE * scale
    if (rho <= 1 and not worst > SUSPICIOUS * scale) or ladder.is_nothing():
        return Outcome("OK" if rho <= 1 else "WEAK", rho, "ladder", index)
    if _is_smooth(ladder, is_large):  # rounding explains no more of it than what changes from place to place
        return Outcome("FAULT", max(rho, 1 / max(ladder.tremor(), fine.u)), "ladder", index, is_told_by_moves=True)
    is_unstable = is_large and ladder.swing() > LARGE
    return Outcome("OK" if rho <= 1 and not is_unstable else "WEAK", rho, "ladder", index, is_unstable=is_unstable)


def _is_smooth(ladder: Ladder, is_large: bool) -> bool:
    """Whether a difference that float32 cannot tell from noise moves as mathematics does, by less than it can follow.

    A small one that comes of a cast to float32 inside the derivation seems constant as well: but it stays where torch's
    value moves, and so changes by a larger share than that. Of a large one, tremor() knows.
    """
    return ladder.tremor() <= JITTER_CUT and (is_large or ladder.tremor() <= SMOOTH * ladder.swing())
