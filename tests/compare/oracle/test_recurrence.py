"""A step of torch's optimisers as a recurrence: its numbers are formulas of settings and t, and it gives the step."""

import numpy as np
import pytest
import torch

from handgrad.compare.oracle.recurrence import AFTER, recurrence

W = {"w": np.ones((3, 4)), "b": np.ones(3)}
OPTIMIZERS = {
    "SGD": (lambda t: torch.optim.SGD(t, lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True), ["momentum_buffer"]),
    "Adam": (
        lambda t: torch.optim.Adam(t, lr=0.01, weight_decay=0.1, amsgrad=True),
        ["t", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"],
    ),
    "AdamW": (lambda t: torch.optim.AdamW(t, lr=0.01, foreach=True), ["t", "exp_avg", "exp_avg_sq"]),
    "RMSprop": (
        lambda t: torch.optim.RMSprop(t, lr=0.01, momentum=0.5, centered=True),
        ["t", "square_avg", "momentum_buffer", "grad_avg"],
    ),
    "Adagrad": (lambda t: torch.optim.Adagrad(t, lr=0.1, lr_decay=0.1), ["t", "sum"]),
    "Adadelta": (torch.optim.Adadelta, ["t", "square_avg", "acc_delta"]),
    "NAdam": (torch.optim.NAdam, ["t", "mu_product", "exp_avg", "exp_avg_sq"]),
    "RAdam": (torch.optim.RAdam, ["t", "exp_avg", "exp_avg_sq"]),
    "Adamax": (torch.optim.Adamax, ["t", "exp_avg", "exp_inf"]),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_number_is_a_setting_or_a_formula_of_some(name):
    optimizer, states = OPTIMIZERS[name]
    made = recurrence(optimizer, W, "w")
    assert [*made.states] == states
    used = {parent.name for node in made.graph.nodes for parent in node.parents if parent.name}
    assert {*made.settings} - {"initial_accumulator_value"} <= used
    assert AFTER in made.graph.outputs


def test_steps_of_another_form_are_kept():
    assert [*recurrence(OPTIMIZERS["SGD"][0], W, "w").early] == [0]
    assert not recurrence(OPTIMIZERS["Adam"][0], W, "w").early
    assert [*recurrence(lambda t: torch.optim.RAdam(t, betas=(0.8, 0.9)), W, "w").early] == [0, 1, 2, 3, 4]


def test_each_parameter_has_the_settings_of_its_group():
    def optimizer(tensors):
        return torch.optim.AdamW(
            [{"params": tensors[:1], "weight_decay": 0.2}, {"params": tensors[1:]}], weight_decay=0
        )

    weights, bias = (recurrence(optimizer, W, name) for name in W)
    assert (weights.settings["weight_decay"], weights.decays) == (0.2, ())
    assert ("weight_decay" in bias.settings, bias.decays) == (False, (0.2,))


def test_what_cannot_be_recorded_has_none():
    assert recurrence(lambda t: torch.optim.Rprop(t), W, "w") is None
