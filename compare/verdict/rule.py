"""Rounding or fault: the verdict on one tensor, with no tolerance to set. The reference's own rounding allows, and
movement accuses.

What is judged is the local difference d: the recorded tensor against the reference g evaluated in float64 on the
records of that precision. A screen passes what a few roundings explain. What is left is measured in s, the standard
deviation of the reference where each of its operations is off by a rounding (verdict.rounding); and what exceeds that
is a FAULT only if it is systematic: the same where the parameters and the batch move, over which roundings are drawn
anew (verdict.opinions). Where the operation is in the registry, a closed form says what rounding explains instead
(verdict.bounds).

    OK         rounding explains it in every precision that was run
    WEAK       it does not, but the difference is drawn anew with every move: not shown wrong
    UNTOLD     rounding moves the reference itself by as much: nothing is told
    FAULT      rounding does not explain it, and it stays
    NONFINITE  nan or infinity where the reference is finite, or the first place where both overflow
    MISSING    nothing was recorded
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from handgrad.compare.facts.remarks import OutOfRange
from handgrad.compare.thresholds import ALIKE, CUT, CUT_FLOAT32, FEW_ENTRIES, SCREEN
from handgrad.compare.trace import is_float32
from handgrad.compare.verdict.bounds import PRECISIONS, Allowance
from handgrad.compare.verdict.closeness import Local, closest, difference_of, index_of
from handgrad.compare.verdict.opinions import Beside, second_opinion, where_blind
from handgrad.compare.verdict.rounding import Flagged, Outcome, Witness, screened, screened_in_float32, worse

Array = np.ndarray


@np.errstate(all="ignore")
def judge(name: str, witnesses: Mapping[str, Witness]) -> Outcome:
    """Judge one tensor that every precision has in the shape that is due: float64, float32, or both."""
    fine, coarse = witnesses.get("float64"), witnesses.get("float32")
    if fine is None:
        assert coarse is not None
        return _in_one(name, coarse, _local(name, coarse), None)
    local = _local(name, fine)
    outcome = _in_one(name, fine, local, None)
    if coarse is None or outcome.verdict not in ("OK", "WEAK"):
        return outcome
    if screened_in_float32(Local(coarse.record(name), local.recorded), fine.scale(name)) is not None:
        return outcome
    beside = Beside(0.0 if outcome.basis == "screen" else outcome.rho, np.atleast_1d(local.reference))
    return worse(outcome, _in_one(name, coarse, _local(name, coarse), beside))


def _local(name: str, witness: Witness) -> Local:
    local = witness.beside(name)
    assert local is not None
    return local


def _in_one(name: str, witness: Witness, local: Local, beside: Beside | None) -> Outcome:
    """The verdict in one precision; `beside` is what float64 said where this is float32."""
    wrong = ~(np.isfinite(local.recorded) & np.isfinite(local.reference))
    if wrong.any():
        return _not_finite(witness, local, wrong)
    roundings = SCREEN if witness.dtype == "float64" else SCREEN / 4
    outcome = screened(local, witness.scale(name), witness.unit, witness.dtype, roundings)
    if outcome is not None:
        return outcome
    flagged = Flagged.of(name, witness, local)
    if flagged.rho > 1:
        return second_opinion(flagged, beside)
    is_told = beside is not None or not flagged.is_blind or witness.is_nothing(name)
    return flagged.outcome("OK") if is_told else where_blind(flagged)


def _not_finite(witness: Witness, local: Local, wrong: Array) -> Outcome:
    """float32 says nothing where torch's own run in it overflows somewhere; else nan and infinity are told."""
    index = index_of(int(np.argmax(wrong)), local.recorded.shape)
    if witness.dtype == "float32" and not witness.torch_is_finite():
        return Outcome("OK", 0.0, "screen", index, "float32", OutOfRange())
    return Outcome("NONFINITE", float("inf"), "noise", index, witness.dtype)


# --- where a closed form says what rounding explains


def judge_by_bound(
    runs: Mapping[str, Local], allowances: Mapping[str, Allowance], *, beside_float32: bool = False
) -> Outcome:
    """Judge one tensor from its runs by dtype, each within the allowance of its operation there.

    OK within them; else FAULT where an entry is further off than what float32's rounding shrinks to in float64, or in
    float32 than half of its digits and than float64 is; or WEAK. `beside_float32`: the tensor is computed from a record
    of the run in float64 that is float32, and may have float32's roundings in any precision.
    """
    outcome = Outcome("OK", 0.0, "bound", ())
    for dtype, local in sorted(runs.items(), reverse=True):  # float64 first
        wrong = ~(np.isfinite(local.recorded) & np.isfinite(local.reference))
        if wrong.any():
            index = index_of(int(np.argmax(wrong)), local.recorded.shape)
            return Outcome("NONFINITE", float("inf"), "bound", index, dtype)
        times, entry = closest(local, allowances[dtype], PRECISIONS[dtype], runs=1)
        rho, worst, shape = float(times[0]), int(entry[0]), local.recorded.shape
        if rho <= 1:
            outcome = worse(outcome, Outcome("OK", rho, "bound", index_of(worst, shape), dtype))
            continue
        fault = _beyond(local, allowances[dtype], dtype, beside_float32=beside_float32)
        if dtype == "float64" and fault is None and not beside_float32 and _is_factor(local, allowances[dtype]):
            fault = worst
        if dtype == "float32" and rho <= ALIKE * max(1.0, outcome.rho) and "float64" in runs:
            fault = None  # it rounds as float64 does
        verdict, at = ("WEAK", worst) if fault is None else ("FAULT", fault)
        outcome = worse(outcome, Outcome(verdict, rho, "bound", index_of(at, shape), dtype))
    return outcome


def _beyond(local: Local, allowance: Allowance, dtype: str, *, beside_float32: bool) -> int | None:
    """The flat index of the worst entry that is off by more than digits that were lost; None if there is none."""
    coarse, reference = PRECISIONS["float32"], np.abs(np.atleast_1d(local.reference))
    if dtype == "float32":
        floor = CUT_FLOAT32 * reference.max()
    elif beside_float32 or is_float32(local.recorded):  # the values were cast: their difference cannot shrink
        floor = np.maximum(allowance.everywhere(coarse), coarse.u * reference)
    else:
        floor = CUT * allowance.everywhere(coarse)
    difference = difference_of(local)
    exceeding = ~(difference <= allowance.everywhere(PRECISIONS[dtype])) & ~(difference <= floor)
    return int(np.argmax(np.where(exceeding, difference, -1.0))) if exceeding.any() else None


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
