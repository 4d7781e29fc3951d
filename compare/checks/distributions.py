"""Distributions of initial weights: known exactly, where the weights are linear in a known draw, or by samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import inf, log, prod, sqrt
from typing import NamedTuple

import numpy as np

from handgrad.compare.thresholds import CHANCE, EXACT_WEIGHTS, FLOAT32_WEIGHTS, LINEAR_WEIGHTS, SAME_FORMULA

Draws = Mapping[str, Sequence[np.ndarray]]  # by family, the draws that weights can be linear in

RARE = 1 / 2.0 ** np.arange(13, 3, -1)  # shares of a distribution, in 2^19 numbers of which a part shows
SHARES = np.concatenate([RARE, np.arange(1, 16) / 16, 1 - RARE[::-1]])
ENOUGH = 2**19  # numbers to compare these shares of
UNKNOWN = "of no known law"


class Distribution(NamedTuple):
    """A family, its mean and spread (the standard deviation), and whether they are exact in float64.

    `off` is how far the spread may be off, as a share; `parent` the spread before entries were cut off, if they were.
    """

    family: str
    mean: float
    spread: float
    exact: bool
    off: float = SAME_FORMULA
    parent: float = 0.0


class Apart(NamedTuple):
    """What tells two distributions apart: the number of samples, 0 where both are known, and what is allowed.

    `distance` is that of the distributions in units of what chance explains; `mean` and `spread` are how far these may
    be apart.
    """

    samples: int
    distance: float
    mean: float
    spread: float


def linear_in(weights: np.ndarray, draws: Draws) -> Distribution | None:
    """Mean and spread of weights that are a + s D of one of the draws D, exactly; None if they are of none."""
    W = weights.astype(np.float64).ravel()
    if len(W) < LINEAR_WEIGHTS:
        return None
    if np.ptp(W) == 0:
        return Distribution("constant", float(W[0]), 0.0, exact=True)
    is_exact = weights.dtype != np.float32
    for family, D in ((family, draw.ravel()) for family, candidates in draws.items() for draw in candidates):
        centred = D - D.mean()
        s = float(np.vdot(centred, W - W.mean()) / np.vdot(centred, centred))
        a = float(W.mean() - s * D.mean())
        if np.max(np.abs(a + s * D - W)) <= (EXACT_WEIGHTS if is_exact else FLOAT32_WEIGHTS) * np.max(np.abs(W)):
            mean, spread = (a, abs(s)) if family == "normal" else (a + s / 2, abs(s) / sqrt(12))
            return Distribution(family, mean, spread, is_exact)
    return None


def near(first: Distribution, other: Distribution) -> bool:
    """Whether two distributions are the same but for rounding to float32."""
    apart = max(abs(other.mean - first.mean), abs(other.spread - first.spread))
    return other.family == first.family and apart <= FLOAT32_WEIGHTS * max(abs(first.mean), first.spread)


class Statistic(NamedTuple):
    """A number that each draw has: its means over the draws of both sides, and how far these may be apart.

    It is taken of a place, such as an entry, the one `at` which index; of a whole draw where the place is "".
    """

    of: str
    place: str
    at: int
    by_hand: float
    torch: float
    allowed: float


def of_samples(a: np.ndarray, b: np.ndarray) -> tuple[Distribution, Distribution, Apart, Statistic]:
    """The distributions of draws of both sides, what tells them apart, and the statistic of a draw that differs most.

    Both are (draws, rows, columns), of one row where the weights are no matrix. Where mean or spread differ, the draws
    by hand are compared as if they had torch's.
    """
    means = [float(x.mean()) for x in (a, b)]
    variances = [((x - mean) ** 2).mean((1, 2))[:, None] for x, mean in zip((a, b), means, strict=True)]
    first, second = (
        Distribution(UNKNOWN, mean, sqrt(variance.mean()), exact=False, off=inf)
        for mean, variance in zip(means, variances, strict=True)
    )
    tests, unit = 3 * prod(n + 1 for n in a.shape[1:]) + 2 * len(SHARES), _largest(a, b)  # no fewer than there are
    spreads = first.spread + second.spread or 1.0
    mean = furthest_of("mean", "", (a.mean((1, 2))[:, None], b.mean((1, 2))[:, None]), tests, unit).allowed
    spread = furthest_of("variance", "", variances, tests, unit * spreads).allowed / spreads
    ratio = second.spread / first.spread if first.spread and abs(first.spread - second.spread) > spread else 1.0
    matched = a if abs(first.mean - second.mean) <= mean else a + (second.mean / ratio - first.mean)
    matched = ratio * matched  # orthogonal ones stay so where only the spread differs
    shape = furthest_of("distribution", "", _shapes(matched, b), tests, 4)
    zeros = [np.abs(x) <= FLOAT32_WEIGHTS * unit for x in (a, b)]
    found = (furthest_of(of, place, x, tests, size) for of, place, x, size in _statistics(matched, b, zeros))
    return first, second, Apart(a.size, rho(shape), mean, spread), max(found, key=rho)


def _largest(*arrays: np.ndarray) -> float:
    return max(float(max(x.max(), -x.min())) for x in arrays) or 1.0


def rho(found: Statistic) -> float:
    """How many times what is allowed both sides are apart."""
    return abs(found.by_hand - found.torch) / found.allowed


def furthest_of(of: str, place: str, statistics: Sequence[np.ndarray], tests: int, size: float) -> Statistic:
    """Of statistics of both sides, (draws, statistics), computed from numbers of a size, the one that differs most.

    Where both sides draw alike, the difference d of two draws is as likely to be -d: then |sum d| is more than
    t sqrt(sum d^2) with a probability of at most 2 exp(-t^2/2), whatever is drawn, and however often (Hoeffding).
    """
    a, b = statistics
    means, d = np.array([a.mean(0), b.mean(0)]), np.subtract(a, b, dtype=np.float64)
    by_chance = sqrt(2 * log(2 * tests / CHANCE)) * np.linalg.norm(d, axis=0) / len(d)
    allowed = by_chance + FLOAT32_WEIGHTS * np.maximum(size, np.abs(means).max(0))
    worst = int(np.argmax(np.abs(means[0] - means[1]) / allowed))
    by_hand, torch = map(float, means[:, worst])
    return Statistic(of, place, worst, by_hand, torch, float(allowed[worst]))


def _shapes(a: np.ndarray, b: np.ndarray) -> list[np.ndarray]:
    """Of each draw the shares of numbers up to what has such shares of all numbers, and the fourth moment."""
    some = [x.reshape(len(x), -1)[:, :: x.size // ENOUGH | 1] for x in (a, b)]
    both = np.concatenate([x.ravel()[::17] for x in some])
    bounds = np.quantile(both, SHARES) + FLOAT32_WEIGHTS * _largest(both)
    squares = [((x - both.mean()) / (both.std() or 1.0)) ** 2 for x in some]
    moments = [(z * (z - 6)).mean(1) for z in squares]
    below = [[np.count_nonzero(x <= q, axis=1) / x.shape[1] for q in bounds] for x in some]
    return [np.column_stack([*shares, moment]) for shares, moment in zip(below, moments, strict=True)]


def _statistics(
    a: np.ndarray, b: np.ndarray, zeros: Sequence[np.ndarray]
) -> Iterator[tuple[str, str, list[np.ndarray], float]]:
    """What is compared of a draw: its kind, the place, both sides' (draws, statistics), and the size of its numbers."""
    centre, unit = (a.mean(0) + b.mean(0)) / 2, _largest(a, b)
    squares = [(x - centre) ** 2 for x in (a, b)]
    kinds = (("share of zeros", zeros, 1.0), ("mean", (a, b), unit), ("variance", squares, unit * _largest(a - centre)))
    for of, sides, size in kinds:
        if a.shape[1] > 1:
            rows, columns = ([x.mean(axis) for x in sides] for axis in (2, 1))
            yield of, "row", rows, size
            yield of, "column", columns, size
            yield of, "the diagonal", [x.diagonal(axis1=1, axis2=2).mean(1)[:, None] for x in sides], size
            if of != "mean":
                yield f"unevenness of the rows by {of}", "", [_unevenness(x) for x in rows], 4
                yield f"unevenness of the columns by {of}", "", [_unevenness(x) for x in columns], 4
        yield of, "entry", [x.reshape(len(x), -1) for x in sides], size
    if a.shape[1] > 1:
        yield "unevenness of the squared singular values", "", [of_singular_values(x) for x in (a, b)], 4


def _unevenness(x: np.ndarray) -> np.ndarray:
    """n sum x^2 / (sum x)^2 of n numbers of each draw, (draws, 1): 1 where they are equal."""
    return _share(x.shape[1] * np.square(x).sum(1), x.sum(1))


def of_singular_values(x: np.ndarray) -> np.ndarray:
    """The same of the squared singular values of each draw, (draws, 1): tr (x x^T)^2 is the sum of their squares."""
    small = x if x.shape[1] < x.shape[2] else x.swapaxes(1, 2)
    return _share(small.shape[1] * np.square(small @ small.swapaxes(1, 2)).sum((1, 2)), np.square(x).sum((1, 2)))


def _share(squares: np.ndarray, total: np.ndarray) -> np.ndarray:
    return np.where(total > 0, squares / np.where(total > 0, total, 1) ** 2, 1)[:, None]
