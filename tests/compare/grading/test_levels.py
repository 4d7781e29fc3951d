"""What is told at each level: below `full` no output holds anything of the key's code, torch's numbers or a formula."""

import json
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from handgrad.compare.cli.commands import main
from handgrad.compare.facts.failures import Raised
from handgrad.compare.faults.explanations import explanations
from handgrad.compare.grading.facts import NotJudged
from handgrad.compare.grading.feedback import LEVELS, told
from handgrad.compare.grading.marks import Grade, Mark
from handgrad.compare.grading.outcomes import FORMATS, not_confined
from tests.compare.grading.course import KEY, MEAN, RIGHT, SCALE, TANH, THIRD, mistaken

CLASS = {
    "ada": RIGHT,
    "ben": mistaken(TANH),
    "cleo": mistaken(SCALE, THIRD),
    "dan": mistaken(MEAN, ('params["W1"] @ X +', 'params["W1"] @ X -')),
    "eve": "import os\nos._exit(0)\n",
    "fay": mistaken((", dZ1=dZ1", ", dz1=dZ1")),
    "gus": RIGHT.replace("    n = X", "    raise ValueError('mine')\n    n = X"),
    "hal": mistaken(("dZ1 @ X.T", "X @ dZ1.T")),
    "ida": mistaken(("J = ((Z2", "J = np.inf * ((Z2")),
}


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A folder with a key and a class's submissions."""
    monkeypatch.chdir(tmp_path)
    Path("key.py").write_text(KEY)
    Path("class").mkdir()
    for name, text in CLASS.items():
        Path("class", f"{name}.py").write_text(text)
    return tmp_path


def numbers_of_torch():
    """The entries of every tensor that torch computes, as they might be printed, but for those of the derivation."""
    names = {}
    exec(KEY, names)
    right = names["derivation"](names["params"], *names["batch"])
    return {f"{value:.5g}" for array in right.values() for value in np.ravel(array)}


def words_of_the_key():
    """Pieces of the reference and lines of the solution."""
    lines = [line.strip() for line in KEY.splitlines()]
    return {line for line in lines if re.search(r"tap\(|torch|SECRET|rng", line)} | {
        "torch_side_hidden_one",
        "quetzalcoatl",
    }


@pytest.mark.parametrize("level", LEVELS)
def test_no_output_gives_the_solution_away(level, course, capfd):
    outputs = {}
    for form in ("text", "csv", "json"):
        words = ["grade", "key.py", "class", "--jobs", "1", "--level", level, "--format", form]
        assert main([*words, "--pages", f"pages-{form}"]) == 0
        outputs[form] = capfd.readouterr().out
    for page in Path("pages-text").iterdir():
        outputs[page.name] = page.read_text()
    assert {f"{name}.html" for name in CLASS} | {"class.html"} <= {*outputs}
    own = "\n".join(CLASS.values())
    formulas = {"1 - A1^2", "A1^2", "A1**2"} | {line.strip() for line in RIGHT.splitlines() if " = " in line}
    hidden = words_of_the_key() | numbers_of_torch() | ({*formulas} - {text for text in formulas if text in own})
    for name, text in outputs.items():
        leaked = {piece for piece in hidden if piece in text}
        assert not leaked if level != "full" else True, (name, leaked)
    if level == "full":
        assert any(piece in outputs["text"] for piece in numbers_of_torch()), "else the search would find nothing"


def test_levels_tell_more_and_more(graded):
    grade = graded(mistaken(TANH))
    texts = {level: next(t.text for t in told(grade, level) if t.name == "dZ1") for level in LEVELS}
    for less, more in pairwise(LEVELS):
        assert texts[more].startswith(texts[less])
        assert len(texts[more]) > len(texts[less])
    assert "ada.py:14" in texts["where"]
    assert "activation-derivative" in texts["kind"]
    assert explanations()["activation-derivative"].question in texts["hint"]


@pytest.mark.parametrize("code", explanations())
def test_every_cause_has_a_question_without_a_formula(code):
    question = explanations()[code].question
    assert question.rstrip(".").endswith("?") or "?" in question
    assert not re.search(r"[=^@*/]|\*\*|1 - ", question), "a question holds no formula"


def test_what_the_check_says_of_an_unusable_answer_is_for_the_teacher():
    grade = Grade(
        "ada", "ada.py", (Mark("J", 1.0, "missing"),), ended=NotJudged("the reference raises quetzal in key.py")
    )
    for form in FORMATS:
        for level in LEVELS:
            assert ("quetzal" in FORMATS[form]([grade], level)) == (level == "full")


def test_gradescopes_results_are_of_its_documented_form(course, capfd):
    assert main(["grade", "key.py", "class/ben.py", "--format", "gradescope", "--output", "results.json"]) == 0
    results = json.loads(Path("results.json").read_text())
    assert {*results} <= {"score", "execution_time", "output", "visibility", "stdout_visibility", "extra_data", "tests"}
    assert results["visibility"] in ("hidden", "after_due_date", "after_published", "visible")
    assert results["score"] == pytest.approx(sum(test["score"] for test in results["tests"]))
    for test in results["tests"]:
        assert {*test} <= {
            "score",
            "max_score",
            "status",
            "name",
            "number",
            "output",
            "tags",
            "visibility",
            "extra_data",
        }
        assert test["status"] in ("passed", "failed")
        assert 0 <= test["score"] <= test["max_score"]
        assert isinstance(test["output"], str)
    assert [test["name"] for test in results["tests"] if test["status"] == "failed"] == ["dZ1"]


def test_gradescope_takes_one_submission(course, capfd):
    assert main(["grade", "key.py", "class", "--format", "gradescope"]) == 2
    assert capfd.readouterr().err.count("\n") == 1


def test_a_cell_of_a_table_is_no_formula_of_a_spreadsheet():
    ended = NotJudged("")
    for name in ("=1+1", "+1", "@x", "-1"):
        line = FORMATS["csv"]([Grade(name, "x.py", (Mark("J", 1.0, "missing"),), ended=ended)], "hint").splitlines()[1]
        assert line.startswith(f"'{name}")


def test_control_characters_of_a_submission_do_not_reach_the_terminal(graded):
    grade = graded(RIGHT.replace("    n = X", "    raise ValueError('\\x1b[2J')\n    n = X"))
    assert any(isinstance(mark.cause, Raised) for mark in grade.marks)
    assert "\x1b" not in FORMATS["text"]([grade], "hint")


def test_what_a_system_does_not_forbid_is_said():
    def ran(*confined):
        return Grade("ada", "ada.py", (Mark("J", 1.0, "right"),), confined=confined)

    assert not_confined([ran("files", "network", "signals"), ran("files", "network", "signals", "user")]) == ""
    assert not_confined([ran("files", "tcp", "signals")]).count("network") == 1
    assert not_confined([ran("files", "network", "signals"), ran()]) == not_confined([ran()])
    assert not_confined([Grade("eve", "eve.py", (), ended=NotJudged(""))]) == "", "what did not run could do nothing"
