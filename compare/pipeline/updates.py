"""What is said of an updated parameter or a velocity with its verdict, and of those that no step changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from handgrad.compare.facts.causes import Cause
from handgrad.compare.facts.failures import NothingMoves
from handgrad.compare.facts.remarks import Note
from handgrad.compare.names import Key, is_updated, updated
from handgrad.compare.results import Finding, Worst
from handgrad.compare.thresholds import FEW_ROUNDINGS, SCREEN, UNIT_ROUNDOFF
from handgrad.compare.trace import Arrays
from handgrad.compare.verdict.closeness import Local, index_of
from handgrad.compare.verdict.judgement import Judgement, excerpt, row_of
from handgrad.compare.verdict.rounding import Outcome, size
from handgrad.compare.verdict.steps import cause_of


class UpdateRun(NamedTuple):
    """One updated tensor in one precision: before, after by hand, and after in torch."""

    before: np.ndarray
    by_hand: np.ndarray
    torch: np.ndarray


def update_judgement(key: Key, outcome: Outcome, runs: Mapping[str, UpdateRun], printed: str) -> Judgement:
    """What is said of an updated tensor with its verdict; shapes are equal and everything is a real number."""
    dtype = outcome.dtype if outcome.dtype in runs else printed
    run, shown = runs[dtype], runs[printed]
    row, _ = row_of(key, "", outcome, ({key.name: shown.by_hand}, {key.name: shown.torch}))
    if outcome.verdict == "OK":
        return Judgement(row, note=outcome.why if isinstance(outcome.why, Note) else None)
    index = outcome.index
    ours, theirs, before = float(run.by_hand[index]), float(run.torch[index]), float(run.before[index])
    shown_in = outcome.dtype if outcome.dtype != printed else ""
    finding = Finding(
        key,
        outcome.verdict,
        cause_of(key, outcome, ours, theirs),
        worst=Worst(index, ours, theirs, shown_in, before=before if is_updated(key.name) else None),
        rho=outcome.rho,
        circumstances=() if outcome.why is None or isinstance(outcome.why, (Cause, Note)) else (outcome.why,),
    )
    change = Local(run.by_hand.astype(np.float64) - run.before, run.torch - run.before.astype(np.float64))
    rounding = _rounding(run, change, UNIT_ROUNDOFF[dtype])
    block = excerpt(key, run.by_hand, run.torch, index)
    return Judgement(row, finding, differs=True, local=change, rounding=rounding, excerpt=block)


def _rounding(run: UpdateRun, change: Local, unit: float) -> np.ndarray:
    """What rounding explains of a change that is a multiple of torch's: that of the weights, and its own."""
    times = size(change.recorded) / (size(change.reference) or 1.0)  # which multiplies torch's rounding
    by_hand = unit * (np.abs(run.before, dtype=np.float64) + np.abs(run.by_hand))
    torch = UNIT_ROUNDOFF["float64"] * times * np.abs(run.torch)
    return np.asarray(FEW_ROUNDINGS * (by_hand + torch) + SCREEN * unit * np.abs(change.recorded))


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
