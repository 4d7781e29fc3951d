"""Slips that only update rules have, each of the optimisers in which it can be made."""

import pytest
import torch

from handgrad.compare.diagnosis.edits.slips import slips, unsettled
from handgrad.compare.diagnosis.edits.wording import Formulas
from handgrad.compare.diagnosis.recurring import Whole
from handgrad.compare.facts.updates import ClippedGradient, Counted, DecayForm, EpsilonPlace, StateStart
from handgrad.compare.oracle.recurrence import AFTER, OF_THE_RUN, recurrence
from tests.compare.oracle.test_recurrence import OPTIMIZERS, W


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
