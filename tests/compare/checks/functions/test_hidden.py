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
    assert "float32 build" in report.blind_spots[0].remedy
    report = check_function(tiny, tiny, (1e-3 * torch.randn(5, 7),))
    assert codes(report) == ["step-hidden"]
    assert "float64 build" in report.blind_spots[0].remedy, "it is a float32 build"


def test_a_number_that_moves_nothing():
    def tiny(x):
        return x + 1e-9 * x.sum().sin()

    report = check_function(tiny, tiny, (torch.randn(5, 7).to(torch.bfloat16),))
    assert codes(report) == ["step-hidden"]


def test_the_exponentials_of_a_softmax_are_not_hidden_although_a_factor_of_them_is():
    def attention(q, k, v):
        return torch.nn.functional.scaled_dot_product_attention(q, k, v)

    drawn = torch.Generator().manual_seed(3)
    q, k, v = (torch.randn(2, 3, 7, 5, generator=drawn) for _ in range(3))
    assert codes(check_function(attention, attention, (q, k, v))) == []
