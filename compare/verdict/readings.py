"""In which other reading of the records fewer equations are wrong, told from the verdicts without another run.

Gradients are linear in those that they are computed from. So where record y_N is c_N times the reference on the
records, it is c_N s / r_N times it where y_N is divided by r_N and all that it is computed from by s: which factors r
leave the fewest equations wrong can be counted. What they are exactly is judged after the division.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from itertools import permutations
from typing import NamedTuple

import numpy as np

from handgrad.compare.names import gradient, of_gradient
from handgrad.compare.oracle.replay import Replay
from handgrad.compare.thresholds import FEW_ENTRIES, FEW_PARTS, NO_CONVENTION, SAME_FACTOR, UNIFORM
from handgrad.compare.trace import Arrays, is_real
from handgrad.compare.verdict.conventions import AS_RECORDED, As, Reading
from handgrad.compare.verdict.judgement import Judgement

Factors = Mapping[str, float]  # what each gradient is divided by; 1 for one that is not named


@dataclass(frozen=True)
class Step:
    """The records of a step beside the reference on them and beside its own run, and which of them are not OK.

    `within` is how far the entries of what is a constant times another may be from that, as a share.
    """

    records: Arrays
    local: Arrays
    own: Replay
    wrong: frozenset[str]
    params: frozenset[str]
    within: float = SAME_FACTOR

    # --- orientation, packing, and factors of values

    def forms(self) -> Reading:
        """How wrong values, and gradients in another orientation, stand for torch's; AS_RECORDED if none do."""
        found = dict[str, As]()
        for name in [*self.own.values, *map(gradient, self.own.values)]:
            if name == "J" or name not in self.wrong or not self.undoing(name):
                continue
            form = next(self._forms(name), None)
            if form is not None:
                found[name] = form
        return Reading(found) if found else AS_RECORDED

    def _forms(self, name: str) -> Iterator[As]:
        record, own = self.records.get(name), self._torch(name)
        if record is None or own is None or is_same(ratio(record, own, self.within) or 0.0, 1.0):
            return  # it is torch's own, and follows from what is not
        for reference in (own, self.local.get(name, own)):
            for form in _orders(record, reference):
                factor = ratio(form.read(record), reference, self.within)
                if factor is None or (form == As() and not is_convention(factor)):
                    continue
                if name in self.own.values:
                    yield replace(form, factor=factor if is_convention(factor) else 1.0)
                elif form != As():
                    yield form  # `factors` finds by which factor

    def carried(self, reading: Reading, ratios: Sequence[Ratio]) -> tuple[Reading, bool]:
        """The reading of another step on this one, whose batch has other sizes, and whether it is the plainest that is.

        A factor is what it was, or in proportion to a size: what most of its records are times torch's own.
        """
        of = {name: form for name, form in reading.of.items() if self._torch(name) is not None and name in self.records}

        factors, is_plain = {1.0: 1.0}, True
        for factor in {form.factor for form in of.values()} - {1.0}:
            plainest = sorted((each.parts_of(factor), i) for i, each in enumerate(ratios))
            laws = [factor * ratios[i].now / ratios[i].before for _, i in plainest]
            seen = [self._times_torch(name, form) for name, form in of.items() if form.factor == factor]
            holds = [sum(is_same(each, law) for each in seen if each is not None) for law in laws]
            factors[factor] = laws[holds.index(max(holds))]
            is_plain = is_plain and factors[factor] == laws[0]
        return Reading({name: replace(form, factor=factors[form.factor]) for name, form in of.items()}), is_plain

    def _times_torch(self, name: str, form: As) -> float | None:
        own = self._torch(name)
        return None if own is None else ratio(replace(form, factor=1.0).read(self.records[name]), own, self.within)

    def _torch(self, name: str) -> np.ndarray | None:
        return self.own.values.get(name, self.own.gradients.get(name))

    # --- what is computed from what

    def undoing(self, name: str) -> frozenset[str]:
        """The recorded tensors that are computed from a record, of which one at least can undo what it is."""
        if name not in self.own.values:
            return frozenset(n for n, read in self.sources.items() if name in read and n in self.taps | self.of_params)
        readers = {value for value, read in self.own.reads.items() if name in read}
        others = {gradient(read) for value in readers for read in self.own.reads[value]} | {gradient(name)}
        return frozenset((readers | others) & self.records.keys())

    @cached_property
    def taps(self) -> frozenset[str]:
        """The recorded gradients of taps."""
        return frozenset({*map(gradient, self.own.values)} & self.own.gradients.keys() & self.records.keys())

    @cached_property
    def of_params(self) -> frozenset[str]:
        """The recorded gradients of parameters."""
        return frozenset({*map(gradient, self.params)} & self.own.gradients.keys() & self.records.keys())

    @cached_property
    def sources(self) -> dict[str, frozenset[str]]:
        """The recorded gradients that each recorded gradient is computed from, with J for the start."""
        known = dict[str, frozenset[str]]()
        for name in self.own.gradients:  # in dataflow order: what it is computed from comes before
            self._sources_of(name, known)
        return {name: read for name, read in known.items() if name in self.records}

    def _sources_of(self, name: str, known: dict[str, frozenset[str]]) -> frozenset[str]:
        if name not in known:
            found = set[str]()
            for value, read in self.own.reads.items():
                if of_gradient(name) not in read:
                    continue
                if value == "J" or gradient(value) in self.taps:
                    found.add("J" if value == "J" else gradient(value))
                elif gradient(value) in self.own.gradients:
                    found |= self._sources_of(gradient(value), known)
            known[name] = frozenset(found)
        return known[name]

    # --- factors of gradients

    def ratio(self, name: str) -> float | None:
        """What a record is of the reference on the records: 1 where it is OK, None where it is no multiple."""
        if name not in self.wrong:
            return 1.0
        factor = ratio(self.records[name], self.local[name], self.within) if name in self.local else None
        return None if factor is None or not is_convention(factor) else factor

    def factors(self) -> Reading:
        """The factors of gradients with which fewer equations are wrong than as recorded; AS_RECORDED if none are."""
        equations = Equations.of(self)
        best = min(equations.candidates(), key=equations.cost)
        if equations.cost(best) >= equations.cost({}):
            return AS_RECORDED
        return Reading({name: As(factor) for name, factor in equations.with_inputs(best).items() if factor != 1.0})


@dataclass(frozen=True)
class Equations:
    """What each recorded gradient is, as a factor, of the reference on the records and of torch's own; None for none.

    `free` are those that may be read in a convention: gradients of taps that another gradient is computed from.
    """

    sources: Mapping[str, frozenset[str]]
    of_local: Mapping[str, float | None]
    of_torch: Mapping[str, float | None]
    free: tuple[str, ...]
    of_params: frozenset[str]
    inputs: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def of(cls, step: Step) -> Equations:
        """Those of a step; a gradient of zeros has none."""
        names = [name for name in step.sources if np.any(step.local.get(name, 0.0)) or name in step.wrong]
        of_local = {name: step.ratio(name) for name in names}
        of_torch = {name: ratio(step.records[name], step.own.gradients[name], step.within) for name in names}
        free = tuple(name for name in names if name in step.taps and step.undoing(name) & {*names})
        return cls(
            step.sources, of_local, of_torch, free, step.of_params, frozenset(names) - step.taps - step.of_params
        )

    def cost(self, factors: Factors) -> tuple[int, int]:
        """How many equations are wrong, and how many factors that takes."""
        wrong = sum(not self._is_right(name, factors) for name in self.of_local)
        return wrong, len({factor for factor in factors.values() if factor != 1.0})

    def _is_right(self, name: str, factors: Factors) -> bool:
        read, own = {factors.get(source, 1.0) for source in self.sources[name]} or {1.0}, self.of_local[name]
        if len(read) > 1:  # right end to end, and so is all that it is computed from
            return all(self._is_torchs(each, factors) for each in (name, *self.sources[name]) if each != "J")
        if own is None:
            return False
        source = next(iter(read))
        return is_same(own * source, factors.get(name, 1.0)) or (name in self.inputs and own == 1.0)

    def _is_torchs(self, name: str, factors: Factors) -> bool:
        factor = self.of_torch.get(name)
        return factor is not None and is_same(factor, factors.get(name, 1.0))

    def candidates(self) -> Iterator[Factors]:
        """As recorded, as torch has them, as what is computed from them needs, and all of them by one factor."""
        along = self._along()
        yield from ({}, along, self._against())
        shares = [_part(1 / own) for name, own in self.of_local.items() if name in self.of_params and own]
        common = Counter(factor for factor in [*along.values(), *shares] if factor and is_convention(factor))
        for factor, _ in common.most_common(UNIFORM):
            yield self._allowed(dict.fromkeys(self.free, factor))

    def _along(self) -> Factors:
        """Each by what it is of torch's; where it is no multiple, by what all that it is computed from is."""
        factors = dict[str, float]()
        for name in self.of_local:
            if name in self.free:
                read = {factors.get(source, 1.0) for source in self.sources[name]}
                factors[name] = self.of_torch[name] or (read.pop() if len(read) == 1 else 1.0)
        return self._allowed(factors)

    def _against(self) -> Factors:
        """Each by what most of that is computed from it needs, from the parameters back to J."""
        factors = dict[str, float]()
        for name in [*self.of_local][::-1]:
            if name not in self.free:
                continue
            needed = [
                _part(factors.get(other, 1.0) / own)
                for other, own in self.of_local.items()
                if name in self.sources[other] and other not in self.inputs and own
            ]
            usual = Counter(needed).most_common(1)
            factors[name] = (usual[0][0] if usual else None) or 1.0
        return self._allowed(factors)

    def _allowed(self, factors: Factors) -> Factors:
        """Without those of gradients that are right, and computed from what is taken as it is recorded.

        What is next to the factor of what it is computed from is that.
        """
        allowed = dict[str, float]()
        for name in self.of_local:
            read = [allowed[source] for source in self.sources[name] if source in allowed]
            factor = next((other for other in read if not is_convention(factors.get(name, 1.0) / other)), None)
            factor = factors.get(name, 1.0) if factor is None else factor
            if is_convention(factor) and (read or self.of_local[name] != 1.0):
                allowed[name] = factor
        return allowed

    def with_inputs(self, factors: Factors) -> Factors:
        """Also the gradients of inputs that have the factor of what they are computed from, as a layer returns them."""
        taken = dict(factors)
        for name in self.inputs:
            read = {factors.get(source, 1.0) for source in self.sources[name]}
            if len(read) == 1 and self.of_local[name] == 1.0:
                taken[name] = read.pop()
        return taken


def ratio(record: np.ndarray, reference: np.ndarray, within: float) -> float | None:
    """The factor that a record is of a reference, a simple number if it is close to one; None if it is no multiple.

    Of few entries every array is one, so there it must be simple.
    """
    if not is_real(record) or record.shape != reference.shape or not np.isfinite(record).all():
        return None
    most = float(np.max(np.abs(reference), initial=0.0))
    if not 0 < most < np.inf:
        return None
    unit = reference.astype(np.float64) / most
    factor = float(np.vdot(record, unit)) / most / float(np.vdot(unit, unit))
    if not np.isfinite(factor) or not np.max(np.abs(record / most - factor * unit)) <= within * abs(factor):
        return None
    plain = _part(factor)
    return factor if plain is None and np.count_nonzero(unit) > FEW_ENTRIES else plain


def simple(factor: float) -> float:
    """A ratio with a small denominator, or numerator, that a factor is to within rounding; else the factor itself."""
    plain = _part(factor)
    return factor if plain is None else plain


def _part(factor: float) -> float | None:
    if not factor or not np.isfinite(factor):
        return None
    near = (Fraction(factor) if abs(factor) >= 1 else 1 / Fraction(factor)).limit_denominator(FEW_PARTS)
    plain = float(near if abs(factor) >= 1 else 1 / near)
    return plain if is_same(plain, factor) else None


def is_same(one: float, other: float) -> bool:
    """Whether two factors are one."""
    return abs(one - other) <= SAME_FACTOR * abs(other)


def is_convention(factor: float) -> bool:
    """Whether a factor is one that somebody may have chosen: not 0, and not next to 1."""
    return bool(np.isfinite(factor)) and factor != 0 and abs(factor - 1) > NO_CONVENTION


def _orders(record: np.ndarray, reference: np.ndarray) -> Iterator[As]:
    """The forms in which a record has the reference's shape."""
    if record.shape == reference.shape:
        yield As()
    if record.ndim == reference.ndim <= 4:
        orders = permutations(range(record.ndim))
        next(orders, None)  # as it is
        yield from (As(axes=axes) for axes in orders if tuple(record.shape[a] for a in axes) == reference.shape)
    if record.size == reference.size and record.shape != reference.shape:
        yield As(shape=reference.shape)


def sizes(own: Replay, batch: Arrays) -> set[int]:
    """What a mean may divide by: axes of the batch, whole arrays of it but the first, and what J is computed from."""
    found = {n for array in batch.values() for n in array.shape} | {array.size for array in [*batch.values()][1:]}
    return (found | {own.values[name].size for name in own.reads["J"] if name in own.values}) - {1}


class Ratio(NamedTuple):
    """A number that a factor may be in proportion to, at this step and at the one before: a size, or one over it."""

    now: float = 1.0
    before: float = 1.0

    def parts_of(self, factor: float) -> float:
        """How long it takes to write what is left of a factor, as a fraction."""
        plain = Fraction(factor / self.before).limit_denominator(FEW_PARTS**2)
        return abs(plain.numerator) + plain.denominator if is_same(float(plain), factor / self.before) else np.inf


def ratios(before: Arrays, now: Arrays) -> tuple[Ratio, ...]:
    """What factors may be in proportion to where a batch has other sizes than one before: nothing first, then those."""
    names = [name for name in now if name in before]
    axes = [pair for name in names for pair in zip(now[name].shape, before[name].shape, strict=False)]
    whole = [(now[name].size, before[name].size) for name in names]
    others = [Ratio(m, n) for m, n in (*axes, *whole) if m and n and m != n]
    return tuple(dict.fromkeys([Ratio(), *others, *(Ratio(1 / r.now, 1 / r.before) for r in others)]))


def is_fewer(read: Sequence[Judgement], judged: Sequence[Judgement], of_params: frozenset[str]) -> bool:
    """Whether fewer tensors are wrong in a reading, and where none is, the gradients of parameters are torch's own."""
    left = not_ok(read)
    agree = all(not judgement.differs for judgement in read if judgement.row.name in of_params)
    return len(left) < len(not_ok(judged)) and (bool(left) or agree)


def not_ok(judged: Sequence[Judgement]) -> frozenset[str]:
    """The tensors that are not OK, those that only follow from others included."""
    return frozenset(judgement.row.name for judgement in judged if judgement.row.verdict != "OK")
