"""The verdicts on the steps of the notes' network, by closed-form bounds: at once where all is well, else singly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import islice, pairwise

import numpy as np

from handgrad.compare.diagnosis.scene import Scene
from handgrad.compare.experiment.bounds import allowance, allowances, label_of, operands
from handgrad.compare.experiment.data import Data
from handgrad.compare.experiment.recording import AS_IN_THE_NOTES, NetworkStep, recorded
from handgrad.compare.experiment.scene import scene_of_network
from handgrad.compare.experiment.settings import Settings
from handgrad.compare.experiment.sides import initial_parameters
from handgrad.compare.experiment.stacked import StackedTwin, stacked
from handgrad.compare.experiment.witness import StepWitness
from handgrad.compare.facts.remarks import Float32Only, Float64Inside, Note
from handgrad.compare.names import Key, gradient, is_updated, remembered, updated
from handgrad.compare.operations import Modules, network_reads, operation
from handgrad.compare.pipeline.evidence import Evidence, directions
from handgrad.compare.pipeline.judged import JudgedStep
from handgrad.compare.sandbox import quietly
from handgrad.compare.trace import Arrays, real, rounds_to_float32
from handgrad.compare.verdict.batched import judge_stack
from handgrad.compare.verdict.bounds import Allowance
from handgrad.compare.verdict.conventions import OfTheNotes, conventions_of_the_notes
from handgrad.compare.verdict.judgement import Judgement
from handgrad.compare.verdict.readings import is_fewer, not_ok
from handgrad.compare.verdict.steps import judge_step
from handgrad.torchref.network import mlp

WINDOW = 64  # steps: so many are evaluated at once, unless they hold more numbers than this:
NUMBERS = 2**20


class NetworkJudge:
    """Torch evaluated on what the steps recorded, and what rounding can explain there."""

    def __init__(self, settings: Settings, data: Data, hand: Modules | None = None) -> None:
        """Build the torch twins: on one step, and on many at once."""
        self.settings, self.data, self.hand = settings, data, hand
        self.reference = mlp(settings.layers, settings.activations, settings.loss, l2=settings.l2)
        self.twin = StackedTwin(settings)
        self.optimizer = operation("optimizer", settings.optimizer)
        reads = network_reads(settings.depth, l2=settings.l2 > 0, loss_reads=operation("loss", settings.loss).reads)
        self.reads = {name: frozenset(read) - {"X", "Y"} for name, read in reads.items()}
        self.before: NetworkStep | None = None
        # the derivation where start and data have moved by a share: its steps, and those of them that were taken
        self.moved: dict[float, list[tuple[Iterator[NetworkStep], list[NetworkStep]]]] = {}

    def judge(self, steps: Sequence[NetworkStep], convention: OfTheNotes) -> list[JudgedStep]:
        """The verdicts on a window of steps: at once for steps that are alike, else singly."""
        alike: dict[tuple[object, ...], list[NetworkStep]] = {}
        for step in steps:
            if step.is_whole:
                alike.setdefault((step.printed.records["X"].shape, *step.sides), []).append(step)
        well: dict[int, list[Judgement] | None] = {}
        for group in alike.values():
            at_once = self._at_once([step.read_in(convention) for step in group])
            well |= zip((step.number for step in group), at_once, strict=True)
        judged = []
        for step in steps:
            read = step.read_in(convention)
            judged.append(self._judged(step, read, well.get(step.number) or self.singly(read)))
            self.before = read
        return judged

    def convention(self, step: NetworkStep) -> OfTheNotes:
        """The convention in which least is left to find, and nothing in what it is of.

        Where nothing is, gradients and updates agree end to end.
        """
        best, convention = self.singly(step.read_in(AS_IN_THE_NOTES)), AS_IN_THE_NOTES
        if step.is_whole:
            n, K = step.printed.records["X"].shape[1], step.printed.records["Y"].shape[0]
            results = frozenset(n for name in step.printed.before for n in (gradient(name), updated(name)))
            beta = self.settings.beta if "v" in self.optimizer.state else 0.0
            for other in conventions_of_the_notes(n, K, beta):
                again = self.singly(step.read_in(other))
                if is_fewer(again, best, results) and not any(map(other.is_of, not_ok(again))):
                    best, convention = again, other
                if not not_ok(best):
                    break
        return convention

    def _judged(self, step: NetworkStep, read: NetworkStep, judgements: list[Judgement]) -> JudgedStep:
        """A step for the pipeline; where the derivation works in one precision whatever it is handed, that is told."""
        notes: list[Note] = [*read.convention.notes, *step.notes]
        coarse, fine = step.sides.get("float32"), step.sides.get("float64")
        if coarse is not None and any(array.dtype == np.float64 for array in coarse.records.values()):
            notes.append(Float64Inside())
        is_wrong = any(j.finding for j in judgements)
        if coarse is not None and fine is not None and is_wrong and rounds_to_float32(fine.records.values()):
            notes = [*read.convention.notes, Float32Only()]
            judgements = self.singly(read, ["float32"])
        start = Key(step.number, "forward", "X")
        ended = () if step.ended is None else (step.ended.finding(start),)
        return JudgedStep(
            step.number,
            judgements,
            notes,
            self.reads,
            partial(self._scene, read, self.before),
            ended=ended,
            stop=bool(ended) or any(j.finding and j.finding.cause.code in ("missing", "shape") for j in judgements),
        )

    def _scene(self, step: NetworkStep, before: NetworkStep | None, name: str) -> Scene | None:
        """The material on a wrong tensor of a step, from the side that ran in the finest precision."""
        dtype = "float64" if "float64" in step.sides else "float32"
        if name not in step.sides[dtype].records:
            return None
        with quietly():
            witness = self.evaluated(step, dtype)
        side = before.sides.get(dtype) if before is not None else None
        previous = {} if side is None else {**side.before, **side.records}
        return scene_of_network(name, self.settings, self.data, step, witness.evidence, witness.local, previous)

    def _at_once(self, steps: Sequence[NetworkStep]) -> list[list[Judgement] | None]:
        """The verdicts on steps of equal shapes in both precisions, evaluated together; None where one needs a look."""
        dtypes = [*steps[0].sides]  # the one that is printed first
        with quietly():
            records = stacked([step.sides[dtype].records for dtype in dtypes for step in steps])
            params = stacked([step.sides[dtype].before for dtype in dtypes for step in steps])
            state = stacked([step.state[dtype] for dtype in dtypes for step in steps])
            batch = stacked([step.batch_in(dtype) for dtype in dtypes for step in steps])
            local = self.twin.step(params, state, records)
            printed = [{name: array[: len(steps)] for name, array in of.items()} for of in (params, state, batch)]
            by_torch = self._alone(*printed)
            read, before = operands(params, records), operands(state)
            parts = {dtype: slice(i * len(steps), (i + 1) * len(steps)) for i, dtype in enumerate(dtypes)}
            in_part = {d: [{n: a[part] for n, a in of.items()} for of in (read, before)] for d, part in parts.items()}

            def allowed(name: str, dtype: str) -> Allowance:
                return allowance(self.settings, name, *in_part[dtype])

            labelled = [(phase, name, label_of(self.settings, name)) for name, (phase, _) in steps[0].due.items()]
            ours = {name: array[: len(steps)] for name, array in records.items()}
            numbers = [step.number for step in steps]
            return judge_stack(labelled, numbers, parts, (records, local | batch), allowed, (ours, by_torch))

    def _alone(self, params: Arrays, state: Arrays, batch: Arrays) -> dict[str, np.ndarray]:
        """What torch makes of stacked steps by itself in the precision that is printed, from where the hand started."""
        dtype = self.settings.dtype
        batch = {name: array.astype(dtype, copy=False) for name, array in batch.items()}
        return {**batch, **self.twin.step(params, state, batch, dtype)}

    def singly(self, step: NetworkStep, dtypes: Sequence[str] | None = None) -> list[Judgement]:
        """The verdicts on one step, in both precisions or in those given."""
        sides = [dtype for dtype in step.sides if dtypes is None or dtype in dtypes]
        printed = next(iter(step.sides))
        with quietly():
            runs = {dtype: self.evaluated(step, dtype) for dtype in sides}
            alone: dict[str, np.ndarray] = {}
            if step.due:
                started = (step.printed.before, step.state[printed], step.batch_in(printed))
                alone = self._alone(*(stacked([arrays]) for arrays in started))
            by_torch = {name: stack[0] for name, stack in alone.items() if name in step.due}
            labelled = []
            for key in _expected(step, sides):
                known = [key.name in run.local for run in runs.values()]
                is_due_update = key.phase == "update" and key.name in step.due
                if all(known) or not (any(known) or is_due_update):  # else what it is made of was not recorded
                    labelled.append((key, label_of(self.settings, key.name)))
            return judge_step(labelled, runs, (runs[sides[0]].records, by_torch), self.reads)

    def evaluated(self, step: NetworkStep, dtype: str) -> StepWitness:
        """Torch on what one side recorded, and what rounding can explain there."""
        side, state, local = step.sides[dtype], step.state[dtype], step.batch_in(dtype)
        values = real(side.records)
        batch = {name: array for name, array in values.items() if name in ("X", "Y")}
        evidence = Evidence(self.reference, side.before, batch, values, dtype, reads=self.reads)
        if len(batch) == 2:
            local = {**local, **evidence.local}
        shapes = {name: array.shape for name, array in local.items()}
        shapes |= {name: array.shape for name, array in state.items()}
        shapes |= {updated(name): array.shape for name, array in side.before.items()}
        usable = {n: a for n, a in side.records.items() if n in values and shapes.get(n) == a.shape}
        movable = {name: array for name, array in side.before.items() if gradient(name) in usable}
        if movable:
            before = {name: state[name] for name in remembered(self.optimizer.state, movable)}
            local = {**local, **self.twin.update(movable, before, usable)}
        allowed = allowances(self.settings, side.before, state, usable)
        elsewhere = cache(partial(self._elsewhere, step.number, dtype, step.convention))  # for all its tensors
        return StepWitness(dtype, side.records, local, evidence, allowed, elsewhere)

    def _elsewhere(self, number: int, dtype: str, convention: OfTheNotes, by: float) -> list[tuple[Arrays, Arrays]]:
        """What a step recorded, and torch on that, where start and data have moved by a share."""
        if by not in self.moved:
            start = initial_parameters(replace(self.settings, dtype="float64"), self.hand)
            places = directions(start, {"X": self.data.X, "Y": self.data.Y}, by)
            self.moved[by] = [
                (recorded(self.settings, replace(self.data, X=to["X"], Y=to["Y"]), self.hand, {**params}), [])
                for params, to in places
            ]
        for steps, taken in self.moved[by]:
            taken += islice(steps, max(0, number - len(taken)))
        there = (step for _, taken in self.moved[by] for step in taken[number - 1 : number] if dtype in step.sides)
        runs = (self.evaluated(step.read_in(convention), dtype) for step in there)
        return [(run.records, run.local) for run in runs]


def _expected(step: NetworkStep, dtypes: Sequence[str]) -> list[Key]:
    """What should have been recorded, in dataflow order, then what else was; less what an exception cut off."""
    sides = [step.sides[dtype] for dtype in dtypes]
    complete = frozenset.intersection(*(side.complete for side in sides))
    due = [Key(step.number, phase, name) for name, (phase, _) in step.due.items()]
    known = [key for key in due if key.phase in complete or all(key.name in side.records for side in sides)]
    extra = [name for name in sides[0].records if name not in step.due]
    return [*known, *(Key(step.number, "update" if is_updated(n) else "backward", n) for n in extra)]


def judged_steps(
    settings: Settings, data: Data, hand: Modules | None = None, *, window: int = WINDOW
) -> Iterator[JudgedStep]:
    """Every step with its verdicts, by windows; the first step decides on the convention."""
    recording, judge = recorded(settings, data, hand), NetworkJudge(settings, data, hand)
    convention, length = AS_IN_THE_NOTES, min(window, _length(settings, data))
    while steps := _window(recording, length):
        judged = judge.judge(steps, convention)
        if steps[0].number == 1 and any(judgement.finding for judgement in judged[0].judgements):
            convention = judge.convention(steps[0])
            if convention is not AS_IN_THE_NOTES:
                judge.before = None
                judged = judge.judge(steps, convention)
        yield from judged


def _window(steps: Iterator[NetworkStep], length: int) -> list[NetworkStep]:
    """The next steps: fewer at the end, and after one that is not whole."""
    window = list[NetworkStep]()
    for step in islice(steps, length):
        window.append(step)
        if not step.is_whole:
            break
    return window


def _length(settings: Settings, data: Data) -> int:
    """How many steps are evaluated at once; a step records Z, A and their gradients, and what becomes of weights."""
    n = settings.batch_size or data.X.shape[1]
    parameters = sum((n_in + 1) * n_out for n_in, n_out in pairwise(settings.layers))
    numbers = n * (4 * sum(settings.layers) + settings.layers[-1]) + 3 * parameters
    return int(np.clip(NUMBERS // max(numbers, 1), 1, WINDOW))
