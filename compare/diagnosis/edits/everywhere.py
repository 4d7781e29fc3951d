"""The same edit at every step of a kind, and edits of two steps at once: epsilons, exchanged numbers and tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations

import torch
from torch import Tensor

from handgrad.compare.diagnosis.edits.edit import (
    SMALL,
    Edit,
    Function,
    Rank,
    apply,
    is_like,
    is_number,
    read,
    redo,
    says,
    text,
)
from handgrad.compare.diagnosis.edits.functions import FUNCTIONS, USUAL
from handgrad.compare.diagnosis.edits.reductions import KINDS, axes_of
from handgrad.compare.diagnosis.edits.segment import Change, Segment, repeated
from handgrad.compare.facts import edits as mistakes
from handgrad.compare.facts.compounds import Repeated
from handgrad.compare.names import layered
from handgrad.compare.oracle.graph import Node
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
            change = redo(node, {1: apply(partial(torch.add, other=eps), node.args[1])})
            cause = says(mistakes.Epsilon, eps, "outside", text("the divisor {}", node.args[1]))
            yield Edit(3, Rank.CONSTANT, cause, {node: change})


def _inside(kind: str, nodes: Sequence[Node], eps: float) -> Iterator[Edit]:
    """One epsilon in every logarithm or root, and in each alone."""
    function = ROOTS_AND_LOGS[kind]

    def added(x: Tensor) -> Tensor:
        return function(x + eps)

    if len(nodes) > 1:
        yield Edit(2, Rank.CONSTANT, says(mistakes.Epsilon, eps, "inside-every", kind), _at_all(nodes, added))
    if kind == "log":
        clipped = _at_all(nodes, lambda x: function(x.clamp(eps, 1 - eps)))
        yield Edit(2, Rank.CONSTANT, says(mistakes.Epsilon, eps, "clipped", "the logarithm"), clipped)
    for node in nodes:
        yield Edit(
            2 if len(nodes) == 1 else 3,
            Rank.CONSTANT,
            says(mistakes.Epsilon, eps, "inside", node),
            _at_all([node], added),
        )
        if kind == "sqrt":
            outside = _at_all([node], lambda x: x.sqrt() + eps)
            yield Edit(3, Rank.CONSTANT, says(mistakes.Epsilon, eps, "outside", node), outside)


def _at_all(nodes: Sequence[Node], function: Function) -> dict[Node, Change]:
    """Steps of one argument that give another function of it."""
    return {node: apply(function, node.args[0]) for node in nodes}


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
            out = apply(lambda x: x.sqrt() + eps, of)
            yield Edit(1, Rank.LEFT_OUT, says(mistakes.Epsilon, eps, "moved-out", root), {root: out})
    into = apply(lambda x: (x**2 + eps).sqrt(), of)
    yield Edit(1, Rank.LEFT_OUT, says(mistakes.Epsilon, eps, "moved-in", node), {node: into})


# --- functions and axes


def _functions(steps: Steps) -> Iterator[Edit]:
    """One function for another at every place."""
    for kind in steps:
        if kind in USUAL and len(steps[kind]) > 1:
            for used in USUAL:
                if used != kind:
                    cause = says(mistakes.OtherFunction, used, f"every {kind}", "each argument")
                    yield Edit(2, Rank.OTHER, cause, _at_all(steps[kind], FUNCTIONS[used]))
            cause = says(mistakes.OtherFunction, "", f"every {kind}", "the argument")
            yield Edit(2, Rank.LEFT_OUT, cause, _at_all(steps[kind], lambda x: x))


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
                changes = {node: redo(node, {1: read([axis]), 2: read(True)}) for node in nodes}
                used = f"each sum, mean or maximum over axis {axis}"
                due = f"one over axis {axes_of(nodes[0])[0]}"
                yield Edit(2, Rank.OTHER, says(mistakes.OtherReduction, used, due, nodes[0].args[0]), changes)


def _counts(nodes: Sequence[Node], numbers: Mapping[float, str]) -> Iterator[Edit]:
    """Every mean over another number."""
    for number, name in numbers.items() if len(nodes) > 1 else ():
        if number < 1:
            sizes = {node: node.args[0].value.numel() / node.value.numel() for node in nodes}
            changes = {node: apply(partial(torch.mul, other=number * n), node) for node, n in sizes.items()}
            cause = says(mistakes.OtherReduction, f"{name} of the sum", "every mean", nodes[0].args[0])
            yield Edit(3, Rank.CONSTANT, cause, changes)


# --- two in each other's place


def _numbers(steps: Steps) -> Iterator[Edit]:
    """Two numbers of the formula exchanged; one that stands in several places left out at all, whatever its sign."""
    places: dict[float, list[tuple[Node, int]]] = {}
    for kind in ("mul", "div", "add", "sub"):
        for node in steps.get(kind, ()):
            for i, each in enumerate(node.args):
                if is_number(each):
                    places.setdefault(float(each), []).append((node, i))
    for one, other in combinations(sorted(places), 2):
        yield _two_numbers(one, other, places)
    for number in {abs(each) for each in places} - {0.0, 1.0}:
        at = [(node, i) for sign in (1, -1) for node, i in places.get(sign * number, ()) if node.kind in ("mul", "div")]
        if len(at) > 1:
            changes = {node: redo(node, {i: read(node.args[i] / number)}) for node, i in at}
            cause = says(Repeated, says(mistakes.MissingFactor, text("{}", number)), len(at))
            yield Edit(2, Rank.LEFT_OUT, cause, changes)


def _two_numbers(one: float, other: float, places: Mapping[float, Sequence[tuple[Node, int]]]) -> Edit:
    numbers: dict[Node, dict[int | str, Change]] = {}
    for here, there in ((one, other), (other, one)):
        for node, i in places[here]:
            numbers.setdefault(node, {})[i] = read(there)
    changes = {node: redo(node, by_place) for node, by_place in numbers.items()}
    return Edit(2, Rank.CONSTANT, says(mistakes.NumbersExchanged, text("{}", one), text("{}", other)), changes)


def _exchanged_tensors(segment: Segment) -> Iterator[Edit]:
    """Two inputs or records."""
    named = [n for n in segment.steps if n.name and n.value.is_floating_point() and n.value.numel() > 1]
    for one, other in combinations(named, 2):
        if one.value.shape == other.value.shape:
            yield Edit(
                3, Rank.OPERAND, says(mistakes.OperandsExchanged, one, other), {one: read(other), other: read(one)}
            )


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
                yield Edit(2, Rank.OPERAND, says(mistakes.NumbersShifted, stem, by), same)


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
    changes = {node: redo(node, {i: read(other)}) for node, other in zip(group, used, strict=True)}
    cause = says(mistakes.OtherOperand, used[0], group[0].args[i], group[0])
    return Edit(3, Rank.OPERAND, says(Repeated, cause, len(group)), changes)
