"""Both sides of an Experiment step by step, judged, and the report on them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from compare.blindspots import blind_spots
from compare.conventions import AS_IN_THE_NOTES
from compare.data import Data, load
from compare.environment import environment
from compare.experiment import Experiment, printed_first
from compare.findings import Judgement, culprits
from compare.freerunning import free_running
from compare.judging import Judging
from compare.report import Finding, Report
from compare.runners import check_fit
from compare.stepping import Training

__all__ = ["run"]


def run(experiment: Experiment, source: Any) -> Report:
    """Train both sides on the same weights and batches and judge every step.

    Re-synchronised: torch starts every step from the hand's weights and velocities, so that a step is judged by itself,
    in float64 and in float32. Free-running: torch keeps its own, and is measured by how far rounding alone drifts.
    """
    data = load(source)
    check_fit(experiment, data)
    train = free_running if experiment.free_running else _resynchronised
    judgements, failure, steps, notes = train(experiment, data)
    return Report(
        rows=tuple(judgement.row for judgement in judgements),
        findings=_with_failure(culprits(judgements), failure),
        notes=notes,
        blind_spots=blind_spots(experiment, data, steps),
        environment=_environment(experiment, data),
    )


Judged = tuple[list[Judgement], Finding | None, int, tuple[str, ...]]
WINDOW = 64  # so many steps are evaluated at once, unless they hold more numbers than this:
NUMBERS = 2**22


def _resynchronised(experiment: Experiment, data: Data) -> Judged:
    """Judge every step by itself: locally in both precisions, end to end in the one that is printed.

    The first step decides on the convention; those after it are judged by windows.
    """
    training, judging = Training(experiment, data), Judging(experiment)
    judgements: list[Judgement] = []
    notes: dict[str, None] = {}
    convention, length = AS_IN_THE_NOTES, 1
    while steps := training.advance(length, convention):
        window = judging.window(steps, convention)
        if steps[0].number == 1:
            length = int(np.clip(NUMBERS // max(steps[0].numbers, 1), 1, WINDOW))
            if any(judgement.finding for judgement in window[0][0]):
                convention = judging.convention(steps[0])
                training.follow(steps[0], convention)
                window = judging.window(steps, convention)
        for step, (judged, told) in zip(steps, window, strict=True):
            told += [training.float64_only] if training.float64_only else []
            notes |= dict.fromkeys([*convention.notes, *told, *(j.note for j in judged if j.note)])
            judgements += judged
            if step.failure is not None or any(j.finding and j.finding.cause in ("missing", "shape") for j in judged):
                return judgements, step.failure, step.number, tuple(notes)  # torch cannot follow from here
    return judgements, None, training.number, tuple(notes)


def _with_failure(findings: tuple[Finding, ...], failure: Finding | None) -> tuple[Finding, ...]:
    """An exception is a finding of its own only if no tensor before it explains it."""
    if failure is None:
        return findings
    if not findings:
        return (failure,)
    first = replace(findings[0], explanation=f"{findings[0].explanation}; then {failure.explanation}")
    return (first, *findings[1:])


def _environment(experiment: Experiment, data: Data) -> dict[str, Any]:
    """The experiment itself, and what the machine contributes."""
    widths = "-".join(map(str, experiment.layers))
    size = "full batch" if experiment.batch_size is None else f"batches of {experiment.batch_size}"
    return environment(
        f"handgrad check: by hand (NumPy {np.__version__}) against torch {torch.__version__}, "
        f"{experiment.dtype}, seed {experiment.seed}" + (", free-running" if experiment.free_running else ""),
        (experiment.dtype,) if experiment.free_running else printed_first(experiment.dtype),
        experiment.seed,
        setting=f"network {widths}, {'/'.join(experiment.activations)}, {experiment.loss}, "
        f"{experiment.initializer} weights, {experiment.optimizer}, {size}; data {data.description}",
        experiment=experiment.as_dict(),
        data=data.description,
    )
