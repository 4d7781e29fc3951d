"""Slips in update rules have their names, those held out too as far as they have one; right rules are left in peace."""

import pytest

from handgrad import check_updates
from handgrad.compare.facts.fact import content_of
from tests.corpus.optimizers import PARAMS, RIGHT, SLIPS

FAST = sorted(SLIPS)[::6]
STEPS = 8  # RAdam takes the first five in another form
NOT_NAMED = {"nadam not ahead", "nadam t one ahead", "radam from 4"}


@pytest.mark.parametrize("name", [name for name in FAST if name not in NOT_NAMED])
def test_a_slip_has_its_name(name):
    slip = SLIPS[name]
    cause = check_updates(slip.update, slip.optimizer, PARAMS, steps=STEPS).first.cause
    assert cause.code in slip.codes, cause


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_rule_is_left_in_peace(name):
    optimizer, update = RIGHT[name]
    assert check_updates(update, optimizer, PARAMS, steps=STEPS).findings == ()


def test_a_cause_holds_what_it_says():
    slip = SLIPS["adam eps 3e-5"]
    cause = check_updates(slip.update, slip.optimizer, PARAMS).first.cause
    assert content_of(cause)["name"] == "eps"
