"""Both sides of an Experiment step by step, judged, and the report on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, pairwise
from typing import Any

import numpy as np
import torch

from handgrad.compare.diagnosis import INFORMATIVE, UNKNOWN, Cause, Scene, diagnose
from handgrad.compare.environment import environment
from handgrad.compare.experiment.blind_spots import blind_spots
from handgrad.compare.experiment.data import Data, load
from handgrad.compare.experiment.drift import drift_plots, free_running, only_drift
from handgrad.compare.experiment.judging import Judging, label_of
from handgrad.compare.experiment.recording import Step, Training
from handgrad.compare.experiment.scene import of_network
from handgrad.compare.experiment.settings import Experiment, printed_first
from handgrad.compare.experiment.sides import check_fit
from handgrad.compare.operations import network_reads, operation
from handgrad.compare.report import FAILING, Finding, Report
from handgrad.compare.report.details import Details
from handgrad.compare.source.labels import network_code
from handgrad.compare.verdict.conventions import AS_IN_THE_NOTES, Convention
from handgrad.compare.verdict.steps import JudgedRun, Judgement, culprits, detailed, outranks

__all__ = ["differs", "run"]


def run(experiment: Experiment, source: Any, *, plots: bool = False) -> Report:
    """Train both sides on the same weights and batches and judge every step; `plots` adds curves for a page.

    Re-synchronised: torch starts every step from the hand's weights and velocities, so that a step is judged by itself,
    in float64 and in float32. Free-running: torch keeps its own, and is measured by how far rounding alone drifts; what
    drifts further is judged step by step after all, which tells a mistake from rounding that grows.
    """
    data = load(source)
    check_fit(experiment, data)
    train = free_running if experiment.free_running else _resynchronised
    with torch.inference_mode(False), torch.enable_grad():
        judged = found = train(experiment, data)
        if experiment.free_running and any(judgement.finding for judgement in judged.judgements):
            found = _resynchronised(replace(experiment, free_running=False), data)
            if not any(judgement.finding for judgement in found.judgements):
                judged = found = only_drift(judged)
        findings = _with_failure(culprits(found.judgements, found.causes), found.failure)
        drift = drift_plots(experiment, data) if plots else ()
    return Report(
        rows=tuple(judgement.row for judgement in judged.judgements),
        findings=findings,
        notes=found.notes,
        blind_spots=blind_spots(experiment, data, judged.steps),
        environment=_environment(experiment, data, found.notes),
        details=_details(experiment, found)._replace(plots=drift),
    )


def _details(experiment: Experiment, judged: JudgedRun) -> Details:
    """What depends on what, the code of both sides, and what the verdicts tell beside their rows."""
    names = dict.fromkeys(judgement.row.name for judgement in judged.judgements)
    reads = network_reads(experiment.depth, l2=experiment.l2 > 0, loss_reads=operation("loss", experiment.loss).reads)
    return detailed(judged.judgements, reads)._replace(code=network_code(experiment, names))


def differs(experiment: Experiment, source: Any, *, strict: bool = False) -> bool:
    """Whether the re-synchronised run fails, with `strict` also by WEAK: it stops there and names no cause."""
    data = load(source)
    check_fit(experiment, data)
    verdicts = (*FAILING, "WEAK") if strict else FAILING
    with torch.inference_mode(False), torch.enable_grad():
        steps = _judged_steps(experiment, data, Judging(experiment), at_once=False)
        return any(
            step.failure or any(j.finding and j.finding.verdict in verdicts for j in judged)
            for step, judged, _, _ in steps
        )


WINDOW = 64  # so many steps are evaluated at once, unless they hold more numbers than this:
NUMBERS = 2**20


def _resynchronised(experiment: Experiment, data: Data) -> JudgedRun:
    """Judge every step by itself: locally in both precisions, end to end in the one that is printed."""
    judging = Judging(experiment)
    judgements: list[Judgement] = []
    notes: dict[str, None] = {}
    suspects: dict[
        str, list[tuple[Step, Step | None]]
    ] = {}  # where each wrong tensor is so first, and what came before
    verdicts: dict[str, str] = {}
    convention, before = AS_IN_THE_NOTES, None
    for step, judged, told, convention in _judged_steps(experiment, data, judging, at_once=True):  # read by causes
        notes |= dict.fromkeys([*convention.notes, *told, *(j.note for j in judged if j.note)])
        judgements += judged
        for finding in (judgement.finding for judgement in judged if judgement.finding):
            if outranks(finding.verdict, verdicts.get(finding.name)):
                verdicts[finding.name] = finding.verdict
                suspects[finding.name] = []  # where it was WEAK before tells nothing of what is wrong
            if len(suspects[finding.name]) < INFORMATIVE:
                suspects[finding.name].append((step, before))
        before = step
        if step.failure or any(j.finding and j.finding.cause in ("missing", "shape") for j in judged):
            break  # torch cannot follow from here

    def scenes(name: str) -> Iterator[Scene]:
        for at in suspects[name]:
            scene = of_network(name, experiment, data, judging.twin, convention, *at)
            if scene is not None:
                yield scene

    def causes(finding: Finding, every: bool) -> tuple[Cause, ...]:
        here = scenes(finding.name)
        first = next(here, None)
        alike = (name for name in suspects if name != finding.name and label_of(experiment, name) == finding.equation)
        more = chain(here, chain.from_iterable(map(scenes, alike)))
        return (UNKNOWN,) if first is None else diagnose(first, more=more, every=every)

    failure = None if before is None else before.failure
    return JudgedRun(judgements, failure, 0 if before is None else before.number, tuple(notes), causes)


def _judged_steps(
    experiment: Experiment, data: Data, judging: Judging, *, at_once: bool
) -> Iterator[tuple[Step, list[Judgement], list[str], Convention]]:
    """Every step with its verdicts and notes, by windows; the first one decides on the convention.

    `at_once`: it is judged with the steps after it, and all begin again in the rare run that keeps another convention;
    else it is judged first, alone.
    """
    training = Training(experiment, data)
    convention, length = AS_IN_THE_NOTES, _length(_numbers(experiment, data)) if at_once else 1
    while steps := training.advance(length, convention):
        window = judging.window(steps, convention)
        if steps[0].number == 1:
            length = _length(steps[0].numbers)
            if any(judgement.finding for judgement in window[0][0]):
                convention = judging.convention(steps[0])
                if convention is not AS_IN_THE_NOTES and len(steps) > 1:
                    yield from _judged_steps(experiment, data, judging, at_once=False)
                    return
                if convention is not AS_IN_THE_NOTES:
                    training.follow(steps[0], convention)
                    window = judging.window(steps, convention)
        for step, (judged, told) in zip(steps, window, strict=True):
            yield step, judged, [*told, *([training.float64_only] if training.float64_only else [])], convention


def _length(numbers: int) -> int:
    """How many steps of so many numbers are evaluated at once."""
    return int(np.clip(NUMBERS // max(numbers, 1), 1, WINDOW))


def _numbers(experiment: Experiment, data: Data) -> int:
    """About how many numbers a step records: Z, A and their gradients, the losses, and what becomes of the weights."""
    n = experiment.batch_size or data.X.shape[1]
    parameters = sum((n_in + 1) * n_out for n_in, n_out in pairwise(experiment.layers))
    return n * (4 * sum(experiment.layers) + experiment.layers[-1]) + 3 * parameters


def _with_failure(findings: tuple[Finding, ...], failure: Finding | None) -> tuple[Finding, ...]:
    """An exception is a finding of its own only if no tensor before it explains it."""
    if failure is None:
        return findings
    if not findings:
        return (failure,)
    first = replace(findings[0], explanation=f"{findings[0].explanation}; then {failure.explanation}")
    return (first, *findings[1:])


def _environment(experiment: Experiment, data: Data, notes: tuple[str, ...]) -> dict[str, Any]:
    """The experiment itself, and what the machine contributes."""
    widths = "-".join(map(str, experiment.layers))
    size = "full batch" if experiment.batch_size is None else f"batches of {experiment.batch_size}"
    return environment(
        f"handgrad check: by hand (NumPy {np.__version__}) against torch {torch.__version__}, "
        f"{experiment.dtype}, seed {experiment.seed}" + (", free-running" if experiment.free_running else ""),
        (experiment.dtype,) if experiment.free_running else printed_first(experiment.dtype),
        experiment.seed,
        notes,
        setting=f"network {widths}, {'/'.join(experiment.activations)}, {experiment.loss}, "
        f"{experiment.initializer} weights, {experiment.optimizer}, {size}; data {data.description}",
        experiment=experiment.as_dict(),
        data=data.description,
    )
