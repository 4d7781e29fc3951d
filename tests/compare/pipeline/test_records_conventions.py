"""dZ without the 1/n of the mean, which then stands in dW and db: a convention if it is one throughout."""

from functools import partial

import numpy as np
import pytest
import torch

from handgrad import check_gradients, tap
from handgrad.compare.facts.causes import Scaled, WrongSign
from handgrad.compare.facts.remarks import MeanLeftOut
from handgrad.compare.facts.updates import Reversed
from tests.corpus.layers import CLASSIC, LINEAR, Layer, classic, linear

OF_SIX = MeanLeftOut("6")


def is_read_as_a_convention(report):
    return any(isinstance(note, MeanLeftOut) for note in report.notes)


def test_dZ_without_the_mean_is_a_note():
    report = check_gradients(*CLASSIC)
    assert (report.findings, report.notes) == ((), (OF_SIX,)), str(report)


# --- a mistake beside it

IN_THE_CLASSIC = {  # what is wrong, and the cause; a factor of two entries is known but not named
    "dW2": (lambda dW2: 1.5 * dW2, (Scaled, 1.5)),
    "dA1": (lambda dA1: 1.1 * dA1, (Scaled, 1.1)),
    "dW1": (lambda dW1: dW1[::-1], (Reversed, None)),
    "db1": (lambda db1: -db1, (WrongSign, -1.0)),
}


@pytest.mark.parametrize("name", IN_THE_CLASSIC)
def test_a_mistake_beside_dZ_without_the_mean_is_the_only_finding(name):
    change, (kind, factor) = IN_THE_CLASSIC[name]
    report = check_gradients(*CLASSIC.returning(**{name: lambda records: change(records[name])}))
    (finding,) = report.findings
    assert (finding.where.name, type(finding.cause)) == (name, kind), str(report)
    assert finding.factor == (factor and pytest.approx(factor))
    assert report.notes[0] == OF_SIX


def test_of_two_entries_the_factor_is_not_named():
    report = check_gradients(*CLASSIC.scaled("db2", 6))
    (finding,) = report.findings
    assert (finding.where.name, finding.cause.code, finding.cause.too_few) == ("db2", "unknown", True)
    assert report.notes[0] == OF_SIX


@pytest.mark.parametrize("factor", [1.001, 0.999, 6.0])
def test_a_weight_gradient_a_little_or_much_off_is_named_where_dZ_has_no_mean(factor):
    layer = LINEAR._replace(derivation=partial(linear, over=1)).scaled("dW", factor)
    (finding,) = check_gradients(*layer).findings
    assert (finding.where.name, type(finding.cause)) == ("dW", Scaled)
    assert finding.factor == pytest.approx(factor)


@pytest.mark.parametrize("factor", [1.0, 1 / 6], ids=["dX without the mean", "dX with it"])
def test_the_gradient_of_an_input_may_lack_the_mean_too(factor):
    report = check_gradients(*LINEAR._replace(derivation=partial(linear, over=1)).scaled("dX", factor))
    assert (report.findings, report.notes) == ((), (OF_SIX,)), str(report)


# --- no convention


def test_one_gradient_that_lacks_the_mean_among_others_that_have_it_is_no_convention():
    layer = CLASSIC.scaled("dA1", 1 / 6).scaled("dZ1", 1 / 6)
    (finding,) = check_gradients(*layer).findings
    assert (finding.where.name, type(finding.cause), finding.factor) == ("dZ2", Scaled, 6.0)


@pytest.mark.parametrize("rest", [("dW2", "db2", "dW1", "db1"), ("dW2", "db2", "dW1")], ids=" ".join)
def test_a_mean_that_is_left_out_everywhere_is_no_convention(rest):
    """With dW and db in the same way too large, or all but one of them, it is dZ2 that is wrong."""
    layer = CLASSIC
    for name in rest:
        layer = layer.scaled(name, 6)
    report = check_gradients(*layer)
    first = report.first
    assert (first.where.name, type(first.cause), first.factor) == ("dZ2", Scaled, 6.0), str(report)
    assert not is_read_as_a_convention(report)


def batch_norm(p, X, G):
    spread = np.sqrt(X.var(0) + 1e-5)
    xh = (X - X.mean(0)) / spread
    dxh = G * p["gamma"]
    dX = (dxh - dxh.mean(0) - xh * (dxh * xh).mean(0)) / spread
    J = ((xh * p["gamma"] + p["beta"]) * G).sum()
    return {"J": J, "dgamma": (G * xh).sum(0), "dbeta": G.sum(0), "dX": dX}


@pytest.mark.parametrize("reduced", [torch.sum, torch.mean])
@pytest.mark.parametrize("factor", [5, 8, 40], ids=str)
def test_an_input_gradient_alone_is_no_convention(factor, reduced):
    """The 1/n forgotten in batch normalisation: too large by the number of examples, of features, or both."""
    rng = np.random.default_rng(8)
    over = 1 if reduced is torch.sum else 40

    def reference(p, X, G):
        return reduced(torch.nn.functional.batch_norm(X, None, None, p["gamma"], p["beta"], training=True) * G)

    def derive(p, X, G):
        return {name: value / over for name, value in batch_norm(p, X, G).items()}

    params = {"gamma": rng.uniform(0.5, 2, 5), "beta": rng.standard_normal(5)}
    layer = Layer(derive, reference, params, (rng.standard_normal((8, 5)), rng.standard_normal((8, 5))))
    first = check_gradients(*layer.scaled("dX", factor)).first
    assert (first.where.name, type(first.cause)) == ("dX", Scaled)
    assert first.factor == pytest.approx(factor)


def squared(over):
    """J is the sum over examples of a sum over outputs, divided by `over` of X; dZ and dW with the same."""
    rng = np.random.default_rng(8)

    def reference(p, X, Y):
        return ((tap("Z", X @ p["W"]) - Y) ** 2).sum() / 2 / over(X)

    def derive(p, X, Y):
        E = X @ p["W"] - Y
        return {"Z": E + Y, "dZ": E / over(X), "dW": X.T @ E / over(X)}

    batch = (rng.standard_normal((8, 4)), rng.standard_normal((8, 3)))
    return Layer(derive, reference, {"W": rng.standard_normal((4, 3))}, batch)


@pytest.mark.parametrize(("size", "is_convention"), [(8, True), (3, False), (4, False), (32, False)])
def test_only_the_number_of_examples_of_a_mean_is_a_convention(size, is_convention):
    """X is (8, 4), Y (8, 3), J the mean over 8 examples of a sum over 3 outputs; dZ lacks another size than 8."""
    report = check_gradients(*squared(len).scaled("dZ", size))
    assert report.ok == is_convention, str(report)
    assert is_read_as_a_convention(report) == is_convention


@pytest.mark.parametrize("over", [lambda _: 1, lambda _: 8], ids=["1", "8, whatever the batch"])
def test_where_J_is_a_sum_no_mean_is_left_out(over):
    """dZ is too large by the number of examples, and dW is computed from the right one."""
    first = check_gradients(*squared(over).scaled("dZ", 8)).first
    assert (first.where.name, type(first.cause), first.factor) == ("dZ", Scaled, 8.0)


HALF = {
    "1/n in one hidden dZ": ({"extra": 1 / 6}, "dZ1"),
    "a millionth off": ({"extra": 1 + 1e-6}, "dZ1"),
    "no mean at all in layer 1": ({"late": 1}, "dZ2"),
}


@pytest.mark.parametrize(("half", "name"), HALF.values(), ids=HALF)
def test_half_a_convention_is_a_fault(half, name):
    """It is read as one where that leaves the one dZ; with dW1 and db1 too large as well, nothing tells which it is."""
    report = check_gradients(partial(classic, **half), *CLASSIC[1:])
    assert (report.first.where.name, report.first.verdict) == (name, "FAULT"), str(report)
    assert is_read_as_a_convention(report) == (name == "dZ1")
