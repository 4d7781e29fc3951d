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
