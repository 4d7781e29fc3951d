"""Mistakes at every step of a loop or of a kind are found as one; those of another tier are not made together."""

import pytest
import torch
import torch.nn.functional as F

from handgrad import tap
from handgrad.compare.diagnosis.edits.edit import Edit, Rank
from handgrad.compare.diagnosis.edits.hypotheses import _together
from handgrad.compare.facts.causes import WrongDerivative, Zero
from handgrad.compare.facts.compounds import Repeated
from handgrad.compare.facts.edits import (
    FactorForm,
    MissingFactor,
    MissingTerm,
    OtherFunction,
    OtherOperand,
    OtherReduction,
    TermTimes,
)
from tests.compare.diagnosis.planted import causes, search_of


def loop(p, X, Y):
    h = X @ p["W"]
    for _ in range(3):
        g = h @ p["U"] + p["b"]
        h = torch.tanh(g) * Y
    return (tap("A", h) * Y).sum()


AT_EVERY_VISIT = {
    "factor": (lambda h, t: torch.tanh(h @ t.U + t.b), MissingFactor),
    "function": (lambda h, t: torch.sin(h @ t.U + t.b) * t.Y, OtherFunction),
    "division": (lambda h, t: torch.tanh(h @ t.U + t.b) / t.Y, FactorForm),
}


@pytest.mark.parametrize("what", AT_EVERY_VISIT)
def test_finds_a_mistake_at_every_visit_of_a_line(what):
    step, expected = AT_EVERY_VISIT[what]

    def wrong(t):
        h = t.X @ t.W
        for _ in range(3):
            h = step(h, t)
        return h

    (said, *_) = causes(loop, "A", wrong)
    assert type(said) is Repeated
    assert (type(said.mistake), said.visits, said.code) == (expected, 3, expected.code)


def gated(p, X, Y):
    h, J = X @ p["W"], 0.0
    for t in range(3):
        r = torch.sigmoid(h @ p["U"] + Y[t])
        n = torch.tanh(r * (h @ p["U"]) + p["b"])
        h = n + r * h
        J = J + (h * Y).sum()
    return J


def by_hand(t, change=""):
    """dU, with a mistake at every step of the backward pass."""
    h, dh, dU = t.X @ t.W, torch.zeros(5, 3), torch.zeros(3, 3)
    steps = []
    for i in range(3):
        r = torch.sigmoid(h @ t.U + t.Y[i])
        u = h @ t.U
        n = torch.tanh(r * u + t.b)
        steps.append((h, r, u, n))
        h = n + r * h
    for before, r, u, n in reversed(steps):
        dh = dh + t.Y
        dn = dh * (n * (1 - n) if change == "derivative" else 1 - n * n)
        dr = (dn * (before if change == "variable" else u) + dh * before) * r * (1 - r)
        du = dn if change == "skipped at one use" else dn * r
        dU = dU + before.T @ (du + dr)
        dh = (0 if change == "term" else dh * r) + (dn * r) @ t.U.T + dr @ t.U.T
    return dU


IN_LOOPS = {
    "derivative": WrongDerivative,
    "variable": OtherOperand,
    "skipped at one use": OtherOperand,
    "term": MissingTerm,
}


def test_the_loop_by_hand_is_right():
    search = search_of(gated, "dU", by_hand)
    assert search.observed.is_same(search.observed.recorded)


@pytest.mark.parametrize("change", IN_LOOPS)
def test_finds_a_mistake_at_every_step_of_a_backward_pass(change):
    (said, *_) = causes(gated, "dU", lambda t: by_hand(t, change))
    assert type(said) is Repeated
    assert type(said.mistake) is IN_LOOPS[change]
    assert said.visits == (2 if change == "term" else 3)  # where the loop begins, nothing is carried on


def test_what_each_step_overwrites_is_a_sum_of_one_term():
    def summed(p, X, Y):
        return sum(((X[i] @ p["W"]).exp() * Y[i]).sum() for i in range(5))

    def wrong(t):
        return t.X[:1].T @ ((t.X[:1] @ t.W).exp() * t.Y[:1])

    (said, *_) = causes(summed, "dW", wrong)
    assert type(said) is MissingTerm
    assert len(said.terms) == 4


def test_edits_of_another_tier_are_not_made_together():
    search = search_of(loop, "A", lambda t: t.X @ t.W)
    one, other = search.segment.steps[-2:]

    def edits(node, *tiers):
        return iter([Edit(tier, Rank.LEFT_OUT, lambda w: Zero(), {node: lambda v: 0.0}) for tier in tiers])

    together = [*_together([edits(one, 1, 2, 3), edits(other, 1, 3, 3)])]
    assert [edit.tier for edit in together] == [1, 3]
    assert all({*edit.changes} == {one, other} for edit in together)


# --- every step of one kind


def two_tanh(p, X, Y):
    Z = tap("Z", X @ p["W"])
    return (tap("A", torch.tanh(Z) * Y + torch.tanh(Y)) * Y).sum()


def softmax(p, X, Y):
    Z = tap("Z", X @ p["W"])
    e = torch.exp(Z - Z.amax(1, keepdim=True))
    return (tap("A", e / e.sum(1, keepdim=True)) * Y).sum()


def softmax_over(z, axis):
    e = torch.exp(z - z.amax(axis, keepdim=True))
    return e / e.sum(axis, keepdim=True)


FUNCTIONS = {
    "sigmoid": (lambda t: t.Z.sigmoid() * t.Y + t.Y.sigmoid(), OtherFunction("sigmoid", "tanh", "Z")),
    "relu": (lambda t: t.Z.relu() * t.Y + t.Y.relu(), OtherFunction("relu", "tanh", "Z")),
    "left out": (lambda t: t.Z * t.Y + t.Y, OtherFunction("", "tanh", "Z")),
}


@pytest.mark.parametrize("what", FUNCTIONS)
def test_finds_another_function_at_every_place(what):
    wrong, expected = FUNCTIONS[what]
    assert causes(two_tanh, "A", wrong, ["Z"])[0] == Repeated(expected, 2)


def test_finds_a_softmax_over_the_other_axis():
    (said, *_) = causes(softmax, "A", lambda t: softmax_over(t.Z, 0), ["Z"])
    assert said.code == OtherReduction.code


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

    (said, *_) = causes(reference, "dE", wrong)
    assert isinstance(said, Repeated)
    assert (type(said.mistake), said.mistake.times, said.visits) == (TermTimes, f"4/{count} times", 2)


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
    assert isinstance(cause, Repeated)
    assert isinstance(cause.mistake, OtherReduction)
    assert cause.mistake.used.endswith("over axis 0")
