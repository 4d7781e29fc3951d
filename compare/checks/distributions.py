"""Distributions of initial weights: known exactly, where the weights are linear in a known draw, or by samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from math import log, sqrt
from typing import NamedTuple

import numpy as np

from handgrad.compare.thresholds import CHANCE, EXACT_WEIGHTS, FLOAT32_WEIGHTS, LINEAR_WEIGHTS, SAME_FORMULA, SIGMAS

Draws = Mapping[str, Sequence[np.ndarray]]  # by family, the draws that weights can be linear in


class Distribution(NamedTuple):
    """A family, its mean and spread (the standard deviation), and whether they are exact in float64."""

    family: str
    mean: float
    spread: float
    exact: bool


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


def of_samples(a: np.ndarray, b: np.ndarray) -> tuple[Distribution, Distribution, Apart]:
    """The distributions of two samples of the same size, and what tells them apart.

    Where mean and spread may be the same, the samples are compared as they are, else without these.
    """
    first, second = (
        Distribution("neither normal nor uniform", float(x.mean()), float(x.std()), exact=False) for x in (a, b)
    )
    mean = SIGMAS * sqrt((a.var() + b.var()) / len(a))
    spread = SIGMAS * sqrt(_spread_variance(a) + _spread_variance(b))
    alike = abs(first.mean - second.mean) <= mean and abs(first.spread - second.spread) <= spread
    both = (np.sort(a), np.sort(b)) if alike else (_standardised(a), _standardised(b))
    distance = _kolmogorov_smirnov(*both) / sqrt(log(2 / CHANCE) / len(a))
    return first, second, Apart(len(a), distance, mean, spread)


class Dependence(NamedTuple):
    """How weights of one draw depend on each other, by a measure that is 1 where all of it are alike, and its error.

    `of` says of what: the singular values, or the lengths of the rows or of the columns.
    """

    of: str
    by_hand: float
    torch: float
    allowed: float


def dependence(a: np.ndarray, b: np.ndarray) -> Dependence:
    """The measure by which draws, stacked along the first axis, differ most beside what chance explains.

    Each is n sum x^4 / (sum x^2)^2 over n singular values, or lengths of rows or columns, of the draw as a matrix whose
    first axis is the weights' own: 1 for an orthogonal matrix. Its mean over the draws is compared by Student's t.
    """
    ours, theirs = (_evenness(draws.reshape(len(draws), draws.shape[1], -1)) for draws in (a, b))
    means = np.array([ours.mean(1), theirs.mean(1)])
    error = np.sqrt((ours.var(1, ddof=1) + theirs.var(1, ddof=1)) / len(a))
    allowed = _student(len(a) - 1) * error + FLOAT32_WEIGHTS * means.max(0)
    worst = int(np.argmax(np.abs(means[0] - means[1]) / allowed))
    of = ("singular values", "lengths of rows", "lengths of columns")[worst]
    by_hand, torch = map(float, means[:, worst])
    return Dependence(of, by_hand, torch, float(allowed[worst]))


def _evenness(matrices: np.ndarray) -> np.ndarray:
    """n sum x^4 / (sum x^2)^2 of singular values, lengths of rows, and lengths of columns, (3, draws)."""
    squares = matrices**2
    rows, columns = squares.sum(2), squares.sum(1)
    values = np.linalg.svd(matrices, compute_uv=False) ** 2
    sums = values.shape[1] * (values**2).sum(1), *(n.shape[1] * (n**2).sum(1) for n in (rows, columns))
    total = rows.sum(1) ** 2
    return np.array([np.divide(each, total, out=np.ones(len(total)), where=total > 0) for each in sums])


def _student(freedom: int) -> float:
    """Student's t where the normal distribution is at SIGMAS (Abramowitz and Stegun, 26.7.5)."""
    z = SIGMAS
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def _spread_variance(sample: np.ndarray) -> float:
    """The variance of a sample's standard deviation s: s^2 (kurtosis - 1)/(4 n)."""
    s = sample.std()
    kurtosis = float(np.mean(((sample - sample.mean()) / s) ** 4)) if s else 1.0
    return float(s**2 * (kurtosis - 1) / (4 * len(sample)))


def _standardised(sample: np.ndarray) -> np.ndarray:
    spread = sample.std()
    return np.sort((sample - sample.mean()) / spread) if spread else np.zeros(len(sample))


def _kolmogorov_smirnov(a: np.ndarray, b: np.ndarray) -> float:
    """The largest distance of the distribution functions of two sorted samples."""
    both = np.concatenate([a, b])
    shares = (np.searchsorted(sample, both, "right") / len(sample) for sample in (a, b))
    return float(np.max(np.abs(np.subtract(*shares))))


def formulas(spread: float, shape: tuple[int, ...]) -> tuple[str, ...]:
    """The usual formulas that give a standard deviation, in the sizes of a matrix."""
    return tuple(form for form, value in _usual(shape) if abs(value - spread) <= SAME_FORMULA * spread)


def _usual(shape: tuple[int, ...]) -> Iterator[tuple[str, float]]:
    if len(shape) != 2:
        return
    sizes = {"shape[0]": shape[0], "shape[1]": shape[1], "(shape[0] + shape[1])": sum(shape)}
    for (size, n), c in product(sizes.items(), (1, 2)):
        yield f"sqrt({c}/{size})", sqrt(c / n)
        yield f"{c}/{size}", c / n
        yield f"sqrt({c}/(3 {size}))", sqrt(c / n / 3)
