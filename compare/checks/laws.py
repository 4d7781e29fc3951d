"""The law of weights that are linear in no draw: the only one of those below whose own draws look like theirs.

A law is tried by drawing from it as often as the weights were drawn, with their mean and spread, and comparing both by
every statistic that samples are compared by. Two that explain the weights name nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from math import erf, exp, inf, pi, prod, sqrt

import numpy as np

from handgrad.compare.checks.distributions import (
    UNKNOWN,
    Distribution,
    furthest_of,
    of_samples,
    of_singular_values,
    rho,
)
from handgrad.compare.thresholds import CUTS, EXPLAINED, FLOAT32_WEIGHTS, NARROWEST, NEAR_CUT, SAME_FORMULA

Size = tuple[int, int, int]  # draws, rows, columns
Sampler = Callable[[np.random.Generator, Size], np.ndarray]

ORTHOGONAL = "orthogonal"


def law_of(draws: np.ndarray, shape: tuple[int, ...], seed: int) -> Distribution:
    """The law of draws, (draws, rows, columns), of weights of a shape; of family UNKNOWN if none or several fit."""
    unknown = Distribution(UNKNOWN, float(draws.mean()), float(draws.std()), exact=False, off=inf)
    if not unknown.spread:
        return unknown
    fitting = [law for law, sampler in _laws(draws, shape, unknown) if _explains(sampler, draws, seed)]
    return fitting[0] if len(fitting) == 1 else unknown


def _explains(sampler: Sampler, draws: np.ndarray, seed: int) -> bool:
    drawn = sampler(np.random.default_rng((seed, len(draws))), draws.shape)
    own, other, apart, furthest = of_samples(draws, drawn)
    moments = abs(own.mean - other.mean) / apart.mean, abs(own.spread - other.spread) / apart.spread
    lengths = [np.square(x / own.spread).mean((1, 2)) for x in (draws, drawn)]  # those of one length vary less
    varying = furthest_of("variance", "", [np.square(x - x.mean())[:, None] for x in lengths], 1, FLOAT32_WEIGHTS)
    return max(apart.distance, rho(furthest), rho(varying), *moments) <= EXPLAINED


def _laws(draws: np.ndarray, shape: tuple[int, ...], fitted: Distribution) -> Iterator[tuple[Distribution, Sampler]]:
    """What may have made the draws, with the numbers that are fitted, and how it is drawn."""
    length = np.square(draws).sum((1, 2))
    if np.ptp(length) > FLOAT32_WEIGHTS * length.max():
        yield from _independent(draws, fitted)
    elif draws.shape[1] > 1:
        spread = sqrt(length.mean() / draws[0].size)
        for name, sampler in _dependent(draws, shape):
            yield fitted._replace(family=name, spread=spread, off=SAME_FORMULA), partial(_of_length, spread, sampler)


def _independent(draws: np.ndarray, fitted: Distribution) -> Iterator[tuple[Distribution, Sampler]]:
    size, edge, middle = draws.size, float(np.ptp(draws)) / 2, float(draws.max() + draws.min()) / 2
    if edge > NARROWEST * fitted.spread:
        law = fitted._replace(family="normal", off=5 / sqrt(2 * size))
        yield law, partial(_about, law.mean, law.spread, _normal)
    if abs(sqrt(3) * fitted.spread / edge - 1) <= NEAR_CUT:
        law = Distribution("uniform", middle, edge / sqrt(3), exact=False, off=8 / size)
        yield law, partial(_about, middle, edge, _uniform)
    for name, left, sampler in (("cut", _left_by_cut, _cut), ("clipped", _left_by_clip, _clipped)):
        ratios = {at: at / left(at) * fitted.spread / edge for at in CUTS}
        at, ratio = min(ratios.items(), key=lambda found: abs(found[1] - 1))
        if abs(ratio - 1) <= NEAR_CUT:
            parent = edge / at
            off = 8 / (size * at * _density(at))  # the largest is short of the edge by 1/(n f) on average
            law = Distribution(f"normal, {name} at {at:g} deviations", middle, left(at) * parent, False, off, parent)
            yield law, partial(_about, middle, parent, partial(sampler, at))


def _about(mean: float, scale: float, sampler: Sampler, rng: np.random.Generator, size: Size) -> np.ndarray:
    return mean + scale * sampler(rng, size)


def _of_length(spread: float, sampler: Sampler, rng: np.random.Generator, size: Size) -> np.ndarray:
    drawn = sampler(rng, size)
    return drawn * (spread / sqrt(np.square(drawn).mean()))


# --- independent weights


def _normal(rng: np.random.Generator, size: Size) -> np.ndarray:
    return rng.standard_normal(size)


def _uniform(rng: np.random.Generator, size: Size) -> np.ndarray:
    return rng.uniform(-1, 1, size)


def _cut(at: float, rng: np.random.Generator, size: Size) -> np.ndarray:
    """Drawn again beyond so many deviations."""
    drawn = rng.standard_normal(size)
    while (far := np.abs(drawn) > at).any():
        drawn[far] = rng.standard_normal(np.count_nonzero(far))
    return drawn


def _clipped(at: float, rng: np.random.Generator, size: Size) -> np.ndarray:
    return np.clip(rng.standard_normal(size), -at, at)


def _density(at: float) -> float:
    return exp(-at * at / 2) / sqrt(2 * pi)


def _left_by_cut(at: float) -> float:
    """The deviation of a standard normal that is cut at b: sqrt(1 - 2 b phi(b) / (2 Phi(b) - 1))."""
    return sqrt(1 - 2 * at * _density(at) / erf(at / sqrt(2)))


def _left_by_clip(at: float) -> float:
    """That of one that is clipped: sqrt(p - 2 b phi(b) + b^2 (1 - p)) with p = 2 Phi(b) - 1."""
    inside = erf(at / sqrt(2))
    return sqrt(inside - 2 * at * _density(at) + at * at * (1 - inside))


# --- weights that depend on each other


def _of_equal_length(axis: int, rng: np.random.Generator, size: Size) -> np.ndarray:
    drawn = rng.standard_normal(size)
    drawn /= np.linalg.norm(drawn, axis=axis, keepdims=True)
    return drawn


def _dependent(draws: np.ndarray, shape: tuple[int, ...]) -> Iterator[tuple[str, Sampler]]:
    """Q of a Gaussian matrix, as torch has it and otherwise, and rows or columns of one length."""
    rows, columns = draws.shape[1:]
    if np.abs(of_singular_values(draws) - 1).max() <= FLOAT32_WEIGHTS:
        yield ORTHOGONAL, partial(_Q, (rows, columns))
        yield f"{ORTHOGONAL}, without the signs of R's diagonal", partial(_unsigned, (rows, columns))
        return
    yield f"{ORTHOGONAL} in the transposed shape, read row by row", partial(_Q, (columns, rows))
    if len(shape) > 2:
        yield f"{ORTHOGONAL} along the last axis", partial(_Q, (prod(shape[:-1]), shape[-1]))
    yield "normal, its rows scaled to one length", partial(_of_equal_length, 2)
    yield "normal, its columns scaled to one length", partial(_of_equal_length, 1)


def _Q(matrix: tuple[int, int], rng: np.random.Generator, size: Size) -> np.ndarray:
    """Uniform over the matrices of such a shape with orthonormal rows or columns, as torch draws them."""
    return _decomposed(matrix, rng, size, np.sign)


def _unsigned(matrix: tuple[int, int], rng: np.random.Generator, size: Size) -> np.ndarray:
    return _decomposed(matrix, rng, size, np.ones_like)


def _decomposed(
    matrix: tuple[int, int], rng: np.random.Generator, size: Size, signs: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    Q, R = np.linalg.qr(rng.standard_normal((size[0], max(matrix), min(matrix))))
    Q = Q * signs(np.diagonal(R, axis1=1, axis2=2))[:, None, :]
    weights: np.ndarray = (Q if matrix[0] >= matrix[1] else Q.swapaxes(1, 2)).reshape(size)
    return weights
