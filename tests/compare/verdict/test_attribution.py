"""Which tensors are culprits and which only follow, within a step and over steps."""

from dataclasses import replace

import numpy as np
import pytest

from handgrad.compare.facts.causes import Scaled, Unknown, WrongSign, Zero
from handgrad.compare.facts.failures import LosesDigits, Overflow
from handgrad.compare.names import Key
from handgrad.compare.results import Excerpt, Finding, Row
from handgrad.compare.verdict.attribution import (
    Excuses,
    Suspect,
    attribution,
    consequences,
    culprits,
    outranks,
)
from handgrad.compare.verdict.closeness import Local
from handgrad.compare.verdict.judgement import Judgement
from handgrad.compare.verdict.rounding import Outcome
from tests.compare.verdict.witnesses import Told

READS = {"A": frozenset({"Z"}), "J": frozenset({"A"})}
CAUSES = {"FAULT": Unknown(), "WEAK": LosesDigits(), "NONFINITE": Overflow()}


def judgement(name, verdict="OK", *, step=1, is_culprit=True, differs=None, cause=None):
    """The judgement on one tensor; one that is not OK is a culprit and differs, unless told otherwise."""
    key = Key(step, "backward", name)
    row = Row(*key, equation="", shape=(), max_abs_diff=0.0, verdict=verdict)
    finding = Finding(key, verdict, cause or CAUSES[verdict]) if verdict != "OK" and is_culprit else None
    excerpt = Excerpt(step, name, (), ((float(step),),), ((0.0,),)) if finding else None
    return Judgement(row, finding, verdict != "OK" if differs is None else differs, excerpt=excerpt)


def named(findings):
    return [(finding.where.step, finding.where.name, finding.verdict) for finding in findings]


# --- within a step


def suspect(name, verdict, recorded, reference, is_right=False):
    """A tensor in float64 that is not OK, and its row; `is_right`: end to end it is torch's own."""
    local = Local(np.array(recorded, float), np.array(reference, float))
    difference = float(abs(local.recorded - local.reference)[0])
    row = Row(1, "backward", name, "", (), 0.0 if is_right else difference, verdict=verdict)
    return Suspect(Key(1, "backward", name), Outcome(verdict, 2.0, "bound", (0,)), local), row


def excuses(*before, witnesses=None):
    kept = Excuses(READS, witnesses or {})
    for name, verdict in before:
        kept.note(name, verdict)
        kept.has_finding = True
    return kept


@pytest.mark.parametrize(("before", "name", "is_excused"), [
    (("A", "FAULT"), "dZ", True), (("A", "FAULT"), "dA", False), (("J", "FAULT"), "dA", False),
    (("A", "WEAK"), "dZ", False), (("dA", "FAULT"), "dZ", False),
    (("A", "NONFINITE"), "dZ", False), (("J", "WEAK"), "dA", False),
])  # fmt: skip
def test_the_gradient_of_what_a_wrong_value_reads_follows(before, name, is_excused):
    assert excuses(before, witnesses={"float64": Told({}, {})}).cover(*suspect(name, "FAULT", [2], [1])) == is_excused


@pytest.mark.parametrize(("recorded", "reference", "is_excused"), [
    ([np.nan], [np.inf], True), ([np.nan], [1.0], False), ([1.0], [np.nan], False),
])  # fmt: skip
def test_what_is_finite_on_neither_side_follows_from_what_was_not(recorded, reference, is_excused):
    after = suspect("dZ", "NONFINITE", recorded, reference)
    assert excuses(("Z", "NONFINITE")).cover(*after) == is_excused
    assert not excuses().cover(*after)


def test_what_is_right_end_to_end_follows_from_a_finding_before_it():
    assert excuses(("dZ", "FAULT")).cover(*suspect("dW", "FAULT", [2], [1], is_right=True))
    assert not excuses(("dZ", "FAULT")).cover(*suspect("dW", "FAULT", [2], [1]))
    assert not excuses().cover(*suspect("dW", "FAULT", [2], [1], is_right=True))
    after, row = suspect("dW", "FAULT", [2], [1])
    for apart, is_right in ((2.0**-11, True), (2.0**-9, False)):
        assert excuses(("dZ", "FAULT")).cover(after, row._replace(max_abs_diff=apart)) == is_right


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("off", "is_excused"), [(1e-6, True), (11e-6, True), (13e-6, False)])
def test_the_gradient_at_a_cast_value_is_off_by_what_the_cast_makes_of_it(off, is_excused, dtype):
    """2^-20 of its own size, 10, and 4 |dA| |A - A'|."""
    told = Told({"A": np.array([0.5 + 5e-7]), "dA": np.array([1.0])}, {"A": np.array([0.5])}, dtype)
    after, row = suspect("dZ", "FAULT", [10 + off], [10.0])
    after = after._replace(outcome=replace(after.outcome, dtype=dtype))
    assert excuses(("A", "WEAK"), witnesses={dtype: told}).cover(after, row) == is_excused


def test_without_the_gradient_of_the_cast_value_only_its_own_size_counts():
    for dA in ({}, {"dA": np.ones((1, 1))}):
        told = Told({"A": np.array([0.5 + 5e-7]), **dA}, {"A": np.array([0.5])})
        kept = excuses(("A", "WEAK"), witnesses={"float64": told})
        assert kept.cover(*suspect("dZ", "FAULT", [10 + 9e-6], [10.0]))
        assert not kept.cover(*suspect("dZ", "FAULT", [10 + 11e-6], [10.0]))


@pytest.mark.parametrize(("off", "is_excused"), [(1.9e-6, True), (2.1e-6, False)])
def test_the_gradient_at_a_value_that_is_ok_is_off_by_what_that_is_off_alone(off, is_excused):
    """A cast of a saturated value is within its last digits, and 1 - A is a share of that."""
    told = Told({"A": np.array([0.5 + 5e-7]), "dA": np.array([1.0])}, {"A": np.array([0.5])})
    after = suspect("dZ", "FAULT", [10 + off], [10.0])
    assert excuses(("A", "OK"), witnesses={"float64": told}).cover(*after) == is_excused
    both = excuses(("A", "WEAK"), ("A", "OK"), witnesses={"float64": told})
    assert both.cover(*after)


def test_a_cast_is_looked_at_in_the_precision_that_shows_the_verdict():
    """What float64's own value is off by excuses nothing in float32, and the other way round."""
    off, exact = np.array([0.5 + 5e-7]), np.array([0.5])
    for dtype, other in (("float64", "float32"), ("float32", "float64")):
        told = {dtype: Told({"A": exact, "dA": np.ones(1)}, {"A": exact}, dtype)}
        told[other] = Told({"A": off, "dA": np.ones(1)}, {"A": exact}, other)
        after, row = suspect("dZ", "FAULT", [10 + 11e-6], [10.0])
        after = after._replace(outcome=replace(after.outcome, dtype=dtype))
        assert not excuses(("A", "WEAK"), witnesses=told).cover(after, row)
        after = after._replace(outcome=replace(after.outcome, dtype=other))
        assert excuses(("A", "WEAK"), witnesses=told).cover(after, row)


# --- over all steps


@pytest.mark.parametrize(("verdict", "before", "expected"), [
    ("WEAK", None, True), ("FAULT", None, True), ("FAULT", "WEAK", True), ("WEAK", "WEAK", False),
    ("FAULT", "FAULT", False), ("WEAK", "FAULT", False), ("MISSING", "FAULT", False),
])  # fmt: skip
def test_a_failure_counts_for_more_than_weak_and_else_the_first(verdict, before, expected):
    assert outranks(verdict, before) == expected


def test_each_tensor_is_a_culprit_where_it_fails_first():
    judgements = [
        judgement("dZ", "WEAK"), judgement("dW", "FAULT"),
        judgement("dZ", "FAULT", step=2), judgement("dW", "FAULT", step=2),
    ]  # fmt: skip
    assert named(culprits(judgements)) == [(1, "dW", "FAULT"), (2, "dZ", "FAULT")]
    assert culprits([judgement("dW")]) == ()


def test_the_first_culprit_counts_the_tensors_that_only_follow():
    judgements = [
        judgement("A", differs=True), judgement("dZ", "FAULT"), judgement("dW", differs=True), judgement("db"),
        judgement("dZ", "FAULT", step=2), judgement("dX", "FAULT", is_culprit=False),
    ]  # fmt: skip
    (finding,) = culprits(judgements)
    assert finding.affects == 2


def test_after_an_overflow_on_both_sides_what_is_not_finite_is_affected():
    judgements = [judgement("Z", "NONFINITE"), judgement("dW", "NONFINITE", step=2), judgement("db", "FAULT", step=2)]
    first, second = culprits(judgements)
    assert (first.where.name, first.affects, second.where.name) == ("Z", 1, "db")


def test_the_first_finding_has_all_its_causes_and_the_others_one():
    faults = [judgement(name, "FAULT").finding for name in ("dZ", "dW")]
    twice = Scaled(2.0, (), None)
    first, second = attribution(faults, lambda _: (WrongSign(), Zero()), lambda _: (twice,))
    assert (first.cause, first.others) == (WrongSign(), (Zero(),))
    assert (second.cause, second.others) == (twice, ())


def test_siblings_of_the_first_finding_are_asked_as_it_is():
    faults = [judgement(name, "FAULT").finding for name in ("dW1", "db", *(f"dW{i}" for i in range(2, 7)))]
    named = attribution(faults, lambda _: (Zero(), WrongSign()), lambda _: (WrongSign(),))
    asked = [finding.where.name for finding in named if finding.cause == Zero()]
    assert asked == ["dW1", "dW2", "dW3", "dW4", "dW5"]


def test_a_cause_that_is_known_stays():
    weak, fault = judgement("dZ", "WEAK").finding, judgement("dW", "FAULT").finding
    named = attribution([weak, fault], lambda _: (Zero(),), lambda _: (Zero(),))
    assert [finding.cause for finding in named] == [LosesDigits(), Zero()]


def test_what_follows_is_told_with_its_steps_and_each_culprit_with_its_entries():
    judgements = [
        judgement("A", differs=True), judgement("dZ", "WEAK"), judgement("dW", differs=True), judgement("db"),
        judgement("dZ", "FAULT", step=2), judgement("dW", "FAULT", step=2, is_culprit=False),
        judgement("dZ", "FAULT", step=3), judgement("dX", "WEAK", step=3, is_culprit=False, differs=False),
    ]  # fmt: skip
    details = consequences(judgements, READS)
    assert details.downstream == {"dW": (1, 2), "dX": (3,)}
    assert [(excerpt.name, excerpt.step) for excerpt in details.excerpts] == [("dZ", 2)]
    assert details.reads == {"A": ("Z",), "J": ("A",)}
