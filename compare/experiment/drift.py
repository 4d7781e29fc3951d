"""A second opinion: both sides on their own, and how far rounding alone lets them drift apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count

import numpy as np

from handgrad.compare.experiment.data import Data
from handgrad.compare.experiment.exceptions import quietly, raised, unending
from handgrad.compare.experiment.judging import label_of
from handgrad.compare.experiment.settings import Experiment
from handgrad.compare.experiment.sides import by_hand, epoch_orders, in_torch, initial_parameters
from handgrad.compare.names import Key
from handgrad.compare.report import DIVERGED, Finding
from handgrad.compare.report.details import Line, Plot
from handgrad.compare.trace import Trace, extend, is_real, step_trace
from handgrad.compare.verdict.steps import Drift, JudgedRun, Judgement
from handgrad.torchref.exchange import to_array

__all__ = ["drift_plots", "free_running", "only_drift"]

Arrays = dict[str, np.ndarray]


TWINS = 4  # runs that start one rounding apart; fewer are too small a sample where a tensor has one entry


def _one_rounding_apart(w: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Every entry moved to a neighbouring number, up or down at random."""
    towards = np.where(rng.random(w.shape) < 0.5, -np.inf, np.inf).astype(w.dtype)
    return np.asarray(np.nextafter(w, towards))


def free_running(experiment: Experiment, data: Data) -> JudgedRun:
    """Both sides on their own, judged by ten times the spread of runs by hand that start one rounding apart."""
    drift, judgements, last = Drift(), list[Judgement](), 0
    for step in _steps(experiment, data):
        if not step.torch and step.raised is None:
            return JudgedRun(judgements, unending(step.number), step.number, ())
        if step.raised is not None:
            return JudgedRun(
                judgements, raised(step.number, {key.phase for key in step.by_hand[0]}, step.raised), step.number, ()
            )
        labelled = [(key, label_of(experiment, key.name)) for key in step.torch]
        with quietly():
            judgements += drift.judge(labelled, step.by_hand, step.torch)
        last = step.number
    return JudgedRun(judgements, None, last, ())


def only_drift(judged: JudgedRun) -> JudgedRun:
    """A run whose steps are all right by themselves: what drifts too far is rounding that grows, found at its first."""
    judgements: list[Judgement] = []
    first: Finding | None = None
    for judgement in judged.judgements:
        finding = judgement.finding
        if finding is not None:
            if first is None and not finding.explanation.startswith(DIVERGED):
                text = f"every step by itself is right, so rounding grows from step to step here: {finding.explanation}"
                finding = replace(finding, verdict="WEAK", cause="precision-loss", explanation=text)
            first = first or finding
            row = judgement.row._replace(verdict=first.verdict)
            judgement = judgement._replace(row=row, finding=finding if first is finding else None, differs=True)
        judgements.append(judgement)
    return replace(judged, judgements=judgements)


def drift_plots(experiment: Experiment, data: Data) -> tuple[Plot, ...]:
    """Both sides on their own: J, how far they drift apart against what rounding explains, and the gradients' norms."""
    drift, key = Drift(), "J"
    numbers, ours, theirs, allowed = list[float](), list[float](), list[float](), list[float]()
    norms: dict[str, list[float]] = {}
    for step in _steps(experiment, data):
        at = Key(step.number, "loss", key)
        sides = [*step.by_hand, step.torch]
        if step.raised is not None or any(at not in side or side[at].shape or not is_real(side[at]) for side in sides):
            break
        with quietly():
            drift.judge([(at, "")], step.by_hand, step.torch)
        numbers.append(float(step.number))
        ours.append(float(step.by_hand[0][at].ravel()[0]))
        theirs.append(float(step.torch[at]))
        allowed.append(drift.allowed(key, str(step.torch[at].dtype)))
        for l in range(1, experiment.depth + 1):
            gradient = step.by_hand[0].get(Key(step.number, "backward", f"dW{l}"))
            known = np.nan if gradient is None or not is_real(gradient) else float(np.linalg.norm(gradient))
            norms.setdefault(f"dW{l}", []).append(known)
    if len(numbers) < 2:
        return ()
    x = tuple(numbers)
    apart = tuple(float(abs(a - b)) for a, b in zip(ours, theirs, strict=True))
    return (
        Plot(
            "Loss, each side on its own",
            "step",
            "J",
            (Line("by hand", x, tuple(ours)), Line("torch", x, tuple(theirs))),
            text="Both start from the same weights and get the same batches; then neither sees the other.",
        ),
        Plot(
            "How far the two drift apart",
            "step",
            "|J by hand - J in torch|",
            (Line("difference", x, apart), Line("what rounding explains", x, tuple(allowed))),
            log=True,
            text="Rounding explains ten times the spread of runs by hand that start one rounding apart. Where no "
            "difference is drawn, both are the same to the last bit.",
        ),
        Plot(
            "Gradient norm by layer, by hand",
            "step",
            "norm",
            tuple(Line(name, x, tuple(values)) for name, values in [*norms.items()][:6]),
            log=True,
        ),
    )


@dataclass(frozen=True)
class _Step:
    """One step of the runs by hand, the first the one that counts, and of torch; or the exception that ended it."""

    number: int
    by_hand: list[Trace]
    torch: Trace
    raised: BaseException | None = None


def _steps(experiment: Experiment, data: Data) -> Iterator[_Step]:
    """Both sides on their own, and runs by hand that start one rounding apart."""
    N = data.X.shape[1]
    start = initial_parameters(experiment)
    rng = np.random.default_rng([experiment.seed, 2])
    nudged = [{name: _one_rounding_apart(w, rng) for name, w in start.items()} for _ in range(TWINS)]
    runs = [by_hand(experiment, data, params, epoch_orders(experiment, N)) for params in (start, *nudged)]
    twin = in_torch(experiment, data, start, epoch_orders(experiment, N))
    for number in count(1):
        traces: list[Trace] = [{} for _ in runs]
        try:
            with quietly():
                for trace, phases in zip(traces, runs, strict=True):
                    extend(trace, phases)
        except (Exception, SystemExit) as error:  # whatever the hand-written side raises is a finding, not a crash
            yield _Step(number, traces, {}, error)
            return
        torch_step = step_trace(twin, to_array)
        if not torch_step and not traces[0]:
            return
        yield _Step(number, traces, torch_step)
