import numpy as np
import pytest

from handgrad import InputError, ParityError, Report
from handgrad.compare.facts.causes import Scaled
from handgrad.compare.facts.failures import LosesDigits
from handgrad.compare.names import Key
from handgrad.compare.report.stored import read
from handgrad.compare.results import Finding, Row

FINE = Row(1, "forward", "Z1", "F1", (2, 3), 1e-16, (0, 1), 1.0, 1.0)
WRONG = Row(1, "backward", "dW1", "B2", (2, 2), 0.5, (1, 0), -12.64908, -3.16227, verdict="FAULT")
WEAK = Finding(Key(1, "forward", "A1"), "WEAK", LosesDigits())
ARRAYS = {(1, "dW1"): (np.ones((2, 2)), np.zeros((2, 2))), (2, "dW1"): (3 * np.ones((2, 2)),) * 2, (2, "dZ1"): (1, 1)}


def test_a_pass_is_ok_and_raises_nothing():
    report = Report(rows=(FINE,))
    assert report.ok
    assert report.first is None
    report.raise_if_failed(strict=True)


@pytest.mark.parametrize("verdict", ["FAULT", "NONFINITE", "MISSING"])
def test_a_failing_verdict_raises_with_the_report_as_its_message(verdict):
    finding = Finding(Key(1, "backward", "dW1"), verdict, Scaled(4.0))
    report = Report(rows=(FINE, WRONG), findings=(finding,))
    assert not report.ok
    assert report.first is finding
    with pytest.raises(ParityError, match="dW1") as caught:
        report.raise_if_failed()
    assert isinstance(caught.value, AssertionError)
    assert str(caught.value) == str(report)


def test_weak_fails_only_when_strict():
    report = Report(rows=(FINE,), findings=(WEAK,))
    assert report.ok
    report.raise_if_failed()
    with pytest.raises(ParityError, match="WEAK fails because of strict") as caught:
        report.raise_if_failed(strict=True)
    assert str(report) in str(caught.value)


def test_both_sides_of_a_tensor_are_handed_out_by_name():
    by_hand, torch = Report((WRONG,), arrays=ARRAYS).tensor("dW1")
    assert (by_hand == 1).all()
    assert (torch == 0).all()


def test_the_step_is_that_of_the_finding_else_the_first_or_the_one_asked_for():
    finding = Finding(Key(2, "backward", "db1"), "FAULT", Scaled(4.0), together=("dW1",))
    assert Report((WRONG,), arrays=ARRAYS).tensor("dW1") is ARRAYS[1, "dW1"]
    assert Report((WRONG,), arrays=ARRAYS).tensor("dZ1") is ARRAYS[2, "dZ1"]
    report = Report((WRONG,), (finding,), arrays=ARRAYS)
    assert report.tensor("dW1") is ARRAYS[2, "dW1"]
    assert report.tensor("dW1", 1) is ARRAYS[1, "dW1"]
    with pytest.raises(InputError, match="it was at 1 and 2"):
        report.tensor("dW1", 3)


def test_a_tensor_that_is_not_there_is_asked_back_and_a_stored_report_has_none():
    report = Report((WRONG._replace(verdict="OK"),), arrays=ARRAYS)
    with pytest.raises(InputError, match="did you mean 'dW1'"):
        report.tensor("dW")
    (stored,) = read(report.to_json(), "it").values()
    assert stored == report, "arrays are no part of what a report says"
    assert "arrays" not in repr(report)
    with pytest.raises(InputError, match="holds no arrays"):
        stored.tensor("dW1")


def test_every_form_is_the_renderers():
    report = Report((FINE,))
    assert report.to_json().startswith('{\n "schema": "handgrad.report/2"')
    assert report.to_markdown().startswith("### handgrad: OK")
    assert "<title>OK, one check - handgrad</title>" in report.to_html()
    assert report._repr_html_().startswith('<div class="handgrad">')
