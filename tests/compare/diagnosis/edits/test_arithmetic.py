"""Sums, products, powers and numbers: each kind of edit is found where it was planted."""

import pytest
import torch
import torch.nn.functional as F

from handgrad import tap
from handgrad.compare.diagnosis.edits.arithmetic import (
    constants,
    multiples_of_terms,
    positions,
    powers,
    products,
    shares,
    sums,
)
from handgrad.compare.facts.causes import Scaled
from handgrad.compare.facts.edits import (
    FactorForm,
    FactorOfTerms,
    MissingFactor,
    MissingTerm,
    OtherNumber,
    OtherOperand,
    TermSign,
    TermTimes,
)
from tests.compare.diagnosis.planted import causes, either, fitting, search_of


def three_terms(p, X, Y):
    Z = tap("Z", X @ p["W"])
    A = tap("A", torch.tanh(Z) - 3 * Z + p["b"] * Y)
    return (A * Y).sum()


def quotient(p, X, Y):
    Z = tap("Z", X @ p["W"] + p["b"])
    return (tap("A", Z * Y / torch.exp(Z) * 7) * Y).sum()


def square(p, X, Y):
    Z = tap("Z", X @ p["W"])
    return (Z * Z).sum()


def powers_and_signs(p, X, Y):
    Z = tap("Z", X @ p["W"])
    return (tap("A", (1 + torch.exp(-Z)) * Z**3 + Y) * Y).sum()


def numbers(p, X, Y):
    Z = tap("Z", X @ p["W"])
    return (tap("A", torch.add(Z, Y, alpha=0.3) * (Z + 1.7) + torch.log(Z * Z + 1e-5)) * Y).sum()


SUMS = {
    "a term left out": (lambda t: -3 * t.Z + t.b * t.Y, MissingTerm(("+ tanh(Z)",))),
    "another left out": (lambda t: torch.tanh(t.Z) + t.b * t.Y, MissingTerm(("- Z * 3",))),
    "two left out": (lambda t: torch.tanh(t.Z), MissingTerm(("- Z * 3", "+ b * Y"))),
    "sign": (lambda t: torch.tanh(t.Z) + 3 * t.Z + t.b * t.Y, TermSign(("Z * 3",))),
    "two signs": (lambda t: -torch.tanh(t.Z) + 3 * t.Z + t.b * t.Y, TermSign(("tanh(Z)", "Z * 3"))),
    "twice": (lambda t: torch.tanh(t.Z) - 3 * t.Z + 2 * t.b * t.Y, TermTimes("b * Y", "twice", 2.0)),
    "half": (lambda t: torch.tanh(t.Z) / 2 - 3 * t.Z + t.b * t.Y, TermTimes("tanh(Z)", "half of", 0.5)),
    "n times": (lambda t: torch.tanh(t.Z) - 3 * t.Z + 5 * t.b * t.Y, TermTimes("b * Y", "5 times", 5.0)),
}
CURIOUS = {  # the search has another wording of each that it prefers
    "absolute": (lambda t: t.Z * t.Y.abs() / t.Z.exp() * 7, FactorForm("Y", "absolute")),
    "signs": (lambda t: t.Z * t.Y.sign() / t.Z.exp() * 7, FactorForm("Y", "signs")),
    "twice": (lambda t: t.Z * t.Y**2 / t.Z.exp() * 7, FactorForm("Y", "twice")),
    "a divisor twice": (lambda t: t.Z * t.Y / t.Z.exp() ** 2 * 7, FactorForm("exp(Z)", "twice")),
}
PRODUCTS = {
    "a factor left out": (lambda t: t.Z / t.Z.exp() * 7, MissingFactor("Y", False)),
    "a divisor left out": (lambda t: t.Z * t.Y * 7, MissingFactor("exp(Z)", True)),
    "divided": (lambda t: t.Z / t.Y / t.Z.exp() * 7, FactorForm("Y", "divided")),
    "multiplied": (lambda t: t.Z * t.Y * t.Z.exp() * 7, FactorForm("exp(Z)", "multiplied")),
    "root": (lambda t: t.Z * t.Y / t.Z.exp() ** 0.5 * 7, FactorForm("exp(Z)", "root")),
    "added": (lambda t: (t.Z + t.Y) / t.Z.exp() * 7, FactorForm("Y", "added")),
}
POWERS = {
    "power 2": (lambda t: (1 + torch.exp(-t.Z)) * t.Z**2 + t.Y, OtherNumber("2", "3")),
    "power -1": (lambda t: (1 + torch.exp(-t.Z)) / t.Z + t.Y, OtherNumber("-1", "3")),
    "sign inside": (lambda t: (1 + torch.exp(t.Z)) * t.Z**3 + t.Y, TermSign(("Z",))),
}
NUMBERS = {
    "by name": (lambda t: (t.Z + 0.3 * t.Y) * (t.Z + 10) + torch.log(t.Z**2 + 1e-5), OtherNumber("10", "1.7")),
    "so many times": (
        lambda t: (t.Z + 0.3 * t.Y) * (t.Z + 5 * 1.7) + torch.log(t.Z**2 + 1e-5),
        OtherNumber("5 times 1.7", "1.7"),
    ),
    "alpha": (lambda t: (t.Z + 0.7 * t.Y) * (t.Z + 1.7) + torch.log(t.Z**2 + 1e-5), OtherNumber("0.7", "0.3")),
    "a sign": (lambda t: (t.Z + 0.3 * t.Y) * (t.Z - 1.7) + torch.log(t.Z**2 + 1e-5), TermSign(("1.7",))),
    "the root": (
        lambda t: (t.Z + 0.3 * t.Y) * (t.Z + 1.7**0.5) + torch.log(t.Z**2 + 1e-5),
        OtherNumber("1.30384", "1.7"),
    ),
    "epsilon": (lambda t: (t.Z + 0.3 * t.Y) * (t.Z + 1.7) + torch.log(t.Z**2 + 1e-8), OtherNumber("1e-08", "1e-05")),
}


@pytest.mark.parametrize("what", SUMS)
def test_finds_an_edit_of_a_sum(what):
    wrong, expected = SUMS[what]
    assert causes(three_terms, "A", wrong, ["Z"])[0] == expected
    assert expected in fitting(either(sums, multiples_of_terms), search_of(three_terms, "A", wrong, ["Z"]))


@pytest.mark.parametrize("what", PRODUCTS)
def test_finds_an_edit_of_a_product(what):
    wrong, expected = PRODUCTS[what]
    assert causes(quotient, "A", wrong, ["Z"])[0] == expected
    assert expected in fitting(products, search_of(quotient, "A", wrong, ["Z"]))


@pytest.mark.parametrize("what", CURIOUS)
def test_knows_other_functions_of_a_factor(what):
    wrong, expected = CURIOUS[what]
    assert expected in fitting(products, search_of(quotient, "A", wrong, ["Z"]))


@pytest.mark.parametrize("what", POWERS)
def test_finds_another_exponent_or_sign(what):
    wrong, expected = POWERS[what]
    assert causes(powers_and_signs, "A", wrong, ["Z"])[0] == expected
    assert expected in fitting(powers, search_of(powers_and_signs, "A", wrong, ["Z"]))


@pytest.mark.parametrize("what", NUMBERS)
def test_finds_another_number(what):
    wrong, expected = NUMBERS[what]
    assert causes(numbers, "A", wrong, ["Z"])[0] == expected
    assert expected in fitting(constants, search_of(numbers, "A", wrong, ["Z"])) or type(expected) is TermSign


def test_a_sum_of_two_that_is_multiplied():
    def reference(p, X, Y):
        return (tap("A", torch.tanh(X @ p["W"]) + Y) * Y).sum()

    search = search_of(reference, "A", lambda t: torch.tanh(t.X @ t.W) * t.Y)
    assert FactorForm("Y", "product") in fitting(sums, search)


def test_nobody_leaves_out_one_of_two_equal_terms():
    """U * U has two equal nodes as its derivative."""
    said = causes(square, "dZ", lambda t: t.Z, ["Z"])
    assert said[0] == Scaled(0.5, ("1/2",))
    assert not fitting(sums, search_of(square, "dZ", lambda t: t.Z, ["Z"]))


def test_a_sum_inside_a_sum_is_no_sum_of_its_own():
    """What is added up is one list of terms, whatever the order of additions."""
    search = search_of(three_terms, "A", lambda t: torch.tanh(t.Z), ["Z"])
    assert fitting(sums, search) == [MissingTerm(("- Z * 3", "+ b * Y"))]


def test_a_named_sum_inside_a_sum_keeps_its_name():
    def reference(p, X, Y):
        return (tap("A", tap("Z", X @ p["W"] + p["b"]) + torch.tanh(Y) + X[0, 0]) * Y).sum()

    assert causes(reference, "A", lambda t: torch.tanh(t.Y) + t.X[0, 0])[0] == MissingTerm(("+ Z",))


def scaled(p, X, Y):
    Z = tap("Z", X @ p["W"])
    return (tap("A", torch.tanh(Z * p["b"] + Y)) * Y).sum()


def three_with_a_factor(p, X, Y):
    Z = tap("Z", X @ p["W"])
    return (tap("A", torch.tanh(torch.exp(Z) + Z * p["b"] + Y)) * Y).sum()


def factor_of_a_sum(p, X, Y):
    Z = tap("Z", X @ p["W"])
    return (tap("A", torch.tanh((Z + torch.exp(Y) - 2) * p["b"])) * Y).sum()


def sum_over_a_divisor(p, X, Y):
    Z = tap("Z", X @ p["W"])
    return (tap("A", torch.tanh((Z - Y) / p["b"].exp())) * Y).sum()


OF_TERMS = {
    "first": (scaled, lambda t: torch.tanh((t.Z + t.Y) * t.b), ("b", "Y", False, False)),
    "second": (scaled, lambda t: torch.tanh(t.Z * (t.b + t.Y)), ("Z", "Y", False, False)),
    "one of three": (
        three_with_a_factor,
        lambda t: torch.tanh(t.Z.exp() * t.b + t.Z * t.b + t.Y),
        ("b", "exp(Z)", False, False),
    ),
    "left out of one": (
        factor_of_a_sum,
        lambda t: torch.tanh((t.Z - 2) * t.b + t.Y.exp()),
        ("b", "exp(Y)", True, False),
    ),
    "left out of a number": (
        factor_of_a_sum,
        lambda t: torch.tanh((t.Z + t.Y.exp()) * t.b - 2),
        ("b", "2", True, False),
    ),
    "a divisor": (sum_over_a_divisor, lambda t: torch.tanh(t.Z / t.b.exp() - t.Y), ("exp(b)", "Y", True, True)),
}


@pytest.mark.parametrize("where", OF_TERMS)
def test_finds_a_factor_of_too_many_or_too_few_terms(where):
    reference, wrong, facts = OF_TERMS[where]
    assert FactorOfTerms(*facts) in fitting(either(sums, products), search_of(reference, "A", wrong, ["Z"]))
    assert causes(reference, "A", wrong, ["Z"])[0] == FactorOfTerms(*facts)


def test_finds_a_term_inside_a_quotient():
    def reference(p, X, Y):
        Z = tap("Z", X @ p["W"])
        return (tap("A", torch.tanh(Z / p["b"].exp() - Y)) * Y).sum()

    def wrong(t):
        return torch.tanh((t.Z - t.Y) / t.b.exp())

    assert causes(reference, "A", wrong, ["Z"])[0] == FactorOfTerms("exp(b)", "Y", belongs=False, divides=True)


def test_finds_what_is_assigned_and_not_added():
    def smoothed(p, X, Y):
        Z = tap("Z", X @ p["W"])
        Q = 0.9 * F.one_hot(Y[:, 0].gt(0).long(), 3).double() + 0.04
        return (tap("A", torch.log(Q) * Z) * Y).sum()

    def wrong(t):
        Q = torch.full((5, 3), 0.04, dtype=torch.float64)
        Q[torch.arange(5), t.Y[:, 0].gt(0).long()] = 0.9
        return torch.log(Q) * t.Z

    (said,) = fitting(sums, search_of(smoothed, "A", wrong, ["Z"]))
    assert type(said) is OtherOperand


def decaying(p, X, Y):
    return (tap("A", Y * 0.5 ** torch.arange(3)) * Y).sum()


def test_an_index_that_starts_too_late():
    wrong = lambda t: t.Y * 0.5 ** torch.arange(1, 4)  # noqa: E731  # as wrong code has it
    assert OtherNumber("an index from 1", "one from 0") in fitting(positions, search_of(decaying, "A", wrong))


FITTED = {
    "of a multiple": (lambda t: torch.add(t.Z, t.Y, alpha=0.3123) * (t.Z + 1.7) + torch.log(t.Z * t.Z + 1e-5), 0.3123),
    "of a sum": (lambda t: torch.add(t.Z, t.Y, alpha=0.3) * (t.Z + 1.713) + torch.log(t.Z * t.Z + 1e-5), 1.713),
}


@pytest.mark.parametrize(("wrong", "value"), FITTED.values(), ids=FITTED)
def test_a_number_that_has_no_name_is_fitted(wrong, value):
    (cause, *_) = causes(numbers, "A", wrong, ["Z"])
    assert isinstance(cause, OtherNumber)
    assert float(cause.used) == pytest.approx(value, rel=1e-5)


def test_where_no_number_leads_near_none_is_fitted():
    assert causes(numbers, "A", lambda t: torch.randn(t.Z.shape, dtype=torch.float64), ["Z"]) == []


def squares(p, X, Y):
    Z = tap("Z", X @ p["W"])
    return (tap("A", torch.exp(1 - Z**2) + (p["b"] + Y * Y).sin()) * Y).sum()


SQUARED = {
    "a power": (lambda t: torch.exp((1 - t.Z) ** 2) + (t.b + t.Y * t.Y).sin(), "(1 - Z)^2"),
    "a product": (lambda t: torch.exp(1 - t.Z**2) + ((t.b + t.Y) ** 2).sin(), "(b + Y)^2"),
}


@pytest.mark.parametrize("what", SQUARED)
def test_finds_a_square_outside_of_its_parentheses(what):
    wrong, used = SQUARED[what]
    assert causes(squares, "A", wrong, ["Z"])[0].used == used


def smoothed(p, X, Y):
    Z = tap("Z", X @ p["W"])
    labels = Y.abs().long() % 2
    return (tap("A", Z.exp() * (0.85 * labels + 0.15 / 3)) * Y).sum()


def test_finds_labels_that_are_not_smoothed():
    (cause, *_) = causes(smoothed, "A", lambda t: t.Z.exp() * (t.Y.abs().long() % 2), ["Z"])
    assert cause == OtherNumber("1", "0.85, and 0 where 0.15")


def test_numbers_that_share_nothing_are_left_in_peace():
    def reference(p, X, Y):
        Z = tap("Z", X @ p["W"])
        return (tap("A", Z.exp() * (0.85 * Y + 0.2)) * Y).sum()

    search = search_of(reference, "A", lambda t: t.Z.exp() * t.Y, ["Z"])
    assert not [*shares(search.segment)]
