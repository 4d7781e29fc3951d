"""What a check found, as values."""

import pytest

from handgrad.compare.facts.causes import Scaled, Unknown, WrongSign
from handgrad.compare.names import Key
from handgrad.compare.results import FAILING, VERDICTS, Finding, Results


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
