"""A second opinion: both sides on their own, and how far rounding alone lets them drift apart."""

from __future__ import annotations

from itertools import count

import numpy as np

from compare.data import Data
from compare.experiment import Experiment
from compare.findings import Drift, JudgedRun, Judgement
from compare.interruptions import quietly, raised
from compare.judging import label_of
from compare.runners import by_hand, epoch_orders, in_torch, initial_parameters
from compare.trace import Trace, extend, step_trace
from torchref.exchange import to_array

__all__ = ["free_running"]

Arrays = dict[str, np.ndarray]


TWINS = 4  # runs that start one rounding apart; fewer are too small a sample where a tensor has one entry


def _one_rounding_apart(w: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Every entry moved to a neighbouring number, up or down at random."""
    towards = np.where(rng.random(w.shape) < 0.5, -np.inf, np.inf).astype(w.dtype)
    return np.asarray(np.nextafter(w, towards))


def free_running(experiment: Experiment, data: Data) -> JudgedRun:
    """Both sides on their own, judged by ten times the spread of runs by hand that start one rounding apart."""
    N = data.X.shape[1]
    start = initial_parameters(experiment)
    rng = np.random.default_rng([experiment.seed, 2])
    nudged = [{name: _one_rounding_apart(w, rng) for name, w in start.items()} for _ in range(TWINS)]
    runs = [by_hand(experiment, data, params, epoch_orders(experiment, N)) for params in (start, *nudged)]
    twin, _ = in_torch(experiment, data, start, epoch_orders(experiment, N))
    drift, judgements = Drift(), list[Judgement]()
    for step in count(1):
        traces: list[Trace] = [{} for _ in runs]
        try:
            with quietly():
                for trace, phases in zip(traces, runs, strict=True):
                    extend(trace, phases)
        except (Exception, SystemExit) as error:  # as above
            return JudgedRun(judgements, raised(step, {key.phase for key in traces[0]}, error), step, ())
        torch_step = step_trace(twin, to_array)
        if not torch_step and not traces[0]:
            return JudgedRun(judgements, None, step - 1, ())
        labelled = [(key, label_of(experiment, key.name)) for key in torch_step]
        with quietly():
            judgements += drift.judge(labelled, traces, torch_step)
    raise AssertionError("unreachable")
