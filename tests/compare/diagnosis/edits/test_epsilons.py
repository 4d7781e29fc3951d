"""Small numbers that keep logarithms, roots and divisors finite: each is found where it was planted."""

import pytest
import torch

from handgrad import tap
from handgrad.compare.facts.compounds import Repeated
from handgrad.compare.facts.edits import Epsilon
from tests.compare.diagnosis.planted import causes


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


def J(y, p, q):
    return -(y * p.log() + (1 - y) * q.log()).mean()


def shares(x):
    return (3 * x).sigmoid()


EPSILONS = {
    "every logarithm": (
        logarithms, "J", lambda t: J(t.Y, t.Z + 1e-8, 1 - t.Z + 1e-8), Repeated(Epsilon(1e-8, "inside", "log(Z)"), 2)
    ),
    "clipped": (
        logarithms, "J", lambda t: J(t.Y, t.Z.clamp(0.1, 0.9), (1 - t.Z).clamp(0.1, 0.9)),
        Repeated(Epsilon(0.1, "clipped", "log(Z)"), 2),
    ),
    "one logarithm": (
        one_logarithm, "A", lambda t: (t.Z + 1e-5).log() / (1 + t.Z) * t.Y, Epsilon(1e-5, "inside", "log(Z)")
    ),
    "a divisor": (
        one_logarithm, "A", lambda t: t.Z.log() / (1 + t.Z + 1e-3) * t.Y, Epsilon(1e-3, "outside", "the divisor Z + 1")
    ),
    "every root": (
        two_roots, "A", lambda t: t.Y / (t.Z**2 + 1e-6).sqrt() + (t.Y.exp() + 1e-6).sqrt(),
        Repeated(Epsilon(1e-6, "inside", "sqrt(Z^2)"), 2),
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


@pytest.mark.parametrize("what", EPSILONS)
def test_finds_an_epsilon(what):
    reference, name, wrong, expected = EPSILONS[what]
    assert causes(reference, name, wrong, ["Z"], like=shares)[0] == expected
