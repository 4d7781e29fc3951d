import pytest

from handgrad.compare.facts.causes import Scaled
from handgrad.compare.names import Key
from handgrad.compare.results import Details, Finding, Results, Row
from handgrad.compare.source.states import gravest, states

ROW = Row(1, "backward", "dW", "", (2,), 0.0)


def at(step, verdict="OK", name="dW"):
    return ROW._replace(step=step, verdict=verdict, name=name)


def finding(step, verdict="FAULT", name="dW"):
    return Finding(Key(step, "backward", name), verdict, Scaled(2.0))


@pytest.mark.parametrize(
    ("row", "findings", "state"),
    [
        (at(2), (), "agrees"),
        (at(3), (), "follows"),
        (at(2, "FAULT"), (), "follows"),
        (at(2, "FAULT"), (finding(2),), "culprit"),
        (at(3, "FAULT"), (finding(2),), "culprit"),
        (at(1, "FAULT"), (finding(2),), "follows"),
        (at(2, "WEAK"), (finding(2, "WEAK"),), "weak"),
    ],
)
def test_a_tensor_agrees_is_a_culprit_or_follows_from_one(row, findings, state):
    results = Results((row,), findings, details=Details(downstream={"dW": (3,)}))
    assert states(results)[row.step, "dW"] == state


def test_a_finding_without_a_row_has_a_state_too():
    results = Results((at(1),), (finding(1, name="dX"), finding(2, "WEAK", "dY")))
    assert states(results) == {(1, "dW"): "agrees", (1, "dX"): "culprit", (2, "dY"): "weak"}


def test_the_gravest_of_several_states():
    assert gravest(["agrees", "follows", "absent"]) == "follows"
    assert gravest(["culprit", "weak"]) == "culprit"
    assert gravest([]) == "absent"
