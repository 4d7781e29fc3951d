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
from dataclasses import replace

import numpy as np

from handgrad.compare.facts.remarks import OutOfRange
from handgrad.compare.thresholds import SCREEN, SCREEN_FLOAT32, UNEXPLAINED_SHARE
from handgrad.compare.verdict.bounds import PRECISIONS
from handgrad.compare.verdict.closeness import Local, closest, index_of
from handgrad.compare.verdict.opinions import second_opinion, torch_is_inexact, where_blind
from handgrad.compare.verdict.rounding import Flagged, Outcome, Witness, screened, worse


@np.errstate(all="ignore")
def judge(name: str, witnesses: Mapping[str, Witness]) -> Outcome:
    """Judge one tensor that every precision has in the shape that is due: float64, float32, or both."""
    fine, coarse = witnesses.get("float64"), witnesses.get("float32")
    if fine is None:
        assert coarse is not None
        return _in_one(name, coarse)
    outcome = _in_one(name, fine)
    if coarse is None or outcome.verdict not in ("OK", "WEAK"):
        return outcome
    both = Local(coarse.records[name], fine.records[name])
    if coarse.allowance(name) is None and screened(both, fine.scale(name), "float32", SCREEN_FLOAT32) is not None:
        return outcome  # no replay is needed
    return worse(outcome, _in_one(name, coarse, 0.0 if outcome.basis == "screen" else outcome.rho))


@np.errstate(all="ignore")
def unexplained(name: str, witness: Witness) -> float:
    """A difference in units of what rounding explains, by the screen or by noise runs; inf where it is far more."""
    local = witness.beside(name)
    if local is None:
        return np.inf
    near, far = (
        screened(local, witness.scale(name), witness.dtype, SCREEN * times) for times in (1.0, 1.0 / UNEXPLAINED_SHARE)
    )
    if near is not None:
        return near.rho
    return np.inf if far is None else Flagged.of(name, witness, local).rho


def _in_one(name: str, witness: Witness, fine: float | None = None) -> Outcome:
    """The verdict in one precision; `fine` is the rho of float64 where this is float32 beside it."""
    local = witness.beside(name)
    assert local is not None
    bound = _by_bound(name, witness, local)
    explained = screened(local, witness.scale(name), witness.dtype, SCREEN) if bound is None else bound
    if explained is not None and explained.rho <= 1:
        return explained
    if not (np.isfinite(local.recorded) & np.isfinite(local.reference)).all():
        return _not_finite(name, witness, local, fine)
    flagged = Flagged.of(name, witness, local, fine)
    if bound is not None:
        return replace(second_opinion(flagged), rho=bound.rho, basis="bound")
    if flagged.rho > 1:
        return second_opinion(flagged)
    is_told = fine is not None or not flagged.is_blind or witness.is_nothing(name)
    return flagged.outcome("OK") if is_told else where_blind(flagged)


def _by_bound(name: str, witness: Witness, local: Local) -> Outcome | None:
    """How close it comes to what the closed form of the operation explains, OK up to a rho of 1; None without one."""
    allowance = witness.allowance(name)
    if allowance is None:
        return None
    times, entry = closest(local, allowance, PRECISIONS[witness.dtype])
    return Outcome("OK", float(times[0]), "bound", index_of(int(entry[0]), local.recorded.shape), witness.dtype)


def _not_finite(name: str, witness: Witness, local: Local, fine: float | None) -> Outcome:
    """Beside float64, float32 says nothing where torch's own run in it overflows; else nan and infinity are told."""
    of_hand, of_torch = map(np.isfinite, local)
    if of_hand.all() and (outcome := torch_is_inexact(Flagged.of(name, witness, local, fine))):
        return outcome
    index = index_of(int(np.argmin(of_hand & of_torch)), of_hand.shape)
    if fine is not None and not witness.torch_is_finite:
        return Outcome("OK", 0.0, "screen", index, "float32", OutOfRange())
    return Outcome("NONFINITE", float("inf"), "noise", index, witness.dtype)
