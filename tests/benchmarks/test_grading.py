"""A part of the class that tests.benchmarks.grading grades: every style, right and wrong, and hostile ones."""

from dataclasses import replace

import pytest

from tests.benchmarks.grading import graded
from tests.benchmarks.grading_class import EQUATIONS, STYLES, exercises, wrong_by_itself

pytest.importorskip("jinja2", reason="pages are searched too")
pytest.importorskip("nbformat", reason="a style is notebooks")
NETWORK, *OTHERS = exercises(200, 0)
HOSTILE = ("exits.py", "zeros.py", "binary.py", "deletes.py", "kills.py")


def test_the_class_has_what_it_should():
    everything = [one for each in (NETWORK, *OTHERS) for one in each.handed_in]
    assert len(everything) >= 200
    assert {one.style for one in everything} == {*STYLES, "dicts", "hostile"}
    assert {len(one.wrong) for one in NETWORK.handed_in if one.style in STYLES} == {0, 1, 2, 3}
    assert sum(not one.wrong for one in everything) >= 30


@pytest.mark.parametrize("part", [0, 1])
def test_points_are_right_nothing_leaks_and_nobody_harms_anybody(part):
    handed_in = [one for one in NETWORK.handed_in if one.style in STYLES][10 * part : 10 * part + 10]
    handed_in += [one for one in NETWORK.handed_in if one.file in HOSTILE][part::2]
    outcome = graded([replace(NETWORK, handed_in=tuple(handed_in))])
    assert outcome.equations == len(handed_in) * len(EQUATIONS)
    assert outcome.rejected == []
    assert outcome.leaks == []
    assert outcome.right >= 0.99 * outcome.equations, str(outcome)


def test_points_are_right_in_an_operation_of_the_corpus():
    outcome = graded([replace(each, handed_in=each.handed_in[:3]) for each in OTHERS if "RMS" in each.name])
    assert (outcome.rejected, outcome.leaks) == ([], [])
    assert outcome.right == outcome.equations


def test_what_is_wrong_by_itself_is_told_from_the_lines():
    right = "def derivation(p, X):\n    a = X * 2\n    b = a + 1\n    c = b * 3\n    return {'b': b, 'c': c}\n"
    assert wrong_by_itself(right, right.replace("X * 2", "X * 4")) == {"b"}
    assert wrong_by_itself(right, right.replace("b * 3", "b * 4")) == {"c"}
    assert wrong_by_itself(right, right) is None
    shared = "def derivation(p, X):\n    r = X * 2\n    Z = r + 1\n    dZ = r * 3\n    return {'Z': Z, 'dZ': dZ}\n"
    assert wrong_by_itself(shared, shared.replace("X * 2", "X * 4")) == {"Z"}
    assert wrong_by_itself(shared, shared.replace("r * 3", "r * 4")) == {"dZ"}
