"""A second opinion: both sides on their own, and how far rounding alone lets them drift apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from handgrad.compare.experiment.bounds import label_of
from handgrad.compare.experiment.data import Data
from handgrad.compare.experiment.recording import records_due
from handgrad.compare.experiment.settings import Settings
from handgrad.compare.experiment.sides import (
    by_hand,
    epoch_orders,
    in_torch,
    initial_parameters,
    training_by_hand,
    training_in_torch,
)
from handgrad.compare.facts.failures import NoBatch, Overflow, RoundingGrows
from handgrad.compare.names import Key, gradient
from handgrad.compare.operations import Modules
from handgrad.compare.pipeline.judged import Judged, JudgedStep
from handgrad.compare.pipeline.recording import Ended, Taken, steps_of
from handgrad.compare.results import Curve, Plot
from handgrad.compare.sandbox import quietly
from handgrad.compare.thresholds import DRIFT, FEW_ROUNDINGS, TWINS
from handgrad.compare.trace import is_real
from handgrad.compare.verdict.attribution import Suspect
from handgrad.compare.verdict.bounds import PRECISIONS
from handgrad.compare.verdict.closeness import Local, index_of
from handgrad.compare.verdict.judgement import Judgement, judgement_of
from handgrad.compare.verdict.rounding import Outcome
from handgrad.compare.verdict.shapes import misfit
from handgrad.compare.verdict.steps import with_finding

Arrays = dict[str, np.ndarray]


def _one_rounding_apart(w: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Every entry moved to a neighbouring number, up or down at random."""
    towards = np.where(rng.random(w.shape) < 0.5, -np.inf, np.inf).astype(w.dtype)
    return np.asarray(np.nextafter(w, towards))


def _steps(settings: Settings, data: Data, hand: Modules | None) -> Iterator[tuple[list[Taken], Arrays]]:
    """The steps of both sides on their own, up to where one ends.

    By hand there are several, from starts one rounding apart; the first counts.
    """
    N, start = data.X.shape[1], initial_parameters(settings, hand)
    rng = np.random.default_rng([settings.seed, 2])
    starts = (start, *({n: _one_rounding_apart(w, rng) for n, w in start.items()} for _ in range(TWINS)))
    names = records_due(settings, 1)
    runs = []
    for params in starts:
        phases = by_hand(settings, data, params, epoch_orders(settings, N), hand)
        runs.append(steps_of(training_by_hand(phases, names), params, copy=np.asarray))
    twin = training_in_torch(in_torch(settings, data, start, epoch_orders(settings, N)))
    while True:
        with quietly():
            taken = [next(run, Taken(start, {})) for run in runs]
        ended = any(each.ended is not None for each in taken)
        torch = {} if ended else next(twin, {})
        if not torch and not ended and not taken[0].records:
            return
        yield taken, torch
        if ended or not torch:
            return


class _Drift:
    """How far two runs may drift apart by rounding alone: ten times the spread of runs that start one rounding apart.

    The rounding of the step itself comes on top. A spread is a small sample, so for each tensor the largest one up to
    the step counts.
    """

    def __init__(self) -> None:
        """Nothing has drifted yet."""
        self.spread: dict[str, float] = {}
        self.scale: dict[str, float] = {}

    def allowed(self, name: str, dtype: str) -> float:
        """How far apart rounding lets a tensor be, as far as it has been judged."""
        return float(DRIFT * self.spread[name] + FEW_ROUNDINGS * PRECISIONS[dtype].u * self.scale[name])

    def judge(self, key: Key, equation: str, by_hand: Sequence[Arrays], torch: np.ndarray) -> Judgement:
        """Judge one tensor by hand, of the first run, against torch; the other runs are those that started apart."""
        record = by_hand[0].get(key.name)
        judgement = misfit(key, {"free": record}, {"free": torch.shape}, equation)
        if judgement is not None:
            return judgement
        assert record is not None
        hand, *twins = (side[key.name].astype(np.float64) for side in by_hand)
        apart = max(float(np.max(np.abs(hand - twin), initial=0.0)) for twin in twins)
        self.spread[key.name] = max(self.spread.get(key.name, 0.0), apart)
        self.scale[key.name] = max(self.scale.get(key.name, 0.0), float(np.max(np.abs(torch), initial=0.0)))
        difference = np.abs(hand - torch)
        index = index_of(int(np.argmax(difference)), difference.shape)
        allowed = np.float64(self.allowed(key.name, str(torch.dtype)))
        rho = float(difference[index] / allowed) if difference[index] != 0 else 0.0
        verdict = "OK" if rho <= 1 else "FAULT" if np.isfinite(difference[index]) else "NONFINITE"
        outcome = Outcome(verdict, rho, "twins", index)
        judgement = judgement_of(key, equation, outcome, (by_hand[0], {key.name: torch}))
        if verdict == "OK":
            return judgement
        suspect = Suspect(key, outcome, Local(record, torch))
        return with_finding(judgement, suspect, {}, {})._replace(local=None)


def free_running(settings: Settings, data: Data, hand: Modules | None = None) -> Iterator[JudgedStep]:
    """The steps of both sides on their own, judged by the spread of runs by hand that start one rounding apart."""
    drift = _Drift()
    for number, (sides, torch) in enumerate(_steps(settings, data, hand), start=1):
        ended = next((side.ended for side in sides if side.ended is not None), None)
        if ended is None and not torch:
            ended = Ended(NoBatch(number), equation="O2")
        if ended is not None:
            yield JudgedStep(number, [], ended=(ended.finding(Key(number, "forward", "X")),))
            return
        due = records_due(settings, torch["X"].shape[1])
        records = [side.records for side in sides]
        with quietly():
            judgements = [
                drift.judge(Key(number, phase, name), label_of(settings, name), records, torch[name])
                for name, (phase, _) in due.items()
                if name in torch
            ]
        yield JudgedStep(number, judgements, stop=any(len(side.after) < len(side.before) for side in sides))


def only_drift(judged: Judged) -> Judged:
    """A run whose steps are all right by themselves: what drifts too far is rounding that grows, found at its first."""
    first = next((j.finding for j in judged.judgements if j.finding is not None), None)
    if first is None:
        return judged
    told = first if isinstance(first.cause, Overflow) else replace(first, verdict="WEAK", cause=RoundingGrows())

    def as_told(judgement: Judgement) -> Judgement:
        if judgement.finding is None:
            return judgement
        shown = told if judgement.finding.where == told.where else None
        return judgement._replace(row=judgement.row._replace(verdict=told.verdict), finding=shown, differs=True)

    return replace(judged, judgements=[*map(as_told, judged.judgements)])


def drift_plots(settings: Settings, data: Data, hand: Modules | None = None) -> tuple[Plot, ...]:
    """Both sides on their own: J, how far they drift apart against what rounding explains, and the gradients' norms."""
    drift = _Drift()
    rows = list[tuple[float, float, float, float]]()  # step, J by hand, J in torch, what is allowed
    norms: dict[str, list[float]] = {}
    for number, (sides, torch) in enumerate(_steps(settings, data, hand), start=1):
        records = [side.records for side in sides]
        ours = [each.get("J") for each in records]
        if "J" not in torch or any(J is None or J.shape or not is_real(J) for J in ours):
            break
        with quietly():
            drift.judge(Key(number, "loss", "J"), "", records, torch["J"])
        both = float(records[0]["J"].ravel()[0]), float(torch["J"])
        rows.append((float(number), *both, drift.allowed("J", str(torch["J"].dtype))))
        for name in (gradient(f"W{l}") for l in range(1, settings.depth + 1)):
            g = records[0].get(name)
            norms.setdefault(name, []).append(np.nan if g is None or not is_real(g) else float(np.linalg.norm(g)))
    return _plots(rows, norms) if len(rows) > 1 else ()


def _plots(rows: Sequence[tuple[float, float, float, float]], norms: dict[str, list[float]]) -> tuple[Plot, ...]:
    x, ours, theirs, allowed = zip(*rows, strict=True)
    apart = tuple(abs(a - b) for a, b in zip(ours, theirs, strict=True))
    return (
        Plot(
            "Loss, each side on its own",
            "step",
            "J",
            (Curve("by hand", x, ours), Curve("torch", x, theirs)),
            text="Both start from the same weights and get the same batches; then neither sees the other.",
        ),
        Plot(
            "How far the two drift apart",
            "step",
            "|J by hand - J in torch|",
            (Curve("difference", x, apart), Curve("what rounding explains", x, allowed)),
            log=True,
            text="Rounding explains ten times the spread of runs by hand that start one rounding apart. Where no "
            "difference is drawn, both are the same to the last bit.",
        ),
        Plot(
            "Gradient norm by layer, by hand",
            "step",
            "norm",
            tuple(Curve(name, x, tuple(values)) for name, values in [*norms.items()][:6]),
            log=True,
        ),
    )
