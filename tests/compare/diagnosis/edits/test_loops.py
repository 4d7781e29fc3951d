"""A variable of a loop in another's place is found where it was planted, at every visit."""

import torch

from handgrad import tap
from handgrad.compare.diagnosis.edits.loops import other_variables
from handgrad.compare.facts.compounds import Repeated
from handgrad.compare.facts.edits import OtherOperand
from tests.compare.diagnosis.planted import causes, fitting, search_of


def loop(p, X, Y):
    h = X @ p["W"]
    for t in range(3):
        g = torch.tanh(h @ p["U"])
        k = torch.sigmoid(h * Y[t])
        h = g * k
    return (tap("A", h) * Y).sum()


def by_hand(t, used="g"):
    h = t.X @ t.W
    for i in range(3):
        g, k = torch.tanh(h @ t.U), torch.sigmoid(h * t.Y[i])
        h = {"g": g, "h": h}[used] * k
    return h


def said(used):
    search = search_of(loop, "A", lambda t: by_hand(t, used))
    return fitting(lambda segment, node, _: other_variables(segment) if node is segment.target else iter(()), search)


def test_finds_the_state_before_where_the_gate_belongs():
    (cause,) = said("h")
    assert isinstance(cause, Repeated)
    assert (type(cause.mistake), cause.visits) == (OtherOperand, 3)


def test_what_is_right_is_no_other_variable():
    assert not said("g")


def test_finds_a_returned_state_one_visit_late_in_a_gradient():
    def reference(p, X, Y):
        h = tap("h0", X @ p["W"])
        for t in range(2):
            h = tap(f"h{t + 1}", torch.tanh(h @ p["U"] + Y))
        return (h * Y).sum()

    def wrong(t):
        before = (t.h0, t.dh1), (t.h1, t.dh2)
        dz = [dh * (1 - torch.tanh(h @ t.U + t.Y) ** 2) for h, dh in before]
        return t.h1.T @ dz[0] + t.h2.T @ dz[1]

    search = search_of(reference, "dU", wrong, ["h0", "h1", "h2", "dh1", "dh2"])
    (cause, *_) = fitting(
        lambda segment, node, _: other_variables(segment) if node is segment.target else iter(()), search
    )
    assert (cause.mistake.used, cause.mistake.belongs, cause.visits) == ("h2", "h1", 2)


def test_finds_a_state_that_was_not_returned_one_visit_early():
    def reference(p, X, Y):
        h, J = X @ p["W"], 0.0
        for _ in range(3):
            h = torch.tanh(h @ p["U"])
            J = J + ((h @ p["V"] - X) ** 2).sum()
        return J

    def wrong(t):
        h, dV = t.X @ t.W, 0.0
        for _ in range(3):
            before, h = h, torch.tanh(h @ t.U)
            dV = dV + before.T @ (2 * (h @ t.V - t.X))
        return dV

    (cause, *_) = causes(reference, "dV", wrong)
    assert (type(cause), type(cause.mistake), cause.visits) == (Repeated, OtherOperand, 3)
