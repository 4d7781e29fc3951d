"""The same edit at every step of a kind, and two in each other's place: each is found where it was planted."""

import pytest
import torch
import torch.nn.functional as F

from handgrad import tap
from handgrad.compare.diagnosis.edits.everywhere import everywhere
from handgrad.compare.facts.compounds import Repeated
from handgrad.compare.facts.edits import (
    Epsilon,
    MissingFactor,
    NumbersExchanged,
    NumbersShifted,
    OperandsExchanged,
    OtherFunction,
    OtherReduction,
)
from tests.compare.diagnosis.planted import causes, fitting, search_of


def logarithms(p, X, Y):
    P = tap("Z", torch.sigmoid(X @ p["W"]))
    return -(Y * torch.log(P) + (1 - Y) * torch.log(1 - P)).mean()


def one_logarithm(p, X, Y):
    P = tap("Z", torch.sigmoid(X @ p["W"]))
    return (tap("A", torch.log(P) / (1 + P) * Y) * Y).sum()


def root(p, X, Y):
    Z = tap("Z", X @ p["W"])
    return (tap("A", Y / torch.sqrt(Z * Z + 1e-5)) * Y).sum()


def root_outside(p, X, Y):
    Z = tap("Z", X @ p["W"])
    return (tap("A", Y / (Z.abs() + 1e-5)) * Y).sum()


def two_roots(p, X, Y):
    Z = tap("Z", X @ p["W"])
    return (tap("A", Y / torch.sqrt(Z * Z) + torch.sqrt(torch.exp(Y))) * Y).sum()


def two_tanh(p, X, Y):
    Z = tap("Z", X @ p["W"])
    return (tap("A", torch.tanh(Z) * Y + torch.tanh(Y)) * Y).sum()


def softmax(p, X, Y):
    Z = tap("Z", X @ p["W"])
    e = torch.exp(Z - Z.amax(1, keepdim=True))
    return (tap("A", e / e.sum(1, keepdim=True)) * Y).sum()


def two_numbers(p, X, Y):
    m = tap("Z", X @ p["W"])
    return (tap("A", 0.9 * torch.tanh(m) + 0.125 * Y) * Y).sum()


def recurrent(p, X, Y):
    h0 = tap("h0", torch.tanh(X @ p["W"]))
    h1 = tap("h1", torch.tanh(h0 @ p["U"]))
    h2 = tap("h2", torch.tanh(h1 @ p["U"]))
    return (tap("A", h1 * Y + torch.exp(h0)) * h2).sum()


def J(y, p, q):
    return -(y * p.log() + (1 - y) * q.log()).mean()


def softmax_over(z, axis):
    e = torch.exp(z - z.amax(axis, keepdim=True))
    return e / e.sum(axis, keepdim=True)


def shares(x):
    return (3 * x).sigmoid()


EPSILONS = {
    "every logarithm": (
        logarithms, "J", lambda t: J(t.Y, t.Z + 1e-8, 1 - t.Z + 1e-8), Epsilon(1e-8, "inside-every", "log")
    ),
    "clipped": (
        logarithms, "J", lambda t: J(t.Y, t.Z.clamp(0.1, 0.9), (1 - t.Z).clamp(0.1, 0.9)),
        Epsilon(0.1, "clipped", "the logarithm"),
    ),
    "one logarithm": (
        one_logarithm, "A", lambda t: (t.Z + 1e-5).log() / (1 + t.Z) * t.Y, Epsilon(1e-5, "inside", "log(Z)")
    ),
    "a divisor": (
        one_logarithm, "A", lambda t: t.Z.log() / (1 + t.Z + 1e-3) * t.Y, Epsilon(1e-3, "outside", "the divisor Z + 1")
    ),
    "every root": (
        two_roots, "A", lambda t: t.Y / (t.Z**2 + 1e-6).sqrt() + (t.Y.exp() + 1e-6).sqrt(),
        Epsilon(1e-6, "inside-every", "sqrt"),
    ),
    "outside one root": (
        two_roots, "A", lambda t: t.Y / (t.Z**2).sqrt() + t.Y.exp().sqrt() + 1e-6,
        Epsilon(1e-6, "outside", "sqrt(exp(Y))")
    ),
    "moved out": (
        root, "A", lambda t: t.Y / (t.Z.abs() + 1e-5), Epsilon(1e-5, "moved-out", "sqrt(Z^2 + 1e-05)")
    ),
    "moved in": (
        root_outside, "A", lambda t: t.Y / (t.Z**2 + 1e-5).sqrt(), Epsilon(1e-5, "moved-in", "abs(Z) + 1e-05")
    ),
}  # fmt: skip
FUNCTIONS = {
    "sigmoid": (lambda t: t.Z.sigmoid() * t.Y + t.Y.sigmoid(), OtherFunction("sigmoid", "every tanh", "each argument")),
    "relu": (lambda t: t.Z.relu() * t.Y + t.Y.relu(), OtherFunction("relu", "every tanh", "each argument")),
    "left out": (lambda t: t.Z * t.Y + t.Y, OtherFunction("", "every tanh", "the argument")),
}


@pytest.mark.parametrize("what", EPSILONS)
def test_finds_an_epsilon(what):
    reference, name, wrong, expected = EPSILONS[what]
    assert causes(reference, name, wrong, ["Z"], like=shares)[0] == expected


@pytest.mark.parametrize("what", FUNCTIONS)
def test_finds_another_function_at_every_place(what):
    wrong, expected = FUNCTIONS[what]
    assert causes(two_tanh, "A", wrong, ["Z"])[0] == expected


def test_finds_a_softmax_over_the_other_axis():
    said = causes(softmax, "A", lambda t: softmax_over(t.Z, 0), ["Z"])
    assert said[0].code == OtherReduction.code
    assert [type(cause) for cause in at_once(softmax, lambda t: softmax_over(t.Z, 0), ["Z"])] == [OtherReduction]


@pytest.mark.parametrize("count", [3, 5])
def test_finds_every_mean_of_a_backward_pass_over_another_number(count):
    """Layer normalisation of rows of 4, whose gradient has two means; those of the forward pass are right."""

    def wrong(t):
        x = t.E - t.E.mean(1, keepdim=True)
        spread = (x**2).mean(1, keepdim=True).add(1e-5).sqrt()
        g, xhat = t.E, x / spread
        return (g - g.sum(1, keepdim=True) / count - xhat * (g * xhat).sum(1, keepdim=True) / count) / spread

    def reference(p, X, Y):
        return (F.layer_norm(p["E"], (4,)) * p["E"].detach()).sum()

    said = causes(reference, "dE", wrong)
    assert said[0] == OtherReduction(f"1/{count} of the sum", "every mean", said[0].of)


def at_once(reference, wrong, records):
    return fitting(lambda segment, node, numbers: everywhere(segment, numbers) if node is segment.target else iter(()),
                   search_of(reference, "A", wrong, records))  # fmt: skip


def test_finds_exchanged_numbers():
    said = causes(two_numbers, "A", lambda t: 0.125 * torch.tanh(t.Z) + 0.9 * t.Y, ["Z"])
    assert said[0] == NumbersExchanged("0.125", "0.9")


@pytest.mark.parametrize("reference", [two_tanh, two_numbers])
def test_finds_exchanged_tensors(reference):
    def wrong(t):
        right = {two_tanh: lambda z, y: z.tanh() * y + y.tanh(), two_numbers: lambda z, y: 0.9 * z.tanh() + 0.125 * y}
        return right[reference](t.Y, t.Z)

    assert OperandsExchanged("Y", "Z") in [*map(in_order, at_once(reference, wrong, ["Z"]))]


def in_order(cause):
    return OperandsExchanged(*sorted((cause.one, cause.other))) if type(cause) is OperandsExchanged else cause


@pytest.mark.parametrize("by", [1, -1])
def test_finds_every_tensor_of_a_family_read_at_another_number(by):
    def reference(p, X, Y):
        for i in range(3):
            p[f"h{i}"] = tap(f"h{i}", torch.tanh((i + 1) * X @ p["W"]))
        one, other = (p["h0"], p["h1"]) if by == 1 else (p["h1"], p["h2"])
        return (tap("A", torch.exp(one) * other) * Y).sum()

    def wrong(t):
        one, other = (t.h1, t.h2) if by == 1 else (t.h0, t.h1)
        return torch.exp(one) * other

    assert causes(reference, "A", wrong, ["h0", "h1", "h2"])[0] == NumbersShifted("h", by)


def test_a_number_that_nothing_has_is_not_read():
    said = at_once(recurrent, lambda t: t.h2 * t.Y + torch.exp(t.h1), ["h0", "h1", "h2"])
    assert said == [NumbersShifted("h", 1)]
    assert not at_once(recurrent, lambda t: t.h2 * t.Y + torch.exp(t.h0), ["h0", "h1", "h2"])


def half_slowed(p, X, Y):
    Z = tap("Z", X @ p["W"])
    return (tap("A", torch.where(Z > 0, 0.8 * Y, torch.tanh(Z) * 0.8) + Y * Z) * Y).sum()


def test_a_number_left_out_at_each_of_its_places_in_a_sum():
    cause = causes(half_slowed, "A", lambda t: torch.where(t.Z > 0, t.Y, torch.tanh(t.Z)) + t.Y * t.Z, ["Z"])[0]
    assert isinstance(cause, Repeated)
    assert isinstance(cause.mistake, MissingFactor)
    assert cause.visits == 2


def normalised(p, X, Y):
    Z = tap("Z", X @ p["W"])
    return (tap("A", torch.nn.functional.layer_norm(Z, (Z.shape[1],))) * Y).sum()


def test_two_averages_of_a_backward_pass_along_another_axis_are_one_edit():
    def wrong(t):
        d, r = t.dA, 1 / torch.sqrt(t.Z.var(1, keepdim=True, unbiased=False) + 1e-5)
        n = (t.Z - t.Z.mean(1, keepdim=True)) * r
        return r * (d - d.mean(0, keepdim=True) - n * (d * n).mean(0, keepdim=True))

    (cause, *_) = causes(normalised, "dZ", wrong, ["Z", "A", "dA"])
    assert isinstance(cause, OtherReduction)
    assert cause.used.endswith("over axis 0")
