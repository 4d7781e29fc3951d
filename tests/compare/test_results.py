"""What a check found, as values."""

import copy
import pickle

import pytest

from handgrad.compare.facts.causes import Scaled, Unknown, WrongSign
from handgrad.compare.names import Key
from handgrad.compare.results import FAILING, VERDICTS, Details, Finding, Results, Row, later


def finding(verdict, name="dW"):
    return Finding(Key(1, "backward", name), verdict, Unknown())


@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_run_is_ok_without_a_failing_finding(verdict):
    assert Results((), (finding("WEAK"), finding(verdict))).ok == (verdict not in FAILING)
    assert {"FAULT", "NONFINITE", "MISSING"} == {*FAILING}


def test_the_first_finding_is_the_first_in_dataflow_order():
    assert Results(()).first is None
    assert Results((), (finding("WEAK", "Z"), finding("FAULT", "dW"))).first.where.name == "Z"


@pytest.mark.parametrize(("cause", "factor"), [(Scaled(2.0, (), None), 2.0), (WrongSign(), -1.0), (Unknown(), None)])
def test_a_finding_has_the_factor_of_its_cause(cause, factor):
    assert Finding(Key(1, "backward", "dW"), "FAULT", cause).factor == factor


ROW = Row(1, "forward", "Z", "", (), 0.0)


def test_what_is_made_later_is_made_once_when_it_is_read():
    made = []
    results = Results(later(lambda: made.append(None) or (ROW,)), details=later(lambda: Details({"J": ("Z",)})))
    assert results.ok
    assert not made
    assert results.rows is results.rows == (ROW,)
    assert results.details.reads == {"J": ("Z",)}
    assert len(made) == 1


def test_results_with_values_and_with_what_makes_them_are_equal():
    assert Results(later(lambda: (ROW,))) == Results((ROW,))
    assert Results(later(lambda: (ROW,))) != Results(())


@pytest.mark.parametrize("copied", [lambda of: pickle.loads(pickle.dumps(of)), copy.copy, copy.deepcopy])
def test_what_is_copied_are_values(copied):
    results = Results(later(lambda: (ROW,)), notes=later(tuple))
    assert copied(results) == results == Results((ROW,))


def test_rows_are_due():
    with pytest.raises(TypeError, match="rows"):
        Results()
