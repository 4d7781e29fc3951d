"""The search for an edit of an optimiser's step that gives every updated tensor of a run, its state carried along.

What is edited is the step as a recurrence: weights and gradients are those of the run, each state is what the edited
step before left. So all steps of all runs are one evidence, and a mistake in a state is seen where it first acts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf
from typing import Any

import torch
from torch import Tensor

from handgrad.compare.diagnosis.bits import DISTINCT, ENOUGH_BITS, MOST_BITS, price
from handgrad.compare.diagnosis.edits.arithmetic import constants, powers, products, sums
from handgrad.compare.diagnosis.edits.edit import ODD, Edit, Rank, says
from handgrad.compare.diagnosis.edits.functions import functions
from handgrad.compare.diagnosis.edits.one_use import at_one_use, others_at_one_use
from handgrad.compare.diagnosis.edits.operands import multiples, named_tensors, operands, other_tensors
from handgrad.compare.diagnosis.edits.segment import Change, Segment
from handgrad.compare.diagnosis.edits.slips import Open, slips, unsettled
from handgrad.compare.diagnosis.edits.wording import Formulas
from handgrad.compare.diagnosis.search import NEAR_MISS
from handgrad.compare.facts.causes import Cause, Unknown
from handgrad.compare.oracle.graph import Graph, Node
from handgrad.compare.oracle.recurrence import AFTER, OF_THE_RUN, Recurrence, before
from handgrad.compare.thresholds import CLOSE, EXACT_SHARE

OF_A_NUMBER = (
    products, powers, constants, functions, operands, multiples, named_tensors, other_tensors, at_one_use,
    others_at_one_use,
)  # fmt: skip
OF_A_STEP = (sums, *OF_A_NUMBER)
NOTHING = Edit(0, Rank.LEFT_OUT, says(Unknown), {})  # torch's own course
CURIOUS = 5  # the first tier of edits that are not asked for
MOST_WRONG = 8  # entries with which a number is sought
MOST_WORK = 600_000  # operations of recurrences that are evaluated: about two seconds on one core
ITERATIONS, MOST_DIGITS = 60, 9  # of its search, and of its decimals


@dataclass(frozen=True)
class At:
    """One step of one parameter: what it takes by name, both sides after it, and what rounding explains of each.

    `kept` are the states that torch goes on with instead of its own: recorded velocities.
    """

    inputs: Mapping[str, Tensor]
    recorded: Tensor
    reference: Tensor
    allowed: Tensor
    allowed_torch: Tensor
    kept: Mapping[str, Tensor]


@dataclass(frozen=True)
class Course:
    """The steps of one parameter in one run."""

    recurrence: Recurrence
    steps: Sequence[At]


class Rollout:
    """A recurrence along the steps of a course, edited or not; its formula is that of `graph`."""

    def __init__(self, graph: Graph, course: Course) -> None:
        """Torch's own course is rolled out once, from the starts that give it; `is_torchs` says whether any do.

        `work` counts the operations that have been evaluated.
        """
        self.work = 0
        self.graph, self.course, self.recurrence = graph, course, course.recurrence
        self.segment = Whole(graph, AFTER, frozenset(OF_THE_RUN))
        self.settings = {
            name: torch.tensor(value, dtype=torch.float64) for name, value in self.recurrence.settings.items()
        }
        self.base: list[dict[Node, Any]] = []
        self.start: dict[str, Tensor] = {}
        self.is_torchs = any(self._starts(values) for values in self._candidates())

    def _candidates(self) -> Iterator[dict[str, float]]:
        """What the states may start from, where torch makes them at its first step."""
        fixed = self.recurrence.starts
        open_to = [name for name in self.recurrence.states if name not in fixed]
        yield {**dict.fromkeys(open_to, 0.0), **fixed}
        for name in open_to:
            yield {**dict.fromkeys(open_to, 0.0), **fixed, name: 1.0}

    def _starts(self, values: Mapping[str, float]) -> bool:
        self.base, self.start = [], {}
        outputs, like_weights = self.graph.outputs, self.course.steps[0].reference
        for name, value in values.items():
            scalar = not outputs[name].value.ndim
            self.start[name] = (
                torch.tensor(value, dtype=torch.float64) if scalar else torch.full_like(like_weights, value)
            )
        for _, step, after in self.rolled(NOTHING):
            if not bool(((after - step.reference).abs() <= step.allowed_torch).all()):
                return False
        return True

    def rolled(self, slip: Edit) -> Iterator[tuple[int, At, Tensor]]:
        """Each step with the weights that the edited recurrence makes of it."""
        state = {**self.start}
        first = self.course.steps[0]
        for name, start in slip.starts.items():
            value = start(first.inputs)
            state[name] = torch.as_tensor(value, dtype=torch.float64).expand(self.start[name].shape)
        for index, step in enumerate(self.course.steps):
            values = self._step(index, {before(name): tensor for name, tensor in state.items()}, slip)
            if len(self.base) == index:
                self.base.append(values)
            yield index, step, values[self.graph.outputs[AFTER]]
            state = {name: values[self.graph.outputs[name]] for name in state}
            state |= {name: tensor for name, tensor in step.kept.items() if name in state}

    def _step(self, index: int, state: Mapping[str, Tensor], slip: Edit) -> dict[Node, Any]:
        """What every node gives at a step."""
        self.work += len(self.segment.steps)
        given = {**self.settings, **state, **self.course.steps[index].inputs}
        early = None if slip.uniform else self.recurrence.early.get(index)
        if early is not None:
            return self._early(early, given, slip)
        if index >= len(self.base) or index in self.recurrence.early:
            return _evaluated(self.segment, given, slip.changes)
        base = self.base[index]
        inputs = {node: given[name] for name, node in self.graph.inputs.items()}
        moved = {
            node: value for node, value in inputs.items() if value is not base[node] and not _same(value, base[node])
        }
        values = base | moved
        return values | self.segment.changed(slip.changes, values, moved)

    def _early(self, graph: Graph, given: Mapping[str, Any], slip: Edit) -> dict[Node, Any]:
        """A step of another form, in which an edit is made where it has the same steps."""
        usual = self.graph.valued(given)
        twins = _twins(self.graph, graph)
        changes = {twins[node]: _in(twins, usual, change) for node, change in slip.changes.items() if node in twins}
        values = _evaluated(Whole(graph, AFTER), given, changes)
        return usual | {self.graph.outputs[name]: values[node] for name, node in graph.outputs.items()}


@dataclass(frozen=True)
class Whole(Segment):
    """The segment of the updated weights, with all that the step leaves beside them."""

    @cached_property
    def steps(self) -> tuple[Node, ...]:
        """All steps of the graph."""
        return self.graph.nodes


def _same(one: Any, other: Any) -> bool:
    return isinstance(one, Tensor) and one.shape == other.shape and torch.equal(one, other)


def _evaluated(segment: Segment, given: Mapping[str, Any], changes: Mapping[Node, Change]) -> dict[Node, Any]:
    """What all steps give where some give something else."""
    values = segment.graph.valued(given)
    return values | segment.changed(changes, values)


def _twins(graph: Graph, other: Graph) -> dict[Node, Node]:
    """The steps of a graph that another has as well; the weights after the step are one by name."""
    there = {key: node for node, key in _keys(other).items()}
    twins = {node: there[key] for node, key in _keys(graph).items() if key in there}
    return twins | {graph.outputs[AFTER]: other.outputs[AFTER]}


def _keys(graph: Graph) -> dict[Node, Any]:
    keys: dict[Node, Any] = {}
    for node in graph.nodes:
        args = tuple(keys[each] if isinstance(each, Node) else each for each in node.args)
        own = node.name or (float(node.value) if node.value.numel() == 1 else id(node))
        keys[node] = own if node.operation is None else (node.kind, *args)
    return keys


def _in(twins: Mapping[Node, Node], usual: Mapping[Node, Any], change: Any) -> Any:
    """A change that reads the steps of another form where it reads those of the usual one."""

    def read(of: Any) -> Any:
        return lambda v: of(twins[v]) if v in twins else usual[v] if isinstance(v, Node) else v

    return lambda of: change(read(of))


@dataclass
class Found:
    """A slip that gives all that was recorded: what it leaves, and its bits."""

    slip: Edit
    residue: float
    net: float


def named_slip(courses: Sequence[Course]) -> tuple[Cause, ...]:
    """The causes that explain all steps of some courses of one formula, best first, one of each code."""
    with torch.no_grad():
        graph = courses[0].recurrence.graph
        rollouts = [Rollout(graph, course) for course in courses]
        if not all(rollout.is_torchs for rollout in rollouts):
            return ()
        found = _found(rollouts)
        floor = max(min((each.residue for each in found), default=0.0), EXACT_SHARE)
        words = Formulas(rollouts[0].segment, {})
        exact = [each for each in found if each.residue <= NEAR_MISS * floor and each.net >= ENOUGH_BITS]
        told = [(each.slip, each.slip.cause(words)) for each in exact]
    told.sort(key=lambda pair: (pair[0].tier, pair[0].rank, pair[0].uniform, len(str(pair[1]))))
    by_code: dict[str, Cause] = {}
    for _, cause in told:
        by_code.setdefault(cause.code, cause)
    return tuple(by_code.values())


def _found(rollouts: Sequence[Rollout]) -> list[Found]:
    """The slips that give everything: those of optimisers first, then edits, then numbers that are fitted."""
    tried: Counter[int] = Counter()
    found: list[Found] = []
    segment = rollouts[0].segment
    for stage in (slips(segment, rollouts[0].recurrence.decays), _edits(segment), _settled(rollouts)):
        for slip in stage:
            if sum(rollout.work for rollout in rollouts) > MOST_WORK:
                return found
            tried[slip.tier] += 1
            for form in (slip, replace(slip, uniform=True)) if rollouts[0].recurrence.early else (slip,):
                residue, bits = _left(rollouts, form)
                if residue <= 1.0:
                    found.append(Found(form, residue, bits - price(form.tier, tried[form.tier], form.fitted)))
        if found:
            return found
    return found


def _edits(segment: Whole) -> Iterator[Edit]:
    """Edits of single steps, from the updated weights backwards."""
    order = {node: i for i, node in enumerate(segment.steps)}
    far = len(order)
    for node in sorted(order, key=lambda node: (segment.distance.get(node, far), -order[node])):
        for kind in OF_A_STEP if node.value.ndim else OF_A_NUMBER:
            try:
                for edit in kind(segment, node, {}):
                    if edit.tier < CURIOUS:
                        yield edit
            except ODD:
                continue


def _left(rollouts: Sequence[Rollout], slip: Edit) -> tuple[float, float]:
    """The most that a slip leaves of any step, in units of what rounding explains, and the bits that it explains."""
    worst, bits = 0.0, 0.0
    try:
        for rollout in rollouts:
            for _, step, after in rollout.rolled(slip):
                if after.shape != step.recorded.shape:
                    return inf, 0.0
                left, wrong = (after - step.recorded).abs(), (step.reference - step.recorded).abs()
                ratio = float((left / step.allowed).max())
                if not ratio <= 1.0:
                    return inf, 0.0
                worst = max(worst, ratio)
                off = wrong > DISTINCT * step.allowed
                told = torch.log2(wrong[off] / torch.maximum(left, step.allowed)[off])
                bits += float(told.clamp(0.0, MOST_BITS).sum())
    except ODD:
        return inf, 0.0
    return worst, bits


def _settled(rollouts: Sequence[Rollout]) -> Iterator[Edit]:
    """Slips with an open number, where some number makes them give one of the entries that are furthest off."""
    wrong = sorted((at for rollout in rollouts for at in _wrong(rollout)), key=lambda at: at[1])[:MOST_WRONG]
    segment = rollouts[0].segment
    for family in unsettled(segment, rollouts[0].recurrence.settings):
        for uniform in (False, True) if rollouts[0].recurrence.early else (False,):
            solved = (_solved(rollout, family, index, entry, uniform) for rollout, index, entry in wrong)
            numbers = dict.fromkeys(each for number in solved if number is not None for each in _decimals(number))
            yield from (_with(family, number, uniform) for number in numbers)


def _with(family: Open, number: float, uniform: bool) -> Edit:
    """The edit with a number in its open place."""
    return replace(family[0](number), uniform=uniform, fitted=True)


def _wrong(rollout: Rollout) -> Iterator[tuple[Rollout, int, int]]:
    """At each step the entry that is furthest off, and the middle one of those that are off."""
    for index, step in enumerate(rollout.course.steps):
        off = (step.reference - step.recorded).abs() / step.allowed
        order = [entry for entry in off.argsort(descending=True).tolist() if float(off[entry]) > DISTINCT]
        yield from ((rollout, index, entry) for entry in {*order[:1], *order[len(order) // 2 :][:1]})


def _solved(rollout: Rollout, family: Open, index: int, entry: int, uniform: bool) -> float | None:
    """The number with which a slip gives an entry at a step; None where none of those tried encloses it."""

    def off(number: float) -> float:
        for at, step, after in rollout.rolled(_with(family, number, uniform)):
            if at == index:
                return float((after - step.recorded).expand(step.recorded.shape)[entry])
        return inf

    try:
        left, least = None, 0.0
        for right in family[1]:
            value = off(right)
            if value == 0.0:
                return right
            if left is not None and value * least < 0:
                return _enclosed(off, (left, least), (right, value))
            left, least = right, value
    except ODD:
        pass
    return None


def _enclosed(off: Callable[[float], float], left: tuple[float, float], right: tuple[float, float]) -> float:
    """The number between two at which nothing is off, by false position with halved weights."""
    (a, at_a), (b, at_b) = left, right
    for _ in range(ITERATIONS):
        c = b - at_b * (b - a) / (at_b - at_a)
        value = off(c)
        if value == 0.0 or abs(c - b) <= CLOSE * abs(c):
            return c
        a, at_a = (b, at_b) if value * at_b < 0 else (a, at_a / 2)
        b, at_b = c, value
    return b


def _decimals(number: float) -> Iterator[float]:
    """A number with few digits first: one that was found in float32, or through a small eps, has few of its own."""
    yield from (float(f"{number:.{digits}g}") for digits in range(1, MOST_DIGITS))
    yield number
