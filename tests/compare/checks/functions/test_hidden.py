"""What the inputs could not have shown is listed with what would show it; and no more than that."""

import torch

from handgrad import check_function
from tests.compare.checks.functions.kernels import inputs, made, norm


def codes(report):
    return [spot.code for spot in report.blind_spots]


def test_an_epsilon_beside_ordinary_numbers():
    x, w = inputs()
    report = check_function(made(), norm, (x, w))
    assert report.ok
    assert codes(report) == ["constant-hidden"]
    small = check_function(made(), norm, (0.003 * x, w))
    assert small.ok, str(small)
    assert codes(small) == []


def test_a_count_of_many():
    def mean(x):
        return x.mean(-1)

    assert codes(check_function(mean, mean, (torch.randn(3, 2000).bfloat16(),))) == ["count-hidden"]
    assert codes(check_function(mean, mean, (torch.randn(3, 20).bfloat16(),))) == []


def test_a_step_that_moves_nothing():
    def tiny(x):
        return x + 1e-9 * x.sin()

    report = check_function(tiny, tiny, (torch.randn(5, 7).to(torch.bfloat16),))
    assert codes(report) == ["step-hidden"]
