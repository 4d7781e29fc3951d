"""The mistake in a gradient that a trainer does not yield, which its updates show where torch's step is a line in it.

All steps are evidence: torch goes on with the gradients that those before imply, so that its state is that of the run
by hand, and a mistake is confirmed at another step that is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice

import numpy as np

from handgrad.compare.diagnosis.factors import unnamed_scale
from handgrad.compare.diagnosis.ranking import diagnose, first_cause
from handgrad.compare.diagnosis.scene import Scene
from handgrad.compare.diagnosis.search import Elsewhere
from handgrad.compare.facts.causes import Cause, PartialBatch, Scaled, Unknown, WrongSign, factor_of
from handgrad.compare.facts.operands import DecayAdded
from handgrad.compare.facts.updates import OfGradient
from handgrad.compare.names import gradient, is_updated, of_updated
from handgrad.compare.oracle.optimizer import Follower
from handgrad.compare.oracle.reference import own_run, run_on_records
from handgrad.compare.pipeline.evidence import Evidence
from handgrad.compare.pipeline.problem import Problem
from handgrad.compare.pipeline.recording import Taken
from handgrad.compare.pipeline.scene import scene_of_records
from handgrad.compare.pipeline.steps import JudgedTraining, Training
from handgrad.compare.results import Finding
from handgrad.compare.thresholds import FEW_ROUNDINGS, MOVE_FOR_NAMES, UNIT_ROUNDOFF
from handgrad.compare.trace import Arrays, in_precision, is_real, real
from handgrad.torchref.exchange import to_tensor

MOST_NAMED, MOST_OTHERS = 4, 8  # gradients that are searched, steps that are asked whether they are wrong as well
OPEN = ("unknown", "scale", "transpose", "permuted")  # what an update along a wrong gradient looks like


@dataclass(frozen=True)
class Step:
    """A step of a trainer, the gradients that its updates imply, and how far rounding leaves each of them open."""

    problem: Problem
    taken: Taken
    implied: Arrays
    noise: Mapping[str, float]

    @property
    def records(self) -> Arrays:
        """What was yielded beside the parameters and their velocities."""
        return {name: array for name, array in self.taken.others.items() if is_real(array)}

    @property
    def given(self) -> Arrays:
        """What all is computed from, and what was yielded."""
        return in_precision({**self.problem.batch, **self.taken.before, **self.records}, "float64")

    @property
    def everything(self) -> Arrays:
        """Every tensor: the reference's where none was yielded, and the gradients that are implied."""
        run = run_on_records(self.problem.reference, self.taken.before, self.problem.batch, self.records)
        return {**run.values, **run.gradients, **self.given, **self.implied}


@dataclass(frozen=True)
class Implied:
    """The steps of a training in one precision with the gradients that they imply."""

    training: Training
    dtype: str
    steps: Sequence[Step]

    @classmethod
    def of(cls, training: Training, most: int) -> Implied:
        """So many of them at most, in the finest precision."""
        dtype = max(training.runs)
        return cls(training, dtype, [*islice(_steps(training, dtype), most)])

    @property
    def is_of_one_size(self) -> bool:
        """Whether all batches have the same sizes, where a factor of every step may be one of these."""
        return all(self._sizes(index) == self._sizes(0) for index in range(len(self.steps)))

    @np.errstate(all="ignore")
    def causes(self, name: str, index: int) -> tuple[Cause, ...]:
        """What is wrong about a gradient at a step; if several mistakes are it, those that explain another step too."""
        scene = self._scene(name, index)
        if scene is None:
            return ()
        if any(unnamed_scale(scene)):  # a constant in a formula would do as well, and as well be the rate
            return tuple(cause for cause in (first_cause(scene),) if factor_of(cause) is not None)
        causes = diagnose(scene)
        other = next(self._others(name, index), None) if len(causes) > 1 else None
        codes = {cause.code for cause in (diagnose(other[1]) if other is not None else ())}
        return tuple(cause for cause in causes if cause.code in codes) or causes

    def _scene(self, name: str, index: int) -> Scene | None:
        """The scene of a gradient that is wrong; None of one that is torch's, was yielded, or is not implied."""
        if not index < len(self.steps) or name in self.steps[index].records:
            return None
        step, dtype = self.steps[index], self.dtype
        problem, records = step.problem, {**step.records, name: step.implied[name]}
        params, batch = (in_precision(of, dtype) for of in (step.taken.before, problem.batch))
        own = own_run(problem.reference, params, batch, records, dtype)
        evidence = Evidence(problem.reference, params, batch, records, dtype)
        evidence = replace(evidence, reads=own.reads, differentiated=own.differentiated)
        previous = self.steps[index - 1].everything if index else {}
        scene = scene_of_records(
            name, evidence={dtype: evidence}, reads=own.reads, previous=previous, usual=problem.usual
        )
        if scene is None:
            return None
        elsewhere, after = partial(self._elsewhere, name, index), real(step.taken.after)
        scene = replace(scene, noise=step.noise[name], updated=after, elsewhere=elsewhere)
        return scene if scene.worst > scene.allowed else None

    def _others(self, name: str, index: int) -> Iterator[tuple[Step, Scene]]:
        """Other steps where a gradient is wrong, on batches that are alike; the steps after it come first."""
        others = (*range(index + 1, len(self.steps)), *range(index))
        for i in [i for i in others if self._are_alike(i, index)][:MOST_OTHERS]:
            scene = self._scene(name, i)
            if scene is not None:
                yield self.steps[i], scene

    def _are_alike(self, one: int, other: int) -> bool:
        """Whether the batches of two steps have the same sizes, and so have those of the steps before."""
        sizes = [self._sizes(at) for at in (one, other, one - 1, other - 1)]
        return sizes[0] == sizes[1] and (not other or sizes[2] == sizes[3])

    def _sizes(self, index: int) -> list[tuple[int, ...]]:
        """The shapes of the batch of a step; none before the first."""
        return [array.shape for array in self.steps[index].problem.batch.values()] if index >= 0 else []

    def _elsewhere(self, name: str, index: int) -> Iterator[Elsewhere]:
        """Another step where the gradient is wrong, or without one the same where everything has moved far."""
        for step, scene in chain(self._others(name, index), self._moved(name, index)):
            given = {**scene.other_times, **{of: array for of, array in step.given.items() if of != "J"}}
            inputs = {of: to_tensor(array) for of, array in given.items()}
            yield Elsewhere(inputs, to_tensor(step.implied[name]), step.noise[name])
            return

    def _moved(self, name: str, index: int) -> Iterator[tuple[Step, Scene]]:
        """The same step where everything has moved far, if the trainer gets there."""
        for training in self.training.moved(self.dtype, MOVE_FOR_NAMES):
            there = Implied.of(training, index + 1)
            scene = there._scene(name, index)
            if scene is not None:
                yield there.steps[index], scene


def _steps(training: Training, dtype: str) -> Iterator[Step]:
    """The steps up to one whose gradients nothing implies.

    Rounding of both weights, over the rate, leaves a gradient open; and of that a share what the moments hold of it.
    """
    follower, noise = Follower(training.optimizer, training.params), dict.fromkeys(map(gradient, training.params), 0.0)
    for taken, batch in zip(training.runs[dtype].steps, training.batches, strict=False):
        before, after = (in_precision(side, "float64") for side in (taken.before, taken.after))
        lines = follower.lines(before)
        if training.problem is None or not lines.keys() == after.keys() == before.keys():
            return
        implied = dict[str, np.ndarray]()
        for name, (start, slope) in lines.items():
            rounding = FEW_ROUNDINGS * UNIT_ROUNDOFF[dtype] * (np.abs(before[name]) + np.abs(after[name]))
            own, held = float(np.max(rounding / np.abs(slope))), follower.memory * noise[gradient(name)]
            noise[gradient(name)] = own + held
            implied[gradient(name)] = (after[name] - start) / slope
        yield Step(training.problem.on(batch), taken, implied, {**noise})
        follower.step(before, implied)


def gradient_instead(findings: tuple[Finding, ...], outcome: JudgedTraining) -> tuple[Finding, ...]:
    """Findings on updates along gradients that were not yielded, with the mistake in these where one is told."""
    named = [*filter(_is_open, findings)][:MOST_NAMED]
    last = max((finding.where.step for finding in named), default=-MOST_OTHERS)
    implied = Implied.of(outcome.training, last + MOST_OTHERS)
    return tuple(_with_gradient(finding, implied) if finding in named else finding for finding in findings)


def _is_open(finding: Finding) -> bool:
    """Whether a finding is what the update along a wrong gradient looks like."""
    return finding.verdict == "FAULT" and is_updated(finding.where.name) and finding.cause.code in OPEN


def _with_gradient(finding: Finding, implied: Implied) -> Finding:
    """A finding with the mistakes in its gradient before its own cause, unless they may as well be ones of the rate."""
    own, causes = finding.cause, implied.causes(gradient(of_updated(finding.where.name)), finding.where.step - 1)
    if isinstance(own, Scaled) and not own.varies:  # one factor at every size is the rate's, in whatever words
        of_factor = [cause for cause in causes if isinstance(cause, (Scaled, PartialBatch))]
        causes = tuple(cause for cause in of_factor if type(cause) is not Scaled or implied.is_of_one_size)
    told = [OfGradient(cause) for cause in causes if not _is_of_rule(cause)]
    update = [] if own == Unknown() else [own]
    return replace(finding, cause=told[0], others=(*update, *told[1:])[:1]) if told else finding


def _is_of_rule(cause: Cause) -> bool:
    """Whether a mistake may as well be one of the rate or of the weight decay, or nothing is told."""
    return isinstance(cause, (Unknown, WrongSign, DecayAdded)) or (isinstance(cause, Scaled) and not cause.names)
