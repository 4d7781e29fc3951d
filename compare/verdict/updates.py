"""The verdict on an updated tensor: what rounding explains is measured on optimisers that get moved tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from handgrad.compare.facts.causes import Unknown
from handgrad.compare.facts.failures import NotFinite, NothingMoves
from handgrad.compare.names import Key, is_updated, updated
from handgrad.compare.results import Finding, Row, Worst
from handgrad.compare.thresholds import CUT, FEW_ROUNDINGS
from handgrad.compare.trace import Arrays
from handgrad.compare.verdict.bounds import PRECISIONS
from handgrad.compare.verdict.closeness import Local, index_of
from handgrad.compare.verdict.excerpts import excerpt
from handgrad.compare.verdict.judgement import Judgement


@dataclass(frozen=True)
class UpdateRun:
    """One updated tensor in one precision: before, after by hand, after in torch, and after in the moved optimisers."""

    before: np.ndarray
    by_hand: np.ndarray
    torch: np.ndarray
    moved: Sequence[np.ndarray]

    @property
    def difference(self) -> np.ndarray:
        """|by hand - torch|."""
        with np.errstate(all="ignore"):
            return np.asarray(np.abs(self.by_hand.astype(np.float64) - self.torch))

    @property
    def spread(self) -> np.ndarray:
        """The largest change of torch's result when everything it is computed from moves by one float32 rounding."""
        with np.errstate(all="ignore"):
            return np.asarray(np.max([np.abs(moved - self.torch) for moved in self.moved], axis=0, initial=0.0))

    @property
    def scale(self) -> np.ndarray:
        """|before| + |after|, what one rounding of the update is relative to."""
        return np.asarray(np.abs(self.before.astype(np.float64)) + np.abs(self.torch))


def judge_update(key: Key, runs: Mapping[str, UpdateRun], printed: str) -> Judgement:
    """Judge one updated tensor from its runs by dtype; shapes are equal and everything is a real number."""
    run, shown = runs.get("float64", next(iter(runs.values()))), runs[printed]
    with np.errstate(all="ignore"):
        allowed = _allowed(runs) if "float64" in runs else _allowed_in_float32(run)
        ratio = np.atleast_1d(np.where(run.difference == 0, 0.0, run.difference / allowed)).ravel()
    worst = int(np.argmax(np.where(np.isnan(ratio), np.inf, ratio)))
    index, rho = index_of(worst, run.before.shape), float(ratio[worst])
    finite = np.isfinite(run.by_hand) & np.isfinite(run.torch)
    verdict = "NONFINITE" if not finite.all() else "OK" if rho <= 1 else "FAULT"
    at = index if verdict != "OK" else index_of(int(np.argmax(shown.difference)), run.before.shape)
    both = float(shown.by_hand[at]), float(shown.torch[at])
    largest = float(np.max(shown.difference))
    row = Row(*key, "", run.before.shape, largest, at, *both, rho, "ladder", verdict)
    if verdict == "OK":
        return Judgement(row)
    ours, theirs, before = float(run.by_hand[index]), float(run.torch[index]), float(run.before[index])
    finding = Finding(
        key,
        verdict,
        Unknown() if verdict == "FAULT" else NotFinite(ours, theirs),
        worst=Worst(index, ours, theirs, before=before if is_updated(key.name) else None),
        rho=rho,
    )
    change = Local(run.by_hand.astype(np.float64) - run.before, run.torch - run.before.astype(np.float64))
    return Judgement(row, finding, differs=True, local=change, excerpt=excerpt(key, run.by_hand, run.torch, index))


def _allowed(runs: Mapping[str, UpdateRun]) -> np.ndarray:
    """What rounding explains in float64, beside the run in float32 if there is one."""
    fine, coarse, run = PRECISIONS["float64"], PRECISIONS["float32"], runs["float64"]
    other = runs["float32"].difference if "float32" in runs else np.zeros(run.before.shape)
    floor = np.maximum(np.nan_to_num(other), run.spread) + coarse.u * run.scale
    return np.asarray(np.maximum(CUT * floor, FEW_ROUNDINGS * (fine.u * run.scale + fine.eta)))


def _allowed_in_float32(run: UpdateRun) -> np.ndarray:
    """What rounding explains in float32 alone."""
    coarse = PRECISIONS["float32"]
    moved = np.abs(run.torch - run.before)
    spread = np.maximum(FEW_ROUNDINGS * run.spread, np.sqrt(coarse.u) * moved)
    return np.asarray(spread + FEW_ROUNDINGS * coarse.u * run.scale + coarse.eta)


def unmoved(steps: Iterable[tuple[Arrays, Arrays]]) -> list[str]:
    """The parameters that no step changes, each step given as what there was before and after it."""
    steps = [*steps]
    names = steps[0][0] if steps else ()
    return [n for n in names if all(n in after and np.array_equal(before[n], after[n]) for before, after in steps)]


def nothing_moved(parameter: str, remedy: str) -> Finding:
    """The finding that neither side changes any parameter, of which this is the first."""
    return Finding(Key(1, "update", updated(parameter)), "FAULT", NothingMoves(remedy))
