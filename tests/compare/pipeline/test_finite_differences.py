"""The slope of a function of one number, and the error that is claimed for it."""

import math

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
    value, error, kink = slope(cost, w)
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
