"""A run of the notes' network: its trainer and its torch twin through the pipeline of the checks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from handgrad.compare.environment import environment
from handgrad.compare.experiment.blind_spots import blind_spots
from handgrad.compare.experiment.data import Data, load
from handgrad.compare.experiment.drift import drift_plots, free_running, only_drift
from handgrad.compare.experiment.judging import judged_steps
from handgrad.compare.experiment.settings import Settings, printed_first
from handgrad.compare.experiment.sides import check_fit
from handgrad.compare.facts.remarks import Note
from handgrad.compare.operations import Modules, network_reads, operation
from handgrad.compare.pipeline.blind_spots import of_precisions
from handgrad.compare.pipeline.judged import collected, findings_of, reported, with_ended
from handgrad.compare.report.report import Report
from handgrad.compare.results import FAILING, UNSURE
from handgrad.compare.sandbox import undisturbed
from handgrad.compare.source.labels import network_code


class Experiment(Settings):
    """One run of the notes' network, by hand and in torch.nn, on the same weights and the same batches.

    Its fields are those of Settings. Raises InputError, a ValueError, if a field is out of range or unknown.
    """

    def run(self, data: Any = "breast-cancer") -> Report:
        """Train both sides side by side and compare everything they compute.

        `data` is a name (breast-cancer, digits, synthetic), a .npz or .csv file with X and y, or a pair (X, y) with X
        of shape (N, n_x) and y of shape (N,) or (N, K). Raises InputError if the data cannot be used.
        """
        return run(self, data)


def run(settings: Settings, source: Any, *, plots: bool = False, hand: Modules | None = None) -> Report:
    """Train both sides on the same weights and batches and judge every step; `plots` adds curves for a page.

    Re-synchronised: torch starts every step from the hand's weights and state, so that a step is judged by itself,
    in float64 and in float32. Free-running: torch keeps its own, and is measured by how far rounding alone drifts; what
    drifts further is judged step by step after all, which tells a mistake from rounding that grows. `hand` runs in
    place of the installed hand-written side.
    """
    data = load(source)
    check_fit(settings, data)
    with undisturbed():
        steps = free_running if settings.free_running else judged_steps
        shown = judged = collected(steps(settings, data, hand))
        alone = _precisions(settings)
        if settings.free_running and judged.suspects:
            alone = ()
            judged = collected(judged_steps(replace(settings, free_running=False), data, hand))
            if not judged.suspects:
                shown = judged = only_drift(shown)
        findings = with_ended(findings_of(judged), judged.ended)
        curves = drift_plots(settings, data, hand) if plots else ()
    reads = network_reads(settings.depth, l2=settings.l2 > 0, loss_reads=operation("loss", settings.loss).reads)
    names = dict.fromkeys(judgement.row.name for judgement in judged.judgements)
    return reported(
        replace(judged, judgements=shown.judgements, reads={n: frozenset(read) for n, read in reads.items()}),
        findings,
        _environment(settings, data, judged.notes),
        blind_spots=lambda: (
            *blind_spots(settings, data, shown.steps),
            *of_precisions(alone, judged.notes, "run without --free-running"),
        ),
        code=partial(network_code, settings.activations, settings.loss, settings.optimizer, names),
        plots=curves,
    )


def differs(settings: Settings, source: Any, *, strict: bool = False, hand: Modules | None = None) -> bool:
    """Whether the re-synchronised run fails, with `strict` also by WEAK and UNTOLD: it stops there, unnamed."""
    data = load(source)
    check_fit(settings, data)
    verdicts = (*FAILING, *UNSURE) if strict else FAILING

    with undisturbed():
        steps = judged_steps(settings, data, hand, window=1)
        return any(
            step.ended or any(j.finding is not None and j.finding.verdict in verdicts for j in step.judgements)
            for step in steps
        )


def _precisions(settings: Settings) -> tuple[str, ...]:
    """The precisions that both sides are judged in, the printed one first; each on its own has only that."""
    return (settings.dtype,) if settings.free_running else printed_first(settings.dtype)


def _environment(settings: Settings, data: Data, notes: Iterable[Note]) -> dict[str, Any]:
    """The settings themselves, and what the machine contributes."""
    widths = "-".join(map(str, settings.layers))
    size = "full batch" if settings.batch_size is None else f"batches of {settings.batch_size}"
    return environment(
        f"handgrad check: by hand (NumPy {np.__version__}) against torch {torch.__version__}, "
        f"{settings.dtype}, seed {settings.seed}" + (", free-running" if settings.free_running else ""),
        _precisions(settings),
        settings.seed,
        notes,
        setting=f"network {widths}, {'/'.join(settings.activations)}, {settings.loss}, "
        f"{settings.initializer} weights, {settings.optimizer}, {size}; data {data.description}",
        experiment=settings.as_dict(),
        data=data.description,
    )
