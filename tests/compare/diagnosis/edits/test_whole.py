"""A tensor as a whole: each relation to what it should be is found."""

import pytest
import torch

from handgrad import tap
from handgrad.compare.diagnosis.edits.whole import at_named_steps, clipped, inserted
from handgrad.compare.facts.causes import DerivativeTooMuch, Scaled, WrongSign, Zero
from handgrad.compare.facts.edits import Clipped, ExtraTerm, FactorForm, OperandPlaces
from handgrad.compare.facts.operands import Copied, WrongTerm
from tests.compare.diagnosis.planted import causes, fitting, search_of


def square(p, X, Y):
    T = tap("T", torch.tanh(p["U"]))
    return (tap("C", torch.exp(T) + p["b"]) * Y[:3]).sum()


def layer(p, X, Y):
    A = tap("A", torch.tanh(tap("Z", X @ p["W"])))
    return (A * A * Y).sum()


def right(t):
    return torch.exp(t.T) + t.b


def dW(t):
    return t.X.T @ t.dZ


RELATIONS = {
    "sign": (lambda t: -right(t), WrongSign()),
    "zero": (lambda t: 0 * right(t), Zero()),
    "both reversed": (lambda t: right(t).flip(0, 1), OperandPlaces("", "reversed", (0, 1))),
    "half": (lambda t: right(t) / 2, Scaled(0.5, ("1/2",))),
    "n times": (lambda t: -5 * right(t), Scaled(-5.0, ("5",))),
}
EXTRA = {
    "a term": (lambda t: right(t) + t.T, ExtraTerm("T")),
    "a term subtracted": (lambda t: right(t) - t.U, ExtraTerm("-U")),
    "a factor": (lambda t: right(t) * t.T, FactorForm("T", "extra")),
    "a divisor": (lambda t: right(t) / t.T, FactorForm("T", "extra-divisor")),
    "a formula": (lambda t: right(t) * t.T**2, FactorForm("T^2", "extra")),
    "a derivative": (lambda t: right(t) * (1 - t.T**2), DerivativeTooMuch("(1 - T^2)")),
    "a copy": (lambda t: t.U, Copied("U")),
    "a factor of each column": (lambda t: right(t) * t.b, FactorForm("b", "extra")),
    "a divisor of each column": (lambda t: right(t) / t.b, FactorForm("b", "extra-divisor")),
    "a factor of each row": (lambda t: right(t) * t.b[:, None], FactorForm("b", "extra")),
}


@pytest.mark.parametrize("what", RELATIONS)
def test_finds_a_relation_of_the_whole(what):
    wrong, expected = RELATIONS[what]
    assert causes(square, "C", wrong, ["T"])[0] == expected


@pytest.mark.parametrize("what", EXTRA)
def test_finds_what_does_not_belong(what):
    wrong, expected = EXTRA[what]
    assert causes(with_U, "C", wrong, ["T"])[0] == expected


def with_U(p, X, Y):
    T = tap("T", torch.tanh(p["U"]))
    return (tap("C", torch.exp(T) + p["b"]) * Y[:3] * p["U"]).sum()


def test_finds_a_term_in_a_named_step_before():
    search = search_of(named_before, "C", lambda t: torch.exp(torch.tanh(t.U) + t.b + t.U) * t.b)
    assert fitting(at_named_steps, search) == [ExtraTerm("U")]


def named_before(p, X, Y):
    T = tap("T", torch.tanh(p["U"]) + p["b"])
    return (tap("C", torch.exp(T) * p["b"]) * Y[:3]).sum()


def test_finds_a_factor_in_a_named_step_before():
    search = search_of(named_before, "C", lambda t: torch.exp((torch.tanh(t.U) + t.b) * t.U.exp()) * t.b)
    assert FactorForm("exp(U)", "extra") in fitting(at_named_steps, search)


def test_finds_entries_clipped():
    assert causes(layer, "dW", lambda t: dW(t).clamp(-1, 1), ["dZ"])[0] == Clipped(1.0)


def test_finds_a_length_clipped():
    said = causes(layer, "dW", lambda t: dW(t) * 0.25 / dW(t).norm(), ["dZ"])
    assert said[0] == Clipped(0.25, by_length=True)


def test_a_bound_that_is_not_round_is_none():
    search = search_of(layer, "dW", lambda t: dW(t).clamp(-0.7123, 0.7123), ["dZ"])
    assert not [*clipped(search.segment, search.observed)]


def test_finds_a_multiple_of_another_tensor_added():
    said = causes(layer, "dZ", lambda t: t.dA * (1 - torch.tanh(t.Z) ** 2) - 0.37 * t.Z, ["dA", "Z"])
    assert [type(cause) for cause in said] == [WrongTerm]
    assert said[0].term == "Z"
    assert said[0].times == pytest.approx(-0.37)


def test_finds_an_unnamed_multiple():
    (said, *_) = causes(layer, "dW", lambda t: 1.37 * dW(t), ["dZ"])
    assert type(said) is Scaled
    assert said.factor == pytest.approx(1.37)
    assert not said.names


def test_what_is_made_from_a_tensor_is_not_what_it_holds():
    """A is Z again where Z is positive, whatever Z holds; a tensor beside it that holds the same is told."""

    def rectified(p, X, Y):
        A = tap("A", torch.relu(tap("Z", X @ p["W"])))
        return (A * tap("F", torch.exp(X @ p["W"]).sin()) * Y).sum()

    segment = search_of(rectified, "Z", lambda t: t.dZ.abs() + 1, ["Z"]).segment
    held = [edit.cause(str) for edit in inserted(segment) if edit.tier == 2]
    assert Copied("F") in held
    assert Copied("A") not in held
