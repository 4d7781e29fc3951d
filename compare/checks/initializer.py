"""An initialiser by hand against one of torch.

The random streams of NumPy and torch cannot be matched. But where the weights are a + s D of a draw D that can be drawn
again, from the same seed, a and s are known to the last digit on both sides, and are compared so. Everything else is
compared by samples: mean, spread and distribution of all entries, mean, variance and zeros of each entry, row and
column, and of a matrix how its entries depend on each other, at a false alarm rate of 1e-9 for all of it together.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import ceil, inf, prod
from typing import Any, NamedTuple

import numpy as np
import torch

from handgrad.compare.checks import distributions, spreads
from handgrad.compare.checks.distributions import UNKNOWN, Apart, Distribution, Statistic
from handgrad.compare.checks.laws import law_of
from handgrad.compare.environment import environment
from handgrad.compare.errors import InputError
from handgrad.compare.facts import failures
from handgrad.compare.facts.causes import Cause
from handgrad.compare.facts.weights import (
    InitializerMean,
    InitializerRepeated,
    InitializerStatistic,
)
from handgrad.compare.names import Key
from handgrad.compare.pipeline.blind_spots import of_initializer
from handgrad.compare.report.report import Report
from handgrad.compare.results import Finding, Row, Worst
from handgrad.compare.sandbox import CAUGHT, as_record, located, quietly, undisturbed
from handgrad.compare.thresholds import DISTINCT_WEIGHTS, EXACT_WEIGHTS, FEW_WEIGHTS, FLOAT32_WEIGHTS
from handgrad.compare.trace import is_real, not_real
from handgrad.compare.verdict.closeness import index_of
from handgrad.torchref.exchange import to_array

Initializer = Callable[[tuple[int, ...], np.random.Generator], Any]
TorchInitializer = Callable[[torch.Tensor], Any]
Outcome = tuple[Sequence[Row], Sequence[Finding]]

LARGEST = 10**8  # numbers: what is compared in some seconds
SAMPLES, CALLS = 2**19, 2**12  # numbers, and draws of them, that are enough to tell a mean or spread 3 % off
SEEN = 2**10  # numbers, among which each is to be linear in its draw
MANY = 2**20  # numbers, of which a second draw takes long
LARGE = 2**18  # numbers, of which many draws take long
DRAWS = 80  # so many times an entry that is constant must differ in several 100000 tests
RUNS = 2**12  # of entries in place, into which larger draws are cut; the entries of each stand for draws
HUGE = 1e75  # a weight whose fourth power may overflow, which the error of the spread needs


def check_initializer(
    initializer: Initializer, torch_initializer: TorchInitializer, shape: Sequence[int], *, seed: int = 0
) -> Report:
    """Check an initialiser by hand against one of torch: family, mean and spread of the weights.

    initializer(shape, rng) returns an array of that shape, drawn with rng, a numpy.random.Generator;
    torch_initializer(tensor) fills a float64 tensor in place, as torch.nn.init does. Scales are compared exactly where
    the weights are linear in the draw, else by samples. A shape that is not square tells fan-in from fan-out. Raises
    InputError, a ValueError, if the arguments cannot be used; whatever the initialiser does is a finding.
    """
    with undisturbed():
        sizes = _checked_shape(shape)
        if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**31:
            raise InputError(f"seed is {seed!r}; it must be a whole number from 0 to {2**31 - 1}")
        if not callable(initializer) or not callable(torch_initializer):
            wrong = "torch_initializer" if callable(initializer) else "initializer"
            raise InputError(f"{wrong} cannot be called; it must be a function")
        by_hand = _Side(partial(_drawn, initializer, sizes), partial(_draws, sizes))
        in_torch = _Side(partial(_drawn_in_torch, torch_initializer, sizes), partial(_draws_in_torch, sizes))
        try:
            rows, findings = _unusable(by_hand, sizes, seed) or _compared(by_hand, in_torch, sizes, seed)
        except _Failed as failure:  # whatever the user's code raises is a finding, not a crash
            rows, findings = _only(failure.args[0])
        by_samples = any(row.rho_basis == "samples" for row in rows)
        check = f"check_initializer: by hand (NumPy {np.__version__}) against torch, {sizes}, seed {seed}"
        return Report(
            rows=tuple(rows),
            findings=tuple(findings),
            blind_spots=of_initializer(sizes, by_samples=by_samples),
            environment=environment(check, ("float64",), seed),
        )


def _checked_shape(shape: Any) -> tuple[int, ...]:
    sizes = tuple(int(n) if isinstance(n, np.integer) else n for n in shape) if isinstance(shape, (tuple, list)) else ()
    if not sizes or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in sizes):
        raise InputError(f"shape is {shape!r}; it must be a tuple of positive whole numbers, like (16, 30)")
    if prod(sizes) > LARGEST:
        raise InputError(
            f"shape is {shape!r}, {prod(sizes)} numbers; at most {LARGEST} are compared, so choose it smaller"
        )
    return sizes


# --- drawing


class _Side(NamedTuple):
    """How one side draws weights from a seed, and by family the draws from it that they can be linear in."""

    weights: Callable[[int], np.ndarray]
    draws: Callable[[int], Mapping[str, Sequence[np.ndarray]]]


class _Failed(Exception):
    """The initialiser by hand raised an exception; the argument is the cause to report."""


def _drawn(initializer: Initializer, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """One call by hand; whatever generator it uses, rng or NumPy's global one, starts from the seed."""
    np.random.seed(seed)  # noqa: NPY002  # hand-written code may use it
    random.seed(seed)
    try:
        with quietly():
            return as_record(initializer(shape, np.random.default_rng(seed)))
    except InputError:  # of ours
        raise
    except CAUGHT as error:
        raise _Failed(located(error)) from None


def _drawn_in_torch(torch_initializer: TorchInitializer, shape: tuple[int, ...], seed: int) -> np.ndarray:
    torch.default_generator.manual_seed(seed)  # those of other devices, which take a millisecond, draw nothing here
    tensor = torch.full(shape, torch.nan, dtype=torch.float64)
    try:
        with torch.no_grad():
            torch_initializer(tensor)
    except CAUGHT as error:
        raise InputError(
            f"torch_initializer raises {located(error)}; it must fill a tensor of shape {shape} in place"
        ) from None
    if tensor.shape != shape or not torch.isfinite(tensor).all():
        wrong = "nan or infinite numbers in the tensor" if tensor.shape == shape else "a tensor of another shape"
        raise InputError(f"torch_initializer leaves {wrong}; it must fill it in place, as torch.nn.init does")
    return np.asarray(to_array(tensor))


def _draws(shape: tuple[int, ...], seed: int) -> dict[str, list[np.ndarray]]:
    legacy = np.random.RandomState(seed)  # what np.random.randn draws after np.random.seed
    normal = [np.random.default_rng(seed).standard_normal(shape), legacy.standard_normal(shape)]
    legacy.seed(seed)
    return {"normal": normal, "uniform": [np.random.default_rng(seed).random(shape), legacy.random_sample(shape)]}


def _draws_in_torch(shape: tuple[int, ...], seed: int) -> dict[str, list[np.ndarray]]:
    draws = {}
    for family, fill in (("normal", torch.Tensor.normal_), ("uniform", torch.Tensor.uniform_)):
        torch.default_generator.manual_seed(seed)
        draws[family] = [np.asarray(to_array(fill(torch.empty(shape, dtype=torch.float64))))]
    return draws


# --- what makes a comparison impossible


def _unusable(by_hand: _Side, shape: tuple[int, ...], seed: int) -> Outcome | None:
    """No numbers, another shape, another answer when asked again; None if the weights can be used."""
    first, again = by_hand.weights(seed), by_hand.weights(seed)
    for weights in (first, by_hand.weights(seed + 1)):
        if not is_real(weights):
            return _only(not_real(weights), "MISSING")
        if weights.shape != shape:
            return _only(failures.WrongShape(weights.shape, shape))
    if not np.isfinite(first).all():
        return _only(failures.WeightsNotFinite(), "NONFINITE")
    if np.abs(first.astype(np.float64)).max() > HUGE:
        return _only(failures.WeightsNotFinite(too_large=True), "NONFINITE")
    if not np.array_equal(first, again):
        return _only(failures.TwoAnswers("initializer", ("values",), "draw everything with rng"))
    return None


def _only(cause: Cause, verdict: str = "FAULT", worst: Worst | None = None) -> Outcome:
    return (), (Finding(Key(1, "forward", "values"), verdict, cause, worst=worst),)


# --- the comparison


def _compared(by_hand: _Side, in_torch: _Side, shape: tuple[int, ...], seed: int) -> Outcome:
    """The rows and findings on family, mean and spread; on the weights themselves where these are always the same."""
    own = by_hand.weights(seed + 1).astype(np.float64)
    theirs = in_torch.weights(seed + 1)
    more = max(1, min(FEW_WEIGHTS, FEW_WEIGHTS // prod(shape)))  # of few numbers, two draws may be the same by chance
    others = range(2, 2 + more)
    if np.ptp(own) + np.ptp(theirs) > 0 and all(np.array_equal(own, by_hand.weights(seed + k)) for k in others):
        if np.array_equal(theirs, in_torch.weights(seed + 2)):
            return _values(own, theirs)
        if np.ptp(own) > 0:
            return _only(failures.SameWeights())
    distinct, due = len(np.unique(own)), len(np.unique(theirs))
    if prod(shape) >= FEW_WEIGHTS and 1 < distinct < DISTINCT_WEIGHTS * due:
        return _only(_repeated(own, by_hand.weights(seed + 2)) or failures.FewDistinct(distinct, own.size, due))
    ours, torchs = (_linear_throughout(side, shape, seed) for side in (by_hand, in_torch))
    if ours is not None and torchs is not None:
        rounding = EXACT_WEIGHTS if ours.exact and torchs.exact else FLOAT32_WEIGHTS
        allowed = rounding * max(abs(torchs.mean), torchs.spread)
        apart = Apart(0, 0.0, allowed, allowed)
        rows = _rows(ours, torchs, apart, shape)
        return rows, _findings(rows, None, (ours, torchs), 0)
    calls = max(min(CALLS, ceil(SAMPLES / prod(shape))), DRAWS if prod(shape) <= LARGE else 1)
    seeds = range(seed + 1, seed + 1 + calls)
    a, b = (_stacked(side.weights, seeds, shape) for side in (by_hand, in_torch))
    if a is None or b is None:
        return _only(failures.DrawsNotFinite(calls, shape))
    first, second, apart, furthest = distributions.of_samples(a, b)
    row, statistic = _furthest(furthest, shape)
    rows = [*_rows(ours or first, torchs or second, apart, shape), row]
    if all(row.verdict == "OK" for row in rows):
        return rows, ()
    ours, torchs = (known or law_of(x, shape, seed) for known, x in ((ours, a), (torchs, b)))
    return rows, _findings(rows, statistic, (ours, torchs), apart.samples)


def _stacked(weights: Callable[[int], np.ndarray], seeds: range, shape: tuple[int, ...]) -> np.ndarray | None:
    """Draws of these seeds, (draws, rows, columns), in one row where they are no matrix; None if one cannot be used.

    Where they are too large for many, the columns are runs of entries, each of which stands for a draw.
    """
    draws = np.empty((len(seeds), prod(shape)))
    for draw, seed in zip(draws, seeds, strict=True):
        drawn = weights(seed)
        if not is_real(drawn) or drawn.shape != shape or not np.abs(drawn.astype(np.float64)).max() <= HUGE:
            return None
        draw[:] = drawn.ravel()
    if prod(shape) > LARGE:
        runs = draws[:, : prod(shape) // RUNS * RUNS].reshape(len(seeds), RUNS, -1)
        return runs.swapaxes(1, 2).reshape(-1, 1, RUNS)
    return draws.reshape(len(seeds), shape[0] if 1 < shape[0] < prod(shape) else 1, -1)


def _furthest(found: Statistic, shape: tuple[int, ...]) -> tuple[Row, InitializerStatistic]:
    """The row on the statistic of a draw that differs most, and what is wrong if it is."""
    of, place, at, own, other, allowed = found
    sizes = {"row": shape[:1], "column": shape[1:], "entry": shape}
    index = index_of(at, sizes[place]) if place in sizes else ()
    if prod(shape) > LARGE:
        place, length = "entries", prod(shape) // RUNS
        index = (at * length, (at + 1) * length - 1)
    rho, verdict = _times(abs(own - other), allowed)
    row = Row(1, "forward", "statistic", "", shape, abs(own - other), (), own, other, rho, "samples", verdict)
    return row, InitializerStatistic(own, other, of, place, index)


def _repeated(first: np.ndarray, second: np.ndarray) -> InitializerRepeated | None:
    """Along which axis all weights are the same draw, in two of them."""
    along = [k for k in range(first.ndim) if all((w == w.take([0], k)).all() for w in (first, second))]
    if len(along) == 1 and first.ndim > 1:
        axis = along[0]
        return InitializerRepeated(("rows", "columns")[axis] if first.ndim == 2 else f"slices along axis {axis}")
    return None


def _values(own: np.ndarray, theirs: np.ndarray) -> Outcome:
    """Weights that are the same at every call on both sides, entry by entry."""
    apart = np.abs(own - theirs)
    at = index_of(int(apart.argmax()), own.shape)
    largest, allowed = float(apart[at]), FLOAT32_WEIGHTS * float(np.max(np.abs(theirs)))
    worst = Worst(at, float(own[at]), float(theirs[at]))
    rho, verdict = _times(largest, allowed)
    row = Row(1, "forward", "values", "", own.shape, largest, at, worst.by_hand, worst.torch, rho, "bound", verdict)
    return [row], () if verdict == "OK" else _only(failures.WeightsDiffer(), worst=worst)[1]


def _times(difference: float, allowed: float) -> tuple[float, str]:
    """How many times what is allowed a difference is, and the verdict on it."""
    rho = 0.0 if difference == 0 else difference / allowed if allowed else inf
    return rho, "OK" if rho <= 1 else "FAULT"


def _linear_throughout(side: _Side, shape: tuple[int, ...], seed: int) -> Distribution | None:
    """Mean and spread of weights that are a + s D of every draw, of so many that what is rare shows, as clipping."""
    first: Distribution | None = None
    for k in range(1, 1 + ceil(SEEN / prod(shape)) + (prod(shape) <= MANY)):
        try:
            weights = side.weights(seed + k)
        except _Failed:  # for some draws only
            return None
        is_usable = is_real(weights) and weights.shape == shape
        linear = distributions.linear_in(weights, side.draws(seed + k)) if is_usable else None
        if linear is None or not distributions.near(first or linear, linear):
            return None
        first = first or linear
    return first


def _rows(ours: Distribution, torchs: Distribution, apart: Apart, shape: tuple[int, ...]) -> list[Row]:
    """The rows on family, mean and spread."""
    basis = "samples" if apart.samples else "bound"
    is_same = apart.distance <= 1 if apart.samples else ours.family == torchs.family
    far, rho, verdict = (0.0, apart.distance, "OK") if is_same else (1.0, inf, "FAULT")
    rows = [Row(1, "forward", "family", "", shape, far, rho=rho, rho_basis=basis, verdict=verdict)]
    for name in ("mean", "spread"):
        own, other = getattr(ours, name), getattr(torchs, name)
        rho, verdict = _times(abs(own - other), getattr(apart, name))
        rows.append(Row(1, "forward", name, "", shape, abs(own - other), (), own, other, rho, basis, verdict))
    return rows


def _findings(
    rows: Sequence[Row], statistic: Cause | None, sides: tuple[Distribution, Distribution], samples: int
) -> list[Finding]:
    """What is wrong about the rows; one finding where the laws of both sides are known, and are others."""
    ours, torchs = sides
    shape = rows[0].shape
    causes = {
        "family": spreads.cause_of_family(ours, torchs, shape, samples),
        "mean": InitializerMean(ours.mean, torchs.mean),
        "spread": spreads.cause_of_spread(ours, torchs, shape),
        "statistic": statistic,
    }
    wrong = [row.name for row in rows if row.verdict == "FAULT"]
    if UNKNOWN not in (ours.family, torchs.family):
        causes["statistic"] = causes["family"]
        moved = ours.family == torchs.family and {"mean", "spread"} & {*wrong}  # which samples undo to within chance
        wrong = [name for name in wrong if name not in (("family", "statistic") if moved else ())]
        wrong = [name for name in wrong if name != "statistic" or "family" not in wrong]
    return [Finding(Key(1, "forward", name), "FAULT", cause) for name in wrong if (cause := causes[name])]
