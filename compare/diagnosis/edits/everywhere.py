"""The same edit at every step of a kind, and edits of two steps at once: epsilons, exchanged numbers and tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from handgrad.compare.diagnosis.edits.edit import (
    CONSTANT,
    LEFT_OUT,
    OPERAND,
    OTHER,
    SMALL,
    Edit,
    Function,
    Words,
    apply,
    is_like,
    read,
    redo,
)
from handgrad.compare.diagnosis.edits.functions import FUNCTIONS, USUAL
from handgrad.compare.diagnosis.edits.reductions import KINDS, axes_of
from handgrad.compare.diagnosis.edits.segment import Change, Segment, repeated
from handgrad.compare.facts.causes import Cause
from handgrad.compare.facts.compounds import Repeated
from handgrad.compare.facts.edits import (
    Epsilon,
    MissingFactor,
    NumbersExchanged,
    NumbersShifted,
    OperandsExchanged,
    OtherFunction,
    OtherOperand,
    OtherReduction,
)
from handgrad.compare.names import layered
from handgrad.compare.oracle.graph import Node, Values
from handgrad.compare.oracle.lines import Place
from handgrad.compare.thresholds import EPSILONS

ROOTS_AND_LOGS: dict[str, Function] = {"log": torch.log, "sqrt": torch.sqrt}
Steps = Mapping[str, Sequence[Node]]  # by the kind of operation


def everywhere(segment: Segment, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """All of them."""
    steps: dict[str, list[Node]] = {}
    for node in segment.steps:
        if node.operation is not None and node not in segment.constants:
            steps.setdefault(node.kind, []).append(node)
    yield from _epsilons(steps)
    yield from _moved_epsilons(segment, steps)
    yield from _functions(steps)
    kept, means = _kept(steps), tuple(steps.get("mean", ()))
    for nodes in dict.fromkeys((kept, _of_backward(kept))):
        yield from _axes(nodes)
    for nodes in (means, _of_backward(means)):
        yield from _counts(nodes, numbers)
    yield from _numbers(steps)
    yield from _exchanged_tensors(segment)
    yield from _shifted_numbers(segment)
    yield from _other_variables(segment)


# --- epsilons


def _epsilons(steps: Steps) -> Iterator[Edit]:
    """A small number added in logarithms, roots and divisors, or clipped to."""
    for kind in ROOTS_AND_LOGS:
        for eps in EPSILONS if kind in steps else ():
            yield from _inside(kind, steps[kind], eps)
    for node in steps.get("div", ()):
        for eps in EPSILONS if isinstance(node.args[1], Node) else ():
            yield _of_divisor(node, node.args[1], eps)


def _inside(kind: str, nodes: Sequence[Node], eps: float) -> Iterator[Edit]:
    """One epsilon in every logarithm or root, and in each alone."""
    function = ROOTS_AND_LOGS[kind]

    def added(x: Tensor) -> Tensor:
        return function(x + eps)

    def clipped(x: Tensor) -> Tensor:
        return function(x.clamp(eps, 1 - eps))

    if len(nodes) > 1:
        yield Edit(2, CONSTANT, lambda w: Epsilon(eps, "inside-every", kind), _at_all(nodes, added))
    if kind == "log":
        yield Edit(2, CONSTANT, lambda w: Epsilon(eps, "clipped", "the logarithm"), _at_all(nodes, clipped))
    for node in nodes:
        yield _at_one(node, eps, "inside", added, 2 if len(nodes) == 1 else 3)
        if kind == "sqrt":
            yield _at_one(node, eps, "outside", lambda x: x.sqrt() + eps, 3)


def _at_all(nodes: Sequence[Node], function: Function) -> dict[Node, Change]:
    """Steps of one argument that give another function of it."""
    return {node: apply(function, node.args[0]) for node in nodes}


def _at_one(node: Node, eps: float, how: str, function: Function, tier: int) -> Edit:
    return Edit(tier, CONSTANT, lambda w: Epsilon(eps, how, w(node)), _at_all([node], function))


def _of_divisor(node: Node, divisor: Node, eps: float) -> Edit:
    change = redo(node, {1: apply(lambda x: x + eps, divisor)})
    return Edit(3, CONSTANT, lambda w: Epsilon(eps, "outside", f"the divisor {w(divisor)}"), {node: change})


def _moved_epsilons(segment: Segment, steps: Steps) -> Iterator[Edit]:
    """An epsilon through a root: outside where inside belongs, or the other way round."""
    for node in steps.get("add", ()):
        small = [each for each in node.args if isinstance(each, float) and 0 < each < SMALL]
        rest = [each for each in node.args if isinstance(each, Node)]
        if len(small) == len(rest) == 1:
            yield from _moved_epsilon(segment, node, small[0], rest[0])


def _moved_epsilon(segment: Segment, node: Node, eps: float, of: Node) -> Iterator[Edit]:
    for root in segment.users.get(node, ()):
        if root.kind == "sqrt":
            yield _moved(root, eps, "moved-out", apply(lambda x: x.sqrt() + eps, of))
    yield _moved(node, eps, "moved-in", apply(lambda x: (x**2 + eps).sqrt(), of))


def _moved(node: Node, eps: float, how: str, change: Change) -> Edit:
    return Edit(1, LEFT_OUT, lambda w: Epsilon(eps, how, w(node)), {node: change})


# --- functions and axes


def _functions(steps: Steps) -> Iterator[Edit]:
    """One function for another at every place."""
    for kind in steps:
        if kind in USUAL and len(steps[kind]) > 1:
            for used in USUAL:
                if used != kind:
                    yield _other_function(kind, steps[kind], used)
            yield _no_function(kind, steps[kind])


def _other_function(kind: str, nodes: Sequence[Node], used: str) -> Edit:
    changes = _at_all(nodes, FUNCTIONS[used])
    return Edit(2, OTHER, lambda w: OtherFunction(used, f"every {kind}", "each argument"), changes)


def _no_function(kind: str, nodes: Sequence[Node]) -> Edit:
    changes = {node: read(node.args[0]) for node in nodes}
    return Edit(2, LEFT_OUT, lambda w: OtherFunction("", f"every {kind}", "the argument"), changes)


def _kept(steps: Steps) -> tuple[Node, ...]:
    """The sums, means and maxima along one axis, which stays."""
    return tuple(
        n for kind in KINDS for n in steps.get(kind, ())
        if n.args[0].value.ndim == n.value.ndim and len(axes_of(n)) == 1
    )  # fmt: skip


def _of_backward(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """Those of the backward pass."""
    return tuple(node for node in nodes if node.place is not None and node.place.is_backward)


def _axes(kept: Sequence[Node]) -> Iterator[Edit]:
    """Every sum, mean and maximum along another axis, as of a softmax."""
    for ndim in {n.value.ndim for n in kept}:
        for axis in range(ndim):
            nodes = [n for n in kept if n.value.ndim == ndim and axes_of(n) != [axis]]
            if len(nodes) > 1:
                yield _other_axis(nodes, axis)


def _other_axis(nodes: Sequence[Node], axis: int) -> Edit:
    changes = {node: redo(node, {1: read([axis]), 2: read(True)}) for node in nodes}
    used = f"each sum, mean or maximum over axis {axis}"
    due = f"one over axis {axes_of(nodes[0])[0]}"
    return Edit(2, OTHER, lambda w: OtherReduction(used, due, w(nodes[0].args[0])), changes)


def _counts(nodes: Sequence[Node], numbers: Mapping[float, str]) -> Iterator[Edit]:
    """Every mean over another number."""
    for number, name in numbers.items() if len(nodes) > 1 else ():
        if number < 1:
            yield _other_count(nodes, number, name)


def _other_count(nodes: Sequence[Node], number: float, name: str) -> Edit:
    def counted(v: Values, node: Node) -> Any:
        return v(node) * (number * node.args[0].value.numel() / node.value.numel())

    changes = {node: partial(counted, node=node) for node in nodes}
    return Edit(3, CONSTANT, lambda w: OtherReduction(f"{name} of the sum", "every mean", w(nodes[0].args[0])), changes)


# --- two in each other's place


def _numbers(steps: Steps) -> Iterator[Edit]:
    """Two numbers of the formula exchanged; one that stands in several places left out at all, whatever its sign."""
    places: dict[float, list[tuple[Node, int]]] = {}
    for kind in ("mul", "div", "add", "sub"):
        for node in steps.get(kind, ()):
            for i, each in enumerate(node.args):
                if isinstance(each, (int, float)) and not isinstance(each, bool):
                    places.setdefault(float(each), []).append((node, i))
    for one, other in combinations(sorted(places), 2):
        yield _two_numbers(one, other, places)
    for number in {abs(each) for each in places} - {0.0, 1.0}:
        at = [(node, i) for sign in (1, -1) for node, i in places.get(sign * number, ()) if node.kind in ("mul", "div")]
        if len(at) > 1:
            yield _no_number(number, at)


def _two_numbers(one: float, other: float, places: Mapping[float, Sequence[tuple[Node, int]]]) -> Edit:
    numbers: dict[Node, dict[int | str, Change]] = {}
    for here, there in ((one, other), (other, one)):
        for node, i in places[here]:
            numbers.setdefault(node, {})[i] = read(there)
    changes = {node: redo(node, by_place) for node, by_place in numbers.items()}
    return Edit(2, CONSTANT, lambda w: NumbersExchanged(w(one), w(other)), changes)


def _no_number(number: float, places: Sequence[tuple[Node, int]]) -> Edit:
    changes = {node: redo(node, {i: read(node.args[i] / number)}) for node, i in places}
    return Edit(2, LEFT_OUT, lambda w: Repeated(MissingFactor(w(number)), len(places)), changes)


def _exchanged_tensors(segment: Segment) -> Iterator[Edit]:
    """Two inputs or records."""
    named = [n for n in segment.steps if n.name and n.value.is_floating_point() and n.value.numel() > 1]
    for one, other in combinations(named, 2):
        if one.value.shape == other.value.shape:
            yield _two_tensors(one, other)


def _two_tensors(one: Node, other: Node) -> Edit:
    return Edit(3, OPERAND, lambda w: OperandsExchanged(w(one), w(other)), {one: read(other), other: read(one)})


def _shifted_numbers(segment: Segment) -> Iterator[Edit]:
    """Every tensor of a numbered family read at the number before or after: a stale or early time step."""
    families: dict[str, dict[int, Node]] = {}
    for name, node in segment.graph.inputs.items():
        stem, number = layered(name)
        if stem and number is not None:
            families.setdefault(stem, {})[number] = node
    for stem, family in families.items():
        for by in (1, -1):
            pairs = [(node, family[i + by]) for i, node in family.items() if i + by in family]
            read_here = [(node, other) for node, other in pairs if node in segment.distance]
            same = {node: read(other) for node, other in read_here if other.value.shape == node.value.shape}
            if len(same) > 1:
                yield _shifted(stem, by, same)


def _shifted(stem: str, by: int, changes: Mapping[Node, Change]) -> Edit:
    return Edit(2, OPERAND, lambda w: NumbersShifted(stem, by), changes)


# --- variables of a loop


def _other_variables(segment: Segment) -> Iterator[Edit]:
    """An operand of a step that a loop does again and again is another variable of the same visit."""
    variables = _variables(segment)
    for group in segment.repeated:
        for i, first in enumerate(group[0].args):
            due = [node.args[i] for node in group if len(node.args) > i and isinstance(node.args[i], Node)]
            if isinstance(first, Node) and isinstance(first.value, Tensor) and len(due) == len(group):
                for variable in variables:
                    visits = [node.place.visit for node in group if node.place is not None]
                    used = [variable[visit] for visit in visits if visit in variable]
                    if len(used) == len(group) and used != due and all(is_like(each, first) for each in used):
                        yield _other_variable(group, i, used)


def _variables(segment: Segment) -> list[dict[int, Node]]:
    """What lines of loops give, and what they take from elsewhere, by the visit."""
    given: dict[tuple[str, int], dict[int, Node]] = {}
    taken: list[dict[int, Node]] = []
    known = {node for nodes in segment.scope.values() for node in nodes}
    for group in repeated([node for node in segment.graph.nodes if node in known]):
        visits = [(node.place, node) for node in group if node.place is not None and not node.place.is_backward]
        for place, node in visits:
            given.setdefault(place[:2], {})[place.visit] = node
        for args in zip(*(node.args for _, node in visits), strict=False):
            pairs = [*zip(visits, args, strict=True)]
            if all(isinstance(arg, Node) and _is_from_elsewhere(arg, place) for (place, _), arg in pairs):
                taken.append({place.visit: arg for (place, _), arg in pairs})
    distinct = {tuple(each.items()): each for each in (*given.values(), *taken)}
    return [*distinct.values()]


def _is_from_elsewhere(node: Node, place: Place) -> bool:
    return node.place is None or node.place[:3] != place[:3]


def _other_variable(group: Sequence[Node], i: int, used: Sequence[Node]) -> Edit:
    node, other = group[0], used[0]
    changes = {node: redo(node, {i: read(other)}) for node, other in zip(group, used, strict=True)}

    def cause(words: Words) -> Cause:
        return Repeated(OtherOperand(words(other), words(node.args[i]), words(node)), len(group))

    return Edit(3, OPERAND, cause, changes)
