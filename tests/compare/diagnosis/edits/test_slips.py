"""Slips that only update rules have, each of the optimisers in which it can be made."""

import numpy as np
import pytest
import torch

from handgrad import check_updates
from handgrad.compare.diagnosis.edits.slips import slips, unsettled
from handgrad.compare.diagnosis.edits.wording import Formulas
from handgrad.compare.diagnosis.recurring import Whole
from handgrad.compare.facts.causes import Scaled
from handgrad.compare.facts.edits import OtherNumber, OtherOperand
from handgrad.compare.facts.updates import ClippedGradient, Counted, DecayForm, EpsilonPlace, StateForm, StateStart
from handgrad.compare.oracle.recurrence import AFTER, OF_THE_RUN, recurrence
from tests.compare.oracle.test_recurrence import OPTIMIZERS, W
from tests.corpus.optimizers import LR, PARAMS, SLIPS, adam, mean, rule, squares


def causes(optimizer, decays=()):
    segment = Whole(recurrence(optimizer, W, "w").graph, AFTER, frozenset(OF_THE_RUN))
    words = Formulas(segment, {})
    return [slip.cause(words) for slip in slips(segment, decays)]


@pytest.mark.parametrize(("name", "kinds"), [("Adam", 4), ("AdamW", 4), ("SGD", 2), ("RMSprop", 2), ("Adagrad", 3)])
def test_an_optimiser_has_the_slips_that_its_formula_can_have(name, kinds):
    made = {type(cause) for cause in causes(OPTIMIZERS[name][0])}
    assert len(made & {Counted, DecayForm, EpsilonPlace, StateStart}) == kinds


def test_decay_of_other_parameters_is_asked_for_by_its_number():
    plain = lambda t: torch.optim.SGD(t, lr=0.1)  # noqa: E731  # as a user writes it
    assert DecayForm("gradient", 0.3, is_due=False) in causes(plain, decays=(0.3,))


def test_a_bound_is_left_open():
    made = recurrence(OPTIMIZERS["SGD"][0], W, "w")
    segment = Whole(made.graph, AFTER, frozenset(OF_THE_RUN))
    told = [make(2.0).cause(Formulas(segment, {})) for make, _ in unsettled(segment, made.settings)]
    assert {cause.by for cause in told if isinstance(cause, ClippedGradient)} == {
        "value",
        "norm of the gradient",
        "norm of all gradients",
    }


# --- one state alone


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
