"""What the README shows is what happens: every snippet runs, every output is the program's, up to its numbers."""

import io
import os
import re
import shlex
import subprocess
import sys
from contextlib import redirect_stdout

import pytest

import handgrad.manual.network
from handgrad.compare.cli.commands import main
from tests.documents import blocks, masked
from tests.support import ROOT, edited

README = (ROOT / "README.md").read_text(encoding="utf-8")


def shown(command):
    """The output that the README shows for a command."""
    (block,) = [text for text in blocks("console") if text.startswith(f"$ {command}\n")]
    return block.partition("\n")[2]


def printed(command, capsys):
    words = shlex.split(command, comments=True)
    assert words[0] == "handgrad"
    code = main(words[1:])
    return code, capsys.readouterr().out


def test_the_default_check_prints_what_the_readme_shows(capsys):
    code, output = printed("handgrad check", capsys)
    assert code == 0
    assert masked(output) == masked(shown("handgrad check"))


def test_the_wrong_line_gives_the_report_that_the_readme_shows(capsys):
    (wrong,) = [text for text in blocks("python") if "(B2)" in text]
    (right,) = re.findall(r"    dW = .*# \(B2\).*\n", (ROOT / "manual" / "network.py").read_text(encoding="utf-8"))
    assert wrong == right.replace("dW = ", "dW = 2 * ")
    with edited(handgrad.manual.network, (right, wrong)):
        code, output = printed("handgrad check --steps 2", capsys)
    assert code == 1
    assert masked(output) == masked(shown("handgrad check --steps 2"))
    assert printed("handgrad check --steps 2", capsys)[0] == 0


def test_a_lesson_is_what_the_readme_shows(capsys):
    from handgrad.compare.faults.catalogue import catalogue

    code, output = printed("handgrad faults bias-gradient-mean", capsys)
    assert code == 0
    assert masked(output) == masked(shown("handgrad faults bias-gradient-mean"))
    assert f"lists {len(catalogue())} known mistakes" in README


def test_a_statement_of_the_notes_is_what_the_readme_shows(capsys):
    code, output = printed("handgrad notes --id G2", capsys)
    assert code == 0
    assert masked(output) == masked(shown("handgrad notes --id G2"))


def test_the_python_snippets_print_what_the_readme_shows():
    """All in one session, one after the other; each block of output belongs to the snippet before it."""
    snippets = [text for text in blocks("python") if "(B2)" not in text and "def test_" not in text]
    namespace, shown = {}, []
    for snippet in snippets:
        output = io.StringIO()
        with redirect_stdout(output):
            exec(snippet, namespace)
        shown.append(masked(output.getvalue()))
    assert shown == [masked(text) for text in blocks("")]


def test_the_failing_test_prints_what_the_readme_shows(tmp_path, capsys, monkeypatch):
    """In a process of its own, as pytest is started; the first lines of a session name the machine."""
    monkeypatch.chdir(tmp_path)
    (test,) = [text for text in blocks("python") if "def test_" in text]
    (tmp_path / "test_backward.py").write_text(test)
    assert main(["init", "my_derivation.py"]) == 0
    file = tmp_path / "my_derivation.py"
    right, wrong = "dZ1 = dA1 * (1 - A1**2)", "dZ1 = dA1 * (1 - Z1**2)"
    assert wrong in README
    assert file.read_text().count(right) == 1
    file.write_text(file.read_text().replace(right, wrong))
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}", "COLUMNS": "80"}
    environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-p", "handgrad.pytest_plugin", "-p", "no:cacheprovider"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    output = done.stdout[done.stdout.index("=== FAILURES") :].partition("=== short test summary")[0]
    assert masked(output.strip("=\n").replace("=", "")) == masked(shown("pytest").strip("=\n").replace("=", ""))


COMMANDS = [
    [line for line in text.splitlines() if line.startswith("handgrad")]
    for text in blocks("sh")
    if "\nhandgrad" in f"\n{text}"
]


@pytest.mark.parametrize("commands", COMMANDS, ids=lambda commands: commands[0])
def test_every_command_runs(commands, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = "\n".join(f"{i % 7},{i % 3},{i % 2}" for i in range(40))
    (tmp_path / "measurements.csv").write_text(f"a,b,y\n{rows}\n")
    if "handgrad init my_derivation.py" not in "\n".join(commands):  # an earlier block writes it
        main(["init", "my_derivation.py"])
    for command in commands:
        assert printed(command, capsys)[0] == ("exit 1" in command), command


def test_the_two_commands_and_their_pip_lines_are_what_the_makefile_runs():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    first, pip_lines = blocks("sh")[:2]
    assert [line.split()[:2] for line in first.splitlines()] == [["make", "check"], ["make", "test"]]
    recipes = makefile.replace("$(BIN)", ".venv/bin").replace("$(VENV)", ".venv").replace("--quiet ", "")
    recipes = recipes.replace("$(PYTHON)", "python3")
    for line in pip_lines.splitlines():
        assert line in recipes
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
