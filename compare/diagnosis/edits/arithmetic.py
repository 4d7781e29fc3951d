"""Edits of sums, products, powers and numbers."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations, permutations
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
    read,
    redo,
    says,
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
    terms = _terms(segment, node)
    where = inside(segment, node)

    def without(tier: int, *left_out: Term) -> Edit:
        return Edit(
            tier,
            Rank.LEFT_OUT,
            says(mistakes.MissingTerm, _told(left_out, "{sign} "), where),
            _more(node, -1.0, *left_out),
        )

    def turned(tier: int, *turned: Term) -> Edit:
        return Edit(tier, Rank.SIGN, says(mistakes.TermSign, _told(turned), where), _more(node, -2.0, *turned))

    for term in terms:
        yield without(1, term)
        yield turned(1, term)
        yield _times(segment, node, term, 2.0, "twice", 1)
        yield _times(segment, node, term, 0.5, "half of", 2)
        if len(terms) > 3:
            yield without(2, *(each for each in terms if each is not term))
    for one, other in permutations(terms, 2):
        yield from _of_another_term(segment, node, one, other)
    for pair in combinations(terms, 2) if len(terms) > 2 else ():
        yield without(2, *pair)
        yield turned(2, *pair)
    if len(terms) == 2:
        for one, other in permutations(terms):
            yield from _assigned(node, one, other)
            yield from _squared(node, one, other)
        one, other = terms
        product = apply(operator.mul, one.of, other.of)
        yield Edit(4, Rank.CURIOUS, says(mistakes.FactorForm, text("{}", other.of), "product", where), {node: product})


def _told(terms: Sequence[Term], sign: str = "") -> Callable[[Words], tuple[str, ...]]:
    return lambda words: tuple(sign.format(sign=term.sign) + words(term.of) for term in terms)


def _more(node: Node, times: float, *terms: Term) -> dict[Node, Change]:
    """A sum with so many times more of some of its terms."""
    return {node: lambda v: v(node) + sum(times * term.times * v(term.of) for term in terms)}


def _of_another_term(segment: Segment, node: Node, one: Term, other: Term) -> Iterator[Edit]:
    """a * b + c read as (a + c) * b."""
    product = one.of
    if isinstance(product, Node) and product.kind in ("mul", "div"):
        for factor in product.args[:2] if product.kind == "mul" else product.args[1:2]:
            yield _scaled_term(segment, node, product.kind, factor, other, belongs=False)


def _scaled_term(segment: Segment, node: Node, kind: str, factor: Any, term: Term, *, belongs: bool) -> Edit:
    """A term multiplied or divided by a factor too much, or not where it should be."""
    scaled = operator.mul if kind == "mul" else operator.truediv
    more = -1 if belongs else 1

    def change(v: Values) -> Any:
        own = term.times * v(term.of)
        return v(node) + more * (scaled(own, v(factor)) - own)

    cause = says(
        mistakes.FactorOfTerms, text("{}", factor), text("{}", term.of), belongs, kind == "div", inside(segment, node)
    )
    return Edit(2, Rank.OTHER, cause, {node: change})


def _squared(node: Node, one: Term, other: Term) -> Iterator[Edit]:
    """a^2 + c read as (a + c)^2."""
    if not isinstance(one.of, Node) or not _is_square(one.of):
        return
    base = one.of.args[0]

    def squared(x: Any, c: Any) -> Any:
        return (other.times * c + one.times * x) ** 2

    cause = says(mistakes.OtherOperand, text(f"({{}} {one.sign} {{}})^2", other.of, base), node)
    yield Edit(2, Rank.OTHER, cause, {node: apply(squared, base, other.of)})


def _is_square(node: Node) -> bool:
    return (node.kind == "pow" and node.args[1] == 2) or (node.kind == "mul" and node.args[0] is node.args[1])


def _assigned(node: Node, one: Term, other: Term) -> Iterator[Edit]:
    """c where the other term is 0 alone, as if that were assigned after it."""
    product = one.of
    if not isinstance(product, Node):
        return

    def assigned(first: Any, second: Any) -> Any:
        return one.times * first + other.times * second * (first == 0).to(first.dtype)

    cause = says(mistakes.OtherOperand, text("{} where {} is 0", other.of, product), text("{}", other.of), node)
    yield Edit(4, Rank.CURIOUS, cause, {node: apply(assigned, product, other.of)})


def multiples_of_terms(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """A term so many times what it should be."""
    for term in _terms(segment, node):
        for value, name in numbers.items() if isinstance(term.of, Node) else ():  # a number has edits of its own
            yield _times(segment, node, term, value, f"{name} times", 3)


def _times(segment: Segment, node: Node, term: Term, times: float, name: str, tier: int) -> Edit:
    cause = says(mistakes.TermTimes, text("{}", term.of), name, times, inside(segment, node))
    return Edit(tier, Rank.SIZE, cause, _more(node, times - 1, term))


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
    for i, of in enumerate(node.args[:2]):
        yield from _factor(segment, node, i)
        is_sum = isinstance(of, Node) and of.kind in SUMS and (i == 0 or node.kind == "mul")
        for term in merged(segment, of) if is_sum else ():
            yield _scaled_term(segment, node, node.kind, node.args[1 - i], term, belongs=True)
    cause = says(mistakes.FactorForm, text("{}", node.args[1]), "added", inside(segment, node))
    added = operator.add if node.kind == "mul" else operator.sub
    yield Edit(4, Rank.CURIOUS, cause, {node: apply(added, *node.args[:2])})


def _factor(segment: Segment, node: Node, i: int) -> Iterator[Edit]:
    """The edits of a product or quotient in one of its two operands."""
    factor, other = node.args[i], node.args[1 - i]
    told, where = text("{}", factor), inside(segment, node)
    is_divisor = node.kind == "div" and i == 1
    rest = apply(lambda x: 1 / x, other) if node.kind == "div" and i == 0 else read(other)

    def form(tier: int, rank: Rank, how: str, function: Callable[[Any], Any]) -> Edit:
        def change(v: Values) -> Any:
            return rest(v) * function(1 / v(factor) if is_divisor else v(factor))

        return Edit(tier, rank, says(mistakes.FactorForm, told, how, where), {node: change})

    yield Edit(1, Rank.LEFT_OUT, says(mistakes.MissingFactor, told, is_divisor, where), {node: rest})
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
    where = inside(segment, node)
    if node.kind == "neg":
        yield Edit(
            1, Rank.SIGN, says(mistakes.TermSign, _told([Term(1.0, node.args[0])]), where), {node: read(node.args[0])}
        )
    if node.kind == "pow" and isinstance(node.args[0], Node) and not isinstance(node.args[1], Node):
        base, exponent = node.args
        for power in POWERS:
            if power != exponent:
                other = apply(partial(torch.pow, exponent=power), base)
                yield Edit(
                    1,
                    Rank.POWER,
                    says(mistakes.OtherNumber, f"{power:g}", f"{exponent:g}", where or node),
                    {node: other},
                )


def constants(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """Another number where a step has one: by a name, twice, halved, turned, or another small one."""
    for place, number in _numbers_of(node):
        for value, (tier, name) in _instead(float(number), numbers).items():
            if value != number and not (value == 0 and node.kind == "div" and place == 1):
                kept = int(value) if isinstance(number, int) and value == int(value) else value
                yield _other_number(node, place, kept, name, tier)


def _other_number(node: Node, place: int | str, value: float, name: str, tier: int) -> Edit:
    number = node.args[place] if isinstance(place, int) else node.kwargs[place]
    cause = says(mistakes.OtherNumber, name, text("{}", number), node)
    return Edit(tier, Rank.CONSTANT, cause, {node: redo(node, {place: read(value)})}, fitted=tier == FITTED)


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
            yield Edit(3, Rank.CONSTANT, says(mistakes.OtherNumber, "1", belongs), changes)


def positions(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """An index that runs from one number too late or early, as of positions and frequencies."""
    is_constant = node.operation is None and node in segment.constants and isinstance(node.value, torch.Tensor)
    if not is_constant or node.value.ndim != 1 or not bool((node.value == torch.arange(len(node.value))).all()):
        return
    for first in (1, -1):
        cause = says(mistakes.OtherNumber, f"an index from {first}", "one from 0")
        yield Edit(2, Rank.CONSTANT, cause, {node: apply(partial(torch.add, other=first), node)})


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
