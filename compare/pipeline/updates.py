"""What is said of an updated parameter or a velocity with its verdict, and of those that no step changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from handgrad.compare.facts.failures import NothingMoves
from handgrad.compare.names import Key, is_updated, of_updated, updated
from handgrad.compare.pipeline.following import Following
from handgrad.compare.results import Finding
from handgrad.compare.thresholds import FEW_ROUNDINGS, SCREEN, UNIT_ROUNDOFF
from handgrad.compare.trace import Arrays
from handgrad.compare.verdict.attribution import Suspect
from handgrad.compare.verdict.closeness import Local, index_of
from handgrad.compare.verdict.judgement import Judgement, judgement_of
from handgrad.compare.verdict.rounding import Outcome, size
from handgrad.compare.verdict.steps import with_finding


def update_judgement(key: Key, outcome: Outcome, beside: Mapping[str, Following]) -> Judgement:
    """What is said of an updated parameter or velocity with its verdict.

    `beside` has both sides by precision, the printed one first. Shapes are equal and everything is a real number.
    """
    name, shown, run = key.name, next(iter(beside.values())), beside[outcome.dtype]
    judgement = judgement_of(key, "", outcome, (shown.records, shown.local))
    if outcome.verdict == "OK":
        return judgement._replace(differs=False)
    by_hand, torch = run.records[name], run.local[name]
    before = run.before[of_updated(name)] if is_updated(name) else np.zeros_like(by_hand)
    shown_in = "" if run is shown else outcome.dtype
    started = float(before[outcome.index]) if is_updated(name) else None
    suspect = Suspect(key, outcome, Local(by_hand, torch), shown_in, before=started)
    judgement = with_finding(judgement._replace(differs=True, note=None), suspect, {}, {})
    change = Local(by_hand.astype(np.float64) - before, torch - before.astype(np.float64))
    rounding = _rounding((before, by_hand, torch), change, UNIT_ROUNDOFF[outcome.dtype])
    return judgement._replace(local=change, rounding=rounding)


def _rounding(sides: tuple[np.ndarray, np.ndarray, np.ndarray], change: Local, unit: float) -> np.ndarray:
    """What rounding explains of a change that is a multiple of torch's: that of the weights, and its own.

    `sides` are what was there before, and after by hand and in torch.
    """
    before, by_hand, torch = map(np.abs, sides)
    times = size(change.recorded) / (size(change.reference) or 1.0)  # which multiplies torch's rounding
    own = unit * (before.astype(np.float64) + by_hand)
    theirs = UNIT_ROUNDOFF["float64"] * times * torch
    return np.asarray(FEW_ROUNDINGS * (own + theirs) + SCREEN * unit * np.abs(change.recorded))


def in_torchs(judged: Judgement, factor: float) -> Judgement:
    """The verdict on a velocity that is a multiple of torch's by convention, shown as torch has it."""
    assert judged.local is not None
    apart = np.abs(judged.local.recorded / factor - judged.local.reference)
    row = judged.row._replace(verdict="OK", rho=None, max_abs_diff=float(apart.max(initial=0.0)))
    at = index_of(int(apart.argmax()), apart.shape)
    ours, theirs = float(judged.local.recorded[at]) / factor, float(judged.local.reference[at])
    return judged._replace(row=row._replace(index=at, by_hand=ours, torch=theirs), finding=None, excerpt=None)


def unmoved(steps: Iterable[tuple[Arrays, Arrays]]) -> list[str]:
    """The parameters that no step changes, each step given as what there was before and after it."""
    steps = [*steps]
    names = steps[0][0] if steps else ()
    return [n for n in names if all(n in after and np.array_equal(before[n], after[n]) for before, after in steps)]


def nothing_moved(parameter: str, remedy: str) -> Finding:
    """The finding that neither side changes any parameter, of which this is the first."""
    return Finding(Key(1, "update", updated(parameter)), "FAULT", NothingMoves(remedy))
