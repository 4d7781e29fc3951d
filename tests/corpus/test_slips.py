"""The derivations and update rules with slips: right as they stand, and each slip is one edit that can be made."""

import numpy as np
import pytest

from handgrad import check_gradients, check_updates
from tests.corpus.planted import Mistake, made
from tests.corpus.slips import OPERATIONS
from tests.corpus.slips_updates import RULES


def named(operation):
    return operation.name


@pytest.mark.parametrize("operation", OPERATIONS, ids=named)
def test_the_derivations_are_right(operation):
    params, batch = operation.draw(np.random.default_rng(1))
    assert check_gradients(made(operation.derivation), operation.reference, params, batch).findings == ()


@pytest.mark.parametrize("rule", RULES, ids=named)
def test_the_updates_are_right(rule):
    assert check_updates(made(rule.update), rule.optimizer, rule.draw(np.random.default_rng(1))).findings == ()


@pytest.mark.parametrize("operation", OPERATIONS, ids=named)
def test_every_slip_changes_what_is_returned(operation):
    params, batch = operation.draw(np.random.default_rng(1))
    right = made(operation.derivation)(params, *batch)
    for mistake in operation.mistakes:
        wrong = made(mistake.planted(operation.derivation))(params, *batch)
        assert any(not np.allclose(wrong[name], right[name], rtol=1e-9, atol=1e-12) for name in right), mistake


@pytest.mark.parametrize("rule", RULES, ids=named)
def test_every_slip_of_a_rule_can_be_planted(rule):
    assert all(callable(made(mistake.planted(rule.update))) for mistake in rule.mistakes)


def test_there_are_as_many_as_the_prototype_had():
    assert sum(len(operation.mistakes) for operation in OPERATIONS) == 129
    assert sum(len(rule.mistakes) for rule in RULES) == 24


@pytest.mark.parametrize("old", ["absent", "= "])
def test_an_edit_that_stands_nowhere_or_twice_is_refused(old):
    with pytest.raises(ValueError, match="stands"):
        Mistake("", old, "").planted("a = b = 1")
