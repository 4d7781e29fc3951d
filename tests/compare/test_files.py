"""`handgrad check FILE.py` and `handgrad init FILE.py`, as a new user runs them."""

import os
import subprocess
import sys

import pytest

from handgrad.compare.checks.files import CHECKS
from handgrad.compare.cli.commands import main
from tests.support import ROOT, parsed

GRADIENTS = """
import numpy as np
from handgrad import tap

print("noise of mine")
params, batch = {"w": np.arange(1.0, 4.0)}, (np.ones(3),)

def derivation(p, x):
    return {"J": (p["w"] ** 2 * x).sum(), "dw": 2 * p["w"] * x}

def reference(p, x):
    return (p["w"] ** 2 * x).sum()
"""
UPDATES = """
import torch

def update(p, g, s):
    return {"w": p["w"] - 0.1 * g["dw"]}, s

def optimizer(tensors):
    return torch.optim.SGD(tensors, lr=0.1)
"""
TRAINING = """
def trainer(params, batches):
    w = params["w"]
    for (x,) in batches:
        w = w - 0.1 * 2 * w * x
        yield {"w": w}

batches = [(np.ones(3),), (np.full(3, 2.0),)]
"""
INITIALIZER = """
def initializer(shape, rng):
    return rng.standard_normal(shape)

torch_initializer, shape = torch.nn.init.normal_, (4, 6)
"""
EVERYTHING = GRADIENTS + UPDATES + TRAINING + INITIALIZER


@pytest.fixture
def write(tmp_path):
    def of(content, name="mine.py"):
        path = tmp_path / name
        path.write_text(content)
        return str(path)

    return of


def run(capsys, *words):
    code = main(list(words))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_every_complete_check_is_run(write, capsys):
    code, out, err = run(capsys, "check", write(EVERYTHING))
    assert code == 0, out
    assert [line.partition(":")[0] for line in out.splitlines() if line.startswith("check_")] == [
        f"check_{name}" for name in CHECKS
    ]
    assert "noise of mine" not in out, "what the file prints is not the report"
    assert "noise of mine" in err


@pytest.mark.parametrize("name", CHECKS)
def test_only_runs_one(name, write, capsys):
    code, out, _ = run(capsys, "check", write(EVERYTHING), "--only", name, "--format", "json")
    assert code == 0
    assert parsed(out)["environment"]["check"].startswith(f"check_{name}")


def test_several_reports_are_json_by_name(write, capsys):
    import json

    _, out, _ = run(capsys, "check", write(GRADIENTS + UPDATES), "--format", "json")
    assert [*json.loads(out)["reports"]] == ["gradients", "updates"]


def test_the_flags_that_a_file_takes(write, capsys):
    path = write(GRADIENTS + UPDATES)
    _, out, _ = run(capsys, "check", path, "--steps", "7", "--dtype", "float32")
    assert "7 steps, float32 and float64" in out


def test_a_difference_exits_1_and_weak_only_when_strict(write, capsys):
    code, out, _ = run(capsys, "check", write(GRADIENTS.replace("2 * p", "-2 * p")))
    assert code == 1
    assert "sign: every entry has the wrong sign" in out
    weak = write(
        GRADIENTS.replace('"dw": 2 * p["w"] * x', '"dw": np.float32(2 * p["w"] * x * 1.1 / 1.1).astype(float)')
    )
    assert run(capsys, "check", weak)[0] == 0


def test_a_file_beside_it_can_be_imported(write, capsys):
    write("factor = 2\n", "beside.py")
    before = list(sys.path)
    assert run(capsys, "check", write("from beside import factor\n" + GRADIENTS.replace("2 * p", "factor * p")))[0] == 0
    assert sys.path == before
    sys.modules.pop("beside")


UNUSABLE = {
    "a syntax error": ("def f(:\n", "SyntaxError in mine.py line 1"),
    "an exception": (GRADIENTS + "\n\n1 / 0\n", "ZeroDivisionError in mine.py line 15: division by zero"),
    "an import error": ("import nothing_of_this_name\n", "ModuleNotFoundError in mine.py line 1"),
    "exit": ("exit(0)\n", "mine.py exits while it is read"),
    "nothing": ("x = 1\n", "gradients lacks derivation, reference, params, batch; updates lacks update"),
    "incomplete": (GRADIENTS.replace("batch =", "batches ="), "gradients lacks batch"),
    "bad params": (GRADIENTS.replace('{"w": np.arange(1.0, 4.0)}', "[1.0]"), "params is a list; it must be a dict"),
    "a reference that raises": (GRADIENTS.replace('(p["w"] ** 2 * x).sum()\n"', ""), ""),
    "null bytes": ("\0\0", "mine.py"),
}


@pytest.mark.parametrize(("content", "words"), UNUSABLE.values(), ids=UNUSABLE)
def test_an_unusable_file_exits_2_with_its_own_line(content, words, write, capsys):
    if not words:
        content, words = (
            GRADIENTS.replace('return (p["w"]', 'return (p["v"]'),
            "the reference raises KeyError in mine.py line 12",
        )
    code, out, err = run(capsys, "check", write(content))
    assert (code, out) == (2, "")
    sentence = err.replace("noise of mine\n", "")
    assert sentence.startswith("handgrad: ")
    assert sentence.count("\n") == 1
    assert words in sentence
    assert "Traceback" not in err
    assert "runpy" not in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.py"], "nowhere.py cannot be read (No such file or directory); name an existing file, or make one"),
        (["folder.py"], "folder.py cannot be read (Is a directory)"),
        (["mine.txt"], "'mine.txt' is no Python file"),
        (["mine.py", "--only", "gradient"], "did you mean 'gradients'?"),
        (["mine.py", "--layers", "3,1"], "--layers sets up the notes' network and says nothing about mine.py"),
        (["mine.py", "--data", "digits"], "--data sets up the notes' network"),
        (["mine.py", "--dtype", "float16"], "dtype 'float16' is not known"),
        (["mine.py", "--output", "mine.py"], "--output mine.py is the input file itself"),
        (["mine.py", "--output", "other.py"], "--output other.py is the name of a program and would replace it"),
        (["--only", "gradients"], "--only gradients picks a check of a file"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_bad_usage_exits_2_with_one_sentence(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "mine.py").write_text(GRADIENTS)
    (tmp_path / "mine.txt").write_text(GRADIENTS)
    code, out, err = run(capsys, "check", *words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert (tmp_path / "mine.py").read_text() == GRADIENTS


def test_init_writes_a_file_that_passes_and_a_broken_one_that_fails(tmp_path):
    """As a new user runs them: in a process of their own, in an empty folder."""

    def handgrad(*words):
        command = [sys.executable, "-m", "handgrad", *words]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    made = handgrad("init", "mine.py")
    assert (made.returncode, made.stdout) == (0, "wrote mine.py; next: handgrad check mine.py\n")
    passed = handgrad("check", "mine.py")
    assert passed.returncode == 0, passed.stdout
    assert "OK: by hand and torch agree on all 11 tensors" in passed.stdout
    assert handgrad("init", "broken.py", "--broken").returncode == 0
    failed = handgrad("check", "broken.py")
    assert failed.returncode == 1
    assert "FAULT: dZ1 is the first tensor that differs" in failed.stdout
    content = (tmp_path / "mine.py").read_text()
    refused = handgrad("init", "mine.py", "--broken")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == "handgrad: mine.py exists and is left as it is; name a new file\n"
    assert (tmp_path / "mine.py").read_text() == content
    different = [line for line in content.splitlines() if line not in (tmp_path / "broken.py").read_text().splitlines()]
    assert [line.strip() for line in different if "Run:" not in line] == ["dZ1 = dA1 * (1 - A1**2)"]


@pytest.mark.parametrize(
    ("name", "words"),
    [("mine.txt", "end it in .py"), ("no/mine.py", "cannot be written"), ("a\0.py", "cannot be written")],
)
def test_init_says_what_is_wrong_with_a_name(name, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, "init", name)
    assert code == 2
    assert words in err


def test_init_names_a_link_to_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").symlink_to(tmp_path / "gone.py")
    assert main(["init", "mine.py"]) == 2
    assert "mine.py is a link to a file that is not there; remove it or name a new file" in capsys.readouterr().err
    assert not (tmp_path / "gone.py").exists()
