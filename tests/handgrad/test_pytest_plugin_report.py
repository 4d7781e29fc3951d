"""The report file of the plugin: every check by its test id, whatever runs in which order and form."""

import json

import pytest

from handgrad import load_reports
from tests.handgrad.projects import PASSING, WEAK, WRONG, summary

pytest_plugins = ["pytester"]

MIXED = """
import pytest
from mine import *

@pytest.fixture
def checked_before(parity):
    parity.check_updates(update, sgd, params)

@pytest.mark.parametrize("factor", [1, 2])
def test_factor(parity, factor):
    parity.check_gradients(lambda p, x: derivation(p, x) | {"dw": factor * 2 * p["w"] * x}, reference, params, batch)

def test_thrice(parity):
    parity.check_gradients(derivation, reference, params, batch)
    parity.check_updates(update, sgd, params)
    parity.check_updates(update, sgd, params)

def test_with_a_fixture(checked_before):
    pass
"""
IDS = [
    "test_it.py::test_factor[1]",
    "test_it.py::test_factor[2]",
    "test_it.py::test_thrice",
    "test_it.py::test_thrice (2)",
    "test_it.py::test_thrice (3)",
    "test_it.py::test_with_a_fixture",
]


def ran(project, *arguments):
    """The session, in a process of its own where it has workers: torch is imported anew in each."""
    return (project.runpytest_subprocess if "-n" in arguments else project.runpytest)(*arguments)


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "two workers"])
def test_the_report_file_has_every_check_by_test_id(project, workers):
    project.makepyfile(test_it=MIXED)
    result = ran(project, *workers, "--parity-report=out/parity.json")
    assert result.ret == 1
    result.assert_outcomes(passed=3, failed=1)
    file = project.path / "out" / "parity.json"
    content = json.loads(file.read_text())
    assert (content["schema"], content["ok"], [*content["reports"]]) == ("handgrad.reports/2", False, IDS)
    reports = load_reports(file)
    assert [report.ok for report in reports.values()] == [True, False, True, True, True, True]
    assert reports[IDS[1]].first.factor == 2
    assert len(reports[IDS[0]].rows) == 2
    assert f"written to {file}" in summary(result)
    assert summary(result)[0].startswith("1 of 6 checks differs; ")
    assert f"FAULT {IDS[1]}: dw at step 1 (test_it.py:10), cause scale" in summary(result)


def test_two_workers_write_the_same_bytes_as_one_process(project):
    project.makepyfile(test_it=MIXED)
    texts = []
    for workers in ((), ("-n", "2")):
        ran(project, *workers, "--parity-report=parity.md")
        texts.append((project.path / "parity.md").read_text())
    assert texts[0] == texts[1]
    assert texts[0].startswith("### handgrad: 1 of 6 checks differs\n")
    assert "#### test\\_it.py" not in texts[0]
    assert "test_it.py::test_factor\\[2\\]: FAULT" in texts[0]


def test_the_report_file_may_stand_in_pyproject_and_the_option_comes_first(project):
    project.makepyprojecttoml('[tool.pytest.ini_options]\nparity_report = "reports/parity.json"\n')
    project.makepyfile(test_it=PASSING)
    assert project.runpytest("-k", "updates").ret == 0
    assert [*load_reports(project.path / "reports" / "parity.json")] == ["test_it.py::test_updates"]
    assert project.runpytest("-k", "training", "--parity-report", "mine.json").ret == 0
    assert [*load_reports(project.path / "mine.json")] == ["test_it.py::test_training"]
    assert [*load_reports(project.path / "reports" / "parity.json")] == ["test_it.py::test_updates"]


def test_a_report_of_no_check_is_not_ok(pytester):
    pytester.makepyfile(test_it="def test_it():\n    pass\n")
    result = pytester.runpytest("--parity-report=parity.json")
    assert result.ret == 0
    assert json.loads((pytester.path / "parity.json").read_text()) == {
        "schema": "handgrad.reports/2",
        "ok": False,
        "reports": {},
        "not_run": {},
    }
    assert summary(result)[0] == "no check ran"
    pytester.runpytest("--parity-report=parity.md")
    assert (pytester.path / "parity.md").read_text() == "### handgrad: no check ran\n"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("parity.txt", "--parity-report parity.txt must end in .json or .md or .html"),
        ("parity", "--parity-report parity must end in .json or .md or .html"),
        ("folder.md", "--parity-report folder.md is a folder; name a file"),
    ],
)
def test_a_report_file_that_cannot_be_one_is_refused_before_any_test_runs(pytester, name, message):
    (pytester.path / "folder.md").mkdir()
    pytester.makepyfile(test_it="def test_it():\n    open('ran', 'w').close()\n")
    result = pytester.runpytest_subprocess(f"--parity-report={name}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])
    assert not (pytester.path / "ran").exists()


def test_a_report_file_that_cannot_be_written_fails_the_session_and_says_so(project):
    (project.path / "occupied").write_text("")
    project.makepyfile(test_it=PASSING)
    result = project.runpytest("-k", "updates", "--parity-report=occupied/parity.md")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.assert_outcomes(passed=1, deselected=5)
    assert "occupied/parity.md cannot be written" in summary(result)[-1]


def test_many_findings_are_cut_on_the_terminal_and_not_in_the_file(project):
    project.makepyfile(
        test_it="""
        import pytest
        from mine import *

        @pytest.mark.parametrize("n", range(12))
        def test_it(parity, n):
            parity.check_gradients(wrong, reference, params, batch)
        """
    )
    result = project.runpytest("--parity-report=parity.json", "-p", "no:randomly")
    lines = summary(result)
    assert len([line for line in lines if line.startswith("FAULT")]) == 10
    assert "... and 2 more" in lines
    assert len(load_reports(project.path / "parity.json")) == 12


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "xdist"])
def test_a_file_that_cannot_be_collected_is_told_in_the_report_which_is_written_anew(project, workers):
    project.makepyfile(test_it=PASSING)
    project.path.joinpath("parity.md").write_text("an older one")
    project.makepyfile(test_broken="import nothing_of_this_name")
    result = ran(project, *workers, "-k", "updates", "--parity-report=parity.md")
    assert result.ret != 0
    lines = summary(result)
    assert lines[0].endswith("1 check could not run") or lines[0].startswith("1 check agrees, 1 check could not run")
    assert "could not run test_broken.py: it cannot be collected; see pytest's errors" in lines
    assert "test_broken.py" in project.path.joinpath("parity.md").read_text()
    assert "an older one" not in project.path.joinpath("parity.md").read_text()
    without = summary(ran(project, *workers, "-k", "updates")) or []
    assert not any("could not" in line for line in without), "pytest tells of it itself"


@pytest.mark.parametrize("words", [("--collect-only",), ("nothing_here.py",), ("-k", "no_such_test")], ids=" ".join)
def test_a_session_that_runs_no_test_leaves_the_report_as_it_is(project, words):
    project.makepyfile(test_it=PASSING)
    if words == ("--collect-only",):
        project.makepyfile(test_broken="import nothing_of_this_name")
    (project.path / "parity.md").write_text("the one before")
    project.runpytest("--parity-report=parity.md", *words)
    assert (project.path / "parity.md").read_text() == "the one before"


def test_strict_failures_and_checks_that_could_not_run_are_in_the_file(project):
    project.makepyfile(
        test_it=f"import pytest\n{WEAK}".replace("def test", "@pytest.mark.parity(strict=True)\ndef test")
        + "def test_input(parity):\n    parity.check_gradients(derivation, reference, {}, batch)\n"
    )
    assert project.runpytest("--parity-report=parity.json").ret == 1
    content = json.loads((project.path / "parity.json").read_text())
    assert (content["ok"], [*content["reports"]], [*content["not_run"]]) == (
        False,
        ["test_it.py::test_weak"],
        ["test_it.py::test_input"],
    )
    assert "params is empty" in content["not_run"]["test_it.py::test_input"]
    project.runpytest("--parity-report=parity.md")
    text = (project.path / "parity.md").read_text()
    assert text.startswith("### handgrad: 1 of 1 check differs, 1 check could not run\n")
    assert "- test_it.py::test_input could not run: params is empty" in text
    assert "#### test_it.py::test_weak: OK, but WEAK" in text


@pytest.mark.parametrize("form", ["json", "md", "html"])
def test_what_no_encoding_can_hold_is_escaped(project, form):
    project.makepyfile(
        test_it="""
        import pytest
        from mine import *

        def surrogate(p, x):
            raise ValueError("half a character: " + chr(0xD800) + chr(27))

        def test_it(parity):
            with pytest.raises(AssertionError):
                parity.check_gradients(surrogate, reference, params, batch)
        """
    )
    assert project.runpytest(f"--parity-report=parity.{form}").ret == 0
    text = (project.path / f"parity.{form}").read_text()
    assert "\\ud800" in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('parity_strict = "yes please"', "*truth value*yes please*"),
        ('parity_report = "reports"', "*must end in .json or .md or .html*"),
    ],
)
def test_a_setting_that_is_not_understood_stops_the_session(project, line, message):
    project.makepyprojecttoml(f"[tool.pytest.ini_options]\n{line}\n")
    project.makepyfile(test_it=PASSING)
    result = project.runpytest_subprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])


def test_the_page_of_a_session_shows_every_check_with_its_line_and_curves(project):
    project.makepyfile(test_right=PASSING, test_wrong=WRONG)
    result = project.runpytest("--parity-report=parity.html")
    result.stdout.fnmatch_lines(["*written to *parity.html"])
    text = (project.path / "parity.html").read_text()
    assert "4 of 10 checks differ" in text
    for test in ("test_wrong.py::test_gradients", "test_right.py::test_experiment"):
        assert f">{test}</a>" in text
    assert "marked wrong" in text
    assert "How far the two drift apart" in text
    assert "<script" not in text


def test_a_page_without_its_extra_is_refused_before_any_test_runs(project):
    project.makepyfile(test_it=PASSING)
    project.makeconftest("import sys\nsys.modules['jinja2'] = None\n")
    result = project.runpytest_subprocess("--parity-report=parity.html")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "pip install 'handgrad[report]'" in "".join(result.errlines)
