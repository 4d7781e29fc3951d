"""Every cause is explained: its texts are complete, and its example is found, called by it, and right without it."""

import importlib
import pkgutil
from dataclasses import replace
from itertools import groupby

import numpy as np
import pytest

from handgrad.compare import facts
from handgrad.compare.facts.causes import Cause
from handgrad.compare.faults.explain import SEED
from handgrad.compare.faults.explanations import explanations
from handgrad.compare.faults.trial import trial

CAUSES = explanations()


def kinds_of(cause):
    """Every type below one."""
    return {kind for below in cause.__subclasses__() for kind in (below, *kinds_of(below))}


def test_every_cause_that_can_be_given_is_explained_and_no_other():
    for module in pkgutil.iter_modules(facts.__path__, f"{facts.__name__}."):
        importlib.import_module(module.name)
    codes = {getattr(kind, "code", None) for kind in kinds_of(Cause)}
    assert {code for code in codes if isinstance(code, str)} == {*CAUSES}


@pytest.mark.parametrize("code", CAUSES)
def test_an_explanation_says_everything(code):
    cause = CAUSES[code]
    assert cause.code == code
    assert cause.fault.cause == code
    assert cause.line == cause.line.strip(" .")
    assert 1 <= len(cause.neighbours) <= 4
    assert {*cause.neighbours} <= {*CAUSES} - {code}
    for text in (cause.means, *cause.neighbours.values()):
        assert text[0].isupper() or text[0].isdigit()
        assert text.endswith(".")
        assert "\n" not in text


def test_the_causes_of_a_group_stand_together():
    groups = [group for group, _ in groupby(cause.group for cause in CAUSES.values())]
    assert len(groups) == len({*groups})


def test_no_example_is_of_two_causes_and_the_others_are_those_of_the_catalogue():
    examples = {cause.example for cause in CAUSES.values()}
    assert len(examples) == len(CAUSES)
    assert not examples & {name for cause in CAUSES.values() for name in cause.others}
    assert "tanh-derivative-of-a" in CAUSES["activation-derivative"].others


@pytest.mark.parametrize("code", CAUSES)
def test_the_wrong_code_of_an_example_is_called_by_its_cause_and_the_right_code_is_right(code):
    fault = CAUSES[code].fault
    wrong, _ = trial(fault, np.random.default_rng(SEED))
    assert wrong.first.cause.code == code, str(wrong)
    right, _ = trial(replace(fault, edits=()), np.random.default_rng(SEED))
    assert right.findings == (), str(right)
    assert {row.verdict for row in right.rows} == {"OK"}
