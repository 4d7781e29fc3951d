"""Which optimiser an update is instead: relatives of the one that is due, each with its cause."""

from contextlib import suppress

import numpy as np
import pytest
import torch

from handgrad.compare.diagnosis.rules import relatives
from handgrad.compare.facts.updates import OtherDecay, OtherMomentum, OtherUpdate

SGD, Adam, AdamW = torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW


def leaf():
    return torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64, requires_grad=True)


def after(factory, steps=3):
    """The parameters after some steps along gradients that change."""
    w = leaf()
    optimizer = factory([w])
    for step in range(steps):
        w.grad = torch.cos(w.detach() * (step + 1))
        optimizer.step()
    return w.detach().numpy()


def agreeing(due, factory):
    """The relatives of an optimiser that step as another one does."""
    wanted, rules = after(factory), []
    for rule in relatives(due):
        with suppress(TypeError, ValueError):  # torch refuses that combination of settings
            rules += [rule] * bool(np.allclose(after(rule.factory), wanted, rtol=1e-12, atol=0))
    return rules


def causes_of(due, factory):
    return [rule.cause for rule in agreeing(due, factory)]


UPDATES = {
    "ascent": (
        lambda w: SGD(w, lr=0.1),
        lambda w: SGD(w, lr=0.1, maximize=True),
        OtherUpdate("torch.optim.SGD(lr=0.1, maximize=True)", "ascends"),
    ),
    "descent": (
        lambda w: SGD(w, lr=0.1, maximize=True),
        lambda w: SGD(w, lr=0.1),
        OtherUpdate("torch.optim.SGD(lr=0.1, maximize=False)", "descends"),
    ),
    "twice the rate": (
        lambda w: SGD(w, lr=0.1),
        lambda w: SGD(w, lr=0.2),
        OtherUpdate("torch.optim.SGD(lr=0.2)"),
    ),
    "a memory": (
        lambda w: SGD(w, lr=0.1),
        lambda w: SGD(w, lr=0.1, momentum=0.9),
        OtherMomentum("torch.optim.SGD(lr=0.1, momentum=0.9)"),
    ),
    "no memory": (
        lambda w: SGD(w, lr=0.1, momentum=0.9),
        lambda w: SGD(w, lr=0.1),
        OtherMomentum("torch.optim.SGD(lr=0.1, momentum=0)"),
    ),
    "Nesterov": (
        lambda w: SGD(w, lr=0.1, momentum=0.9),
        lambda w: SGD(w, lr=0.1, momentum=0.9, nesterov=True),
        OtherMomentum("torch.optim.SGD(lr=0.1, momentum=0.9, nesterov=True)"),
    ),
    "swapped betas": (
        lambda w: Adam(w, lr=0.1),
        lambda w: Adam(w, lr=0.1, betas=(0.999, 0.9)),
        OtherMomentum("torch.optim.Adam(lr=0.1, betas=(0.999, 0.9))"),
    ),
    "twice the decay": (
        lambda w: SGD(w, lr=0.1, weight_decay=0.01),
        lambda w: SGD(w, lr=0.1, weight_decay=0.02),
        OtherDecay("torch.optim.SGD(lr=0.1, weight_decay=0.02)"),
    ),
    "another epsilon": (
        lambda w: Adam(w, lr=0.1),
        lambda w: Adam(w, lr=0.1, eps=1e-5),
        OtherUpdate("torch.optim.Adam(lr=0.1, betas=(0.9, 0.999), eps=1e-05)"),
    ),
}


@pytest.mark.parametrize(("due", "made", "cause"), UPDATES.values(), ids=UPDATES)
def test_the_optimiser_that_an_update_is_instead(due, made, cause):
    assert causes_of(due([leaf()]), made)[0] == cause


@pytest.mark.parametrize("due", [SGD, Adam, AdamW, torch.optim.RMSprop], ids=lambda kind: kind.__name__)
def test_no_relative_is_there_twice(due):
    changes = [rule.changes for rule in relatives(due([leaf()], lr=0.5))]  # a quarter is the half and the square
    assert len({*changes}) == len(changes)


def test_a_rate_is_a_case_of_a_momentum_at_that_rate():
    """Within one step both explain the same: the one that changes less is the simpler."""
    rate, *others = sorted(agreeing(SGD([leaf()], lr=0.1), lambda w: SGD(w, lr=0.2)), key=lambda r: len(r.changes))
    assert (rate.changes, rate.is_rate, others) == (frozenset({("lr", 0.2)}), True, [])
    momenta = [rule for rule in relatives(SGD([leaf()], lr=0.1)) if rate.changes < rule.changes]
    assert momenta
    assert not any(rule.is_rate for rule in momenta)


def test_an_epsilon_of_zero_is_a_relative():
    (cause,) = causes_of(Adam([leaf()], lr=0.1), lambda w: Adam(w, lr=0.1, eps=0.0))[-1:]
    assert cause == OtherUpdate("torch.optim.Adam(lr=0.1, betas=(0.9, 0.999), eps=0)")


def test_an_optimiser_of_the_user_has_no_relatives():
    class Own(torch.optim.Optimizer):
        def __init__(self, params):
            super().__init__(params, {"rate": 0.1})

    assert not [*relatives(Own([leaf()]))]
    groups = [{"params": [leaf()]}, {"params": [leaf()], "lr": 0.2}]
    assert not [*relatives(SGD(groups, lr=0.1))]
