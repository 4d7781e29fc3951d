"""Functions entry by entry, comparisons and masks: each kind of edit is found where it was planted."""

import pytest
import torch
import torch.nn.functional as F

from handgrad import tap
from handgrad.compare.diagnosis.edits.functions import (
    DERIVATIVES,
    OF_VALUES,
    comparisons,
    derivatives,
    functions,
    masks,
)
from handgrad.compare.facts.causes import DerivativeAt, WrongDerivative
from handgrad.compare.facts.edits import OtherFunction, OtherMask
from tests.compare.diagnosis.planted import causes, fitting, search_of


def two_functions(p, X, Y):
    Z = tap("Z", X @ p["W"])
    return (tap("A", torch.tanh(Z) * Y + torch.sqrt(torch.exp(Y)) + p["b"]) * Y).sum()


def limited(p, X, Y):
    Z = tap("Z", X @ p["W"])
    return (tap("A", Z.clamp(min=-0.5) * Y + p["b"]) * Y).sum()


def backward(p, X, Y):
    Z = tap("Z", X @ p["W"])
    return (tap("A", torch.tanh(Z)) * Y).sum()


def of_gelu(p, X, Y):
    Z = tap("Z", X @ p["W"])
    return (tap("A", F.gelu(Z) * Y) * Y).sum()


def compared(p, X, Y):
    Z = tap("Z", X @ p["W"])
    return (tap("A", (Z > Y) * Y * p["b"]) * Y).sum()


def chosen(p, X, Y):
    Z = tap("Z", X @ p["W"])
    return (tap("A", torch.where(Z > 0, torch.exp(Z), Y) * p["b"]) * Y).sum()


def right(t):
    return t.Y.exp().sqrt() + t.b


FUNCTIONS = {
    "left out": (lambda t: t.Z * t.Y + right(t), OtherFunction("", "tanh", "Z")),
    "root left out": (lambda t: t.Z.tanh() * t.Y + t.Y.exp() + t.b, OtherFunction("", "sqrt", "exp(Y)")),
    "sigmoid": (lambda t: t.Z.sigmoid() * t.Y + right(t), OtherFunction("sigmoid", "tanh", "Z")),
    "relu": (lambda t: t.Z.relu() * t.Y + right(t), OtherFunction("relu", "tanh", "Z")),
    "a rare one": (lambda t: torch.sin(t.Z) * t.Y + right(t), OtherFunction("sin", "tanh", "Z")),
    "its derivative": (lambda t: (1 - t.Z.tanh() ** 2) * t.Y + right(t), OtherFunction("1 - tanh^2", "tanh", "Z")),
    "twice": (lambda t: t.Z.tanh().tanh() * t.Y + right(t), OtherFunction("tanh of tanh", "tanh", "Z")),
    "of the double": (lambda t: (2 * t.Z).tanh() * t.Y + right(t), OtherFunction("tanh of the double", "tanh", "Z")),
    "of the half": (lambda t: (t.Z / 2).tanh() * t.Y + right(t), OtherFunction("tanh of the half", "tanh", "Z")),
    "1 minus it": (lambda t: (1 - t.Z.tanh()) * t.Y + right(t), OtherFunction("1 - tanh", "tanh", "Z")),
    "negative": (
        lambda t: t.Z.tanh() * t.Y + (-t.Y).exp().sqrt() + t.b,
        OtherFunction("exp of the negative", "exp", "Y"),
    ),
}
COMPARISONS = {
    "turned": (lambda t: (t.Z < t.Y) * t.Y * t.b, OtherMask("[Z < Y]", "[Z > Y]")),
    "left out": (lambda t: t.Y * t.b, OtherMask("", "[Z > Y]")),
    "equal": (lambda t: (t.Z != t.Y) * t.Y * t.b, OtherMask("[Z != Y]", "[Z > Y]")),
    "a slope": (
        lambda t: torch.where(t.Z > t.Y, 1.0, 0.01) * t.Y * t.b,
        OtherMask("a slope of 0.01 where the mask is 0", "[Z > Y]"),
    ),
    "another slope": (
        lambda t: torch.where(t.Z > t.Y, 1.0, 0.2) * t.Y * t.b,
        OtherMask("a slope of 0.2 where the mask is 0", "[Z > Y]"),
    ),
    "itself": (lambda t: t.Z * t.Y * t.b, OtherMask("Z itself", "[Z > Y]")),
}
MASKS = {
    "one": (lambda t: t.Z.exp() * t.b, OtherMask("exp(Z) everywhere", "[Z > 0]")),
    "other": (lambda t: t.Y * t.b, OtherMask("Y everywhere", "[Z > 0]")),
    "opposite": (lambda t: torch.where(t.Z > 0, t.Y, t.Z.exp()) * t.b, OtherMask("the opposite", "[Z > 0]")),
    "added": (lambda t: (t.Z.exp() - (t.Z <= 0).double()) * t.b, OtherMask("an added mask", "[Z > 0]")),
    "zero": (lambda t: torch.where(t.Z > 0, t.Z.exp(), 0.0) * t.b, OtherMask("0 for Y", "[Z > 0]")),
}


@pytest.mark.parametrize("what", FUNCTIONS)
def test_finds_another_function(what):
    wrong, expected = FUNCTIONS[what]
    said = causes(two_functions, "A", wrong, ["Z"])
    assert expected in (said[0], *fitting(functions, search_of(two_functions, "A", wrong, ["Z"])))
    assert type(said[0]) is OtherFunction


def test_finds_a_limit_left_out():
    assert causes(limited, "A", lambda t: t.Z * t.Y + t.b, ["Z"])[0] == OtherFunction("", "clamp", "Z")


def test_knows_compound_functions_by_their_names():
    said = causes(of_gelu, "A", lambda t: t.Z.relu() * t.Y, ["Z"])
    assert said[0] == OtherFunction("relu", "gelu", "Z")
    assert causes(of_gelu, "A", lambda t: t.Z * t.Y, ["Z"])[0] == OtherFunction("", "gelu", "Z")


@pytest.mark.parametrize("name", sorted(DERIVATIVES.keys() - {"tanh"}))
def test_finds_the_derivative_of_another_function(name):
    search = search_of(backward, "dZ", lambda t: t.dA * DERIVATIVES[name](torch.tanh(t.Z)), ["Z", "dA"])
    (said,) = fitting(derivatives, search)
    assert said == WrongDerivative("dA", f"{name}'(A)")


def test_finds_the_derivative_of_another_function_at_what_it_is_of():
    def reference(p, X, Y):
        return (tap("A", F.silu(tap("Z", X @ p["W"]))) * Y).sum()

    said = causes(reference, "dZ", lambda t: t.dA * DERIVATIVES["gelu"](t.Z), ["Z", "dA"])
    assert said[0] == WrongDerivative("dA", "gelu'(Z)")


def test_finds_a_derivative_at_what_the_function_gives():
    said = causes(backward, "dZ", lambda t: t.dA * DERIVATIVES["tanh"](torch.tanh(t.Z)), ["Z", "dA"])
    assert DerivativeAt("A", "Z") in said


@pytest.mark.parametrize(("told", "function"), OF_VALUES.items())
def test_finds_a_derivative_by_the_value_of_another_function(told, function):
    of = torch.sigmoid if "^2" in told else torch.tanh

    def reference(p, X, Y):
        return (tap("A", of(tap("Z", X @ p["W"]))) * Y).sum()

    said = causes(reference, "dZ", lambda t: t.dA * function(of(t.Z)), ["Z", "dA"])
    assert said[0] == WrongDerivative("dA", told.format("A"))


@pytest.mark.parametrize("name", ["sigmoid", "relu"])
def test_finds_the_derivative_of_a_function_that_is_made_of_others(name):
    def swish(p, X, Y):
        Z = tap("Z", X @ p["W"])
        return (tap("A", Z * torch.sigmoid(Z)) * Y).sum()

    said = causes(swish, "dZ", lambda t: t.dA * DERIVATIVES[name](t.Z), ["Z", "dA"])
    assert WrongDerivative("dA", f"{name}'(Z)") in said


def test_finds_a_mask_along_the_other_axis():
    def reference(p, X, Y):
        T = tap("T", torch.tanh(p["U"]))
        return (tap("C", torch.where(torch.ones(3, 3).tril() > 0, T * 2, T.exp())) * Y[:3]).sum()

    def wrong(t):
        return torch.where(torch.ones(3, 3).tril().T > 0, t.T * 2, t.T.exp())

    assert causes(reference, "C", wrong, ["T"])[0].code in ("mask", "wrong-operand")
    assert "the mask transposed" in [cause.used for cause in fitting(masks, search_of(reference, "C", wrong, ["T"]))]


def test_finds_scores_that_are_masked_with_zero():
    def masked(p, X, Y):
        Z = tap("Z", X @ p["W"])
        return (tap("A", torch.softmax(Z.masked_fill(Y > 0, float("-inf")), 1)) * Y).sum()

    def wrong(t):
        return torch.softmax(t.Z.masked_fill(t.Y > 0, 0.0), 1)

    assert OtherMask("0 for -inf", "[Y > 0]") in fitting(masks, search_of(masked, "A", wrong, ["Z"]))
    assert causes(masked, "A", wrong, ["Z"])[0].code == "mask"


@pytest.mark.parametrize("what", COMPARISONS)
def test_finds_another_comparison(what):
    wrong, expected = COMPARISONS[what]
    assert expected in fitting(comparisons, search_of(compared, "A", wrong, ["Z"]))
    assert causes(compared, "A", wrong, ["Z"])


def test_knows_a_half_at_equality():
    def wrong(t):
        return (t.Z > t.Y) * t.Y * t.b + 0.5 * (t.Z == t.Y) * t.Y * t.b

    search = search_of(compared, "A", wrong, ["Z"], like=lambda x: x.round())
    assert OtherMask("1/2 where Z = Y", "[Z > Y]") in fitting(comparisons, search)


@pytest.mark.parametrize("what", MASKS)
def test_finds_another_choice(what):
    wrong, expected = MASKS[what]
    assert expected in fitting(masks, search_of(chosen, "A", wrong, ["Z"]))
    assert causes(chosen, "A", wrong, ["Z"])[0].code in ("mask", "wrong-operand")


def softplus_layer(p, X, Y):
    Z = tap("Z", X @ p["W"])
    return (tap("A", F.softplus(Z)) * Y).sum()


def tanh_layer(p, X, Y):
    Z = tap("Z", X @ p["W"])
    return (tap("A", torch.tanh(Z)) * Y).sum()


def test_the_derivative_of_another_function_where_torch_has_one_step():
    wrong = lambda t: t.dA * (t.Z > 0)  # noqa: E731  # as wrong code has it
    (cause, *_) = fitting(derivatives, search_of(softplus_layer, "dZ", wrong, ["Z", "dA"]))
    assert (type(cause), cause.times) == (WrongDerivative, "relu'(Z)")


def test_the_function_itself_for_its_derivative():
    wrong = lambda t: t.dA * torch.tanh(torch.tanh(t.Z))  # noqa: E731  # as wrong code has it
    (cause, *_) = fitting(derivatives, search_of(tanh_layer, "dZ", wrong, ["Z", "A", "dA"]))
    assert (type(cause), cause.times) == (WrongDerivative, "tanh(A)")
