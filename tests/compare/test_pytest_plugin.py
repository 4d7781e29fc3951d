"""The fixture `parity`, its marker, summary and report file, in projects that pytest's `pytester` makes and runs."""

import json
import re
from contextlib import suppress

import pytest

from handgrad import Experiment, InputError, check_gradients, check_updates, load_reports
from handgrad.compare.checks.files import CHECKS

pytest_plugins = ["pytester"]

MINE = """
import numpy as np
import torch

params = {"w": np.array([1.0, 2.0, 3.0])}
batch = (np.array([0.3, -0.7, 0.2]),)
weak = lambda a: np.float32(a).astype(float)


def derivation(p, x):
    return {"J": (p["w"] ** 2 * x).sum(), "dw": 2 * p["w"] * x}


def wrong(p, x):
    return derivation(p, x) | {"dw": -2 * p["w"] * x}


def lossy(p, x):
    dw = 2 * p["w"] * x
    return derivation(p, x) | {"dw": dw if dw.dtype == np.float32 else dw + 1e6 - 1e6}


def reference(p, x):
    return (p["w"] ** 2 * x).sum()


def update(p, grads, state):
    return {"w": p["w"] - 0.1 * grads["dw"]}, state


def ascent(p, grads, state):
    return {"w": p["w"] + 0.1 * grads["dw"]}, state


def sgd(tensors):
    return torch.optim.SGD(tensors, lr=0.1)


def trainer(params, batches):
    w = params["w"]
    for (x,) in batches:
        w = w - 0.1 * 2 * w * x
        yield {"w": w}


def initializer(shape, rng):
    return rng.standard_normal(shape)
"""
PASSING = """
import torch
from mine import *

def test_gradients(parity):
    report = parity.check_gradients(derivation, reference, params, batch)
    assert report.ok and len(report.rows) == 2

def test_updates(parity):
    assert parity.check_updates(update, sgd, params, steps=5).ok

def test_training(parity):
    assert parity.check_training(trainer, reference, sgd, params, [batch, batch]).ok

def test_initializer(parity):
    assert parity.check_initializer(initializer, torch.nn.init.normal_, (4, 6), seed=1).ok

def test_experiment(parity):
    from handgrad import Experiment
    assert parity.check_experiment(Experiment(steps=2), "synthetic").ok
"""
WRONG = """
import torch
from mine import *

def test_gradients(parity):
    parity.check_gradients(wrong, reference, params, batch)

def test_updates(parity):
    parity.check_updates(ascent, sgd, params)

def test_training(parity):
    larger = lambda p, b: ({"w": 1.1 * new["w"]} for new in trainer(p, b))
    parity.check_training(larger, reference, sgd, params, [batch])

def test_initializer(parity):
    parity.check_initializer(lambda shape, rng: 2 * rng.standard_normal(shape), torch.nn.init.normal_, (4, 6))
"""
WEAK = """
from mine import *

def test_weak(parity):
    parity.check_gradients(lossy, reference, params, batch)
"""


@pytest.fixture(scope="module", autouse=True)
def _imported():
    """Import all that checks import: pytester forgets what its sessions import, and torch bears being imported once."""
    names = {}
    exec(MINE, names)
    Experiment(steps=1).run("synthetic").to_html()
    for check in CHECKS.values():
        given = [names.get(need, (4, 6) if need == "shape" else None) for need in check.needs]
        with suppress(InputError):  # what the module does not define
            check.function(*given)
    check_gradients(names["wrong"], names["reference"], names["params"], names["batch"])
    check_updates(names["ascent"], names["sgd"], names["params"])


@pytest.fixture
def project(pytester):
    pytester.makepyfile(mine=MINE)
    return pytester


def summary(result):
    """The lines between the heading of the summary and the next one."""
    text = re.sub(r"\x1b\[\d*m", "", result.stdout.str())
    found = re.search(r"^=+ parity =+\n(.*?)^=+ ", text, flags=re.DOTALL | re.MULTILINE)
    return found[1].strip().splitlines() if found else None


def test_every_check_passes_and_returns_its_report(project):
    project.makepyfile(test_it=PASSING)
    result = project.runpytest()
    assert result.ret == 0
    result.assert_outcomes(passed=5)
    lines = summary(result)
    assert re.fullmatch(
        r"5 checks agree; the closest to being flagged is 0\.\d+ of what rounding explains: \w+, test_it.py::test_\w+",
        lines[0],
    )
    assert any(re.match(r"not shown by 1 check: weight decay", line) for line in lines[1:])


def test_every_check_fails_with_the_report_as_message_and_without_frames_of_ours(project):
    project.makepyfile(test_it=WRONG)
    result = project.runpytest()
    assert result.ret == 1
    result.assert_outcomes(failed=4)
    text = result.stdout.str()
    for outcome, finding in (
        ("FAULT: dw is the first tensor that differs, at step 1", "step 1 / backward / dw  FAULT  sign: every entry"),
        ("FAULT: w_next is the first tensor that differs, at step 1", "step 1 / update / w_next  FAULT"),
        ("FAULT: spread is the first tensor that differs, at step 1", "step 1 / forward / spread  FAULT"),
    ):
        assert f"E       handgrad.compare.errors.ParityError: {outcome}" in text
        assert f"E       {finding}" in text
    places = re.findall(r"^(\S+\.py):\d+: \w+$", text, flags=re.MULTILINE)
    assert places == ["test_it.py"] * 4
    lines = summary(result)
    assert lines[0].startswith("4 of 4 checks differ; the closest to being flagged is")
    assert "FAULT test_it.py::test_gradients: step 1 / backward / dw, cause sign" in lines


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
    assert "WEAK test_it.py::test_weak: step 1 / backward / dw, cause precision-loss" in summary(result)
    assert ("WEAK fails because of strict" in result.stdout.str()) == (not passes)


def test_a_marker_that_is_not_understood_says_so(project):
    project.makepyfile(test_it=f"import pytest\n{WEAK}".replace("def test", "@pytest.mark.parity(tol=1)\ndef test"))
    result = project.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["@pytest.mark.parity takes strict=True or strict=False and nothing else"])


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


def test_it_is_silent_where_no_check_runs(project):
    project.makepyfile(test_it="def test_it(parity):\n    pass\n\ndef test_other():\n    pass\n")
    result = project.runpytest()
    result.assert_outcomes(passed=2)
    assert "parity" not in result.stdout.str()


def test_nothing_is_imported_until_a_check_runs(project):
    project.makepyfile(
        test_it="""
        import sys

        def test_it(parity):
            ours = {name for name in sys.modules if name.startswith(("handgrad.compare", "handgrad.torchref", "handgrad.manual"))}
            assert ours == {"compare", "handgrad.pytest_plugin"}
            assert not {"numpy", "torch", "tabulate"} & sys.modules.keys()
        """
    )
    result = project.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)


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


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "two workers"])
def test_the_report_file_has_every_check_by_test_id(project, workers):
    project.makepyfile(test_it=MIXED)
    result = project.runpytest_subprocess(*workers, "--parity-report=out/parity.json")
    assert result.ret == 1
    result.assert_outcomes(passed=3, failed=1)
    file = project.path / "out" / "parity.json"
    content = json.loads(file.read_text())
    assert (content["schema"], content["ok"], [*content["reports"]]) == ("handgrad.reports/1", False, IDS)
    reports = load_reports(file)
    assert [report.ok for report in reports.values()] == [True, False, True, True, True, True]
    assert reports[IDS[1]].first.factor == 2
    assert len(reports[IDS[0]].rows) == 2
    assert f"written to {file}" in summary(result)
    assert summary(result)[0].startswith("1 of 6 checks differs; ")
    assert f"FAULT {IDS[1]}: step 1 / backward / dw, cause scale" in summary(result)


def test_two_workers_write_the_same_bytes_as_one_process(project):
    project.makepyfile(test_it=MIXED)
    texts = []
    for workers in ((), ("-n", "2")):
        project.runpytest_subprocess(*workers, "--parity-report=parity.md")
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


def test_a_report_of_no_check_is_not_ok(project):
    project.makepyfile(test_it="def test_it():\n    pass\n")
    result = project.runpytest("--parity-report=parity.json")
    assert result.ret == 0
    assert json.loads((project.path / "parity.json").read_text()) == {
        "schema": "handgrad.reports/1",
        "ok": False,
        "reports": {},
        "not_run": {},
    }
    assert summary(result)[0] == "no check ran"
    project.runpytest("--parity-report=parity.md")
    assert (project.path / "parity.md").read_text() == "### handgrad: no check ran\n"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("parity.txt", "--parity-report parity.txt must end in .json or .md or .html"),
        ("parity", "--parity-report parity must end in .json or .md or .html"),
        ("folder.md", "--parity-report folder.md is a folder; name a file"),
    ],
)
def test_a_report_file_that_cannot_be_one_is_refused_before_any_test_runs(project, name, message):
    (project.path / "folder.md").mkdir()
    project.makepyfile(test_it="def test_it():\n    open('ran', 'w').close()\n")
    result = project.runpytest_subprocess(f"--parity-report={name}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])
    assert not (project.path / "ran").exists()


def test_a_report_file_that_cannot_be_written_fails_the_session_and_says_so(project):
    (project.path / "occupied").write_text("")
    project.makepyfile(test_it=PASSING)
    result = project.runpytest_subprocess("-k", "updates", "--parity-report=occupied/parity.md")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.assert_outcomes(passed=1, deselected=4)
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
    result = project.runpytest_subprocess(*workers, "--parity-report=parity.md")
    assert result.ret != 0
    lines = summary(result)
    assert lines[0].endswith("1 check could not run") or lines[0].startswith("5 checks agree, 1 check could not run")
    assert "could not run test_broken.py: it cannot be collected; see pytest's errors" in lines
    assert "test_broken.py" in project.path.joinpath("parity.md").read_text()
    assert "an older one" not in project.path.joinpath("parity.md").read_text()
    without = summary(project.runpytest_subprocess(*workers)) or []
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
    assert "4 of 9 checks differ" in text
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
