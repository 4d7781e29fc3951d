"""An initialiser by hand against one of torch.

The random streams of NumPy and torch cannot be matched. But where the weights are a + s D of a draw D that can be drawn
again, from the same seed, a and s are known to the last digit on both sides, and are compared so. Everything else is
compared by samples: mean, spread, and the distance of the distributions, each at a false alarm rate of 1e-9.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from math import ceil, log, prod, sqrt
from typing import Any

import numpy as np
import torch

from handgrad.compare.environment import environment
from handgrad.compare.errors import InputError
from handgrad.compare.experiment.exceptions import quietly
from handgrad.compare.report import Finding, Report, Row
from handgrad.compare.sandbox import CAUGHT, as_record, located, undisturbed
from handgrad.compare.trace import is_real
from handgrad.compare.verdict.rule import index_of
from handgrad.compare.verdict.shapes import shape_hint
from handgrad.torchref.exchange import to_array

__all__ = ["check_initializer"]

Initializer = Callable[[tuple[int, ...], np.random.Generator], Any]
TorchInitializer = Callable[[torch.Tensor], Any]

SAMPLES = 2**17
CALLS = 2**12
FEW = 32  # numbers, of which some may be equal by chance
SEEN = 2**10  # numbers, among which each is to be linear in its draw
MANY = 2**20  # numbers, of which a second draw takes long
SIGMAS = 6.11  # exceeded with probability 1e-9
EXACT = 256 * 2.0**-53  # a few roundings of a + s D; weights in float32 are rounded once more
SINGLE = 2.0**-22


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
        failure = _failure(initializer, sizes, seed)
        rows, findings = ((), (failure,)) if failure else _compared(initializer, torch_initializer, sizes, seed)
        by_samples = any(row.rho_basis == "samples" for row in rows)
        return Report(
            rows=tuple(rows),
            findings=tuple(findings),
            blind_spots=_blind_spots(sizes, by_samples=by_samples),
            environment=environment(
                f"check_initializer: by hand (NumPy {np.__version__}) against torch, {sizes}, seed {seed}",
                ("float64",),
                seed,
            ),
        )


@dataclass(frozen=True)
class _Described:
    """A distribution: its family, mean and spread, and whether these are exact or of a sample."""

    family: str
    mean: float
    spread: float
    exact: bool


def _checked_shape(shape: Any) -> tuple[int, ...]:
    sizes = tuple(int(n) if isinstance(n, np.integer) else n for n in shape) if isinstance(shape, (tuple, list)) else ()
    if not sizes or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in sizes):
        raise InputError(f"shape is {shape!r}; it must be a tuple of positive whole numbers, like (16, 30)")
    if prod(sizes) > 10**8:
        raise InputError(
            f"shape is {shape!r}, {prod(sizes)} numbers; at most 100000000 are compared, so choose it smaller"
        )
    return sizes


def _drawn(initializer: Initializer, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """One call by hand; whatever generator it uses, rng or NumPy's global one, starts from the seed."""
    np.random.seed(seed)  # noqa: NPY002  # hand-written code may use it
    random.seed(seed)
    with quietly():
        return as_record(initializer(shape, np.random.default_rng(seed)))


def _drawn_in_torch(torch_initializer: TorchInitializer, shape: tuple[int, ...], seed: int) -> np.ndarray:
    torch.manual_seed(seed)
    tensor = torch.full(shape, torch.nan, dtype=torch.float64)
    try:
        with torch.no_grad():
            torch_initializer(tensor)
    except CAUGHT as error:
        raise InputError(
            f"torch_initializer raises {located(error).what}; it must fill a tensor of shape {shape} in place"
        ) from None
    if torch.isnan(tensor).any():
        raise InputError("torch_initializer leaves nan in the tensor; it must fill it in place, as torch.nn.init does")
    return np.asarray(to_array(tensor))


def _failure(initializer: Initializer, shape: tuple[int, ...], seed: int) -> Finding | None:
    """What makes a comparison impossible: an exception, another shape, another answer when asked again."""
    try:
        first, again = _drawn(initializer, shape, seed), _drawn(initializer, shape, seed)
    except InputError:
        raise
    except CAUGHT as error:  # whatever the user's code raises is a finding, not a crash
        return _finding("values", "FAULT", "exception", located(error).what)
    if not is_real(first):
        what = first.item() if first.dtype == object and first.shape == () else f"an array of {first.dtype}"
        text = f"it returns {what}; return an array of real numbers"
        return _finding("values", "MISSING", "missing", text)
    if first.shape != shape:
        text = f"its shape is {first.shape}, it must be {shape}{shape_hint(first.shape, shape)}"
        return _finding("values", "FAULT", "shape", text)
    if not np.isfinite(first).all():
        return _finding("values", "NONFINITE", "not-finite", "some weights are nan or infinite")
    if np.abs(first.astype(np.float64)).max() > 1e75:  # their spread, and the spread of that, would be
        return _finding("values", "NONFINITE", "not-finite", "some weights are too large to take their spread")
    if not np.array_equal(first, again):
        text = "called twice with the same rng it gives two answers; draw everything with rng"
        return _finding("values", "FAULT", "not-repeatable", text)
    return None


def _compared(
    initializer: Initializer, torch_initializer: TorchInitializer, shape: tuple[int, ...], seed: int
) -> tuple[list[Row], list[Finding]]:
    """The rows and findings on family, mean and spread."""
    own = _drawn(initializer, shape, seed + 1).astype(np.float64)
    torchs = _drawn_in_torch(torch_initializer, shape, seed + 1)
    ours = _linear_throughout(partial(_drawn, initializer), _draws, shape, seed)
    theirs = _linear_throughout(partial(_drawn_in_torch, torch_initializer), _draws_in_torch, shape, seed)
    others = range(2, 2 + max(1, min(FEW, FEW // prod(shape))))  # of few numbers, two draws may be the same by chance
    fixed = all(np.array_equal(own, _drawn(initializer, shape, seed + k)) for k in others)
    if (
        fixed
        and np.ptp(own) + np.ptp(torchs) > 0
        and np.array_equal(torchs, _drawn_in_torch(torch_initializer, shape, seed + 2))
    ):
        return _values(own, torchs)
    if fixed and np.ptp(own) > 0:
        text = "it gives the same weights whatever rng it is handed; draw them with rng"
        return [], [_finding("values", "FAULT", "unknown", text)]
    distinct = len(np.unique(own)), len(np.unique(torchs))
    if prod(shape) >= FEW and 1 < distinct[0] < 0.9 * distinct[1]:
        text = f"only {distinct[0]} of {own.size} weights differ, in torch {distinct[1]}; equal units never separate"
        return [], [_finding("values", "FAULT", "unknown", text)]
    if ours is not None and theirs is not None:
        rounding = EXACT if ours.exact and theirs.exact else SINGLE
        return _rows(ours, theirs, rounding * max(abs(theirs.mean), theirs.spread), 0.0, shape)
    calls = min(CALLS, ceil(SAMPLES / prod(shape)))
    try:
        draws = [_drawn(initializer, shape, seed + k) for k in range(1, 1 + calls)]
    except CAUGHT as failure:  # it fails for some draws only
        return [], [_finding("values", "FAULT", "exception", located(failure).what)]
    if any(not is_real(draw) or draw.shape != shape or not np.isfinite(draw).all() for draw in draws):
        text = f"some of {calls} draws are no finite numbers of shape {shape}"
        return [], [_finding("values", "FAULT", "not-finite", text)]
    a = np.concatenate([draw.ravel() for draw in draws]).astype(float)
    b = np.concatenate([_drawn_in_torch(torch_initializer, shape, seed + k).ravel() for k in range(1, 1 + calls)])
    sampled = _described(a, ours), _described(b, theirs)
    error, spread_error = SIGMAS * sqrt((a.var() + b.var()) / len(a)), _spread_error(a, b)
    alike = abs(a.mean() - b.mean()) <= error and abs(a.std() - b.std()) <= spread_error
    both = (np.sort(a), np.sort(b)) if alike else (_standardised(a), _standardised(b))
    distance = _distance(*both) / sqrt(log(2 / 1e-9) / len(a))
    return _rows(*sampled, error, distance, shape, samples=len(a), spread_error=spread_error)


def _values(own: np.ndarray, torchs: np.ndarray) -> tuple[list[Row], list[Finding]]:
    """Weights that are the same at every call on both sides, entry by entry."""
    apart = np.abs(own - torchs)
    at = index_of(int(apart.argmax()), own.shape)
    allowed = SINGLE * float(np.max(np.abs(torchs)))
    verdict = "OK" if apart[at] <= allowed else "FAULT"
    rho = (float(apart[at] / allowed) if allowed else np.inf) if apart[at] else 0.0
    mine, other = float(own[at]), float(torchs[at])
    row = Row(1, "forward", "values", "", own.shape, float(apart[at]), at, mine, other, rho, "bound", verdict)
    text = f"at {at}: by hand {mine:.7g}, torch {other:.7g}, at every call"
    return [row], [] if verdict == "OK" else [_finding("values", "FAULT", "unknown", text)]


def _draws(shape: tuple[int, ...], seed: int) -> dict[str, list[np.ndarray]]:
    """The draws that an initialiser by hand can be linear in, by family."""
    legacy = np.random.RandomState(seed)  # what np.random.randn draws after np.random.seed
    normal = [np.random.default_rng(seed).standard_normal(shape), legacy.standard_normal(shape)]
    legacy.seed(seed)
    return {"normal": normal, "uniform": [np.random.default_rng(seed).random(shape), legacy.random_sample(shape)]}


def _draws_in_torch(shape: tuple[int, ...], seed: int) -> dict[str, list[np.ndarray]]:
    """The draws that torch's initialisers can be linear in, by family."""
    found = {}
    for family, fill in (("normal", torch.Tensor.normal_), ("uniform", torch.Tensor.uniform_)):
        torch.manual_seed(seed)
        found[family] = [np.asarray(to_array(fill(torch.empty(shape, dtype=torch.float64))))]
    return found


def _linear_throughout(
    drawn: Callable[[tuple[int, ...], int], np.ndarray],
    draws: Callable[[tuple[int, ...], int], dict[str, list[np.ndarray]]],
    shape: tuple[int, ...],
    seed: int,
) -> _Described | None:
    """Mean and spread of weights that are a + s D of every draw, of so many that what is rare shows, as clipping."""
    found: list[_Described] = []
    for k in range(1, 1 + ceil(SEEN / prod(shape)) + (prod(shape) <= MANY)):
        try:
            weights = drawn(shape, seed + k)
        except CAUGHT:  # it fails for some draws only
            return None
        linear = _linear(weights, draws(shape, seed + k)) if is_real(weights) and weights.shape == shape else None
        if linear is None:
            return None
        found.append(linear)
    first, near = found[0], SINGLE * max(abs(found[0].mean), found[0].spread)
    same = (
        each.family == first.family and max(abs(each.mean - first.mean), abs(each.spread - first.spread)) <= near
        for each in found
    )
    return first if all(same) else None


def _linear(weights: np.ndarray, draws: dict[str, list[np.ndarray]]) -> _Described | None:
    """Mean and spread of weights that are a + s D of one of the draws, exactly; None if they are of none."""
    W = weights.astype(np.float64).ravel()
    if len(W) < 3:
        return None  # two numbers are linear in any draw
    if np.ptp(W) == 0:
        return _Described("constant", float(W[0]), 0.0, exact=True)
    for family, candidates in draws.items():
        for draw in candidates:
            D = draw.ravel()
            centred = D - D.mean()
            s = float(np.vdot(centred, W - W.mean()) / np.vdot(centred, centred))
            a = float(W.mean() - s * D.mean())
            single = weights.dtype == np.float32
            if np.max(np.abs(a + s * D - W)) <= (SINGLE if single else EXACT) * np.max(np.abs(W)):
                mean, spread = (a, abs(s)) if family == "normal" else (a + s / 2, abs(s) / sqrt(12))
                return _Described(family, mean, spread, exact=not single)
    return None


def _described(sample: np.ndarray, known: _Described | None) -> _Described:
    """What is known exactly, or a sample's mean and spread."""
    if known is not None:
        return known
    return _Described("neither normal nor uniform", float(sample.mean()), float(sample.std()), exact=False)


def _standardised(sample: np.ndarray) -> np.ndarray:
    spread = sample.std()
    return np.sort((sample - sample.mean()) / spread) if spread else np.zeros(len(sample))


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    """The two-sample Kolmogorov-Smirnov distance of two sorted samples."""
    both = np.concatenate([a, b])
    return float(
        np.max(np.abs(np.searchsorted(a, both, "right") / len(a) - np.searchsorted(b, both, "right") / len(b)))
    )


def _spread_error(a: np.ndarray, b: np.ndarray) -> float:
    """How far two samples' spreads may be apart by chance: each is off by s sqrt((kurtosis - 1)/(4 n))."""
    variance = 0.0
    for sample in (a, b):
        s = sample.std()
        kurtosis = float(np.mean(((sample - sample.mean()) / s) ** 4)) if s else 1.0
        variance += s**2 * (kurtosis - 1) / (4 * len(sample))
    return SIGMAS * sqrt(variance)


def _rows(
    ours: _Described,
    theirs: _Described,
    error: float,
    distance: float,
    shape: tuple[int, ...],
    *,
    samples: int = 0,
    spread_error: float | None = None,
) -> tuple[list[Row], list[Finding]]:
    """The rows on family, mean and spread, and what is wrong about them, the family first."""
    basis = "samples" if samples else "bound"
    same = ours.family == theirs.family if not samples else distance <= 1
    allowed = {"mean": error, "spread": error if spread_error is None else spread_error}
    rows, findings = [], []
    family = Row(1, "forward", "family", "", shape, 0.0, rho=distance if samples else 0.0, rho_basis=basis)
    rows.append(
        family if same else Row(1, "forward", "family", "", shape, 1.0, rho=np.inf, rho_basis=basis, verdict="FAULT")
    )
    if not same:
        text = f"by hand the weights are {ours.family}, in torch {theirs.family}"
        text += f"; the distributions differ in {samples} samples" if samples else ""
        findings.append(_finding("family", "FAULT", "initializer-family", text))
    for name in ("mean", "spread"):
        mine, other = getattr(ours, name), getattr(theirs, name)
        apart = abs(mine - other)
        rho = 0.0 if apart == 0 else apart / allowed[name] if allowed[name] else np.inf
        verdict = "OK" if rho <= 1 else "FAULT"
        rows.append(Row(1, "forward", name, "", shape, apart, (), mine, other, rho, basis, verdict))
        if verdict == "FAULT":
            findings.append(_spread(mine, other, shape) if name == "spread" else _mean(mine, other))
    return rows, findings


def _mean(mine: float, other: float) -> Finding:
    return _finding("mean", "FAULT", "initializer-family", f"by hand the mean is {mine:.7g}, in torch {other:.7g}")


def _spread(mine: float, other: float, shape: tuple[int, ...]) -> Finding:
    """A wrong standard deviation, with the factor and the formulas that give both."""
    text = f"by hand the standard deviation is {mine:.7g}{_formula(mine, shape)}"
    text += f", in torch {other:.7g}{_formula(other, shape)}"
    if not mine or not other:
        return _finding("spread", "FAULT", "zero" if not mine else "unknown", text)
    return replace(
        _finding("spread", "FAULT", "initializer-scale", f"{mine / other:.7g} times torch's; {text}"),
        factor=mine / other,
    )


def _formula(value: float, shape: tuple[int, ...]) -> str:
    """The usual formulas that give a standard deviation, in the sizes of a matrix."""
    if len(shape) != 2:
        return ""
    sizes = {"shape[0]": shape[0], "shape[1]": shape[1], "(shape[0] + shape[1])": sum(shape)}
    found = []
    for (size, n), c in product(sizes.items(), (1, 2)):
        forms = {f"sqrt({c}/{size})": sqrt(c / n), f"{c}/{size}": c / n, f"sqrt({c}/(3 {size}))": sqrt(c / n / 3)}
        found += [form for form, spread in forms.items() if abs(spread - value) <= 1e-6 * value]
    return f" = {' or '.join(found)}" if found else ""


def _finding(name: str, verdict: str, cause: str, text: str) -> Finding:
    return Finding(1, "forward", name, "", verdict, cause, text)


def _blind_spots(shape: tuple[int, ...], *, by_samples: bool) -> tuple[str, ...]:
    square = len(shape) == 2 and shape[0] == shape[1]
    return tuple(
        text
        for applies, text in (
            (square, "fan-in taken for fan-out (the shape is square; use sizes that differ)"),
            (by_samples, "a mean or spread less than about 3 % off (the weights are not linear in one draw)"),
            (by_samples, "how the weights depend on each other (their distribution alone is compared)"),
        )
        if applies
    )
