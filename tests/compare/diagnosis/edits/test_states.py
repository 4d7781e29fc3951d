"""A mistake in one state of an optimiser alone is named by that state; the same rule right is left in peace."""

import numpy as np
import pytest
import torch

from handgrad import check_updates
from handgrad.compare.facts.causes import Scaled
from handgrad.compare.facts.edits import OtherNumber, OtherOperand
from handgrad.compare.facts.updates import EpsilonPlace, StateForm
from tests.corpus.optimizers import LR, PARAMS, SLIPS, adam, mean, rule, squares


def adam_due(tensors):
    """Make what is due."""
    return torch.optim.Adam(tensors, lr=LR)


def rmsprop_due(tensors):
    """Make what is due."""
    return torch.optim.RMSprop(tensors, lr=LR, alpha=0.9)


def rmsprop(**moments):
    """Do it by hand."""
    return rule(lambda x: x.w - LR * x.g / (np.sqrt(x.s) + 1e-8), **moments)


def cause_of(update, optimizer):
    """Ask what is said of the first finding."""
    return check_updates(update, optimizer, PARAMS, steps=6).first.cause


def test_a_share_exchanged_in_one_moment_is_told_of_that():
    cause = cause_of(adam(**mean("m", 0.1, new=0.9)), adam_due)
    assert cause == OtherNumber("1 - beta1", "beta1", "exp_avg")


def test_a_step_that_is_forgotten_on_the_way_to_one_moment_is_told_of_that():
    slip = SLIPS["adam decay in m alone"]
    assert cause_of(slip.update, slip.optimizer) == OtherOperand("dw", "dw + w * weight_decay", "exp_avg_sq")


def test_a_sum_for_a_weighted_mean_and_the_other_way_round():
    assert cause_of(rmsprop(**squares("s", 1.0, new=1.0)), rmsprop_due) == StateForm("square_avg")
    forgets = cause_of(SLIPS["adagrad forgets"].update, SLIPS["adagrad forgets"].optimizer)
    assert (type(forgets), forgets.state, forgets.kept) == (StateForm, "sum", pytest.approx(0.9))


def test_an_epsilon_of_another_size_in_another_place():
    wrong = rule(lambda x: x.w - LR * x.g / np.sqrt(x.s + 1e-4), **squares("s", 0.9))
    cause = cause_of(wrong, rmsprop_due)
    assert isinstance(cause, EpsilonPlace)
    assert float(cause.eps) == pytest.approx(1e-4)


def test_a_result_that_is_larger_than_it_should_be_is_no_weight_decay():
    wrong = rule(lambda x: 1.1 * (x.w - LR * x.g / (np.sqrt(x.s) + 1e-8)), **squares("s", 0.9))
    cause = cause_of(wrong, rmsprop_due)
    assert isinstance(cause, Scaled)
    assert cause.factor == pytest.approx(1.1)
    assert not cause.of_update


def test_the_right_rule_is_left_in_peace():
    assert check_updates(rmsprop(**squares("s", 0.9)), rmsprop_due, PARAMS, steps=6).findings == ()
