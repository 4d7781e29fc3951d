"""What is said of an updated tensor with its verdict, and of parameters that no step changes."""

import numpy as np
import pytest

from handgrad.compare.facts.causes import Unknown
from handgrad.compare.facts.failures import FewerDigits, LosesDigits, NotFinite, NothingMoves, Unstable
from handgrad.compare.facts.remarks import Persists
from handgrad.compare.names import Key
from handgrad.compare.pipeline.following import Following
from handgrad.compare.pipeline.updates import nothing_moved, unmoved, update_judgement
from handgrad.compare.verdict.rounding import Outcome

KEY = Key(2, "update", "W_next")
BEFORE, TORCH = np.array([[1.0, -2.0], [0.5, 4.0]]), np.array([[0.9, -2.1], [0.6, 4.2]])


def following(before, by_hand, torch, name="W_next", dtype="float64"):
    """Both sides of one update; what else may be asked is not."""
    return Following(dtype, {"W": before}, {name: by_hand}, {name: torch}, followers=None, moved=None)


def judged(by_hand, verdict="FAULT", printed="float64", key=KEY, index=(1, 0), dtype="float64", why=None):
    beside = {
        d: following(BEFORE.astype(d), by_hand.astype(d), TORCH, key.name, d)
        for d in ("float64", "float32")
        if printed in ("float64", d)
    }
    return update_judgement(key, Outcome(verdict, 2.0, "noise", index, dtype, why), beside)


def test_of_what_is_right_the_row_shows_where_the_printed_sides_differ_most():
    by_hand = TORCH * (1 + np.array([[0, 1e-16], [0, 3e-16]]))
    row, finding, differs, note, *_ = judged(by_hand, "OK")
    assert (row.verdict, finding, differs, note) == ("OK", None, False, None)
    assert (row.index, row.by_hand, row.torch) == ((1, 1), by_hand[1, 1], 4.2)
    assert row.max_abs_diff == by_hand[1, 1] - 4.2


@pytest.mark.parametrize("printed", ["float64", "float32"])
def test_a_fault_is_shown_with_what_it_started_from(printed):
    by_hand = TORCH + np.array([[0, 0], [1e-2, 0]])
    judgement = judged(by_hand, printed=printed, dtype=printed, why=Persists("moves"))
    finding = judgement.finding
    assert (finding.where, finding.verdict, finding.cause) == (KEY, "FAULT", Unknown())
    assert finding.worst.index == (1, 0)
    assert (finding.worst.torch, finding.worst.before) == (0.6, 0.5)
    assert finding.worst.by_hand == pytest.approx(0.61)
    assert finding.circumstances == (Persists("moves"),)
    assert judgement.differs
    assert judgement.excerpt.name == "W_next"
    np.testing.assert_allclose(judgement.local.recorded, by_hand - BEFORE, rtol=1e-5)
    np.testing.assert_allclose(judgement.local.reference, TORCH - BEFORE)


@pytest.mark.parametrize("verdict", ["OK", "WEAK", "UNTOLD", "FAULT"])
@pytest.mark.parametrize("index", [(0, 0), (1, 0), (1, 1)])
def test_the_row_shows_the_largest_difference_whichever_entry_a_finding_shows(verdict, index):
    by_hand = TORCH + np.array([[1e-3, 0], [-2e-2, 1e-2]])
    row, finding, *_ = judged(by_hand, verdict, index=index)
    assert (row.index, row.by_hand - row.torch) == ((1, 0), pytest.approx(-row.max_abs_diff))
    assert finding is None or finding.worst.index == index


def test_a_fault_of_the_precision_that_is_not_printed_says_which():
    assert judged(TORCH + 1, dtype="float32").finding.worst.dtype == "float32"
    assert judged(TORCH + 1).finding.worst.dtype == ""


def test_of_a_velocity_there_is_no_value_before():
    assert judged(TORCH + 1, key=Key(1, "update", "vW")).finding.worst.before is None


def test_what_is_not_shown_wrong_has_the_cause_that_says_so():
    assert judged(TORCH + 1, "WEAK").finding.cause == LosesDigits()
    assert judged(TORCH + 1, "WEAK", why=FewerDigits("bfloat16")).finding.cause == FewerDigits("bfloat16")
    assert judged(TORCH + 1, "UNTOLD").finding.cause == Unstable()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_so_at_its_entry(value):
    by_hand = TORCH.copy()
    by_hand[0, 1] = value
    finding = judged(by_hand, "NONFINITE", index=(0, 1)).finding
    assert (finding.verdict, finding.worst.index) == ("NONFINITE", (0, 1))
    assert isinstance(finding.cause, NotFinite)
    assert finding.cause.torch == -2.1


def test_a_scalar_and_an_update_that_changes_nothing():
    one = np.array(1.0)
    row = update_judgement(KEY, Outcome("OK", 0.0, "screen", ()), {"float64": following(one, one, one)}).row
    assert (row.verdict, row.rho, row.index, row.shape) == ("OK", 0.0, (), ())


def test_the_parameters_that_no_step_changes():
    a, b = np.ones(2), np.zeros(2)
    assert unmoved([({"W": a, "b": a}, {"W": a, "b": b}), ({"W": a, "b": b}, {"W": a, "b": b})]) == ["W"]
    assert unmoved([({"W": a}, {})]) == []
    assert unmoved([]) == []


def test_where_nothing_moves_the_first_parameter_says_so():
    finding = nothing_moved("W", "use another rate")
    assert (finding.where, finding.verdict) == (Key(1, "update", "W_next"), "FAULT")
    assert finding.cause == NothingMoves("use another rate")
