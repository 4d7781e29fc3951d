"""The slope of a function of one number, and the error that is claimed for it."""

import math
from functools import partial

import numpy as np
import pytest

from handgrad.compare.pipeline.finite_differences import slope

SMOOTH = {
    "a line": (lambda w: 3 * w + 1, 0.5, 3.0),
    "a parabola": (lambda w: w * w, -2.0, -4.0),
    "exp": (math.exp, 1.0, math.e),
    "a large number": (lambda w: w * w, 1e6, 2e6),
    "near the border of its domain": (lambda w: math.log(w) if w > 0 else math.nan, 1e-6, 1e6),
    "a constant": (lambda w: 7.0, 1.0, 0.0),
}


@pytest.mark.parametrize(("cost", "w", "derivative"), SMOOTH.values(), ids=SMOOTH)
def test_a_smooth_cost_has_the_slope_of_its_derivative_within_the_error(cost, w, derivative):
    value, error, kink, _ = slope(cost, w)
    assert not kink
    assert abs(value - derivative) <= error
    assert error <= 1e-4 * max(1.0, abs(derivative))


@pytest.mark.parametrize("w", [0.0, 2.0])
def test_a_kink_has_no_slope(w):
    assert slope(lambda value: abs(value - w) + value, w).kink


def test_a_bend_that_shrinks_is_no_kink():
    assert not slope(lambda w: math.sqrt(w * w + 1e-6), 0.0).kink


def test_cancellation_is_no_kink():
    def variance(w):
        z = w * np.arange(9.0) + 1e6
        return float((z * z).mean() - z.mean() ** 2)

    assert not slope(variance, 0.3).kink


UNSURE = {
    "steps of the size of the difference": lambda w: round(w * 2**14) / 2**14,
    "steps wider than every difference": lambda w: round(w * 50) / 50,
    "float32 inside": lambda w: float(np.float32(w) * np.float32(1.1)),
    "nothing further off": lambda w: w if abs(w - 1) < 1e-4 / 3 else math.nan,
}


@pytest.mark.parametrize("cost", UNSURE.values(), ids=UNSURE)
def test_a_cost_that_has_lost_its_digits_has_a_large_error(cost):
    assert slope(cost, 1.0).error > 1e-3


def test_a_cost_without_values_nearby_has_no_slope():
    assert math.isnan(slope(lambda w: 1.0 if w == 1 else math.nan, 1.0).value)


def logistic(steps, r):
    """The logistic map from 0.3: a hundred times as far apart after ten steps."""
    x = 0.3
    for _ in range(steps):
        x = r * x * (1 - x)
    return x


SAYS_NOTHING = {
    **{f"{steps} steps of a logistic map": partial(logistic, steps) for steps in (40, 50, 60, 200)},
    "a sine of steps that are too long": lambda w: math.sin(1e7 * w),
    **{name: UNSURE[name] for name in UNSURE if name.startswith("steps")},
}


@pytest.mark.parametrize("cost", SAYS_NOTHING.values(), ids=SAYS_NOTHING)
@pytest.mark.parametrize("beside", [1e-3, 1.0, 1e12])
def test_a_slope_that_its_error_covers_or_that_depends_on_the_step_tells_nothing(cost, beside):
    assert not slope(cost, 1.0 if cost in UNSURE.values() else 3.9).tells(beside)


@pytest.mark.parametrize(("cost", "w", "derivative"), SMOOTH.values(), ids=SMOOTH)
def test_the_slope_of_a_smooth_cost_tells_something_also_where_it_is_0(cost, w, derivative):
    assert slope(cost, w).tells(max(1.0, derivative))


@pytest.mark.parametrize("cost", [lambda w: 5 + (w - 1) ** 3, lambda w: math.exp((w - 1) ** 3)])
def test_a_slope_of_0_tells_something_against_a_gradient_that_is_not(cost):
    estimate = slope(cost, 1.0)
    assert estimate.tells(1.0)
    assert not estimate.tells(1e-15)
