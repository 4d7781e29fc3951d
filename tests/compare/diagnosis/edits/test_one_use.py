"""What one step takes alone is found where it is another tensor, or computed otherwise for that step."""

import pytest
import torch

from handgrad import tap
from handgrad.compare.diagnosis.edits.one_use import at_one_use, others_at_one_use, recomputed
from handgrad.compare.facts.compounds import AtOneUse
from handgrad.compare.facts.edits import FactorForm, MissingFactor, MissingTerm, OtherFunction, OtherOperand, TermSign
from tests.compare.diagnosis.planted import causes, either, fitting, search_of

ONE_USE = either(at_one_use, others_at_one_use)


def weighted(p, X, Y):
    """dW takes the weights that the forward pass has made."""
    weights = torch.sigmoid(Y[:, :1]) * (p["b"][:1] + 2) / X.exp().sum(1, keepdim=True)
    return torch.log(torch.cosh((X @ p["W"] * weights).sum(0)) + p["b"] ** 2).sum()


def by_hand(t, keep=1, times=1, more=2, gate=torch.sigmoid):
    def weights(keep, times, more, gate):
        return gate(t.Y[:, :1]) ** keep * (t.b[:1] + more) ** times / t.X.exp().sum(1, keepdim=True)

    inner = (t.X @ t.W * weights(1, 1, 2, torch.sigmoid)).sum(0)
    outer = torch.sinh(inner) / (torch.cosh(inner) + t.b**2)
    return t.X.T @ (outer * weights(keep, times, more, gate))


MISTAKES = {
    "left out": ({"keep": 0}, MissingFactor),
    "twice": ({"times": 2}, FactorForm),
    "term": ({"more": 0}, MissingTerm),
    "function": ({"gate": torch.tanh}, OtherFunction),
}


def test_by_hand_is_right():
    search = search_of(weighted, "dW", by_hand)
    assert search.observed.is_same(search.observed.recorded)


@pytest.mark.parametrize("what", MISTAKES)
def test_finds_what_the_backward_pass_computes_otherwise(what):
    changed, expected = MISTAKES[what]

    def wrong(t):
        return by_hand(t, **changed)

    said = fitting(recomputed, search_of(weighted, "dW", wrong))
    assert expected in {type(cause.mistake) for cause in said}
    first = causes(weighted, "dW", wrong)[0]
    assert isinstance(first, AtOneUse)
    assert (type(first.mistake), first.code) == (expected, expected.code)


# --- another tensor there


def twice_used(p, X, Y):
    Z = tap("Z", X @ p["W"])
    H = torch.exp(Z) * Y
    return (tap("A", torch.tanh(H) + torch.sin(H) * Y) * Y).sum()


def test_finds_another_tensor_at_one_use_alone():
    def wrong(t):
        H = torch.exp(t.Z) * t.Y
        return torch.tanh(H) + torch.sin(t.Z) * t.Y

    (said, *_) = causes(twice_used, "A", wrong, ["Z"])
    assert said == OtherOperand("Z", "exp(Z) * Y")
    assert fitting(ONE_USE, search_of(twice_used, "A", wrong, ["Z"])) == [said]


def test_finds_a_sign_at_one_use_alone():
    def wrong(t):
        H = torch.exp(t.Z) * t.Y
        return torch.tanh(H) + torch.sin(H) * -t.Y

    assert TermSign(("Y",)) in fitting(ONE_USE, search_of(twice_used, "A", wrong, ["Z"]))


def test_finds_a_square_at_one_use_alone():
    def wrong(t):
        H = torch.exp(t.Z) * t.Y
        return torch.tanh(H) + torch.sin(H) * t.Y**2

    assert OtherOperand("Y^2", "Y") in fitting(ONE_USE, search_of(twice_used, "A", wrong, ["Z"]))


def test_finds_a_root_at_one_use_alone():
    def wrong(t):
        H = torch.exp(t.Z) * t.Y
        return torch.tanh(H) + torch.sin(H) * t.Y.sqrt()

    search = search_of(twice_used, "A", wrong, ["Z"], like=torch.exp)
    assert OtherOperand("sqrt(Y)", "Y") in fitting(ONE_USE, search)
