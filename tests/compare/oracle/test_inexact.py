"""torch put right: where it is inexact, what the exact result is, and that nothing else changes."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from handgrad.compare.oracle.inexact import PutRight

X = torch.tensor([-30.0, -2.5, -0.3, 0.7, 2.9, 5.0, 24.0, 60.0], dtype=torch.float64)


def gradient(f, x):
    leaf = x.clone().requires_grad_()
    f(leaf).sum().backward()
    return leaf.grad.numpy()


def put_right(f, x):
    mode = PutRight()
    with mode:
        return gradient(f, x), (*mode.met,)


SIGMOID = 1 / (1 + np.exp(-X.numpy()))
SLOPES = {
    "softplus": (F.softplus, X, SIGMOID),
    "hardsigmoid": (F.hardsigmoid, X, np.where(abs(X.numpy()) < 3, 1 / 6, 0.0)),
    "digamma": (torch.digamma, torch.tensor([0.5, 1.0], dtype=torch.float64), np.array([np.pi**2 / 2, np.pi**2 / 6])),
}


@pytest.mark.parametrize(("f", "x", "exact"), SLOPES.values(), ids=SLOPES)
def test_an_inexact_derivative_is_put_right_and_named(f, x, exact):
    right, met = put_right(f, x)
    np.testing.assert_allclose(right, exact, rtol=1e-14)
    assert len(met) == 1
    assert abs(gradient(f, x) - exact).max() > 1e-15  # torch's own is not


def test_softplus_is_put_right_where_it_is_inexact_alone():
    with PutRight() as mode:
        value = F.softplus(X)
    np.testing.assert_allclose(value.numpy(), np.logaddexp(0, X.numpy()), rtol=1e-15)
    assert mode.met
    with PutRight() as mode:
        F.softplus(X[:5])
    assert not mode.met
    np.testing.assert_allclose(put_right(lambda x: F.softplus(x, beta=2.0), X)[0], 1 / (1 + np.exp(-2 * X.numpy())))


def test_a_constant_in_float32_is_the_decimal_that_was_meant():
    tenth = torch.tensor(0.1, dtype=torch.float32)
    mode = PutRight()
    with mode:
        scaled = X * tenth
    np.testing.assert_allclose(scaled.numpy(), X.numpy() * 0.1, rtol=1e-16)
    assert "0.1" in next(iter(mode.met))
    with PutRight() as mode:
        _ = X * torch.tensor(0.5, dtype=torch.float32)  # which float32 holds
    assert not mode.met


def test_everything_else_is_torchs_own():
    for f in (torch.tanh, torch.sigmoid, F.gelu, F.hardswish, lambda x: x.softmax(0), lambda x: x @ x):
        right, met = put_right(f, X)
        np.testing.assert_array_equal(right, gradient(f, X))
        assert not met


V = torch.tensor([1.0, 0.0, 4.0], dtype=torch.float64)
MASKED = {
    "where sqrt": (lambda v: torch.where(v > 0, torch.sqrt(v), 0.0), [0.5, 0.0, 0.25]),
    "a power": (lambda v: torch.where(v > 0, v**0.5, 0.0), [0.5, 0.0, 0.25]),
    "masked_fill": (lambda v: torch.sqrt(v).masked_fill(v <= 0, 0.0), [0.5, 0.0, 0.25]),
    "a factor between": (lambda v: torch.where(v > 0, -2 * torch.sqrt(v), 0.0), [-1.0, 0.0, -0.5]),
    "v log v": (lambda v: torch.where(v > 0, v * torch.log(v), 0.0), [1.0, 0.0, 1 + np.log(4.0)]),
}


@pytest.mark.parametrize(("f", "exact"), MASKED.values(), ids=MASKED)
def test_what_a_mask_keeps_back_is_0_also_where_the_slope_is_infinite(f, exact):
    right, met = put_right(f, V)
    np.testing.assert_allclose(right, exact, rtol=1e-14)
    assert len(met) == 1
    assert np.isnan(gradient(f, V)[1])  # in torch


@pytest.mark.parametrize(
    "f",
    [
        lambda v: torch.where(v >= 0, torch.sqrt(v) ** 2, 0.0),  # whose derivative is 1: the mask lets it through
        lambda v: torch.sqrt(v) ** 2,
        lambda v: torch.linalg.norm(v * 0) + torch.sqrt((v * 0) ** 2).sum(),
    ],
)
def test_what_no_mask_keeps_back_stays_nan(f):
    right, met = put_right(f, V)
    assert np.isnan(right).any()
    assert met == ()
