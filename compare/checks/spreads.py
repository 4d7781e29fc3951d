"""The usual formulas of the spread of initial weights, and which calls of torch have them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from math import prod, sqrt

from handgrad.compare.checks.distributions import UNKNOWN, Distribution
from handgrad.compare.checks.laws import ORTHOGONAL
from handgrad.compare.facts.causes import Cause
from handgrad.compare.facts.failures import ZeroSpread
from handgrad.compare.facts.weights import InitializerFamily, InitializerScale
from handgrad.compare.thresholds import FINE_SPREAD, MOST_INPUTS, NEAR_CUT, SAME_FORMULA

# Factors of a formula: the gains of torch and their squares. Those that the plain formulas do not hold.
GAINS = {
    "5/3": 5 / 3,
    "(5/3)^2": 25 / 9,
    "3/4": 3 / 4,
    "(3/4)^2": 9 / 16,
    "sqrt(2/(1 + 0.01^2))": sqrt(2 / 1.0001),
    "2/(1 + 0.01^2)": 2 / 1.0001,
}
OF_ORTHOGONAL = {"1": 1.0, "sqrt(2)": sqrt(2), "2": 2.0, "sqrt(1/2)": sqrt(0.5), "1/2": 0.5, **GAINS}

# What torch calls a formula, of normal or uniform weights.
CALLS = {
    "sqrt(2/fan_in)": "kaiming_{}_(nonlinearity='relu')",
    "sqrt(2/fan_out)": "kaiming_{}_(mode='fan_out', nonlinearity='relu')",
    "sqrt(1/fan_in)": "kaiming_{}_(nonlinearity='linear')",
    "sqrt(1/fan_out)": "kaiming_{}_(mode='fan_out', nonlinearity='linear')",
    "sqrt(2/(fan_in + fan_out))": "xavier_{}_()",
    "5/3 sqrt(1/fan_in)": "kaiming_{}_(nonlinearity='tanh')",
    "3/4 sqrt(1/fan_in)": "kaiming_{}_(nonlinearity='selu')",
    "5/3 sqrt(2/(fan_in + fan_out))": "xavier_{}_(gain=5/3)",
    "sqrt(1/(3 fan_in))": "kaiming_{}_(a=sqrt(5))",
    "sqrt(1/(3 fan_out))": "kaiming_{}_(a=sqrt(5), mode='fan_out')",
}
DEFAULTS = {
    "sqrt(1/(3 fan_in))": "kaiming_uniform_(a=sqrt(5)), nn.Linear's default",
    "sqrt(4/(3 shape[0]))": "nn.LSTM's default",
}


def cause_of_family(ours: Distribution, torchs: Distribution, shape: tuple[int, ...], samples: int) -> Cause:
    """Which laws both sides follow, and what becomes of the spread where one is a cut normal."""
    if ours.family == torchs.family:  # the samples say otherwise
        return InitializerFamily(UNKNOWN, UNKNOWN, samples)
    by_hand, in_torch = (calls(side, formulas(side, shape), shape) for side in (ours, torchs))
    cut = ""
    if torchs.family == "normal" and ours.parent:
        before = {"rescaled": ours.spread, "not-rescaled": ours.parent}
        cut = next((how for how, spread in before.items() if _same(ours, torchs, spread / torchs.spread)), "")
    return InitializerFamily(ours.family, torchs.family, samples, by_hand, in_torch, cut)


def cause_of_spread(ours: Distribution, torchs: Distribution, shape: tuple[int, ...]) -> Cause:
    """The two spreads, their ratio and the formulas that they are."""
    if not ours.spread or not torchs.spread:
        return ZeroSpread(ours.spread, torchs.spread)
    factor = ours.spread / torchs.spread
    by_hand, in_torch = (formulas(side, shape) for side in (ours, torchs))
    called = calls(ours, by_hand, shape), calls(torchs, in_torch, shape)
    rescaled = ""
    if ours.family == torchs.family and ours.parent:
        left = ours.spread / ours.parent
        made_up = {"by hand": factor * left, "in torch": factor / left}
        rescaled = next((side for side, ratio in made_up.items() if _same(ours, torchs, ratio)), "")
    return InitializerScale(factor, ours.spread, torchs.spread, by_hand, in_torch, *called, rescaled)


def _same(ours: Distribution, torchs: Distribution, ratio: float) -> bool:
    off = ours.off + torchs.off
    return off <= NEAR_CUT and abs(ratio - 1) <= off


def formulas(weights: Distribution, shape: tuple[int, ...]) -> tuple[str, ...]:
    """The usual formulas that give the standard deviation, in sizes and fans; with a gain if none else does."""
    if weights.off > FINE_SPREAD or not weights.spread or abs(weights.spread - 1) <= weights.off:
        return ()  # 1 is no formula, and many give it by chance
    if weights.family.startswith(ORTHOGONAL):
        length = sqrt(max(shape[0], prod(shape[1:])))
        return _near(weights, {f"gain {told}": gain / length for told, gain in OF_ORTHOGONAL.items()})
    plain, of_bounds = dict(_usual(shape)), dict(_of_bounds(shape))
    if weights.family == "uniform":
        plain, of_bounds = plain | of_bounds | _of_defaults(weights.spread, shape), {}
    scaled = {f"{told} {form}": gain * value for (told, gain), (form, value) in product(GAINS.items(), plain.items())}
    found = next(filter(None, (_near(weights, forms) for forms in (plain, of_bounds, scaled))), ())
    if found or not weights.parent:
        return found
    left = weights.spread / weights.parent
    return tuple(f"{left:.4g} {form}" for form in formulas(weights._replace(spread=weights.parent, parent=0.0), shape))


def calls(weights: Distribution, told: tuple[str, ...], shape: tuple[int, ...]) -> tuple[str, ...]:
    """What in torch draws weights of one of these formulas in this shape."""
    if weights.off > FINE_SPREAD or abs(weights.mean) > weights.off * weights.spread:
        return ()
    named = {"normal": CALLS, "uniform": CALLS | DEFAULTS}.get(weights.family, {})
    if weights.family == "normal" and abs(weights.spread - 1) <= weights.off:
        return ("normal_(), nn.Embedding's default",)
    if len(shape) == 1 and told:
        return ("nn.Linear's default bias",)
    found = {_in_sizes(form, shape): call.format(weights.family) for form, call in named.items()}
    return tuple(found[form] for form in told if form in found)


def _in_sizes(form: str, shape: tuple[int, ...]) -> str:
    """A formula as `_sizes` has it: a matrix has no kernel, and its fans are its sizes."""
    if len(shape) > 2:
        return form
    form = form.replace("fan_in + fan_out", "shape[0] + shape[1]")
    return form.replace("fan_in", "shape[1]").replace("fan_out", "shape[0]")


def _near(weights: Distribution, usual: Mapping[str, float]) -> tuple[str, ...]:
    return tuple(form for form, value in usual.items() if abs(value / weights.spread - 1) <= weights.off)


def _sizes(shape: tuple[int, ...]) -> dict[str, int]:
    if len(shape) < 2:
        return {}
    sizes = {"shape[0]": shape[0], "shape[1]": shape[1], "(shape[0] + shape[1])": sum(shape[:2])}
    if len(shape) == 2:
        return sizes
    kernel = prod(shape[2:])
    fans = {"fan_out": shape[0] * kernel, "fan_in": shape[1] * kernel, "(fan_in + fan_out)": sum(shape[:2]) * kernel}
    return fans | sizes | {"size": prod(shape)}


def _of_defaults(spread: float, shape: tuple[int, ...]) -> dict[str, float]:
    """Those of torch's layers that are uniform: a bias and four gates, within 1/sqrt(n) for n inputs."""
    if len(shape) > 1:
        return {"sqrt(4/(3 shape[0]))": sqrt(4 / shape[0] / 3)} if len(shape) == 2 else {}
    bound = sqrt(3) * spread
    inputs = round(1 / bound**2) if MOST_INPUTS**-0.5 <= bound <= 1 else 0
    is_written = abs(100 * bound - round(100 * bound)) <= SAME_FORMULA  # as 0.1, which is 1/sqrt(100)
    return {f"sqrt(1/(3 * {inputs}))": sqrt(1 / (3 * inputs))} if inputs and not is_written else {}


def _usual(shape: tuple[int, ...]) -> Iterator[tuple[str, float]]:
    for (size, n), c in product(_sizes(shape).items(), (1, 2)):
        yield f"sqrt({c}/{size})", sqrt(c / n)
        yield f"{c}/{size}", c / n
    for size, n in _sizes(shape).items():
        yield f"sqrt(4/{size})", sqrt(4 / n)  # the gain of ReLU is there twice


def _of_bounds(shape: tuple[int, ...]) -> Iterator[tuple[str, float]]:
    """Those of uniform weights within plus or minus sqrt(c/n), or c/n."""
    for (size, n), c in product(_sizes(shape).items(), (1, 2)):
        yield f"sqrt({c}/(3 {size}))", sqrt(c / n / 3)
        yield f"{c}/({size} sqrt(3))", c / n / sqrt(3)
