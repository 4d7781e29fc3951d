"""Exercises: the task runs and is wrong where the catalogue says, the key is right, and the blanks are blanks."""

from pathlib import Path

import pytest

from handgrad.compare.checks.files import check_file
from handgrad.compare.cli.commands import main
from handgrad.compare.errors import InputError
from handgrad.compare.faults.catalogue import catalogue
from handgrad.compare.grading.exercise import exercise, exercises, write_exercise
from handgrad.compare.grading.key import load_key


@pytest.mark.parametrize("name", exercises())
def test_the_task_has_the_mistake_and_the_key_is_right(name, tmp_path):
    made = exercise(name, 0, "find")
    key = write_exercise(made, str(tmp_path / "task.py"))
    assert load_key(key).points
    (report,) = check_file(str(tmp_path / "task.py"), reference=key).values()
    assert report.first is not None
    assert report.first.where.name == catalogue()[name].first
    assert "def reference" not in made.task
    assert "def draw" not in made.task


@pytest.mark.parametrize("name", [name for name, fault in exercises().items() if fault.first[:2] in ("dW", "dZ", "db")])
def test_a_task_with_blanks_runs_and_has_no_gradient(name, tmp_path):
    key = write_exercise(exercise(name, 1, "fill"), str(tmp_path / "task.py"))
    (report,) = check_file(str(tmp_path / "task.py"), reference=key).values()
    assert "...  # yours" in (tmp_path / "task.py").read_text()
    assert report.findings, "blanks are no answer"
    assert {finding.cause.code for finding in report.findings} <= {"missing", "exception"}


def test_told_names_the_tensor_and_find_does_not():
    told, find = (exercise("relu-gradient-in-place", 0, level).task.partition('"""\n')[0] for level in ("told", "find"))
    assert told.replace(" The first tensor that is wrong is dA1.", "") == find


def test_the_seed_draws_the_mistake_and_the_data():
    assert exercise(None, 3, "find") == exercise(None, 3, "find")
    assert len({exercise(None, seed, "find").task for seed in range(20)}) > 5
    assert exercise("sgd-nesterov", 3, "find").key != exercise("sgd-nesterov", 4, "find").key


@pytest.mark.parametrize(
    "name", ["softmax-gradient-without-maen", "loss-with-log2", "variance-of-numbers-far-from-zero", ""]
)
def test_a_name_that_makes_no_exercise_is_an_input_error(name):
    with pytest.raises(InputError) as caught:
        exercise(name, 0, "find")
    assert "\n" not in str(caught.value)


def test_what_has_no_gradients_has_none_to_leave_out():
    with pytest.raises(InputError, match="--level find"):
        exercise("sgd-nesterov", 0, "fill")


def test_nothing_is_overwritten(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("task_key.py").write_text("mine")
    assert main(["exercise", "--output", "task.py"]) == 2
    assert Path("task_key.py").read_text() == "mine"
    assert not Path("task.py").exists()
    assert main(["exercise", "--output", "other.txt"]) == 2
    assert main(["exercise", "--output", "other.py"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"task_key.py", "other.py", "other_key.py"}
