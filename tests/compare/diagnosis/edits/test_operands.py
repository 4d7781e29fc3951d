"""Other tensors in an operand's place: each kind of edit is found where it was planted."""

import pytest
import torch

from handgrad import tap
from handgrad.compare.diagnosis.edits.operands import (
    FORMULAS,
    exchanged,
    formulas,
    multiples,
    named_tensors,
    operands,
    other_tensors,
)
from handgrad.compare.facts.causes import LabelsSwapped
from handgrad.compare.facts.edits import OneForAll, OperandPlaces, OperandsExchanged, OtherOperand, TermSign, TermTimes
from handgrad.compare.facts.operands import OperandTransposed, Unused
from tests.compare.diagnosis.planted import causes, either, fitting, search_of

WAYS, ANOTHER = either(operands, multiples), either(named_tensors, other_tensors, formulas)


def mixed(p, X, Y):
    Z = tap("Z", X @ p["W"])
    return (tap("A", torch.tanh(Z * Y) + p["b"]) * Y).sum()


def squares(p, X, Y):
    T = tap("T", torch.tanh(p["U"]))
    return (tap("C", torch.exp(T * p["b"]) + T.sum()) * Y[:3]).sum()


def a_cube(p, X, Y):
    Q = p["V"].reshape(3, 2, 2)[:2]
    return (tap("R", torch.tanh(Q * X[0].reshape(2, 2))) * p["E"][:2].reshape(2, 2, 2)).sum()


def out(t, z=None, y=None):
    return torch.tanh((t.Z if z is None else z) * (t.Y if y is None else y)) + t.b


def two_tanh(p, X, Y):
    Z = tap("Z", X @ p["W"])
    return (tap("A", torch.tanh(Z) * Y + torch.tanh(Y)) * Y).sum()


def two_numbers(p, X, Y):
    m = tap("Z", X @ p["W"])
    return (tap("A", 0.9 * torch.tanh(m) + 0.125 * Y) * Y).sum()


EXCHANGED = {
    "two_tanh": (two_tanh, lambda z, y: z.tanh() * y + y.tanh()),
    "two_numbers": (two_numbers, lambda z, y: 0.9 * z.tanh() + 0.125 * y),
}
OWN = {
    "sign": (lambda t: out(t, y=-t.Y), TermSign(("Y",))),
    "unused": (lambda t: out(t) - t.b, Unused("b")),
    "twice": (lambda t: out(t, y=2 * t.Y), TermTimes("Y", "twice", 2.0)),
    "n times": (lambda t: out(t, y=t.Y / 5), TermTimes("Y", "1/5 times", 0.2)),
    "one for all": (lambda t: out(t, y=t.Y[:1]), OneForAll("Y", 0)),
    "one column for all": (lambda t: out(t, z=t.Z[:, :1]), OneForAll("Z", 1)),
    "centred": (lambda t: out(t, z=t.Z - t.Z.mean(0)), OtherOperand("Z minus its mean along axis 0", "Z")),
    "squared": (lambda t: out(t, y=t.Y**2), OtherOperand("Y^2", "Y")),
    "earlier": (lambda t: out(t, y=t.Y.roll(1, 0)), OperandPlaces("Y", "earlier", (0,))),
    "later": (lambda t: out(t, z=t.Z.roll(-1, 1)), OperandPlaces("Z", "later", (1,))),
    "reversed": (lambda t: out(t, y=t.Y.flip(0)), OperandPlaces("Y", "reversed", (0,))),
    "earlier from zero": (
        lambda t: out(t, y=torch.cat([torch.zeros(1, 3, dtype=torch.float64), t.Y[:-1]])),
        OperandPlaces("Y", "earlier-zero", (0,)),
    ),
}
OTHERS = {
    "a record": (lambda t: out(t, y=t.h1), OtherOperand("h1", "Y")),
    "what spreads": (lambda t: out(t, y=t.b), OtherOperand("b", "Y")),
    "a formula": (lambda t: out(t, y=1 - t.h1**2), OtherOperand("(1 - h1^2)", "Y")),
    "another formula": (lambda t: out(t, z=torch.exp(t.h1)), OtherOperand("exp(h1)", "Z")),
}


@pytest.mark.parametrize("what", OWN)
def test_finds_the_operand_in_another_way(what):
    wrong, expected = OWN[what]
    assert expected in fitting(WAYS, search_of(mixed, "A", wrong, ["Z"]))
    assert causes(mixed, "A", wrong, ["Z"])


@pytest.mark.parametrize("what", OTHERS)
def test_finds_another_tensor(what):
    wrong, expected = OTHERS[what]
    said = causes(with_another, "A", wrong, ["Z", "h1"])
    assert expected in (said[0], *fitting(WAYS, search_of(with_another, "A", wrong, ["Z", "h1"])))


def with_another(p, X, Y):
    Z, h1 = tap("Z", X @ p["W"]), tap("h1", torch.sin(X @ p["W"]))
    return (tap("A", torch.tanh(Z * Y) + p["b"]) * Y * h1).sum()


@pytest.mark.parametrize("told", FORMULAS)
def test_knows_every_formula(told):
    def reference(p, X, Y):
        Z = tap("Z", X @ p["W"])
        return (tap("A", torch.tanh(Z * (X @ p["W"])) + p["b"]) * Y).sum()

    def wrong(t):
        return torch.tanh(t.Z * FORMULAS[told](t.Y)) + t.b

    said = fitting(ANOTHER, search_of(reference, "A", wrong, ["Z"], like=lambda x: x.abs() + 0.1))
    assert OtherOperand(told.format("Y"), "X @ W") in said


def test_finds_1_minus_the_labels():
    said = causes(mixed, "A", lambda t: out(t, y=1 - t.Y), ["Z"], like=lambda x: x.sigmoid())
    assert said[0] == LabelsSwapped("Y")


def test_what_is_no_share_has_no_opposite():
    assert LabelsSwapped("Y") not in fitting(WAYS, search_of(mixed, "A", lambda t: out(t, y=1 - t.Y), ["Z"]))


def test_finds_a_square_operand_transposed():
    said = causes(squares, "C", lambda t: torch.exp(t.T.T * t.b) + t.T.sum(), ["T"])
    assert said[0] == OperandTransposed("T")


def test_finds_axes_exchanged():
    def wrong(t):
        return torch.tanh(t.V.reshape(3, 2, 2)[:2].transpose(0, 1) * t.X[0].reshape(2, 2))

    said = fitting(WAYS, search_of(a_cube, "R", wrong))
    assert [cause.axes for cause in said if isinstance(cause, OperandPlaces) and cause.how == "exchanged"] == [(0, 1)]


def test_finds_a_root():
    def wrong(t):
        return out(t, y=t.Y.sqrt())

    search = search_of(mixed, "A", wrong, ["Z"], like=lambda x: x.exp() + 1)
    assert OtherOperand("sqrt(Y)", "Y") in fitting(WAYS, search)
    assert [cause.code for cause in causes(mixed, "A", wrong, ["Z"], like=lambda x: x.exp() + 1)] == ["missing-factor"]


def test_what_comes_later_is_no_operand():
    """dA does not exist where A is computed."""
    search = search_of(mixed, "A", lambda t: t.dA, ["Z", "dA"])
    assert OtherOperand("dA", "Z * Y") not in fitting(WAYS, search)


def test_finds_a_number_of_examples_for_the_sum_of_their_weights():
    def weighted(p, X, Y):
        w = Y[:, :1].exp()
        return (tap("Z", X @ p["W"]) * w).sum() / w.sum()

    said = fitting(WAYS, search_of(weighted, "J", lambda t: (t.Z * t.Y[:, :1].exp()).sum() / 5, ["Z"]))
    assert OtherOperand("5", "sum(exp(Y[...]))") in said


def gated(p, X, Y):
    z = tap("z", torch.sigmoid(X @ p["W"]))
    return (tap("h", z * Y + (1 - z) * torch.tanh(Y)) * Y).sum()


def test_a_gate_that_is_turned_round_is_no_label():
    (cause, *_) = causes(gated, "h", lambda t: (1 - t.z) * t.Y + t.z * torch.tanh(t.Y), ["z"], like=torch.sigmoid)
    assert cause == OtherOperand("1 - z", "z")


@pytest.mark.parametrize("reference", ["two_tanh", "two_numbers"])
def test_finds_exchanged_tensors(reference):
    in_torch, by_hand = EXCHANGED[reference]
    search = search_of(in_torch, "A", lambda t: by_hand(t.Y, t.Z), ["Z"])
    (said,) = fitting(lambda segment, node, _: exchanged(segment) if node is segment.target else iter(()), search)
    assert {said.one, said.other} == {"Y", "Z"}


def test_finds_tensors_exchanged_in_the_backward_pass_alone():
    def reference(p, X, Y):
        h1 = tap("h1", X @ p["W"])
        h2 = tap("h2", torch.tanh(h1))
        return (tap("A", h1 * torch.exp(h2)) * Y).sum()

    search = search_of(reference, "dh2", lambda t: t.dA * torch.exp(t.h2) * t.h2, ["h1", "h2", "dA"])
    said = fitting(lambda segment, node, _: exchanged(segment) if node is segment.target else iter(()), search)
    assert OperandsExchanged("h1", "h2", backward=True) in said
    assert OperandsExchanged("h1", "h2") not in said


TOTALS = {
    "a sum": (lambda z: z.sum(1, keepdim=True), "the sum of Z over axis 1"),
    "a mean": (lambda z: z.mean(0, keepdim=True), "the mean of Z over axis 0"),
}


@pytest.mark.parametrize("what", TOTALS)
def test_finds_one_number_for_all_of_an_axis(what):
    def reference(p, X, Y):
        return (tap("A", torch.exp(tap("Z", X @ p["W"])) + Y) * Y).sum()

    total, used = TOTALS[what]
    search = search_of(reference, "A", lambda t: torch.exp(total(t.Z)) + t.Y, ["Z"])
    assert OtherOperand(used, "Z") in fitting(multiples, search)
