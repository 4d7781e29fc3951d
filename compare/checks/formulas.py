"""The formula of an update that no other rule explains: an edit of the optimiser's own step, as torch takes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from math import sqrt
from typing import Any

import numpy as np
import torch

from handgrad.compare.diagnosis.bits import Observed
from handgrad.compare.diagnosis.edits.edit import is_number
from handgrad.compare.diagnosis.edits.segment import Segment
from handgrad.compare.diagnosis.search import PASSES, Elsewhere, Search, named
from handgrad.compare.errors import InputError
from handgrad.compare.facts.causes import Cause, Scaled, Unknown
from handgrad.compare.names import is_updated
from handgrad.compare.pipeline.following import Following
from handgrad.compare.pipeline.steps import JudgedTraining, Training, follow
from handgrad.compare.results import Finding
from handgrad.compare.thresholds import MOVE_FOR_NAMES, SCREEN, UNIT_ROUNDOFF
from handgrad.compare.trace import finest
from handgrad.torchref.exchange import to_tensor

WITH_STATE = 3  # steps after which no moment is 0
SHARES = ("momentum", "alpha", "rho", "dampening", "momentum_decay", "lr_decay")


def formula_instead(findings: tuple[Finding, ...], trainings: Sequence[JudgedTraining]) -> tuple[Finding, ...]:
    """Findings on updates that nothing explains, or a factor of each step, with the edit of torch's step that does."""
    return tuple(_with_formula(finding, trainings) for finding in findings)


def _with_formula(finding: Finding, trainings: Sequence[JudgedTraining]) -> Finding:
    cause = finding.cause
    is_open = cause == Unknown() or (isinstance(cause, Scaled) and cause.varies)
    if not is_open or not is_updated(finding.where.name):
        return finding
    for judged in trainings:
        for step in _steps(finding, judged):
            causes = _formulas(finding.where.name, step, judged.training)
            if causes:
                return replace(finding, cause=causes[0], others=tuple(causes[1:2]))
    return finding


def _steps(finding: Finding, judged: JudgedTraining) -> list[int]:
    """The step to look at, if the tensor is wrong at several: the third such, where the optimiser has some state.

    At the first, where moments are 0, many formulas are the same, and what is wrong there alone is no formula.
    """
    wrong = [j.finding.where for j in judged.judged.judgements if j.finding is not None]
    return [where.step for where in wrong if where.name == finding.where.name][1:WITH_STATE][-1:]


def _formulas(name: str, step: int, training: Training) -> Sequence[Cause]:
    here = _at(training, step)
    if here is None or name not in here.records or name not in here.local:
        return ()
    graph = here.followers.recorded()
    optimizer = here.followers.follower.optimizer
    recorded, reference = (to_tensor(np.asarray(side[name], np.float64)) for side in (here.records, here.local))
    observed = Observed(recorded, reference, here.dtype, share=SCREEN * UNIT_ROUNDOFF[here.dtype])
    search = Search(Segment(graph, name), observed, settings_of(optimizer, step), passes=PASSES[:-1])
    return named([search], partial(_elsewhere, name, step, training, here.dtype))


def _at(training: Training, step: int) -> Following | None:
    """Both sides of a step in the finest precision."""
    beside = next(islice(follow(training, training.optimizer), step - 1, None), None)
    return None if beside is None else finest(beside)


def _elsewhere(name: str, step: int, training: Training, dtype: str) -> Iterator[Elsewhere]:
    """The same step where start and gradients have moved far, once."""
    for moved in training.moved(dtype, MOVE_FOR_NAMES):
        try:
            there = _at(moved, step)
        except InputError:
            continue
        if there is not None and name in there.records and np.isfinite(there.records[name]).all():
            inputs = {of: node.value for of, node in there.followers.recorded().inputs.items()}
            yield Elsewhere(inputs, to_tensor(np.asarray(there.records[name], np.float64)))
            return


def settings_of(optimizer: torch.optim.Optimizer, step: int) -> dict[float, str]:
    """The numbers of an optimiser's formula at a step, each with its name."""
    group: Mapping[str, Any] = optimizer.param_groups[0]
    plain = {name: float(value) for name, value in group.items() if is_number(value)}
    betas = group.get("betas", ())
    plain |= {f"beta{i}": float(beta) for i, beta in enumerate(betas, start=1)}
    numbers = dict(plain)
    for name in (*SHARES, *(f"beta{i}" for i in range(1, len(betas) + 1))):
        if plain.get(name):
            numbers |= {f"1 - {name}": 1 - plain[name], f"1 - {name}^{step}": 1 - plain[name] ** step}
            numbers |= {f"sqrt(1 - {name}^{step})": sqrt(abs(1 - plain[name] ** step))}
    lr, eps = plain.get("lr", 0.0), plain.get("eps", 0.0)
    first, second = numbers.get(f"1 - beta1^{step}"), numbers.get(f"sqrt(1 - beta2^{step})")
    if first and second:
        numbers |= {f"lr / (1 - beta1^{step})": lr / first, f"eps sqrt(1 - beta2^{step})": eps * second}
        numbers |= {f"eps / sqrt(1 - beta2^{step})": eps / second}
    if plain.get("weight_decay"):
        decay = plain["weight_decay"]
        numbers |= {"lr weight_decay": lr * decay, "1 - lr weight_decay": 1 - lr * decay}
    return {value: name for name, value in reversed(numbers.items()) if value not in (0.0, 1.0, 2.0, 0.5)}
