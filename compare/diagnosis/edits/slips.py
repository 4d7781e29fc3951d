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
VELOCITY = (RATE, "momentum", "dampening")  # settings of SGD without which its velocity is another
STARTS = (1.0, 0.5, *EPSILONS)
SHARES = tuple(i / 32 for i in range(1, 32)) + tuple(1 - 0.5**i for i in range(6, 24))
SIZES = tuple(2.0**i for i in range(-60, 30, 2))

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
    return Edit(5, Rank.OTHER, says(kind, node.name, used, due), {node: _full(node, used)})


def _full(node: Node, number: float) -> Change:
    return apply(partial(torch.full_like, fill_value=number), node)


def _part(name: str, node: Node, part: int, times: float) -> Edit:
    """A term of a state so many times what it should be."""
    term = node.args[part]
    more = apply(partial(torch.add, alpha=times - 1), node, term)
    return Edit(5, Rank.OTHER, says(TermTimes, term, f"{times:.6g} times", times, name), {node: more})


def _shares(segment: Segment) -> Iterator[Edit]:
    """A share and what is left of 1, or two shares, exchanged; the same in the moments alone."""
    shares = [node for node in segment.graph.inputs.values() if _is_share(segment, node)]
    for node in shares:
        swapped = apply(lambda x: 1 - x, node)
        name = node.name
        yield Edit(1, Rank.OTHER, says(OtherNumber, f"1 - {name}", name), {node: swapped})
        for other in shares:
            if other is not node:
                yield Edit(2, Rank.OTHER, says(OtherNumber, other.name, node.name), {node: read(other)})
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
    start = {COUNT: lambda first: first[POSITION] + 1 - first[TOTAL]}
    yield Edit(0, Rank.OTHER, says(mistakes.Counted, "stuck"), {node: apply(torch.zeros_like, node)})
    yield Edit(0, Rank.OTHER, says(mistakes.Counted, "ahead"), {}, starts={COUNT: _number(1.0)})
    yield Edit(0, Rank.OTHER, says(mistakes.Counted, "behind"), {}, starts={COUNT: _number(-1.0)})
    yield Edit(
        0, Rank.OTHER, says(mistakes.Counted, "per-parameter"), {every: apply(torch.add, node, total)}, starts=start
    )
    powers = {each for each in segment.steps if each.kind == "pow"}
    corrections = [each for each in segment.steps if each.kind == "rsub" and powers.intersection(each.parents)]
    if corrections:
        yield Edit(
            0,
            Rank.OTHER,
            says(mistakes.Counted, "left-out"),
            {each: apply(torch.ones_like, each) for each in corrections},
        )


# --- what a state starts from


def _starts(segment: Segment) -> Iterator[Edit]:
    """The first steps as all others; every state from another number, the weights, the gradient or its square."""
    states = [name for name in segment.graph.outputs if name not in (AFTER, COUNT)]
    for name in states:
        if not segment.graph.outputs[name].value.ndim:
            continue
        yield _from_zero(segment, name)
        yield from (_start(name, f"{number:g}", _number(number)) for number in STARTS)
        yield _start(name, WEIGHTS, lambda first: first[WEIGHTS])
        yield _start(name, GRADIENT, lambda first: first[GRADIENT])
        yield _start(name, f"{GRADIENT}^2", lambda first: first[GRADIENT] ** 2)


def _number(number: float) -> Start:
    return lambda first: number


def _start(state: str, told: str, start: Start) -> Edit:
    tier = 0 if told == WEIGHTS else 1
    return Edit(tier, Rank.LEFT_OUT, says(mistakes.StateStart, state, told), {}, starts={state: start}, uniform=True)


def _from_zero(segment: Segment, state: str) -> Edit:
    """A velocity that is 0 before the first step, which torch sets to the first gradient."""
    settings = {name: float(node.value) for name, node in segment.graph.inputs.items() if name in VELOCITY}
    due = GRADIENT if state == BUFFER else ""
    rate = settings.get(RATE, 1.0) * (1 - settings.get("dampening", 0.0))
    twin = f"lr={rate:.6g}, momentum={settings['momentum']:.6g}" if due and len(settings) == len(VELOCITY) else ""
    cause = says(mistakes.StateStart, state, "0", due, twin)
    return Edit(0, Rank.LEFT_OUT, cause, {}, starts={state: _number(0.0)}, uniform=True)


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
    yield Edit(0, Rank.LEFT_OUT, says(mistakes.DecayForm, "left-out", number), nothing)
    for how in DECAYS:
        yield Edit(1, Rank.OTHER, says(mistakes.DecayForm, how, number), nothing | _decaying(segment, how, read(decay)))
        turned = nothing | _decaying(segment, how, apply(torch.neg, decay))
        yield Edit(1, Rank.OTHER, says(mistakes.DecayForm, how, -number), turned)


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
    moved = [[*_earlier(segment, node), *_later(segment, node)] for node in sums]
    for forms in moved:
        yield from forms
    if len(sums) > 1:
        for joint in zip(*moved, strict=False):
            changes = {node: change for form in joint for node, change in form.changes.items()}
            yield replace(joint[0], changes=changes)


def _earlier(segment: Segment, node: Node) -> Iterator[Edit]:
    total, eps = node.args
    if total.kind in ("sqrt", "div"):
        squared = apply(lambda x, small: torch.sqrt(x**2 + small), total, eps)
        cause = says(mistakes.EpsilonPlace, "eps", text("({})^2 inside the root", total), total)
        yield Edit(1, Rank.OTHER, cause, {node: squared})
    of, chain = total, list[Node]()
    while isinstance(of, Node) and of.kind in ("sqrt", "div"):
        chain, of = [of, *chain], of.args[0]
        if not isinstance(of, Node) or not of.value.ndim:
            return
        yield _moved(of, total, node, partial(_along, apply(torch.add, of, eps), chain))


def _later(segment: Segment, node: Node) -> Iterator[Edit]:
    total, eps = node.args
    chain, last = list[Node](), node
    while len(users := segment.users.get(last, ())) == 1 and users[0].kind in ("sqrt", "div"):
        if users[0].args[0] is not last or not users[0].value.ndim:
            return
        last = users[0]
        chain = [*chain, last]
        yield _moved(last, total, last, _plus(partial(_along, read(total), chain), eps))


def _along(first: Change, chain: Sequence[Node], v: Values) -> Any:
    """What steps, each taking the one before as its first argument, make of a value."""
    value = first(v)
    for node in chain:
        value = node.operation(value, *map(v, node.args[1:]))
    return value


def _plus(change: Change, eps: Node) -> Change:
    return lambda v: change(v) + v(eps)


def _moved(of: Node, belongs: Node, node: Node, change: Change) -> Edit:
    return Edit(1, Rank.OTHER, says(mistakes.EpsilonPlace, "eps", of, belongs), {node: change})


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
                corrected = apply(lambda m, beta, t: m / (1 - beta**t), state, share, count)
                yield Edit(
                    2,
                    Rank.OTHER,
                    says(mistakes.StateCorrected, name, share.name),
                    where_taken({state: corrected}, [user]),
                )


def _clipped(segment: Segment, by: str, bound: float) -> Edit:
    node = segment.graph.inputs[GRADIENT]
    change = apply(lambda g: g.clamp(-bound, bound), node)
    if by != "value":
        change = apply(lambda g, norm: g * (bound / norm).clamp(max=1.0), node, segment.graph.inputs[by])
    return Edit(5, Rank.OTHER, says(mistakes.ClippedGradient, bound, by), {node: change})


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
            yield Edit(2, Rank.OTHER, says(mistakes.StateForm, name), {state: total})


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
    return Edit(5, Rank.OTHER, says(mistakes.StateForm, name, share), {state: mean})
