"""Slips that only update rules have: how t counts, where decay and eps stand, what states start from, clipping.

Those in one state alone are what it takes, its share, and whether it is a sum or a weighted mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Any

import torch

from handgrad.compare.diagnosis.edits.edit import (
    Edit,
    Rank,
    Start,
    Words,
    apply,
    is_like,
    read,
    says,
    text,
    where_taken,
)
from handgrad.compare.diagnosis.edits.segment import Change, Segment
from handgrad.compare.facts import updates as mistakes
from handgrad.compare.facts.causes import Cause, Scaled
from handgrad.compare.facts.edits import NumbersExchanged, OtherNumber, OtherOperand, TermTimes
from handgrad.compare.oracle.graph import Graph, Node, Values
from handgrad.compare.oracle.recurrence import (
    AFTER,
    COUNT,
    DECAY,
    GRADIENT,
    NORM,
    NORM_OF_ALL,
    POSITION,
    TOTAL,
    WEIGHTS,
    before,
)
from handgrad.compare.thresholds import EPSILONS

RATE, BUFFER = "lr", "momentum_buffer"
WAY = ("sqrt", "div")  # from a moment to the divisor
VELOCITY = (RATE, "momentum", "dampening")  # settings of SGD without which its velocity is another
SHARES = tuple(i / 32 for i in range(1, 32)) + tuple(1 - 0.5**i for i in range(6, 24))
SIZES = tuple(2.0**i for i in range(-60, 30, 2))


def _number(number: float) -> Start:
    return lambda first: number


STARTS: dict[str, Start] = {  # of a state
    **{f"{number:g}": _number(number) for number in (1.0, 0.5, *EPSILONS)},
    WEIGHTS: lambda first: first[WEIGHTS],
    GRADIENT: lambda first: first[GRADIENT],
    f"{GRADIENT}^2": lambda first: first[GRADIENT] ** 2,
}
Open = tuple[Callable[[float], Edit], Sequence[float]]  # an edit with an open number, and where that is sought


def slips(segment: Segment, decays: Sequence[float]) -> Iterator[Edit]:
    """All that need no number; `decays` are the weight decays of other parameters."""
    yield from _starts(segment)
    yield from _counted(segment)
    yield from _decays(segment)
    for number in decays:
        yield from (replace(_decayed(segment, how, number), tier=1) for how in DECAYS)
    yield from _epsilons(segment)
    yield from _corrected(segment)
    yield from _shares(segment)
    yield from _in_one_state(segment)


def unsettled(segment: Segment, settings: Mapping[str, float]) -> Iterator[Open]:
    """All that have a number of their own."""
    inputs = segment.graph.inputs
    for name, due in settings.items():
        if inputs[name] in segment.users and segment.users[inputs[name]]:
            yield partial(_setting, inputs[name], due), _around(due)
    if DECAY not in settings or inputs[DECAY] not in segment.distance:
        for how in DECAYS:
            yield partial(_decayed, segment, how), (*(-size for size in reversed(SIZES)), *SIZES)
    for name, node in _states(segment.graph):
        for part in range(2):
            yield partial(_part, name, node, part), SIZES
    for form in _epsilons(segment):
        yield partial(_moved_with, form, inputs["eps"]), SIZES
    for by in ("value", NORM, NORM_OF_ALL):
        yield partial(_clipped, segment, by), SIZES
    for name, node in _states(segment.graph):
        if node.args[0] is inputs[before(name)]:  # a state that adds up, and should forget
            yield partial(_averaged, name, node), SHARES


def _around(due: float) -> tuple[float, ...]:
    return (0.0, *SHARES) if 0.5 <= due < 1 else (0.0, *SIZES)


# --- settings


def _setting(node: Node, due: float, used: float) -> Edit:
    kind = mistakes.DecaySetting if node.name == DECAY else mistakes.OtherSetting
    return Edit.of(5, Rank.OTHER, {node: _full(node, used)}, kind, node.name, used, due)


def _full(node: Node, number: float) -> Change:
    return apply(partial(torch.full_like, fill_value=number), node)


def _part(name: str, node: Node, part: int, times: float) -> Edit:
    """A term of a state so many times what it should be."""
    term = node.args[part]
    more = apply(partial(torch.add, alpha=times - 1), node, term)
    return Edit.of(5, Rank.OTHER, {node: more}, TermTimes, term, f"{times:.6g} times", times, name)


def _shares(segment: Segment) -> Iterator[Edit]:
    """A share and what is left of 1, or two shares, exchanged; the same in the moments alone."""
    shares = [node for node in segment.graph.inputs.values() if _is_share(segment, node)]
    for node in shares:
        swapped = apply(lambda x: 1 - x, node)
        name = node.name
        yield Edit.of(1, Rank.OTHER, {node: swapped}, OtherNumber, f"1 - {name}", name)
        for other in shares:
            if other is not node:
                yield Edit.of(2, Rank.OTHER, {node: read(other)}, OtherNumber, other.name, node.name)
    for one, other in combinations(shares, 2):
        cause, swap = says(NumbersExchanged, one.name, other.name), {one: read(other), other: read(one)}
        yield Edit(1, Rank.OTHER, cause, swap)
        yield Edit(3, Rank.OTHER, cause, where_taken(swap, (node for node in segment.steps if node.kind != "pow")))


def _is_share(segment: Segment, node: Node) -> bool:
    """Whether a setting is one of what is kept and what is left of 1."""
    return not node.value.ndim and any(each.kind == "rsub" for each in segment.users.get(node, ()))


# --- t


def _counted(segment: Segment) -> Iterator[Edit]:
    """t stuck, one off, or counted with every parameter; moments that are not corrected."""
    node = segment.graph.inputs.get(before(COUNT))
    if node is None or segment.graph.outputs[COUNT] not in segment.distance:
        return
    every, total = segment.graph.outputs[COUNT], segment.graph.inputs[TOTAL]
    powers = {each for each in segment.steps if each.kind == "pow"}
    corrections = [each for each in segment.steps if each.kind == "rsub" and powers.intersection(each.parents)]
    none: dict[Node, Change] = {}
    forms: dict[str, tuple[dict[Node, Change], Start]] = {
        "stuck": ({node: apply(torch.zeros_like, node)}, _number(0.0)),
        "ahead": (none, _number(1.0)),
        "behind": (none, _number(-1.0)),
        "per-parameter": ({every: apply(torch.add, node, total)}, lambda first: first[POSITION] + 1 - first[TOTAL]),
        "left-out": ({each: apply(torch.ones_like, each) for each in corrections}, _number(0.0)),
    }
    for how, (changes, start) in forms.items():
        yield Edit.of(0, Rank.OTHER, changes, mistakes.Counted, how, starts={COUNT: start})


# --- what a state starts from


def _starts(segment: Segment) -> Iterator[Edit]:
    """The first steps as all others; every state from another number, the weights, the gradient or its square."""
    for state, node in segment.graph.outputs.items():
        if state not in (AFTER, COUNT) and node.value.ndim:
            yield _from_zero(segment, state)
            for told, start in STARTS.items():
                yield _start(0 if told == WEIGHTS else 1, start, state, told)


def _start(tier: int, start: Start, *facts: str) -> Edit:
    return Edit.of(tier, Rank.LEFT_OUT, {}, mistakes.StateStart, *facts, starts={facts[0]: start}, uniform=True)


def _from_zero(segment: Segment, state: str) -> Edit:
    """A velocity that is 0 before the first step, which torch sets to the first gradient."""
    settings = {name: float(node.value) for name, node in segment.graph.inputs.items() if name in VELOCITY}
    due = GRADIENT if state == BUFFER else ""
    rate = settings.get(RATE, 1.0) * (1 - settings.get("dampening", 0.0))
    twin = f"lr={rate:.6g}, momentum={settings['momentum']:.6g}" if due and len(settings) == len(VELOCITY) else ""
    return _start(0, _number(0.0), state, "0", due, twin)


# --- weight decay

Joined = Callable[[Any, Any, Any, Any], Any]  # of where it enters, the weights, the decay and the rate
DECAYS: dict[str, tuple[str, Joined]] = {
    "gradient": (GRADIENT, lambda g, w, decay, rate: g + decay * w),
    "apart": (AFTER, lambda after, w, decay, rate: after - rate * decay * w),
    "without-rate": (AFTER, lambda after, w, decay, rate: after - decay * w),
    "after": (AFTER, lambda after, w, decay, rate: after * (1 - rate * decay)),
}


def _decays(segment: Segment) -> Iterator[Edit]:
    """Decay left out, or in another place."""
    decay = segment.graph.inputs.get(DECAY)
    if decay is None or not segment.users.get(decay):
        return
    nothing = {user: apply(torch.zeros_like, user) for user in segment.users[decay]}
    number = float(decay.value)
    yield Edit.of(0, Rank.LEFT_OUT, nothing, mistakes.DecayForm, "left-out", number)
    for how in DECAYS:
        yield Edit.of(1, Rank.OTHER, nothing | _decaying(segment, how, read(decay)), mistakes.DecayForm, how, number)
        turned = nothing | _decaying(segment, how, apply(torch.neg, decay))
        yield Edit.of(1, Rank.OTHER, turned, mistakes.DecayForm, how, -number)


def _decayed(segment: Segment, how: str, number: float) -> Edit:
    """Decay where torch has none; a step's result that is larger than it should be is no decay."""
    rate = segment.graph.inputs.get(RATE)
    told = says(mistakes.DecayForm, how, number, False)
    if how == "after" and number < 0 and rate is not None:
        told = says(Scaled, 1 - float(rate.value) * number)
    return Edit(5, Rank.OTHER, told, _decaying(segment, how, read(number)))


def _decaying(segment: Segment, how: str, decay: Change) -> dict[Node, Change]:
    at, joined = DECAYS[how]
    node = segment.graph.outputs[at] if at == AFTER else segment.graph.inputs[at]
    w, rate = segment.graph.inputs[WEIGHTS], segment.graph.inputs.get(RATE, 1.0)
    return {node: lambda v: joined(v(node), v(w), decay(v), v(rate))}


# --- eps


def _epsilons(segment: Segment) -> Iterator[Edit]:
    """eps added earlier or later on the way from a moment to the divisor, at one of its places or at all."""
    eps = segment.graph.inputs.get("eps")
    sums = [node for node in segment.steps if node.kind == "add" and eps is not None and node.args[1] is eps]
    moved = [[*_elsewhere(segment, node)] for node in sums]
    for forms in moved:
        yield from forms
    if len(sums) > 1:
        for joint in zip(*moved, strict=False):
            changes = {node: change for form in joint for node, change in form.changes.items()}
            yield replace(joint[0], changes=changes)


def _elsewhere(segment: Segment, node: Node) -> Iterator[Edit]:
    """eps in a sum added at the other places of the way through roots and quotients that leads to the sum and on."""
    total, eps = node.args
    if total.kind in WAY:
        squared = apply(lambda x, small: torch.sqrt(x**2 + small), total, eps)
        inside_root = text("({})^2 inside the root", total)
        yield Edit.of(1, Rank.OTHER, {node: squared}, mistakes.EpsilonPlace, "eps", inside_root, total)
    to, on = [total], [node]
    while to[0].kind in WAY and isinstance(to[0].args[0], Node) and to[0].args[0].value.ndim:
        to = [to[0].args[0], *to]
    while len(users := segment.users.get(on[-1], ())) == 1 and users[0].kind in WAY and users[0].args[0] is on[-1]:
        on = [*on, users[0]]
    for of in (*to[:-1], *on[1:]):
        change = partial(_added, eps, [*to, *on[1:]], of)
        yield Edit.of(1, Rank.OTHER, {on[-1]: change}, mistakes.EpsilonPlace, "eps", of, total)


def _added(eps: Node, way: Sequence[Node], at: Node, v: Values) -> Any:
    """What steps, each taking the one before as its first argument, make of the first value with eps added at one."""
    value = v(way[0])
    for step in way:
        value = value if step is way[0] else step.operation(value, *map(v, step.args[1:]))
        value = value + v(eps) if step is at else value
    return value


def _moved_with(form: Edit, eps: Node, used: float) -> Edit:
    """A small number of another size in another place."""

    def cause(words: Words) -> Cause:
        told = form.cause(words)
        return replace(told, eps=f"{used:.6g}") if isinstance(told, mistakes.EpsilonPlace) else told

    return replace(form, tier=5, cause=cause, changes={**form.changes, eps: _full(eps, used)})


# --- corrections, clipping


def _corrected(segment: Segment) -> Iterator[Edit]:
    """A moment that is divided by 1 - beta^t where torch does not."""
    count = segment.graph.outputs.get(COUNT)
    shares = [node for node in segment.graph.inputs.values() if _is_share(segment, node)]
    for name, state in segment.graph.outputs.items() if count is not None else ():
        if name in (AFTER, COUNT) or not state.value.ndim:
            continue
        for user in segment.users.get(state, ()):
            for share in shares:
                corrected = {state: apply(lambda m, beta, t: m / (1 - beta**t), state, share, count)}
                changes = where_taken(corrected, [user])
                yield Edit.of(2, Rank.OTHER, changes, mistakes.StateCorrected, name, share.name)


def _clipped(segment: Segment, by: str, bound: float) -> Edit:
    node = segment.graph.inputs[GRADIENT]
    change = apply(lambda g: g.clamp(-bound, bound), node)
    if by != "value":
        change = apply(lambda g, norm: g * (bound / norm).clamp(max=1.0), node, segment.graph.inputs[by])
    return Edit.of(5, Rank.OTHER, {node: change}, mistakes.ClippedGradient, bound, by)


# --- one state alone


def _in_one_state(segment: Segment) -> Iterator[Edit]:
    """A share exchanged for what is left of 1; a step forgotten on the way to one state; a sum for a weighted mean."""
    for name, state in _states(segment.graph):
        own = _own_steps(segment.graph, state)
        for taken in {parent: None for step in own for parent in step.parents if parent not in own}:
            if _is_share(segment, taken):
                cause = says(OtherNumber, f"1 - {taken.name}", taken.name, name)
                yield Edit(2, Rank.OTHER, cause, where_taken({taken: apply(lambda x: 1 - x, taken)}, own))
            for parent in taken.parents:
                if taken.value.ndim and is_like(parent, taken):
                    cause = says(OtherOperand, parent, taken, name)
                    yield Edit(2, Rank.LEFT_OUT, cause, where_taken({taken: read(parent)}, own))
        kept, new = state.args[:2]
        if kept.kind == new.kind == "mul" and not new.args[1].value.ndim:
            total = apply(torch.add, segment.graph.inputs[before(name)], new.args[0])
            yield Edit.of(2, Rank.OTHER, {state: total}, mistakes.StateForm, name)


def _states(graph: Graph) -> Iterator[tuple[str, Node]]:
    """The states that are sums of what is kept and what is new."""
    for name, node in graph.outputs.items():
        if name not in (AFTER, COUNT) and node.kind == "add" and node.value.ndim:
            yield name, node


def _own_steps(graph: Graph, state: Node) -> Sequence[Node]:
    """The steps that lead to a state and, but through it, to nothing else."""
    pending = [node for node in graph.outputs.values() if node is not state]
    elsewhere = {*pending}
    while pending:
        parents = {*pending.pop().parents} - elsewhere - {state}
        elsewhere |= parents
        pending += parents
    name = next(name for name, node in graph.outputs.items() if node is state)
    return [node for node in graph.segment(name) if node.operation is not None and node not in elsewhere]


def _averaged(name: str, state: Node, share: float) -> Edit:
    mean = apply(lambda kept, new: share * kept + (1 - share) * new, *state.args[:2])
    return Edit.of(5, Rank.OTHER, {state: mean}, mistakes.StateForm, name, share)
