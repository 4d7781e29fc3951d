"""The steps of an optimiser or a trainer, judged with torch following: records, velocities, updated parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from typing import NamedTuple

import numpy as np

from handgrad.compare.facts.causes import Unknown, factor_of
from handgrad.compare.facts.failures import NeverMoves, Raised, RaisesAgain, TooFewYields, TwoAnswers
from handgrad.compare.facts.remarks import NoBuffer, Note, VelocityTimes, runs_in_one
from handgrad.compare.facts.updates import OptimizerReset
from handgrad.compare.names import Key, is_updated, of_updated, of_velocity, updated, velocity
from handgrad.compare.oracle.noise import is_noisy
from handgrad.compare.oracle.optimizer import Followers, Optimizer
from handgrad.compare.oracle.reference import run_on_records
from handgrad.compare.pipeline.conventions import Read, of_all_steps
from handgrad.compare.pipeline.evidence import Situation, directions
from handgrad.compare.pipeline.following import Following
from handgrad.compare.pipeline.judged import Judged, JudgedStep, Sides, collected, explained_update, findings_of
from handgrad.compare.pipeline.problem import Problem
from handgrad.compare.pipeline.recording import Run, Taken
from handgrad.compare.pipeline.records import Returned, calls_in_one, judge_records
from handgrad.compare.pipeline.updates import in_torchs, unmoved, update_judgement
from handgrad.compare.results import Finding
from handgrad.compare.sandbox import Call, quietly
from handgrad.compare.thresholds import INFORMATIVE, SAME_FACTOR, UNEXPLAINED_SHARE
from handgrad.compare.trace import Arrays, finest, in_precision, rounds_to_float32
from handgrad.compare.verdict.differences import differing
from handgrad.compare.verdict.judgement import Judgement
from handgrad.compare.verdict.rule import judge, unexplained
from handgrad.compare.verdict.shapes import misfit

Record = Callable[[str, Arrays, Sequence[Arrays]], Run]  # a run in a precision, from a start, of batches or gradients

Beside = Mapping[str, Following]  # what torch makes of a step, by precision

FORMS = ("unknown", "scale", "update-form", "reset")  # what an update that is another rule looks like at first


def _nowhere(_: str, __: float) -> tuple[()]:
    return ()


@dataclass(frozen=True)
class Training:
    """Runs of a trainer by precision, the printed one first, and what torch follows them with.

    `problem` has the reference and the params; for an optimiser alone, whose gradients are given, it is None. `moved`
    gives the same in one precision where start, gradients and batches have moved by a share, in a few directions.
    """

    runs: Mapping[str, Run]
    params: Arrays
    optimizer: Optimizer
    batches: Sequence[Arrays]
    problem: Problem | None = None
    gradients: Sequence[Arrays] = ()
    moved: Callable[[str, float], Sequence[Training]] = _nowhere
    _own: dict[tuple[str, int], Arrays] = field(default_factory=dict, init=False)

    def own(self, index: int, dtype: str, params: Arrays) -> Arrays:
        """Torch's own gradients at what a step starts from, found once however many optimisers are asked."""
        if is_noisy():  # each time with other roundings
            return self._own_gradients(index, params)
        if (dtype, index) not in self._own:
            self._own[dtype, index] = self._own_gradients(index, params)
        return self._own[dtype, index]

    def _own_gradients(self, index: int, params: Arrays) -> Arrays:
        assert self.problem is not None
        return run_on_records(self.problem.reference, params, self.batches[index], {}).gradients

    @property
    def printed(self) -> str:
        """The precision whose values are shown."""
        return next(iter(self.runs))

    @cached_property
    def taken(self) -> list[dict[str, Taken]]:
        """The steps that all runs have, each by precision."""
        runs = zip(*(run.steps for run in self.runs.values()), strict=False)
        return [dict(zip(self.runs, sides, strict=True)) for sides in runs]

    def in_float32(self) -> Training:
        """The same of a derivation that computes in float32 where it is handed float64."""

        def moved(_: str, by: float) -> list[Training]:
            return [each.in_float32() for each in self.moved("float64", by)]

        return replace(self, runs={"float32": self.runs["float64"]}, moved=moved)

    def given(self, index: int, dtype: str) -> Arrays:
        """The gradients of a step that both sides are handed."""
        return in_precision(self.gradients[index], dtype) if self.gradients else {}


def nearby(training: Training, record: Record) -> Training:
    """The same with what it is where start, gradients and batches have moved; `record` runs the derivation there."""

    def moved(dtype: str, by: float) -> tuple[Training, ...]:
        given, inputs = _flat(training.gradients), _flat(training.batches)
        found = []
        for arrays, batches in directions({**training.params, **given}, inputs, by):
            start = {name: arrays[name] for name in training.params}
            along, handed = _as_they_were(training.gradients, arrays), _as_they_were(training.batches, batches)
            run = record(dtype, start, along or handed)
            found.append(replace(training, runs={dtype: run}, params=start, batches=handed, gradients=along))
        return tuple(found)

    return replace(training, moved=cache(moved))


def _flat(steps: Sequence[Arrays]) -> dict[str, np.ndarray]:
    """The arrays of all steps, by names that no parameter has."""
    return {f"step {i}: {name}": array for i, arrays in enumerate(steps) for name, array in arrays.items()}


def _as_they_were(steps: Sequence[Arrays], flat: Arrays) -> list[dict[str, np.ndarray]]:
    return [{name: flat[f"step {i}: {name}"] for name in arrays} for i, arrays in enumerate(steps)]


class _Elsewhere:
    """A training where everything has moved, followed as far as that is asked for."""

    def __init__(self, training: Training, dtype: str, there: Followers) -> None:
        """Nothing is followed yet; `there` follows the training where nothing has moved."""
        self.training, self.dtype, self.there = training, dtype, there
        self.steps = training.runs[dtype].steps
        self.followers = Followers(training.optimizer, training.params)
        self.results: list[Arrays] = []

    def result(self, index: int) -> Arrays:
        """What torch makes of a step; it goes on with the recorded velocities that it goes on with there."""
        while (done := len(self.results)) <= index:
            for parameter in self.there.steps[done - 1].velocities if done else ():
                self.followers.set_velocity(parameter, self.steps[done - 1].records[velocity(parameter)])
            self.results.append(_followed(self.training, done, self.dtype, self.steps[done], self.followers))
        return self.results[index]


def judged_steps(training: Training) -> Iterator[JudgedStep]:
    """The verdicts on every step that all runs have."""

    @cache
    def elsewhere(dtype: str, by: float) -> list[_Elsewhere]:
        return [_Elsewhere(each, dtype, followers[dtype]) for each in training.moved(dtype, by)]

    followers = {dtype: Followers(training.optimizer, training.params) for dtype in training.runs}
    factors: list[float] = []  # what velocities are of torch's where an update agreed: the convention, if it stays
    previous: Arrays = {}
    known: Read | None = None
    for index, taken in enumerate(training.taken):
        recorded, read = _records(training, index, previous, known)
        if known is None and read.reading.of and not read.is_settled and (known := _settled_later(training, index)):
            recorded, read = _records(training, index, previous, known)
        known = read if read.is_settled or (known is None and read.reading.of) else known
        judged, notes, arrays = _updates(_Judge(training, index, taken, elsewhere), followers, factors)
        yield recorded._replace(
            number=index + 1,
            judgements=[*recorded.judgements, *judged],
            notes=[*recorded.notes, *notes],
            arrays={**recorded.arrays, **arrays},
            stop=recorded.stop or any(j.finding and j.finding.cause.code in ("missing", "shape") for j in judged),
        )
        previous = _had(training, index, finest(taken))


def _had(training: Training, index: int, side: Taken) -> dict[str, np.ndarray]:
    """What a step was handed, and computed before its update."""
    batch = training.batches[index] if training.batches else {}
    return {**batch, **side.before, **{n: a for n, a in side.records.items() if not is_updated(n)}}


def _settled_later(training: Training, index: int) -> Read | None:
    """How the next step with a batch of other sizes is read, if nothing is left to find there in a convention."""
    shapes = [[array.shape for array in batch.values()] for batch in training.batches[: len(training.taken)]]
    later = next((i for i in range(index + 1, len(shapes)) if shapes[i] != shapes[index]), None)
    read = None if later is None else _records(training, later, {}, None)[1]
    return read if read is not None and read.is_settled else None


def _records(training: Training, index: int, previous: Arrays, known: Read | None) -> tuple[JudgedStep, Read]:
    """The verdicts on what a trainer yields beside parameters and velocities, and how that is read."""
    problem, taken = training.problem, training.taken[index]
    if problem is None:
        return JudgedStep(index + 1, []), Read([], {})

    def situations(dtype: str, by: float) -> Iterator[Situation]:
        for moved in training.moved(dtype, by):
            steps = moved.runs[dtype].steps
            if len(steps) > index:
                batch = in_precision(moved.batches[index], dtype)
                previous = _had(moved, index - 1, steps[index - 1]) if index else {}
                yield Situation(steps[index].before, batch, steps[index].others, previous)

    calls, notes = calls_in_one({dtype: Call(side.others) for dtype, side in taken.items()})
    before = {dtype: taken.get(dtype, finest(taken)).before for dtype in calls}
    elsewhere = {dtype: partial(situations, dtype) for dtype in taken}
    returned = Returned(index + 1, calls, before, previous=previous, elsewhere=elsewhere, known=known)
    step, _, read = judge_records(problem.on(training.batches[index]), returned)
    return step._replace(notes=[*notes, *step.notes]), read


def follow(training: Training, optimizer: Optimizer) -> Iterator[Beside]:
    """What an optimiser makes of every step that all runs have, from the parameters by hand, its state its own."""
    followers = {dtype: Followers(optimizer, training.params) for dtype in training.runs}
    for index, taken in enumerate(training.taken):
        yield _Judge(training, index, taken, _nowhere).followed(followers)


@dataclass(frozen=True)
class _Judge:
    """The verdicts on the velocities and updated parameters of one step, beside followers that have taken it."""

    training: Training
    index: int
    taken: Mapping[str, Taken]
    elsewhere: Callable[[str, float], Sequence[_Elsewhere]]

    def followed(self, followers: Mapping[str, Followers]) -> dict[str, Following]:
        """Let torch's optimisers take the step in each precision."""
        found = {}
        for dtype, side in self.taken.items():
            result = _followed(self.training, self.index, dtype, side, followers[dtype])
            places = partial(self._places, dtype)
            found[dtype] = Following(dtype, side.before, side.records, result, followers[dtype], places)
        return found

    def _places(self, dtype: str, by: float) -> list[tuple[Arrays, Arrays]]:
        there = [each for each in self.elsewhere(dtype, by) if len(each.steps) > self.index]
        return [(each.steps[self.index].records, each.result(self.index)) for each in there]

    def compared(self, name: str, beside: Beside) -> Judgement:
        """The verdict on one updated parameter or velocity."""
        key = Key(self.index + 1, "update", name)
        like = self.training.params[of_updated(name) if is_updated(name) else of_velocity(name)]
        records = {dtype: side.records.get(name) for dtype, side in self.taken.items()}
        judgement = misfit(key, records, dict.fromkeys(records, like.shape))
        if judgement is not None:
            return judgement
        with quietly():
            outcome = judge(name, beside)
        return update_judgement(key, outcome, beside)


def _updates(
    step: _Judge, followers: Mapping[str, Followers], factors: list[float]
) -> tuple[list[Judgement], list[Note], dict[str, Sides]]:
    """The verdicts on the velocities and updated parameters of a step, and both sides of them.

    torch goes on with recorded velocities.
    """
    beside, params, taken = step.followed(followers), step.training.params, step.taken
    updates = {p: step.compared(updated(p), beside) for p in params}
    recorded = [p for p in updates if all(velocity(p) in side.records for side in taken.values())]
    kept = [p for p in recorded if all(velocity(p) in each.local for each in beside.values())]
    velocities = {p: step.compared(velocity(p), beside) for p in kept}
    notes = list[Note]()
    if unkept := tuple(velocity(p) for p in recorded if p not in velocities):
        notes.append(NoBuffer(unkept, next(iter(followers.values())).follower.kind))
    ratios = {p: factor_of(explained_update(v)) for p, v in velocities.items() if v.finding is not None}
    if not factors:
        factors += [ratio for p, ratio in ratios.items() if ratio is not None and updates[p].finding is None][:1]
    for p, judged in velocities.items():
        if factors and abs((ratios.get(p) or 0.0) / factors[0] - 1) <= SAME_FACTOR:
            notes.append(VelocityTimes(factors[0]))
            velocities[p] = in_torchs(judged, factors[0])
            continue
        if judged.finding is not None:
            updates[p] = updates[p]._replace(finding=None, differs=True)  # it only follows from the velocity
        for dtype, side in taken.items():
            followers[dtype].set_velocity(p, side.records[velocity(p)])
    both = [*velocities.values(), *updates.values()]
    if step.index and any(judgement.finding is not None for judgement in both):
        scratch = step.followed({dtype: each.anew() for dtype, each in followers.items()})
        both = _or_reset(both, beside, scratch)
    records, result = taken[step.training.printed].records, beside[step.training.printed].local
    names = (judgement.row.name for judgement in both)
    return both, notes, {n: (records[n], result[n]) for n in names if n in records and n in result}


def _followed(training: Training, index: int, dtype: str, taken: Taken, followers: Followers) -> Arrays:
    """What torch's optimiser makes of a step, along the recorded gradients, those given, or torch's own.

    By the names of records: parameters by their updated names, and velocities.
    """
    own = partial(training.own, index, dtype)
    result = followers.step(taken.before, {**taken.records, **training.given(index, dtype)}, own)
    return {updated(name) if name in taken.before else name: array for name, array in result.items()}


def _or_reset(judgements: list[Judgement], due: Beside, scratch: Beside) -> list[Judgement]:
    """Findings on what an optimiser made, called `reset` where torch explains them that had no step before."""

    def lost(judged: Judgement) -> Finding | None:
        finding, name = judged.finding, judged.row.name
        if finding is None:
            return None
        cause = explained_update(judged) if finding.cause == Unknown() else finding.cause
        is_lost = cause.code in FORMS and explains(left(name, scratch), left(name, due))
        return replace(finding, cause=OptimizerReset()) if is_lost else None

    instead = [lost(judged) for judged in judgements]
    both = [*zip(judgements, instead, strict=True)]
    if sum(np.prod(judged.row.shape) for judged, finding in both if finding) < INFORMATIVE:
        return judgements
    return [judged._replace(finding=finding) if finding else judged for judged, finding in both]


def left(name: str, beside: Beside) -> float:
    """How much torch leaves of a record in any precision, in units of what rounding explains."""
    return max(unexplained(name, witness) for witness in beside.values())


def explains(one: float, other: float) -> bool:
    """Whether rounding explains what is left with one rule, and nothing but that rule: the other leaves much more."""
    return one <= 1 < other and one <= UNEXPLAINED_SHARE * other


class JudgedTraining(NamedTuple):
    """A training, judged: its findings, and the parameters that no step changes on either side."""

    training: Training
    judged: Judged
    findings: tuple[Finding, ...]
    still: list[str]


def judged_training(training: Training, remedy: str) -> JudgedTraining:
    """Judge a training; where no step by hand changes any parameter, `remedy` says what to do."""
    judged = collected(judged_steps(training))
    judged.notes = of_all_steps(judged.notes)
    findings, still = (*findings_of(judged), *judged.ended), unmoved(training.runs[training.printed].changes)
    if still == [*training.params]:
        findings = tuple(_never_moved(finding, remedy) for finding in findings)
    apart = {judgement.row.name for judgement in judged.judgements if judgement.row.max_abs_diff}
    return JudgedTraining(training, judged, findings, [name for name in still if updated(name) not in apart])


def _never_moved(finding: Finding, remedy: str) -> Finding:
    """Say `zero` of weights that no step changed."""
    is_still = is_updated(finding.where.name) and finding.cause.code in ("unknown", "update-form")
    return replace(finding, cause=NeverMoves(remedy)) if is_still else finding


def in_float32(run: Run) -> bool:
    """Whether everything after every update is float32; nothing that moves says nothing."""
    moves = any(not np.array_equal(before[n], after[n]) for before, after in run.changes for n in after)
    return moves and rounds_to_float32(array for _, after in run.changes for array in after.values())


def in_one_precision(runs: Mapping[str, Run]) -> tuple[Mapping[str, Run], list[Note]]:
    """What raises in one precision and runs in the other is judged in that alone; a note says so."""
    alone = runs_in_one({dtype: None if run.failure is None else run.failure.cause for dtype, run in runs.items()})
    return (runs, []) if alone is None else ({alone[0]: runs[alone[0]]}, [alone[1]])


def not_repeatable(training: Training, again: Run, who: str, remedy: str) -> tuple[Finding, ...]:
    """The same steps taken again give another answer, raise, or are fewer."""
    run, taken = training.runs[training.printed], len(again.steps)
    for step, (one, other) in enumerate(zip(run.steps, again.steps, strict=False), start=1):
        unlike = differing(one.records, other.records)
        if unlike:
            return (Finding(Key(step, "update", unlike[0]), "FAULT", TwoAnswers(who, unlike, remedy)),)
    raised = again.failure.cause if again.failure is not None else None
    if run.failure is None and isinstance(raised, Raised):
        where = Key(taken + 1, "update", updated(next(iter(training.params))))
        return (Finding(where, "FAULT", RaisesAgain(raised, who)),)
    if run.failure is None and taken < len(run.steps):
        names = tuple(run.steps[taken].records)
        return (Finding(Key(taken + 1, "update", names[0]), "FAULT", TwoAnswers(who, names, remedy)),)
    return ()


def ended(training: Training) -> tuple[Finding, ...]:
    """What ended a run before its time, changed a batch, or took too few steps."""
    first = updated(next(iter(training.params)))
    for run in training.runs.values():
        step = len(run.steps) + 1
        if run.failure is not None:
            return (run.failure.finding(Key(step - run.failure.follows, "update", first)),)
        is_whole = not run.steps or len(run.steps[-1].after) == len(training.params)
        if training.batches and len(run.steps) < len(training.batches) and is_whole:
            cause = TooFewYields(len(run.steps), len(training.batches))
            return (Finding(Key(step, "update", first), "MISSING", cause),)
    return ()
