"""Factors: zero, a wrong sign, a factor with its names; and between which factors rounding leaves the choice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from math import inf, isclose, log, pi
from typing import NamedTuple

import numpy as np

from handgrad.compare.diagnosis.scene import Array, Scene
from handgrad.compare.facts.causes import Cause, PartialBatch, Scaled, WrongSign, Zero
from handgrad.compare.names import gradient
from handgrad.compare.thresholds import EQUAL, FITTED, INFORMATIVE, KNOWN, UNEXPLAINED_SHARE

PAIRS = (("n", "n-1"), ("n", "batch size"), ("n", "n_x"), ("n", "N"))  # which size may stand where which belongs
LN2, LN10 = log(2.0), log(10.0)
SHORT_BATCH = ("n/(batch size)", "(batch size)/n")


class Factors(NamedTuple):
    """All factors that explain some tensors to within rounding, from the least to the largest.

    `entries` counts those that the factor 1 does not explain.
    """

    least: float = -inf
    most: float = inf
    entries: int = 0

    @classmethod
    def of(cls, recorded: Array, reference: Array, rounding: Array | float) -> Factors:
        """Those with which the recorded entries are multiples of the reference's, each to within its rounding."""
        allowed, moves = np.broadcast_to(rounding, reference.shape), reference != 0
        wrong = int(np.count_nonzero(np.abs(recorded - reference) > allowed))
        if (np.abs(recorded) > allowed)[~moves].any():
            return cls(inf, -inf, wrong)
        ends = [(recorded + end)[moves] / reference[moves] for end in (-allowed, allowed)]
        least, most = np.minimum(*ends), np.maximum(*ends)
        return cls(float(np.max(least, initial=-inf)), float(np.min(most, initial=inf)), wrong)

    def both(self, other: Factors) -> Factors:
        """Those that explain the tensors of both."""
        return Factors(max(self.least, other.least), min(self.most, other.most), self.entries + other.entries)

    @property
    def simplest(self) -> float | None:
        """The whole number, one over such a number, or the shortest decimal among them; None where none is known."""
        middle = (self.least + self.most) / 2
        open_to = (self.most - self.least) / 2
        is_known = 0 <= open_to <= min(KNOWN * abs(middle), UNEXPLAINED_SHARE * abs(middle - 1))
        if self.entries < INFORMATIVE or not is_known or not middle:
            return None
        whole = float(round(middle)) if abs(middle) >= 1 else 1 / round(1 / middle)
        shorter = (whole, *(float(f"{middle:.{digits}g}") for digits in range(1, 17)))
        return next((factor for factor in shorter if self.least <= factor <= self.most), middle)


def zero(scene: Scene) -> Iterator[Cause]:
    """All zero."""
    if not scene.recorded.any():
        yield Zero()


def scaled(scene: Scene) -> Iterator[WrongSign | PartialBatch | Scaled]:
    """A wrong sign, or a factor that is a whole number, one over it, or has a name."""
    factor = next((f for f in _candidates(scene) if scene.explained_by(f * scene.reference)), None)
    if factor == -1.0:
        yield WrongSign()
    elif factor is not None:
        names = named_factors(factor, scene.numbers)
        yield from (PartialBatch(factor, name) for name in names if name in SHORT_BATCH)
        yield Scaled(factor, names)


def data_part(scene: Scene) -> Iterator[Cause]:
    """A factor on all of J or a gradient but a term that no example contributes to, weight decay, or on one part."""
    for part, rest in _rests(scene).items():
        if rest is None or rest.shape != scene.recorded.shape or not rest.any():
            continue
        recorded, reference = np.asarray(scene.recorded - rest), np.asarray(scene.reference - rest)
        own = replace(scene, recorded=recorded, reference=reference, rounding=0.0)
        for cause in scaled(own):
            if scene.explained_by(rest + cause.factor * own.reference):
                yield replace(cause, part=part)
                return


def _rests(scene: Scene) -> dict[str, Array | None]:
    """What is left of J or a gradient without what examples contribute, or without what comes through one value."""
    if scene.name == "J":
        return {"": scene.tensors.get("penalty")}
    readers = scene.readers if scene.of in scene.parameters else ()
    parts = {"": readers} | ({reader: (reader,) for reader in readers} if len(readers) > 1 else {})
    return {part: _without(scene, through) for part, through in parts.items()}


def _without(scene: Scene, through: tuple[str, ...]) -> Array | None:
    """What is left of a gradient without what comes through some values; None where a gradient of these is unknown."""
    terms = {gradient(reader): scene.tensors.get(gradient(reader)) for reader in through}
    zeros = {name: np.zeros_like(term) for name, term in terms.items() if term is not None}
    return scene.replayed(zeros) if zeros and len(zeros) == len(through) else None


def unnamed_scale(scene: Scene) -> Iterator[Cause]:
    """Any other factor."""
    factor = scene.times
    if factor not in (0.0, 1.0) and scene.explained_by(factor * scene.reference, fitted=1):
        yield Scaled(factor)


def _candidates(scene: Scene) -> Iterator[float]:
    """The exact factors near the one that fits best: whole numbers, one over them, and those with a name."""
    fitted = scene.times
    if not np.isfinite(fitted) or abs(fitted) <= EQUAL:  # the part is left out: no factor
        return
    simple = float(round(fitted)) if abs(fitted) >= 1 else 1 / round(1 / fitted) if fitted else 0.0
    exact = [simple, *(sign * value for value in _values(scene.numbers).values() for sign in (1, -1))]
    yield from dict.fromkeys(f for f in exact if f not in (0.0, 1.0) and isclose(f, fitted, rel_tol=FITTED))


def named_factors(factor: float, numbers: Mapping[str, float]) -> tuple[str, ...]:
    """The names that a factor goes by, up to its sign: a number, one over it, or a ratio of two; all that fit."""
    return tuple(name for name, value in _values(numbers).items() if isclose(abs(factor), value, rel_tol=EQUAL))


def _values(numbers: Mapping[str, float]) -> dict[str, float]:
    """Every name with its value: the numbers, one over each, roots of sizes, and the quotients that mistakes make."""
    positive = {name: float(value) for name, value in numbers.items() if value > 0 and value != 1}
    sizes = {name: value for name, value in positive.items() if value == int(value)}
    values = positive | {f"1/{_bracketed(name)}": 1 / value for name, value in positive.items()}
    paired = {**sizes, "n-1": sizes.get("n", 0.0) - 1}
    for a, b in PAIRS:
        if a in sizes and b in paired:
            values |= {f"{a}/{_bracketed(b)}": sizes[a] / paired[b], f"{_bracketed(b)}/{a}": paired[b] / sizes[a]}
    if {"n", "K"} <= sizes.keys():
        values |= {"n K": sizes["n"] * sizes["K"], "1/(n K)": 1 / (sizes["n"] * sizes["K"])}
    for name, value in sizes.items():
        if not isclose(value**0.5, round(value**0.5)):
            values |= {f"sqrt({name})": value**0.5, f"1/sqrt({name})": value**-0.5}
    return {name: value for name, value in values.items() if value != 1}


def _bracketed(name: str) -> str:
    return f"({name})" if {*" -"} & {*name} else name


def names_of(sizes: Iterable[int]) -> dict[float, str]:
    """The numbers that mistakes make of sizes, with their names: n, 1/n, its root, n/(n-1) and the like."""
    names: dict[float, str] = {3.0: "3", 1 / 3: "1/3", 4.0: "4", 0.25: "1/4", 10.0: "10", 0.1: "1/10"}
    for n in sorted(sizes):
        own = {n: f"{n}", 1 / n: f"1/{n}", n**0.5: f"sqrt({n})", n**-0.5: f"1/sqrt({n})", n * n: f"{n}^2"}
        own |= {n / (n - 1): f"{n}/{n - 1}", (n - 1) / n: f"{n - 1}/{n}", n - 1: f"{n - 1}", 1 / (n - 1): f"1/{n - 1}"}
        own |= {n / m: f"{n}/{m}" for m in sizes if m != n} | {1 / (n * m): f"1/({n} {m})" for m in sizes if m != n}
        names = {float(value): name for value, name in own.items()} | names
    names |= {LN2: "ln 2", 1 / LN2: "1/ln 2", LN10: "ln 10", 1 / LN10: "1/ln 10", pi: "pi", 1 / pi: "1/pi"}
    return {value: name for value, name in names.items() if value not in (1.0, 2.0, 0.5)}
