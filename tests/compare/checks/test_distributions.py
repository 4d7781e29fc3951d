"""What is known of weights as a distribution."""

import numpy as np
import pytest

from handgrad.compare.checks.distributions import Distribution, linear_in, near, of_samples

D = np.random.default_rng(0).standard_normal((4, 5))
U = np.random.default_rng(0).random((4, 5))
DRAWS = {"normal": [np.zeros((4, 5)) + np.arange(5.0), D], "uniform": [U]}

LINEAR = {
    "normal": (0.5 + 2 * D, "normal", 0.5, 2.0, True),
    "mirrored": (-D, "normal", 0.0, 1.0, True),
    "uniform": (1 + 3 * U, "uniform", 2.5, 3 / np.sqrt(12), True),
    "float32": (np.float32(2 * D), "normal", 0.0, 2.0, False),
    "constant": (np.full((4, 5), 7.0), "constant", 7.0, 0.0, True),
}


@pytest.mark.parametrize(("weights", "family", "mean", "spread", "is_exact"), LINEAR.values(), ids=LINEAR)
def test_mean_and_spread_of_what_is_linear_in_a_draw_are_exact(weights, family, mean, spread, is_exact):
    found = linear_in(weights, DRAWS)
    assert (found.family, found.exact) == (family, is_exact)
    assert (found.mean, found.spread) == pytest.approx((mean, spread), rel=1e-6, abs=1e-6)


def test_what_is_linear_in_no_draw_is_not_known():
    assert linear_in(np.clip(D, -1, 1), DRAWS) is None
    assert linear_in(D[0, :2], {"normal": [D[1, :2]]}) is None


def test_distributions_are_near_but_for_rounding_to_float32():
    first = Distribution("normal", 0.0, 1.0, exact=True)
    assert near(first, first._replace(spread=1 + 1e-7))
    assert not near(first, first._replace(spread=1 + 1e-6))
    assert not near(first, first._replace(family="uniform"))


def test_samples_of_one_distribution_are_not_apart():
    a, b = np.random.default_rng(1).standard_normal((2, 500, 4, 5))
    first, second, apart, furthest = of_samples(a, b)
    assert apart.samples == 10**4
    assert abs(furthest.by_hand - furthest.torch) <= furthest.allowed
    assert apart.distance <= 1
    assert abs(first.mean - second.mean) <= apart.mean
    assert abs(first.spread - second.spread) <= apart.spread


def test_a_scale_is_no_other_family_and_a_shape_is():
    a, b = np.random.default_rng(1).standard_normal((2, 500, 4, 5))
    first, second, apart, furthest = of_samples(a, 2 * b)
    assert apart.distance <= 1
    assert abs(first.spread - second.spread) > apart.spread
    assert abs(furthest.by_hand - furthest.torch) <= furthest.allowed
    assert of_samples(a, np.sign(b))[2].distance > 1


FURTHEST = {
    "an entry's mean": (lambda x: x + 3 * (np.arange(20).reshape(4, 5) == 7), ("mean", "entry", 7)),
    "a row's mean": (lambda x: x + np.array([[0], [0], [2], [0]]), ("mean", "row", 2)),
    "an entry's spread": (lambda x: x * (1 + 3 * (np.arange(20).reshape(4, 5) == 7)), ("variance", "entry", 7)),
    "a column of zeros": (lambda x: x * [1, 0, 1, 1, 1], ("share of zeros", "column", 1)),
    "the diagonal": (lambda x: x + np.eye(4, 5), ("mean", "the diagonal", 0)),
    "equal lengths": (
        lambda x: x / np.linalg.norm(x, axis=2, keepdims=True),
        ("unevenness of the rows by variance", "", 0),
    ),
}


@pytest.mark.parametrize(("change", "found"), FURTHEST.values(), ids=FURTHEST)
def test_what_differs_most_is_found_at_its_place(change, found):
    a, b = np.random.default_rng(2).standard_normal((2, 500, 4, 5))
    furthest = of_samples(change(a), b)[3]
    assert furthest[:3] == found
    assert abs(furthest.by_hand - furthest.torch) > furthest.allowed


def test_an_orthogonal_matrix_of_another_scale_stays_orthogonal():
    a, b = np.linalg.qr(np.random.default_rng(4).standard_normal((2, 300, 6, 4)))[0]
    furthest = of_samples(2 * a, b)[3]
    assert abs(furthest.by_hand - furthest.torch) <= furthest.allowed


def test_places_that_are_constant_are_compared_exactly():
    a, b = np.random.default_rng(3).standard_normal((2, 100, 1, 50))
    b[:, 0, 7] = np.float32(0.1)
    for constant, is_same in ((0.1, True), (0.10001, False)):
        a[:, 0, 7] = constant
        furthest = of_samples(a, b)[3]
        assert (abs(furthest.by_hand - furthest.torch) <= furthest.allowed) == is_same
