"""Tensors of another time: what the step before had, and parameters after the update."""

import pytest
import torch

from handgrad import tap
from handgrad.compare.facts.operands import (
    Accumulated,
    OfStepBefore,
    Stale,
    StaleTogether,
    UpdatedAtRate,
    UpdatedOperand,
    UpdatedTogether,
)
from tests.compare.diagnosis.planted import causes


def layer(p, X, Y):
    A = tap("A", torch.tanh(tap("Z", X @ p["W"])))
    return (A * A * Y).sum()


def dW(t):
    return t.X.T @ t.dZ


def three(p, X, Y):
    """Every parameter is read forward and backward, and nothing is returned but what is wrong."""
    return (torch.tanh(torch.tanh(X @ p["W"]) @ p["U"] + p["b"]) @ p["V"])[:, 0].square().sum()


def gradient_of(t, U=None, V=None):
    """dW of `three`, the backward pass reading other parameters where given."""
    H = torch.tanh(t.X @ t.W)
    A = torch.tanh(H @ t.U + t.b)
    dA = 2 * (A @ t.V)[:, :1] @ (t.V if V is None else V)[:, :1].T
    return t.X.T @ ((dA * (1 - A**2)) @ (t.U if U is None else U).T * (1 - H**2))


def test_finds_the_sum_over_steps():
    assert causes(layer, "dW", lambda t: dW(t) + t.dW, ["dZ"], {"dW before": "dW"})[0] == Accumulated("dW")


def test_finds_what_the_step_before_had():
    assert causes(layer, "dW", lambda t: t.dW, ["dZ"], {"dW before": "dW"})[0] == OfStepBefore()


def test_the_step_before_is_asked_for_under_its_own_name():
    wrong = lambda t: t.dA * (1 - torch.tanh(t.Z) ** 2) + t.A  # noqa: E731
    assert not causes(layer, "dZ", wrong, ["dA", "Z"], {"A before": "A"})


def test_finds_an_input_of_the_step_before():
    assert causes(layer, "dA", lambda t: 2 * t.A * t.h0, ["A"], {"Y before": "h0"})[0] == Stale("Y")


def test_finds_a_parameter_read_after_its_update_in_the_backward_pass_alone():
    said = causes(three, "dW", lambda t: gradient_of(t, U=t.T), times={"U_next": "T"})
    assert said[0] == UpdatedOperand("U")


def test_finds_several_parameters_read_after_their_update():
    said = causes(three, "dW", lambda t: gradient_of(t, U=t.T, V=t.dV), times={"U_next": "T", "V_next": "dV"})
    assert said[0] == UpdatedTogether(("U", "V"))


@pytest.mark.parametrize("name", [" before", "_next"])
def test_of_a_tensor_that_is_as_it_was_nothing_is_said(name):
    assert not causes(three, "dW", lambda t: gradient_of(t, U=t.T), times={f"U{name}": "U"})


def test_finds_all_parameters_of_the_step_before():
    def wrong(t):
        there = type(t)(**{**vars(t), "W": t.dW, "U": t.T, "b": t.db, "V": t.dV})
        return gradient_of(there)

    before = {"W before": "dW", "U before": "T", "b before": "db", "V before": "dV"}
    assert causes(three, "dW", wrong, times=before)[0] == StaleTogether(("U", "V", "W", "b"))


def test_finds_a_parameter_read_after_a_step_along_its_gradient():
    def reference(p, X, Y):
        return (tap("A", tap("Z", X @ p["W"]) @ p["U"]) * Y).sum()

    (said, *_) = causes(reference, "dZ", lambda t: t.dA @ (t.U - 0.013 * t.Z.T @ t.dA).T, ["Z", "A", "dA"])
    assert said == UpdatedAtRate("U", "dU", 0.013)


def test_finds_a_parameter_read_after_a_step_along_its_gradient_in_the_backward_pass_alone():
    def reference(p, X, Y):
        A = tap("A", torch.tanh(X @ p["W"]))
        return (tap("C", A @ p["U"]).square() * Y).sum()

    def wrong(t):
        dC = 2 * (t.A @ t.U) * t.Y
        return (dC @ (t.U - 0.013 * t.A.T @ dC).T).double()

    (said, *_) = causes(reference, "dA", wrong, ["A"])
    assert said == UpdatedAtRate("U", "dU", 0.013)


def test_finds_a_parameter_read_after_a_step_along_its_velocity():
    def reference(p, X, Y):
        return (tap("A", tap("Z", X @ p["W"]) @ p["U"]) * tap("vU", torch.tanh(p["U"]))[0] * Y).sum()

    (said, *_) = causes(reference, "dZ", lambda t: t.dA @ (t.U - 0.24 * t.vU).T, ["Z", "A", "dA", "vU"])
    assert type(said) is UpdatedAtRate
    assert (said.operand, said.direction) == ("U", "vU")
    assert said.rate == pytest.approx(0.24)


def test_a_step_upwards_is_no_update():
    def reference(p, X, Y):
        return (tap("A", tap("Z", X @ p["W"]) @ p["U"]) * Y).sum()

    assert not causes(reference, "dZ", lambda t: t.dA @ (t.U + 0.013 * t.Z.T @ t.dA).T, ["Z", "A", "dA"])
