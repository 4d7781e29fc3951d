"""The fixture `parity`, its marker and summary, in projects that pytest's `pytester` makes and runs."""

import re

import pytest

from tests.handgrad.projects import PASSING, WEAK, WRONG, summary

pytest_plugins = ["pytester"]


def test_every_check_passes_and_returns_its_report(project):
    project.makepyfile(test_it=PASSING)
    result = project.runpytest()
    assert result.ret == 0
    result.assert_outcomes(passed=6)
    lines = summary(result)
    assert re.fullmatch(
        r"6 checks agree; the closest to being flagged is 0\.\d+ of what rounding explains: \w+, test_it.py::test_\w+",
        lines[0],
    )
    assert any(re.match(r"not shown by 1 check: weight decay", line) for line in lines[1:])


def test_every_check_fails_with_the_report_as_message_and_without_frames_of_ours(project):
    project.makepyfile(test_it=WRONG)
    result = project.runpytest()
    assert result.ret == 1
    result.assert_outcomes(failed=4)
    text = result.stdout.str()
    for name in ("dw", "w_next", "spread"):
        assert f"E       handgrad.compare.errors.ParityError: FAULT  {name} at step 1" in text
    places = re.findall(r"^(\S+\.py):\d+: \w+$", text, flags=re.MULTILINE)
    assert places == ["test_it.py"] * 4
    lines = summary(result)
    assert lines[0].startswith("4 of 4 checks differ; the closest to being flagged is")
    assert "FAULT test_it.py::test_gradients: dw at step 1 (mine.py:14), cause sign" in lines


@pytest.mark.parametrize(
    ("marker", "configured", "passes"),
    [
        ("", "", True),
        ("@pytest.mark.parity(strict=True)", "", False),
        ("@pytest.mark.parity", "", True),
        ("", "parity_strict = true", False),
        ("@pytest.mark.parity(strict=False)", "parity_strict = true", True),
        ("@pytest.mark.parity", "parity_strict = true", False),
    ],
)
def test_weak_fails_where_it_is_asked_for(project, marker, configured, passes):
    project.makepyprojecttoml(f'[tool.pytest.ini_options]\naddopts = "--strict-markers"\n{configured}\n')
    project.makepyfile(test_it=f"import pytest\n{WEAK}".replace("def test", f"{marker}\ndef test"))
    result = project.runpytest()
    result.assert_outcomes(passed=passes, failed=not passes)
    assert summary(result)[0].startswith("1 check agrees" if passes else "1 of 1 check differs")
    assert "WEAK test_it.py::test_weak: dw at step 1 (mine.py:19), cause precision-loss" in summary(result)
    assert ("WEAK fails because of strict" in result.stdout.str()) == (not passes)


def test_a_marker_that_is_not_understood_says_so(project):
    project.makepyfile(test_it=f"import pytest\n{WEAK}".replace("def test", "@pytest.mark.parity(tol=1)\ndef test"))
    result = project.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["@pytest.mark.parity takes strict=True or strict=False and nothing else"])


def test_gradients_that_are_zero_on_both_sides_could_not_run(project):
    project.makepyfile(
        test_it="""
        from mine import *

        def test_it(parity):
            parity.check_gradients(lambda p: {"dw": 2 * p["w"]}, lambda p: p["w"].square(), {"w": 0.0}, ())
        """
    )
    result = project.runpytest()
    result.assert_outcomes(failed=1)
    assert summary(result)[0] == "1 check could not run"


def test_unusable_arguments_point_at_the_users_line(project):
    project.makepyfile(
        test_it="""
        from mine import *

        def test_it(parity):
            parity.check_gradients(derivation, reference, params, 7)
        """
    )
    result = project.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E       handgrad.compare.errors.InputError: batch is an int; it must be a tuple*", "test_it.py:4: InputError"]
    )
    assert summary(result) == [
        "1 check could not run",
        "could not run test_it.py::test_it: batch is an int; it must be a tuple of arrays, like (X, Y)",
    ]


def test_it_is_silent_where_no_check_runs(pytester):
    pytester.makepyfile(test_it="def test_it(parity):\n    pass\n\ndef test_other():\n    pass\n")
    result = pytester.runpytest()
    result.assert_outcomes(passed=2)
    assert "parity" not in result.stdout.str()


def test_nothing_is_imported_until_a_check_runs(pytester):
    pytester.makepyfile(
        test_it="""
        import sys

        def test_it(parity):
            heavy = {"numpy", "torch", "tabulate", "jinja2", "matplotlib"}
            assert not heavy & sys.modules.keys()
            ours = {name for name in sys.modules if name.split(".")[0] == "handgrad"}
            assert ours == {"handgrad", "handgrad.pytest_plugin"}
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)


BY_HAND = """
from dataclasses import replace

import handgrad
from handgrad import Finding, Report, Row
from handgrad.compare.facts.causes import Scaled
from handgrad.compare.names import Key
from handgrad.compare.facts.remarks import BlindSpot
from handgrad.compare.results import SourceLine

handgrad.check_gradients = lambda report: report
row = Row(1, "backward", "dw", "", (3,), 0.5, rho=0.25)
hidden = BlindSpot("l2", "weight decay", "l2 is 0", "set l2")
right = Report((row,), blind_spots=(hidden,))
finding = Finding(Key(1, "backward", "dw"), "FAULT", Scaled(2.0), SourceLine("mine.py", 7, "dw = 2 * dw"))
wrong = replace(right, rows=(row._replace(verdict="FAULT"),), findings=(finding,))
unplaced = replace(wrong, findings=(replace(finding, line=None),))


def test_right(parity):
    assert parity.check_gradients(right) is right

def test_wrong(parity):
    parity.check_gradients(wrong)

def test_unplaced(parity):
    parity.check_gradients(unplaced)
"""


def test_the_summary_shows_facts_with_file_and_line(pytester):
    pytester.makepyfile(test_it=BY_HAND)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, failed=2)
    assert summary(result) == [
        "2 of 3 checks differ; "
        "the closest to being flagged is 0.25 of what rounding explains: dw, test_it.py::test_right",
        "FAULT test_it.py::test_unplaced: dw at step 1, cause scale",
        "FAULT test_it.py::test_wrong: dw at step 1 (mine.py:7), cause scale",
        "not shown by 3 checks: weight decay (l2 is 0; set l2)",
    ]


def test_a_file_is_checked_against_a_reference_in_another(project):
    project.makepyfile(
        theirs="def derivation(p, x):\n    return {'J': (p['w'] ** 2 * x).sum(), 'dw': 2 * p['w'] * x}\n",
        theirs_wrong="def derivation(p, x):\n    return {'J': (p['w'] ** 2 * x).sum(), 'dw': 2 * x}\n",
        test_it="""
        def test_right(parity):
            assert parity.check_file("theirs.py", reference="mine.py")["gradients"].ok

        def test_wrong(parity):
            parity.check_file("theirs_wrong.py", reference="mine.py")
        """,
    )
    result = project.runpytest()
    result.assert_outcomes(passed=1, failed=1)
    assert "FAULT test_it.py::test_wrong: dw at step 1 (theirs_wrong.py:2), cause missing-factor" in summary(result)
