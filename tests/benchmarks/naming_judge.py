"""Whether a name is right: its formula gives what the wrong code gives, on parameters and data that are drawn anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import isclose
from typing import Any, Protocol

import numpy as np

from handgrad import Report, check_gradients, check_updates
from handgrad.compare.checks.updates import exposing_gradients
from handgrad.compare.diagnosis.bits import Observed
from handgrad.compare.diagnosis.edits.edit import ODD
from handgrad.compare.diagnosis.edits.hypotheses import MOST_TIER
from handgrad.compare.diagnosis.ranking import of_families, searched
from handgrad.compare.diagnosis.scene import Scene
from handgrad.compare.diagnosis.search import Budget, Explanation
from handgrad.compare.facts.causes import Cause, Unknown
from handgrad.compare.facts.fact import Fact
from handgrad.compare.facts.failures import SpecialPoint
from handgrad.compare.facts.updates import Isolated, Masked, SlicesDiffer
from handgrad.compare.pipeline.judged import JudgedStep
from handgrad.compare.pipeline.problem import problem_of
from handgrad.compare.pipeline.records import Returned, judge_records
from handgrad.compare.results import Finding
from handgrad.compare.sandbox import call, undisturbed
from handgrad.compare.thresholds import FITTED
from handgrad.compare.trace import in_precision
from handgrad.torchref.exchange import to_tensor
from tests.corpus.planted import Operation, Rule

__all__ = ["Checked", "Draw", "Stepped", "alike", "checked", "has_formula", "stepped"]

DRAWS = 3  # fresh ones
PLACES = (
    Unknown,
    Isolated,
    Masked,
    SlicesDiffer,
    SpecialPoint,
)  # they say where it is wrong, or nothing, and give no formula
OF_THE_RUN = ("fitted", "entries")  # fields that are as they are on these numbers alone


class Named(Protocol):
    """Wrong code that was checked, and whether what is said of it is right."""

    def report(self) -> Report:
        """What the check says."""

    def is_right(self, cause: Cause, name: str) -> bool:
        """Whether a cause is what is wrong with a tensor."""


@dataclass(frozen=True)
class Draw:
    """Parameters and a batch, or in its place the gradients of some steps."""

    params: dict[str, np.ndarray]
    batch: Sequence[Any]


def has_formula(cause: Cause) -> bool:
    """Whether a cause says what the tensor is, and not only where it is wrong."""
    return type(cause) not in PLACES


def alike(one: Any, other: Any) -> bool:
    """Whether two causes say the same: type and fields, numbers to within rounding, without what is of one run."""
    if isinstance(one, Fact):
        theirs = vars(other) if type(one) is type(other) else {}
        return vars(one).keys() == theirs.keys() and all(
            alike(value, theirs[name]) for name, value in vars(one).items() if name not in OF_THE_RUN
        )
    if isinstance(one, float) and isinstance(other, float):
        return isclose(one, other, rel_tol=FITTED)
    return bool(one == other)


@dataclass
class Checked:
    """A derivation beside its reference, where it was checked and on fresh draws of the same shapes."""

    derivation: Callable[..., Any]
    reference: Callable[..., Any]
    here: Draw
    fresh: Sequence[Draw]
    _searched: dict[str, tuple[Explanation, ...]] = field(default_factory=dict)

    def report(self) -> Report:
        """What the check says."""
        return self._report(self.here)

    def is_right(self, cause: Cause, name: str) -> bool:
        """Whether the formula of a cause gives the tensor on all fresh draws.

        That of an edit is evaluated. A family must say the same there, and the whole check where it is neither.
        """
        with undisturbed(), np.errstate(all="ignore"):
            here, there = self._here.scene(name), [step.scene(name) for step in self._there]
            scenes = [scene for scene in there if scene is not None]
            if here is not None and len(scenes) == len(there):
                if cause in of_families(here):
                    return all(any(alike(cause, each) for each in of_families(scene)) for scene in scenes)
                for edit in (each for each in self._edits(name) if each.cause == cause):
                    pairs = zip(scenes, self.fresh, strict=True)
                    return all(_predicts(edit, *self._on_its_path(edit, name, *pair)) for pair in pairs)
        return self._is_said_again(cause, name)

    def _edits(self, name: str) -> tuple[Explanation, ...]:
        """What the search says of a tensor, which takes its time."""
        if name not in self._searched:
            here = self._here.scene(name)
            self._searched[name] = () if here is None else searched(here, MOST_TIER, Budget())
        return self._searched[name]

    def _on_its_path(self, edit: Explanation, name: str, scene: Scene, draw: Draw) -> tuple[Scene, Draw]:
        """A fresh draw, with the whole numbers of here where others, as lengths, take another path."""
        if _holds(edit, scene, draw):
            return scene, draw
        kept = [old if _is_whole(old) else new for old, new in zip(self.here.batch, draw.batch, strict=True)]
        draw = Draw(draw.params, kept)
        return self._step(draw).scene(name) or scene, draw

    def _report(self, draw: Draw) -> Report:
        return check_gradients(self.derivation, self.reference, draw.params, draw.batch)

    def _is_said_again(self, cause: Cause, name: str) -> bool:
        return all(_says(self._report(draw).findings, cause, name) for draw in self.fresh)

    def _step(self, draw: Draw) -> JudgedStep:
        problem = problem_of(self.reference, draw.params, draw.batch, ("float64",))
        params, batch = (in_precision(of, "float64") for of in (problem.params, problem.batch))
        calls = {"float64": call(self.derivation, params, batch)}
        returned = Returned(1, calls, {"float64": params}, frozenset(params), derivation=self.derivation)
        return judge_records(problem, returned)[0]

    @cached_property
    def _here(self) -> JudgedStep:
        return self._step(self.here)

    @cached_property
    def _there(self) -> list[JudgedStep]:
        return [self._step(draw) for draw in self.fresh]


def _is_whole(array: Any) -> bool:
    return np.issubdtype(np.asarray(array).dtype, np.integer)


def _observed(scene: Scene) -> Observed:
    return Observed(to_tensor(scene.recorded), to_tensor(scene.reference), scene.dtype, scene.rounding)


def _predicted(edit: Explanation, scene: Scene, draw: Draw) -> Any:
    """What an edit gives on a draw; None where it cannot be made there."""
    handed = [name for name in scene.tensors if name in scene.inputs]
    inputs = {name: to_tensor(array) for name, array in scene.tensors.items() if name != "J"}
    inputs |= {name: to_tensor(np.asarray(array)) for name, array in zip(handed, draw.batch, strict=True)}
    with suppress(*ODD):
        return edit.predicted(inputs)
    return None


def _holds(edit: Explanation, scene: Scene, draw: Draw) -> bool:
    """Whether the graph without the edit gives what torch gives there."""
    predicted = _predicted(replace(edit, edit=replace(edit.edit, changes={})), scene, draw)
    return predicted is not None and _observed(scene).is_same(predicted)


def _predicts(edit: Explanation, scene: Scene, draw: Draw) -> bool:
    """Whether an edit gives a tensor on a fresh draw, to within rounding."""
    there, predicted = _observed(scene), _predicted(edit, scene, draw)
    if predicted is None:
        return False
    is_wrong = not there.is_nearly(there.reference)
    return there.is_explained_by(predicted) if is_wrong else there.is_nearly(predicted)


@dataclass
class Stepped:
    """An update rule beside torch's, on parameters and gradients; `fresh` are others."""

    update: Callable[..., Any]
    optimizer: Callable[..., Any]
    here: Draw
    fresh: Sequence[Draw]

    def report(self) -> Report:
        """What the check says."""
        return self._report(self.here)

    def is_right(self, cause: Cause, name: str) -> bool:
        """Whether the check says the same on all fresh draws: a rule that is named has been followed there."""
        return all(_says(self._report(draw).findings, cause, name) for draw in self.fresh)

    def _report(self, draw: Draw) -> Report:
        return check_updates(self.update, self.optimizer, draw.params, gradients=draw.batch)


def _says(findings: Sequence[Finding], cause: Cause, name: str) -> bool:
    """Whether a cause is among what is said of a tensor."""
    said = [each for finding in findings if finding.where.name == name for each in (finding.cause, *finding.others)]
    return any(alike(cause, each) for each in said)


def checked(operation: Operation, derivation: Callable[..., Any], seed: Sequence[int]) -> Checked:
    """A derivation of an operation on draws of its own."""
    here, *fresh = (Draw(*operation.draw(np.random.default_rng([*seed, i]))) for i in range(1 + DRAWS))
    return Checked(derivation, operation.reference, here, fresh)


def stepped(rule: Rule, update: Callable[..., Any], seed: Sequence[int]) -> Stepped:
    """An update rule on draws of its own."""
    here, *fresh = (_with_gradients(rule, np.random.default_rng([*seed, i])) for i in range(1 + DRAWS))
    return Stepped(update, rule.optimizer, here, fresh)


def _with_gradients(rule: Rule, rng: np.random.Generator) -> Draw:
    params = rule.draw(rng)
    drawn = [
        {name: g * rng.uniform(0.5, 1.5, g.shape) for name, g in step.items()} for step in exposing_gradients(params, 5)
    ]
    return Draw(params, drawn)
