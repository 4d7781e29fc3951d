"""Edits of sums, products, powers and numbers."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, combinations, permutations
from math import isclose
from typing import Any

import torch

from handgrad.compare.diagnosis.bits import Observed, multiple
from handgrad.compare.diagnosis.edits.edit import (
    SMALL,
    Edit,
    Rank,
    Words,
    apply,
    inside,
    is_number,
    is_square,
    read,
    redo,
    text,
)
from handgrad.compare.diagnosis.edits.segment import Change, Segment
from handgrad.compare.facts import edits as mistakes
from handgrad.compare.oracle.graph import Node, Values
from handgrad.compare.thresholds import EPSILONS, SHORT_STEP

MOST_TERMS = 24
FITTED = 6  # the tier of a number that is fitted
NEWTON = 6  # steps towards another number
POWERS = (1.0, 2.0, 3.0, 0.5, -0.5, -1.0, -1.5, -2.0, -3.0, 1.5)
SUMS = ("add", "sub", "rsub")
NUMBERS_IN = (
    *SUMS, "mul", "div", "pow", "eq", "ne", "gt", "ge", "lt", "le", "clamp", "clamp_min", "clamp_max", "tril", "triu",
)  # fmt: skip


@dataclass(frozen=True)
class Term:
    """One term of a sum: how often it counts, below 0 where it is subtracted."""

    times: float
    of: Any

    @property
    def sign(self) -> str:
        """Plus or minus."""
        return "-" if self.times < 0 else "+"


# --- sums


def sums(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """Terms left out, of the wrong sign, counted twice; one alone is kept, as where each overwrites the one before."""
    terms, where = _terms(segment, node), inside(segment, node)
    for term in terms:
        yield _times(node, term, 2.0, "twice", 1, where)
        yield _times(node, term, 0.5, "half of", 2, where)
    sizes = (1, *((2,) if len(terms) > 2 else ()), *((len(terms) - 1,) if len(terms) > 3 else ()))
    for of in chain.from_iterable(combinations(terms, size) for size in sizes):
        tier = min(len(of), 2)
        without, turned = _more(node, -1.0, *of), _more(node, -2.0, *of)
        yield Edit.of(tier, Rank.LEFT_OUT, {node: without}, mistakes.MissingTerm, _told(of, "{sign} "), where)
        yield Edit.of(tier, Rank.SIGN, {node: turned}, mistakes.TermSign, _told(of), where)
    for one, other in permutations(terms, 2):
        yield from _of_another_term(node, one, other, where)
    if len(terms) == 2:
        for one, other in permutations(terms):
            yield from _assigned(node, one, other)
            yield from _squared(node, one, other)
        one, other = terms
        product = apply(operator.mul, one.of, other.of)
        yield Edit.of(4, Rank.CURIOUS, {node: product}, mistakes.FactorForm, text("{}", other.of), "product", where)


def _told(terms: Sequence[Term], sign: str = "") -> Callable[[Words], tuple[str, ...]]:
    return lambda words: tuple(sign.format(sign=term.sign) + words(term.of) for term in terms)


def _more(node: Node, times: float, *terms: Term) -> Change:
    """A sum with so many times more of some of its terms."""
    return lambda v: v(node) + sum(times * term.times * v(term.of) for term in terms)


def _of_another_term(node: Node, one: Term, other: Term, where: Node | str) -> Iterator[Edit]:
    """a * b + c read as (a + c) * b."""
    product = one.of
    if isinstance(product, Node) and product.kind in ("mul", "div"):
        for factor in product.args[:2] if product.kind == "mul" else product.args[1:2]:
            yield _scaled_term(node, product.kind, factor, other, where, belongs=False)


def _scaled_term(node: Node, kind: str, factor: Any, term: Term, where: Node | str, *, belongs: bool) -> Edit:
    """A term multiplied or divided by a factor too much, or not where it should be."""
    scaled = operator.mul if kind == "mul" else operator.truediv

    def change(v: Values) -> Any:
        own = term.times * v(term.of)
        more = scaled(own, v(factor)) - own
        return v(node) - more if belongs else v(node) + more

    told = text("{}", factor), text("{}", term.of), belongs, kind == "div", where
    return Edit.of(2, Rank.OTHER, {node: change}, mistakes.FactorOfTerms, *told)


def _squared(node: Node, one: Term, other: Term) -> Iterator[Edit]:
    """a^2 + c read as (a + c)^2."""
    if not isinstance(one.of, Node) or not is_square(one.of):
        return
    base, told = one.of.args[0], text(f"({{}} {one.sign} {{}})^2", other.of, one.of.args[0])
    squared = apply(lambda x, c: (other.times * c + one.times * x) ** 2, base, other.of)
    yield Edit.of(2, Rank.OTHER, {node: squared}, mistakes.OtherOperand, told, node)


def _assigned(node: Node, one: Term, other: Term) -> Iterator[Edit]:
    """c where the other term is 0 alone, as if that were assigned after it."""
    if not isinstance(one.of, Node):
        return
    where_zero = apply(lambda x, c: one.times * x + other.times * c * (x == 0).to(x.dtype), one.of, other.of)
    told = text("{} where {} is 0", other.of, one.of), text("{}", other.of)
    yield Edit.of(4, Rank.CURIOUS, {node: where_zero}, mistakes.OtherOperand, *told, node)


def multiples_of_terms(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """A term so many times what it should be."""
    for term in _terms(segment, node):
        for value, name in numbers.items() if isinstance(term.of, Node) else ():  # a number has edits of its own
            yield _times(node, term, value, f"{name} times", 3, inside(segment, node))


def _times(node: Node, term: Term, times: float, name: str, tier: int, where: Node | str) -> Edit:
    more = _more(node, times - 1, term)
    return Edit.of(tier, Rank.SIZE, {node: more}, mistakes.TermTimes, text("{}", term.of), name, times, where)


def _terms(segment: Segment, node: Node) -> tuple[Term, ...]:
    """The terms of a sum that is not a term itself; none of what is no sum."""
    if node.kind not in SUMS or _is_term(segment, node):
        return ()
    terms = merged(segment, node)
    return terms if len(terms) > 1 else ()


def merged(segment: Segment, node: Node) -> tuple[Term, ...]:
    """A sum of sums as one list of terms, equal ones together: of U + U nobody leaves out one."""
    terms: list[Term] = []

    def walk(of: Any, times: float) -> None:
        is_sum = isinstance(of, Node) and of.kind in SUMS and len(terms) < MOST_TERMS
        if is_sum and (of is node or _is_term(segment, of)):
            alpha = of.kwargs.get("alpha", 1)
            signs = {"add": (1, alpha), "sub": (1, -alpha), "rsub": (-alpha, 1)}[of.kind]
            for each, sign in zip(of.args, signs, strict=False):
                walk(each, times * sign)
            return
        for i, term in enumerate(terms):
            if _is_one(term.of, of):
                terms[i] = Term(term.times + times, of)
                return
        terms.append(Term(times, of))

    walk(node, 1.0)
    return tuple(term for term in terms if term.times)


def _is_term(segment: Segment, node: Node) -> bool:
    """Whether a sum is only a term of one other sum, and has no name."""
    users = segment.users.get(node, ())
    alone = len(users) == 1 and users[0].kind in SUMS
    return (
        alone and node not in segment.labels and node is not segment.target and users[0].value.shape == node.value.shape
    )


def _is_one(one: Any, other: Any) -> bool:
    if not isinstance(one, Node) or not isinstance(other, Node):
        return False
    a, b = one.value, other.value
    return one is other or (a.shape == b.shape and a.dtype == b.dtype and a.numel() > 1 and torch.equal(a, b))


# --- products


def products(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """Factors and divisors left out, on the other side, entering twice, or by another function of them."""
    if node.kind not in ("mul", "div"):
        return
    where = inside(segment, node)
    for i, of in enumerate(node.args[:2]):
        yield from _factor(node, i, where)
        is_sum = isinstance(of, Node) and of.kind in SUMS and (i == 0 or node.kind == "mul")
        for term in merged(segment, of) if is_sum else ():
            yield _scaled_term(node, node.kind, node.args[1 - i], term, where, belongs=True)
    added = apply(operator.add if node.kind == "mul" else operator.sub, *node.args[:2])
    yield Edit.of(4, Rank.CURIOUS, {node: added}, mistakes.FactorForm, text("{}", node.args[1]), "added", where)


def _factor(node: Node, i: int, where: Node | str) -> Iterator[Edit]:
    """The edits of a product or quotient in one of its two operands."""
    factor, other = node.args[i], node.args[1 - i]
    told, is_divisor = text("{}", factor), node.kind == "div" and i == 1
    rest = apply(lambda x: 1 / x, other) if node.kind == "div" and i == 0 else read(other)

    def form(tier: int, rank: Rank, how: str, function: Callable[[Any], Any]) -> Edit:
        def change(v: Values) -> Any:
            return rest(v) * function(1 / v(factor) if is_divisor else v(factor))

        return Edit.of(tier, rank, {node: change}, mistakes.FactorForm, told, how, where)

    yield Edit.of(1, Rank.LEFT_OUT, {node: rest}, mistakes.MissingFactor, told, is_divisor, where)
    yield form(1, Rank.OTHER, "multiplied" if is_divisor else "divided", lambda x: 1 / x)
    yield form(2, Rank.OTHER, "twice", lambda x: x * x)
    value = factor.value if isinstance(factor, Node) else torch.tensor(float(factor))
    if value.is_floating_point() and value.numel():
        if bool((value > 0).all()):
            yield form(2, Rank.POWER, "root", lambda x: x**0.5)
        elif value.numel() > 1:
            yield form(2, Rank.CURIOUS, "absolute", abs)
            yield form(2, Rank.CURIOUS, "signs", torch.sign)


# --- powers, signs, numbers


def powers(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """Another exponent, a root left out, a sign left out."""
    where, of = inside(segment, node), node.args[0] if node.args else None
    if node.kind == "neg":
        yield Edit.of(1, Rank.SIGN, {node: read(of)}, mistakes.TermSign, _told([Term(1.0, of)]), where)
    if node.kind == "pow" and isinstance(of, Node) and not isinstance(node.args[1], Node):
        for power in (each for each in POWERS if each != node.args[1]):
            told = f"{power:g}", f"{node.args[1]:g}", where or node
            yield Edit.of(1, Rank.POWER, {node: redo(node, {1: read(power)})}, mistakes.OtherNumber, *told)


def constants(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """Another number where a step has one: by a name, twice, halved, turned, or another small one."""
    for place, number in _numbers_of(node):
        for value, (tier, name) in _instead(float(number), numbers).items():
            if value != number and not (value == 0 and node.kind == "div" and place == 1):
                kept = int(value) if isinstance(number, int) and value == int(value) else value
                yield _other_number(node, place, kept, name, tier)


def _other_number(node: Node, place: int | str, value: float, name: str, tier: int) -> Edit:
    number = node.args[place] if isinstance(place, int) else node.kwargs[place]
    changes, facts = {node: redo(node, {place: read(value)})}, (name, text("{}", number), node)
    return Edit.of(tier, Rank.CONSTANT, changes, mistakes.OtherNumber, *facts, fitted=tier == FITTED)


def _numbers_of(node: Node) -> list[tuple[int | str, float]]:
    """The numbers that stand in a step, and where."""
    if node.kind not in NUMBERS_IN:
        return []
    places: list[tuple[int | str, float]] = [(i, each) for i, each in enumerate(node.args) if is_number(each)]
    named = ((name, each) for name, each in node.kwargs.items() if name == "alpha" and each != 1)
    return places + [(name, each) for name, each in named if is_number(each)]


def fitted_numbers(segment: Segment, observed: Observed) -> Iterator[Edit]:
    """Another number where a step has one, fitted to the tensor by Newton's steps as long as they lead nearer."""
    for node in segment.steps:
        for place, number in _numbers_of(node) if node.operation is not None else ():
            value = _fitted(segment, observed, node, place, float(number))
            if value:
                yield _other_number(node, place, value, f"{value:.6g}", FITTED)


def _fitted(segment: Segment, observed: Observed, node: Node, place: int | str, number: float) -> float:
    def left(value: float) -> torch.Tensor:
        predicted: torch.Tensor = segment.predicted({node: redo(node, {place: read(value)})}, segment.values)
        return observed.recorded - predicted

    step, before = SHORT_STEP * (abs(number) or 1.0), observed.recorded - observed.reference
    slope = (before - left(number + step)) / step
    for _ in range(NEWTON):
        number += multiple(before, slope)
        after = left(number)
        if not float(after.norm()) < float(before.norm()) / 2:
            return number if float(after.abs().max()) <= observed.limit else 0.0
        before = after
    return number


def shares(segment: Segment) -> Iterator[Edit]:
    """Of two numbers that share 1 between them, one counts as all of it: as labels that are not smoothed."""
    placed = [(node, place, float(number)) for node in segment.steps for place, number in _numbers_of(node)]
    sizes = {1.0, *(float(n) for node in segment.steps for n in getattr(node.value, "shape", ()))}
    for all_of_it in dict.fromkeys(number for _, _, number in placed if 0 < number < 1):
        rest = {(1 - all_of_it) / size for size in sizes}
        ones = [(node, place) for node, place, number in placed if number == all_of_it]
        zeros = [(node, place) for node, place, number in placed if any(isclose(number, each) for each in rest)]
        if zeros and not {node for node, _ in ones} & {node for node, _ in zeros}:
            changes = {node: redo(node, {place: read(1.0)}) for node, place in ones}
            changes |= {node: redo(node, {place: read(0.0)}) for node, place in zeros}
            belongs = f"{all_of_it:.6g}, and 0 where {1 - all_of_it:.6g}"
            yield Edit.of(3, Rank.CONSTANT, changes, mistakes.OtherNumber, "1", belongs)


def positions(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """An index that runs from one number too late or early, as of positions and frequencies."""
    is_constant = node.operation is None and node in segment.constants and isinstance(node.value, torch.Tensor)
    if not is_constant or node.value.ndim != 1 or not bool((node.value == torch.arange(len(node.value))).all()):
        return
    for first in (1, -1):
        changes = {node: apply(partial(torch.add, other=first), node)}
        yield Edit.of(2, Rank.CONSTANT, changes, mistakes.OtherNumber, f"an index from {first}", "one from 0")


def _instead(a: float, numbers: Mapping[float, str]) -> dict[float, tuple[int, str]]:
    """The numbers that may stand for one, with their tier and text."""
    plain = [0.0, -a, 1.0, 2 * a, a / 2, a * a, 1 - a, a + 1, a - 1, 2.0, 0.5, -1.0]
    plain += [1 / a] if a else []
    plain += [a**0.5] if a > 0 else []
    plain += EPSILONS if 0 < abs(a) < SMALL else ()
    found = {value: (1 if value in (0.0, -a, 1.0) else 2, f"{value:.6g}") for value in plain}
    sign, minus = (-1.0, "-") if a < 0 else (1.0, "")
    times = {value * a: (3, f"{name} times {a:.6g}") for value, name in numbers.items()} if abs(a) >= SMALL else {}
    return times | {sign * value: (2, f"{minus}{name}") for value, name in numbers.items()} | found
