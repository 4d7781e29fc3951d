"""`handgrad check` and `handgrad audit` of a file, and `handgrad init`, as a person runs them."""

import subprocess
import sys
from pathlib import Path

import pytest

from handgrad.compare.cli.commands import main
from tests.compare.cli.runs import LINEAR, run
from tests.support import parsed

REFUSED = {
    "nothing": (["nowhere.py"], "nowhere.py cannot be read (No such file or directory); name an existing file, or"),
    "a folder": (["folder.py"], "folder.py cannot be read (Is a directory)"),
    "no Python file": (["mine.txt"], "'mine.txt' is no Python file"),
    "an unknown check": (["mine.py", "--only", "gradient"], "did you mean 'gradients'?"),
    "layers": (["mine.py", "--layers", "3,1"], "--layers sets up the notes' network and says nothing about mine.py"),
    "data": (["mine.py", "--data", "digits"], "--data sets up the notes' network"),
    "an unknown precision": (["mine.py", "--dtype", "float16"], "dtype 'float16' is not known"),
    "a seed": (["mine.py", "--seed", "5"], "--seed says nothing to gradients; leave it out"),
    "steps": (["mine.py", "--steps", "5"], "--steps says nothing to gradients; leave it out"),
    "the file as output": (["mine.py", "--output", "mine.py"], "--output mine.py is the input file itself"),
    "one tensor among JSON": (
        ["mine.py", "--show", "dw", "--format", "json"],
        "write the report to a file with --output",
    ),
    "an unknown tensor": (["mine.py", "--show", "dW"], "no tensor 'dW' was compared; did you mean 'dw'?"),
    "a program as output": (["mine.py", "--output", "other.py"], "is the name of a program and would replace it"),
}


@pytest.mark.parametrize(("words", "message"), REFUSED.values(), ids=REFUSED)
def test_bad_usage_of_a_file_exits_2_with_one_sentence(words, message, in_folder, capsys):
    Path("folder.py").mkdir()
    Path("mine.txt").write_text(LINEAR)
    code, out, err = run(capsys, "check", *words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert Path("mine.py").read_text() == LINEAR


def test_gradients_that_are_zero_on_both_sides_exit_2(in_folder, capsys):
    Path("still.py").write_text(
        "params, batch = {'w': 0.0}, ()\n\ndef derivation(p):\n    return {'dw': 2 * p['w']}\n\n"
        "def reference(p):\n    return p['w'].square()\n"
    )
    code, out, err = run(capsys, "check", "still.py")
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_the_precision_of_a_file_is_that_of_the_flag(in_folder, capsys):
    code, out, _ = run(capsys, "check", "mine.py", "--dtype", "float32", "--format", "json")
    assert (code, parsed(out)["environment"]["dtype"]) == (0, "float32")


def test_both_sides_of_a_tensor_are_shown_after_the_report(in_folder, capsys):
    _, report, _ = run(capsys, "check", "mine.py")
    code, out, _ = run(capsys, "check", "mine.py", "--show", "dw")
    assert code == 0
    assert out.startswith(report)
    assert out.removeprefix(report) == (
        "\ndw at step 1, 2\nby hand:\n[1. 2.]\ntorch:\n[1. 2.]\nby hand - torch:\n[0. 0.]\n"
    )
    Path("wrong.py").write_text(LINEAR.replace('"dw": X', '"dw": 2 * X'))
    code, out, _ = run(capsys, "check", "wrong.py", "--show", "dw", "--format", "json", "--output", "report.json")
    assert code == 1
    assert "by hand:\n[2. 4.]\ntorch:\n[1. 2.]" in out
    assert parsed(Path("report.json").read_text())["ok"] is False


def test_of_several_checks_those_show_a_tensor_that_compared_it(in_folder, capsys):
    Path("two.py").write_text(
        LINEAR + "def initializer(shape, rng):\n    return np.ones(shape)\n\n"
        "from torch.nn.init import ones_ as torch_initializer\nshape = (4, 6)\n"
    )
    code, out, _ = run(capsys, "check", "two.py", "--brief", "--show", "J")
    assert (code, out.count("by hand:")) == (0, 1)
    assert "checks of two.py" not in out
    code, out, err = run(capsys, "check", "two.py", "--show", "dW")
    assert (code, out, err.count("\n")) == (2, "", 1)


FUNCTION = """
import torch
inputs = (torch.linspace(-1, 2, 6),)

def function(x):
    return x * x

def reference(x):
    return x**2
"""


def test_both_sides_of_a_functions_gradient_are_shown_or_that_there_are_none(in_folder, capsys):
    Path("square.py").write_text(FUNCTION)
    code, out, err = run(capsys, "check", "square.py", "--only", "function", "--show", "dx")
    assert (code, err) == (0, "")
    assert out.count("by hand:") == 1
    _, report, _ = run(capsys, "check", "square.py")
    assert out.startswith(report)
    Path("detached.py").write_text(FUNCTION.replace("x * x", "x * x, x"))
    code, out, err = run(capsys, "check", "detached.py", "--show", "dx")
    assert (code, err) == (1, "")
    assert out.startswith("FAULT  y")
    assert out.endswith("dx is not shown: no tensor was compared\n")


def test_a_wrong_line_is_annotated_from_where_the_command_runs(in_folder, capsys):
    Path("sub").mkdir()
    Path("sub/wrong.py").write_text(LINEAR.replace('"dw": X', '"dw": 2 * X'))
    code, out, _ = run(capsys, "check", "sub/wrong.py", "--format", "github")
    assert code == 1
    assert out.startswith("::error file=sub/wrong.py,line=6,")
    _, out, _ = run(capsys, "check", "sub/wrong.py", "--brief")
    assert "sub/wrong.py:6" in out.splitlines()[0]


def test_several_checks_of_a_file_are_reports_by_name_and_one_outcome(in_folder, capsys):
    Path("two.py").write_text(
        LINEAR + "def initializer(shape, rng):\n    return np.zeros(shape)\n\n"
        "from torch.nn.init import ones_ as torch_initializer\nshape = (4, 6)\n"
    )
    code, out, _ = run(capsys, "check", "two.py")
    assert code == 1
    assert out.endswith("\n2 checks of two.py: gradients OK, initializer differs.\n")
    _, out, _ = run(capsys, "check", "two.py", "--format", "json")
    assert [*parsed(out)["reports"]] == ["gradients", "initializer"]


def test_a_file_whose_name_is_of_another_script_is_checked(in_folder, capfd):
    Path("유도.py").write_text(LINEAR)
    assert main(["check", "유도.py"]) == 0
    assert main(["check", "없다.py"]) == 2
    assert "없다.py cannot be read" in capfd.readouterr().err


def test_an_audit_of_a_file_lists_what_it_hides(in_folder, capsys):
    Path("torch_free.py").write_text(
        LINEAR + "def initializer(shape, rng):\n    return rng.standard_normal(shape)\n\n"
        "from torch.nn.init import normal_ as torch_initializer\nshape = (4, 6)\n"
    )
    code, out, _ = run(capsys, "audit", "torch_free.py")
    gradients, initializer = out.split("\n\n")
    assert code == 0
    assert gradients.startswith("gradients hides, or makes harder to see:\n  ")
    assert initializer == "initializer hides nothing that is known.\n"


def test_a_new_user_writes_a_file_and_checks_it(tmp_path):
    """In a process of their own, in an empty folder."""

    def handgrad(*words):
        command = [sys.executable, "-m", "handgrad", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    made = handgrad("init", "mine.py")
    assert (made.returncode, made.stdout) == (0, "wrote mine.py; next: handgrad check mine.py\n")
    passed = handgrad("check", "mine.py")
    assert passed.returncode == 0, passed.stdout
    assert "OK: by hand and torch agree on all 11 tensors" in passed.stdout
    refused = handgrad("init", "mine.py", "--broken")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == "handgrad: mine.py exists and is left as it is; name a new file\n"


def test_what_was_running_is_told_where_a_person_stops_it(tmp_path, capsys):
    file = tmp_path / "slow.py"
    waiting = "def wait():\n    raise KeyboardInterrupt\n\ndef derivation(p, X):\n    wait()\n"
    file.write_text(LINEAR.replace("def derivation(p, X):\n", waiting))
    assert main(["check", str(file)]) == 130
    said = capsys.readouterr().err
    assert "wait" in said
    assert "slow.py line" in said
    assert "Traceback" not in said


def test_the_reference_may_come_from_another_file(in_folder, capsys):
    Path("theirs.py").write_text(LINEAR[LINEAR.index("def derivation") : LINEAR.index("def reference")])
    code, out, _ = run(capsys, "check", "theirs.py", "--reference", "mine.py")
    assert code == 0, out
    code, out, err = run(capsys, "check", "--reference", "mine.py")
    assert (code, out, err.count("\n")) == (2, "", 1)
    code, out, err = run(capsys, "check", "theirs.py", "--reference", "nowhere.py")
    assert (code, out, err.count("\n")) == (2, "", 1)
    code, out, err = run(capsys, "check", "theirs.py", "--reference", "mine.py", "--output", "mine.py")
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_grading_prints_what_the_level_allows_and_writes_pages(in_folder, capsys):
    Path("class").mkdir()
    derivation = LINEAR[LINEAR.index("def derivation") : LINEAR.index("def reference")]
    Path("class/ada.py").write_text(derivation)
    Path("class/ben.py").write_text(derivation.replace('"dw": X', '"dw": -X'))
    code, out, _ = run(capsys, "grade", "mine.py", "class", "--jobs", "1", "--pages", "pages", "--format", "json")
    grades = {each["name"]: each["score"] for each in parsed(out)["submissions"]}
    assert (code, grades) == (0, {"ada": 100, "ben": 50})
    assert {page.name for page in Path("pages").iterdir()} == {"ada.html", "ben.html", "class.html"}
    code, two, _ = run(capsys, "grade", "mine.py", "class", "--jobs", "2", "--format", "json")
    assert (code, two) == (0, out)
    for words in (["nowhere.py", "class"], ["mine.py", "nowhere"], ["mine.py", "class", "--output", "mine.py"]):
        code, out, err = run(capsys, "grade", *words)
        assert (code, out, err.count("\n")) == (2, "", 1)
    assert Path("mine.py").read_text() == LINEAR
