"""Which formula of its shape a spread is, and which call of torch has it."""

import numpy as np
import pytest

from handgrad.compare.checks.distributions import UNKNOWN, Distribution
from handgrad.compare.checks.spreads import calls, cause_of_family, cause_of_spread, formulas
from handgrad.compare.facts.failures import ZeroSpread

CONV, LINE, DENSE = (16, 8, 3, 3), (12, 8, 5), (30, 20)


def of(spread, family="normal", **fields):
    return Distribution(family, 0.0, spread, exact=True)._replace(**fields)


def test_formulas_are_those_of_a_matrix():
    assert formulas(of(np.sqrt(2 / 30)), (16, 30)) == ("sqrt(2/shape[1])",)
    assert formulas(of(np.sqrt(1 / 8)), (8, 8)) == (
        "sqrt(1/shape[0])",
        "sqrt(1/shape[1])",
        "sqrt(2/(shape[0] + shape[1]))",
    )
    assert formulas(of(0.123), (16, 30)) == ()
    assert formulas(of(0.5), (4,)) == ()


def test_the_fans_of_a_convolution_have_formulas():
    assert formulas(of((2 / (8 * 9)) ** 0.5), CONV)[0] == "sqrt(2/fan_in)"
    assert "sqrt(2/fan_out)" in formulas(of((2 / (12 * 5)) ** 0.5), LINE)
    assert "sqrt(2/(fan_in + fan_out))" in formulas(of((2 / (24 * 9)) ** 0.5), CONV)
    assert "sqrt(1/shape[1])" in formulas(of((1 / 8) ** 0.5), CONV)
    assert formulas(of(0.123), CONV) == ()


def test_gains_and_their_squares_have_formulas():
    assert formulas(of(5 / 3 * (2 / 50) ** 0.5), DENSE) == ("5/3 sqrt(2/(shape[0] + shape[1]))",)
    assert formulas(of(25 / 9 * (2 / 50) ** 0.5), DENSE) == ("(5/3)^2 sqrt(2/(shape[0] + shape[1]))",)
    assert formulas(of(2 * (1 / 20) ** 0.5), DENSE) == ("sqrt(4/shape[1])",)
    assert formulas(of(2 * 30**-0.5, "orthogonal"), DENSE) == ("gain 2",)
    assert formulas(of(5 / 3 * 72**-0.5, "orthogonal along the last axis"), CONV) == ("gain 5/3",)


def test_a_cut_normal_has_the_formula_of_what_was_cut():
    assert formulas(of(0.9 * 0.1**0.5, parent=0.1**0.5), DENSE) == ("0.9 sqrt(2/shape[1])",)
    assert formulas(of(0.1**0.5, parent=0.4), DENSE) == ("sqrt(2/shape[1])",)


@pytest.mark.parametrize("off", [0.005, np.inf])
def test_a_spread_that_is_not_known_well_has_no_formula(off):
    assert formulas(of((2 / 20) ** 0.5, off=off), DENSE) == ()


CALLED = {
    "He's": (of((2 / 20) ** 0.5), DENSE, "kaiming_normal_(nonlinearity='relu')"),
    "He's, uniform": (of((2 / 72) ** 0.5, "uniform"), CONV, "kaiming_uniform_(nonlinearity='relu')"),
    "Glorot's": (of((2 / 50) ** 0.5), DENSE, "xavier_normal_()"),
    "nn.Linear": (of((1 / 60) ** 0.5, "uniform"), DENSE, "kaiming_uniform_(a=sqrt(5)), nn.Linear's default"),
    "nn.Conv2d": (of((1 / 216) ** 0.5, "uniform"), CONV, "kaiming_uniform_(a=sqrt(5)), nn.Linear's default"),
    "a bias": (of((1 / 60) ** 0.5, "uniform"), (30,), "nn.Linear's default bias"),
    "nn.LSTM": (of((1 / 15) ** 0.5, "uniform"), (20, 7), "nn.LSTM's default"),
    "nn.Embedding": (of(1.0), (50, 7), "normal_(), nn.Embedding's default"),
}


@pytest.mark.parametrize(("weights", "shape", "call"), CALLED.values(), ids=CALLED)
def test_torchs_own_initialisers_are_called_by_name(weights, shape, call):
    assert calls(weights, formulas(weights, shape), shape) == (call,)


@pytest.mark.parametrize(
    ("weights", "shape"),
    [
        (of((1 / 60) ** 0.5), (30,)),  # a bias is uniform
        (of(0.1 / 3**0.5, "uniform"), (30,)),  # a bound of 0.1, as it is written
        (of(0.123 / 3**0.5, "uniform"), (30,)),
        (of((2 / 20) ** 0.5, "normal, cut at 2 deviations"), DENSE),
        (of(1.0, UNKNOWN), DENSE),
        (of((2 / 20) ** 0.5, mean=0.01), DENSE),
        (of(1.001, off=0.005), DENSE),
    ],
)
def test_what_torch_does_not_draw_is_not_called_so(weights, shape):
    assert calls(weights, formulas(weights, shape), shape) == ()


def test_what_becomes_of_a_cut():
    normal, cut = of(0.2), of(0.2, "normal, cut at 2 deviations", parent=0.25)
    assert cause_of_family(cut, normal, DENSE, 9).cut == "rescaled"
    assert cause_of_family(cut, of(0.25), DENSE, 9).cut == "not-rescaled"
    assert cause_of_family(cut, of(0.21), DENSE, 9).cut == ""
    assert cause_of_family(normal, cut, DENSE, 9).cut == ""
    narrow = of(0.16, cut.family, parent=0.2)
    assert cause_of_spread(cut, narrow, DENSE).rescaled == "by hand"
    assert cause_of_spread(narrow, cut, DENSE).rescaled == "in torch"
    assert cause_of_spread(cut, of(0.17, cut.family, parent=0.2125), DENSE).rescaled == ""


def test_samples_that_differ_by_no_law_have_none():
    cause = cause_of_family(of(1.0), of(1.0), DENSE, 9)
    assert (cause.by_hand, cause.torch) == (UNKNOWN, UNKNOWN)
    assert cause_of_spread(of(0.0), of(1.0), DENSE) == ZeroSpread(0.0, 1.0)
