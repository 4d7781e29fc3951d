"""The formula of updates that no setting of torch explains: an edit of the optimiser's own step, at all steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from handgrad.compare.diagnosis.recurring import At, Course, named_slip
from handgrad.compare.facts.causes import Cause, Scaled, Unknown
from handgrad.compare.facts.updates import Isolated
from handgrad.compare.names import gradient, is_updated, of_updated, updated
from handgrad.compare.oracle import recurrence
from handgrad.compare.pipeline.following import Following
from handgrad.compare.pipeline.steps import JudgedTraining, Training, follow
from handgrad.compare.results import Finding
from handgrad.compare.thresholds import SCREEN, SMALLEST, UNIT_ROUNDOFF
from handgrad.compare.trace import Arrays, finest
from handgrad.torchref.exchange import to_tensor

ENTRIES = 48  # of a parameter: an update is made entry by entry, so that so many tell as much as all
OF_A_CHANGE = 2.0**12  # roundings of the largest change so far: of 1 - 0.999^t one is a thousand


def formula_instead(findings: tuple[Finding, ...], trainings: Sequence[JudgedTraining]) -> tuple[Finding, ...]:
    """Findings on updates that nothing explains, or a factor of each step, with the edit of torch's step that does."""
    names = [of_updated(f.where.name) for f in findings if is_updated(f.where.name) and _is_open(f.cause)]
    if not names:
        return findings
    courses = _courses([each.training for each in trainings], names)
    causes = {name: cause for name, cause in _causes(courses).items() if cause}

    def named(finding: Finding) -> Finding:
        told = causes.get(of_updated(finding.where.name)) if is_updated(finding.where.name) else None
        is_told = told is not None and _is_open(finding.cause)
        return replace(finding, cause=told[0], others=told[1:2]) if told and is_told else finding

    return tuple(map(named, findings))


def _is_open(cause: Cause) -> bool:
    return cause == Unknown() or isinstance(cause, Isolated) or (isinstance(cause, Scaled) and cause.varies)


def _causes(courses: Mapping[str, Sequence[Course]]) -> dict[str, tuple[Cause, ...]]:
    """The causes by parameter: those of all whose steps have the same formula."""
    forms: dict[tuple[str, ...], list[str]] = {}
    for name, of_name in courses.items():
        forms.setdefault(of_name[0].recurrence.form, []).append(name)
    told = {form: named_slip([c for name in names for c in courses[name]]) for form, names in forms.items()}
    return {name: told[form] for form, names in forms.items() for name in names}


def _courses(trainings: Sequence[Training], names: Sequence[str]) -> dict[str, list[Course]]:
    """The steps of each parameter in all runs, for those whose step can be recorded."""
    first = trainings[0]
    recurrences = {name: recurrence.recurrence(first.optimizer, first.params, name) for name in dict.fromkeys(names)}
    courses: dict[str, list[Course]] = {name: [] for name, of in recurrences.items() if of is not None}
    for training in trainings:
        steps = [*_finite(training)]
        for name in courses:
            of = recurrences[name]
            if steps and of is not None:
                courses[name].append(Course(of, _steps(name, steps)))
    return {name: of_name for name, of_name in courses.items() if of_name}


def _finite(training: Training) -> Iterator[tuple[Following, Arrays, Arrays]]:
    """The steps in the finest precision, up to one that is not finite, with gradients and the velocities recorded."""
    for index, beside in enumerate(follow(training, training.optimizer)):
        here = finest(beside)
        if not all(np.isfinite(here.records[updated(name)]).all() for name in training.params):
            return
        step = here.followers.steps[index]
        yield here, step.gradients(), step.velocities


def _steps(name: str, steps: Sequence[tuple[Following, Arrays, Arrays]]) -> list[At]:
    """The steps of one parameter, at the entries that are furthest off."""
    far = sum(np.abs(here.records[updated(name)] - here.local[updated(name)]).ravel() for here, *_ in steps)
    entries = np.sort(np.argsort(-np.asarray(far), kind="stable")[:ENTRIES])
    made, largest = [], np.zeros((2, len(entries)))
    for here, gradients, velocities in steps:
        before, after, torchs = (
            np.asarray(side, np.float64).ravel()[entries]
            for side in (here.before[name], here.records[updated(name)], here.local[updated(name)])
        )
        sides = np.stack([after, torchs])
        largest = np.maximum(largest, np.abs(sides - before))
        size = SCREEN * (np.abs(before) + np.abs(sides)) + OF_A_CHANGE * largest
        allowed = np.maximum(UNIT_ROUNDOFF[here.dtype] * size, SMALLEST[here.dtype])
        inputs: dict[str, Any] = {
            recurrence.WEIGHTS: before,
            recurrence.GRADIENT: gradients[gradient(name)].ravel()[entries],
            recurrence.POSITION: [*here.before].index(name),
            recurrence.TOTAL: len(here.before),
            recurrence.NORM: np.linalg.norm(gradients[gradient(name)]),
            recurrence.NORM_OF_ALL: np.sqrt(sum(np.sum(np.square(g)) for g in gradients.values())),
        }
        kept = velocities.get(name)
        buffer = {} if kept is None else {"momentum_buffer": _tensor(kept.ravel()[entries])}
        tensors = {key: _tensor(value) for key, value in inputs.items()}
        made.append(At(tensors, _tensor(after), _tensor(torchs), _tensor(allowed[0]), _tensor(allowed[1]), buffer))
    return made


def _tensor(value: Any) -> Tensor:
    return to_tensor(np.asarray(value, np.float64))
