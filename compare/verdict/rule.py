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
from dataclasses import dataclass, replace

import numpy as np

from handgrad.compare.thresholds import CAST, CUT, FEW_ENTRIES, FEW_ROUNDINGS, JITTER_CUT, LARGE, SMOOTH, SUSPICIOUS
from handgrad.compare.trace import is_float32
from handgrad.compare.verdict.bounds import PRECISIONS, Allowance
from handgrad.compare.verdict.closeness import Local, closest, difference_of, index_of

Array = np.ndarray


@dataclass(frozen=True)
class Ladder:
    """Further evidence on one tensor whose operation has no allowance, computed only where it is asked for.

    spread      the largest change of the reference when everything that it reads moves by one rounding of float32
    cotangent   the largest gradient that this one is computed from: where units are saturated, the result is less than
                one rounding of that, and has no digits
    jitter      the share of the difference that changes when the parameters move by 2^-20
    tremor      the same by 2^-45, which float32 cannot follow and over which mathematics is still smooth
    swing       the share of the reference that changes by 2^-45
    is_nothing  the tensor is next to nothing beside J and its gradients, or beside the numbers that all is computed
                from: it may be what is left of a sum that cancels

    jitter, tremor and swing are nan where the derivation cannot be run again.
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

    `is_told_by_moves`: float32 says nothing, and the difference moves with the parameters as mathematics does.
    `is_unstable`: roundings change the reference itself by 1 % or so, and the difference tells nothing either.
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

    With `allowances`, one per run, the bound of rounding decides, and two precisions tell FAULT from WEAK. Without,
    two precisions and the ladder decide. `beside_float32`: the tensor is computed from a record of the run in float64
    that is float32, and may have float32's roundings in any precision.
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
    """OK within the allowances of every run; else FAULT where an entry is beyond them and did not shrink, or WEAK."""
    rho, worst = 0.0, 0
    for dtype, local in runs.items():
        times, entry = closest(local, allowances[dtype], PRECISIONS[dtype], runs=1)
        if not times[0] <= rho:
            rho, worst = float(times[0]), int(entry[0])
    shape = next(iter(runs.values())).recorded.shape
    if rho <= 1:
        return Outcome("OK", rho, "bound", index_of(worst, shape))
    fault = _fault(runs, differences, allowances, beside_float32=beside_float32)
    if fault is None and "float64" in runs and not beside_float32:
        fault = worst if _is_factor(runs["float64"], allowances["float64"]) else None
    verdict = "WEAK" if fault is None else "FAULT"
    return Outcome(verdict, rho, "bound", index_of(worst if fault is None else fault, shape))


def _is_factor(local: Local, allowance: Allowance) -> bool:
    """Whether a difference is one share of the reference, or of one of the two terms that it is the sum of.

    Lost digits are not: more than a few entries beyond rounding do not have one factor in common by chance.
    """
    difference = local.recorded - local.reference
    allowed = allowance.everywhere(PRECISIONS["float64"])
    if np.count_nonzero(np.abs(difference) > allowed) <= FEW_ENTRIES or is_float32(local.recorded):
        return False
    term = 0.0 if allowance.beside is None else allowance.beside[0] * allowance.beside[1]
    units = (local.reference, local.reference - term, np.broadcast_to(term, difference.shape))
    shares = ((unit, np.vdot(difference, unit) / np.vdot(unit, unit)) for unit in units if unit.any())
    return any(bool((np.abs(difference - share * unit) <= allowed).all()) for unit, share in shares)


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
    """The flat index of the worst entry of a run in float32 alone, if it is off by more than sqrt(u) of the largest."""
    scale = np.max(np.abs(local.reference), initial=0.0)
    worst = int(difference.argmax())
    return worst if not difference.max() <= np.sqrt(PRECISIONS["float32"].u) * scale else None


@dataclass(frozen=True)
class _Screened:
    """A tensor in float64 whose operation has no allowance, after the screen that two precisions are."""

    local: Local
    index: tuple[int, ...]
    worst: float
    scale: float
    rho: float

    @property
    def is_large(self) -> bool:
        """Whether the difference is more than the last digits."""
        return self.worst > LARGE * self.scale

    def outcome(self, verdict: str = "") -> Outcome:
        """A verdict; without one, OK if rounding explains the difference, else WEAK."""
        return Outcome(verdict or ("OK" if self.rho <= 1 else "WEAK"), self.rho, "ladder", self.index)


def _by_ladder(runs: Mapping[str, Local], differences: Mapping[str, Array], ladder: Ladder | None) -> Outcome:
    """The screen, and where it or the size of the difference asks for them, the second opinions in their order."""
    if "float64" not in runs:
        return _float32_alone(runs["float32"], differences["float32"], ladder)
    screened = _screened(runs["float64"], differences, ladder)
    if ladder is None:
        is_systematic = screened.rho > 1 and screened.worst > np.sqrt(PRECISIONS["float64"].u) * screened.scale
        return screened.outcome("FAULT" if is_systematic else "")
    opinions = (opinion(screened, ladder) for opinion in SECOND_OPINIONS)
    return next((outcome for outcome in opinions if outcome is not None), screened.outcome())


def _float32_alone(local: Local, difference: Array, ladder: Ladder | None) -> Outcome:
    """One precision and nothing that could shrink: no fault below a relative difference of sqrt(u)."""
    coarse = PRECISIONS["float32"]
    scale, flat = float(np.abs(local.reference).max()), int(difference.argmax())
    worst = difference.item(flat)
    spread = 0.0 if ladder is None or local.recorded.dtype.kind != "f" else ladder.spread()
    allowed = max(np.sqrt(coarse.u) * scale, FEW_ROUNDINGS * spread) + coarse.eta
    verdict = "OK" if worst <= allowed else "FAULT"
    return Outcome(verdict, worst / allowed, "ladder", index_of(flat, local.recorded.shape))


def _screened(local: Local, differences: Mapping[str, Array], ladder: Ladder | None) -> _Screened:
    """The largest difference in float64, in units of what that in float32 allows, and what the ladder adds to it."""
    coarse, fine = PRECISIONS["float32"], PRECISIONS["float64"]
    difference = differences["float64"]
    scale, flat = float(np.abs(local.reference).max()), int(difference.argmax())
    worst, rounding = difference.item(flat), coarse.u * scale
    in_float32 = float(differences["float32"].max()) if "float32" in differences else 0.0
    allowed = max(CUT * (in_float32 + rounding), FEW_ROUNDINGS * (fine.u * scale + fine.eta))
    if not worst <= allowed and ladder is not None:
        allowed = max(allowed, CUT * (max(in_float32, ladder.spread()) + rounding))
        if worst <= LARGE * scale or not local.recorded.any():
            allowed = max(allowed, FEW_ROUNDINGS * fine.u * ladder.cotangent())
    return _Screened(local, index_of(flat, local.recorded.shape), worst, scale, worst / allowed)


def _was_cast(screened: _Screened, ladder: Ladder) -> Outcome | None:
    """WEAK: more than rounding, of a record that float32 can hold, and no more than a cast leaves."""
    allowed = CAST * PRECISIONS["float32"].u * screened.scale
    is_cast = screened.rho > 1 and is_float32(screened.local.recorded) and screened.worst <= allowed
    return screened.outcome("WEAK") if is_cast else None


def _stays(screened: _Screened, ladder: Ladder) -> Outcome | None:
    """FAULT: more than rounding, and the same where the parameters move a little, which rounding is not."""
    return screened.outcome("FAULT") if screened.rho > 1 and not ladder.jitter() > JITTER_CUT else None


def _is_no_matter(screened: _Screened, ladder: Ladder) -> Outcome | None:
    """OK or WEAK: nothing asks for more, or the tensor is nothing but rounding itself."""
    is_small = screened.rho <= 1 and not screened.worst > SUSPICIOUS * screened.scale
    return screened.outcome() if is_small or ladder.is_nothing() else None


def _moves_smoothly(screened: _Screened, ladder: Ladder) -> Outcome | None:
    """FAULT: float32 cannot tell the difference from noise, but it moves as mathematics does, which noise does not.

    A small one that comes of a cast to float32 inside the derivation seems constant as well: but it stays where torch's
    value moves, and so changes by a larger share than that. Rounding explains no more of it than what changes.
    """
    tremor = ladder.tremor()
    if not (tremor <= JITTER_CUT and (screened.is_large or tremor <= SMOOTH * ladder.swing())):
        return None
    rho = max(screened.rho, 1 / max(tremor, PRECISIONS["float64"].u))
    return replace(screened.outcome("FAULT"), rho=rho, is_told_by_moves=True)


def _reference_is_unstable(screened: _Screened, ladder: Ladder) -> Outcome | None:
    """WEAK: a large difference, where roundings change the reference as much; nothing is told of the formula."""
    if not (screened.is_large and ladder.swing() > LARGE):
        return None
    return replace(screened.outcome("WEAK"), is_unstable=True)


SECOND_OPINIONS: tuple[Callable[[_Screened, Ladder], Outcome | None], ...] = (
    _was_cast,
    _stays,
    _is_no_matter,
    _moves_smoothly,
    _reference_is_unstable,
)
"""Asked in this order where the operation has no allowance; the first that answers decides, and none means rounding."""
