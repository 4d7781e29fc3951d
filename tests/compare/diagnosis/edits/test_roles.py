"""What an edit is in the textbook's terms: derivatives, bias gradients and losses are told as such, nothing else is."""

import pytest
import torch
import torch.nn.functional as F

from handgrad import tap
from handgrad.compare.facts.causes import (
    BiasSum,
    DerivativeAt,
    DerivativeMissing,
    DerivativeTooMuch,
    DerivativeTwice,
    InDerivative,
    LabelsSwapped,
    LossFormula,
    WrongSign,
)
from handgrad.compare.facts.edits import (
    Epsilon,
    ExtraTerm,
    MissingFactor,
    NotReduced,
    OtherFunction,
    OtherMask,
    OtherOperand,
    TermSign,
)
from tests.compare.diagnosis.planted import causes

SUM = "the sum over axis 0"


def network(activation):
    def reference(p, X, Y):
        return (tap("A", activation(tap("Z", X @ p["W"]))) * Y).sum()

    return reference


def s(t):
    return torch.sigmoid(t.Z)


def a(t):
    return torch.tanh(t.Z)


def p(t):
    return torch.softmax(t.Z, 1)


DERIVATIVES = {
    "sigmoid, missing": (torch.sigmoid, lambda t: t.dA, DerivativeMissing),
    "tanh, missing": (torch.tanh, lambda t: t.dA, DerivativeMissing),
    "relu, missing": (torch.relu, lambda t: t.dA, DerivativeMissing),
    "sigmoid, a factor": (torch.sigmoid, lambda t: t.dA * s(t), InDerivative),
    "sigmoid, the other factor": (torch.sigmoid, lambda t: t.dA * (1 - s(t)), InDerivative),
    "tanh, no square": (torch.tanh, lambda t: t.dA * (1 - a(t)), InDerivative),
    "tanh, of the sigmoid": (torch.tanh, lambda t: t.dA * t.A * (1 - t.A), InDerivative),
    "sigmoid, of tanh": (torch.sigmoid, lambda t: t.dA * (1 - t.A**2), InDerivative),
    "softmax, the diagonal": (lambda Z: torch.softmax(Z, 1), lambda t: t.dA * p(t) * (1 - p(t)), InDerivative),
    "softmax, the other axis": (
        lambda Z: torch.softmax(Z, 1), lambda t: p(t) * (t.dA - (t.dA * p(t)).sum(0)), InDerivative
    ),
    "silu, a factor": (F.silu, lambda t: t.dA * (s(t) + s(t) * (1 - s(t))), InDerivative),
    "tanh, at Z": (torch.tanh, lambda t: t.dA * (1 - t.Z**2), DerivativeAt),
    "sigmoid, at Z": (torch.sigmoid, lambda t: t.dA * t.Z * (1 - t.Z), DerivativeAt),
    "tanh, twice": (torch.tanh, lambda t: t.dA * (1 - a(t) ** 2) ** 2, (DerivativeTwice, DerivativeTooMuch)),
    "sigmoid, twice": (
        torch.sigmoid, lambda t: t.dA * (s(t) * (1 - s(t))) ** 2, (DerivativeTwice, DerivativeTooMuch, InDerivative)
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", DERIVATIVES)
def test_a_mistake_in_a_derivative_is_told_as_such(what):
    activation, wrong, expected = DERIVATIVES[what]
    said = causes(network(activation), "dZ", wrong, ["Z", "A", "dA"])
    assert isinstance(said[0], expected)
    assert said[0].code == "activation-derivative"


def test_the_facts_of_a_derivative():
    def first(activation, wrong):
        return causes(network(activation), "dZ", wrong, ["Z", "A", "dA"])[0]

    assert first(torch.sigmoid, lambda t: t.dA) == DerivativeMissing("A", "Z")
    without = first(torch.sigmoid, lambda t: t.dA * s(t))
    assert (without.function, type(without.mistake)) == ("sigmoid", MissingFactor)
    assert first(torch.tanh, lambda t: t.dA * (1 - t.Z**2)) == DerivativeAt("Z", "A")
    diagonal = first(lambda Z: torch.softmax(Z, 1), lambda t: t.dA * p(t) * (1 - p(t)))
    assert (diagonal.function, type(diagonal.mistake)) == ("softmax", NotReduced)


ELSEWHERE = {
    "a sign": (lambda t: -t.dA * (1 - a(t) ** 2), WrongSign),
    "another term": (lambda t: t.dA * (1 - a(t) ** 2) + t.Z, ExtraTerm),
    "the labels": (lambda t: t.Y * (1 - a(t) ** 2), OtherOperand),
}


@pytest.mark.parametrize("what", ELSEWHERE)
def test_what_is_around_a_derivative_is_none_of_it(what):
    wrong, expected = ELSEWHERE[what]
    assert type(causes(network(torch.tanh), "dZ", wrong, ["Z", "A", "dA"])[0]) is expected


def test_the_mask_of_relu_stays_a_mask():
    said = causes(network(torch.relu), "dZ", lambda t: torch.where(t.Z > 0, 1.0, 0.01) * t.dA, ["Z", "A", "dA"])
    assert type(said[0]) is OtherMask


# --- bias gradients


def with_bias(p, X, Y):
    return (torch.exp(tap("Z", X @ p["W"] + p["b"])) * Y).sum()


SUMS = {
    "all": (lambda t: t.dZ.sum().expand(3), BiasSum("dZ", "the sum of all", SUM)),
    "first": (lambda t: t.dZ[0], BiasSum("dZ", "only index 0 of axis 0", SUM)),
    "last": (lambda t: t.dZ[-1], BiasSum("dZ", "only index 4 of axis 0", SUM)),
}


@pytest.mark.parametrize("what", SUMS)
def test_another_sum_than_a_bias_gradient_is_told_as_such(what):
    wrong, expected = SUMS[what]
    assert causes(with_bias, "db", wrong, ["Z", "dZ"])[0] == expected


def test_a_sum_that_is_no_parameters_gradient_is_a_reduction():
    def reference(p, X, Y):
        return (tap("A", torch.exp(tap("Z", X @ p["W"])).sum(0)) * Y[0]).sum()

    assert causes(reference, "A", lambda t: t.Z.exp().sum().expand(3), ["Z"])[0].code == "reduction"


# --- losses


def cross_entropy(p, X, Y):
    losses = F.binary_cross_entropy_with_logits(tap("Z", X @ p["W"]), Y, reduction="none")
    return tap("losses", losses).mean()


def of(t, y=1.0, other=1.0, eps=0.0):
    return -(y * t.Y * (s(t) + eps).log() + other * (1 - t.Y) * (1 - s(t) + eps).log())


LOSSES = {
    "a sign": (lambda t: of(t, other=-1.0), TermSign),
    "an epsilon": (lambda t: of(t, eps=1e-8), Epsilon),
    "the squared error": (lambda t: (s(t) - t.Y) ** 2, OtherFunction),
    "half of it": (lambda t: (s(t) - t.Y) ** 2 / 2, OtherFunction),
}


@pytest.mark.parametrize("what", LOSSES)
def test_a_mistake_in_the_losses_is_told_as_such(what):
    wrong, expected = LOSSES[what]
    said = causes(cross_entropy, "losses", wrong, ["Z"], like=torch.sigmoid)[0]
    assert (type(said), type(getattr(said.mistake, "mistake", said.mistake))) == (LossFormula, expected)


def test_swapped_labels_are_called_so():
    def wrong(t):
        return -((1 - t.Y) * s(t).log() + t.Y * (1 - s(t)).log())

    assert causes(cross_entropy, "losses", wrong, ["Z"], like=torch.sigmoid)[0] == LabelsSwapped("Y")


@pytest.mark.parametrize("factor", [-1.0, 2.0])
def test_a_factor_of_all_losses_is_no_formula(factor):
    said = causes(cross_entropy, "losses", lambda t: factor * of(t), ["Z"], like=torch.sigmoid)[0]
    assert said.code in ("scale", "sign")
