import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

import handgrad.manual.losses
import handgrad.manual.network
from handgrad.compare.cli.commands import main
from handgrad.compare.experiment.settings import Experiment
from tests.support import ROOT, edited, parsed, small_data


@pytest.fixture
def data_file(tmp_path):
    X, y = small_data(6, 2, 11, seed=1)
    path = tmp_path / "data.npz"
    np.savez(path, X=X, y=y)
    return str(path)


def test_the_default_run_is_the_notes_setting_on_real_data(capsys):
    assert main(["check"]) == 0
    out = capsys.readouterr().out
    lines = out.strip().splitlines()
    assert "30-16-1, tanh/sigmoid, binary-cross-entropy, lecun weights, momentum, batches of 32" in out
    assert "569 x 30, each column standardised" in out
    assert lines[-2].startswith("OK: by hand and torch agree on all 828 tensors of 36 steps, in float64 and float32;")
    assert re.search(r"the largest difference is 0\.\d+ of what rounding explains \(\w+ at step \d+\)", lines[-2])
    assert lines[-1].startswith("Not shown by this run: weight decay")


def test_json_has_every_name_in_every_step(capsys):
    assert main(["check", "--format", "json"]) == 0
    report = parsed(capsys.readouterr().out)
    assert (report["schema"], report["ok"], report["findings"]) == ("handgrad.report/1", True, [])
    expected = {f"{stem}{l}" for l in (1, 2) for stem in ("Z", "A", "dZ", "dW", "db", "vW", "vb")}
    expected |= {"J", "dA1", "W1_next", "W2_next", "b1_next", "b2_next"}
    steps = {}
    for row in report["rows"]:
        steps.setdefault(row["step"], set()).add(row["name"])
    assert [*steps] == list(range(1, 37))
    assert all(expected <= found for found in steps.values())


def test_a_difference_exits_1_and_names_the_culprit(capsys, data_file):
    with edited(handgrad.manual.network, ("dZ @ A_prev.T", "2 * dZ @ A_prev.T")):
        assert main(["check", "--data", data_file, "--batch-size", "4"]) == 1
    out = capsys.readouterr().out
    assert "step 1 / backward / dW2   (B2) dW[l] = dZ[l] A[l-1]^T  FAULT" in out
    assert "FAULT: dW2 (B2) is the first tensor that differs, at step 1" in out


@pytest.mark.parametrize("command", [[sys.executable, "-m", "handgrad"], ["handgrad"]], ids=["module", "script"])
def test_both_ways_to_start_it(command, data_file):
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [*command, "check", "--data", data_file, "--batch-size", "4"], capture_output=True, text=True, env=environment
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "agree on all" in done.stdout
    assert "\x1b" not in done.stdout


def test_every_field_of_an_experiment_has_a_flag(capsys, data_file):
    values = {
        "layers": "6,5,4,2",
        "activations": "relu,tanh,identity",
        "loss": "squared-error",
        "initializer": "notes-he",
        "distribution": "uniform",
        "bias_scale": "0.3",
        "optimizer": "gradient-descent",
        "learning_rate": "0.25",
        "beta": "0.5",
        "l2": "0.125",
        "batch_size": "full",
        "epochs": "3",
        "steps": "2",
        "dtype": "float32",
        "seed": "9",
        "free_running": None,
    }
    assert set(values) == {field.name for field in fields(Experiment)}
    argv = ["check", "--data", data_file, "--format", "json"]
    for name, value in values.items():
        argv += [f"--{name.replace('_', '-')}"] + ([] if value is None else [value])
    assert main(argv) == 0
    experiment = parsed(capsys.readouterr().out)["environment"]["experiment"]
    assert experiment == {
        "layers": [6, 5, 4, 2],
        "activations": ["relu", "tanh", "identity"],
        "loss": "squared-error",
        "initializer": "notes-he",
        "distribution": "uniform",
        "bias_scale": 0.3,
        "optimizer": "gradient-descent",
        "learning_rate": 0.25,
        "beta": 0.5,
        "l2": 0.125,
        "batch_size": None,
        "epochs": 3,
        "steps": 2,
        "dtype": "float32",
        "seed": 9,
        "free_running": True,
    }


def test_layers_fit_themselves_to_the_data_unless_given(capsys, data_file):
    for flags, expected in (
        ([], [6, 16, 2]),
        (["--activations", "relu,tanh,sigmoid"], [6, 16, 16, 2]),
        (["--layers", "6,3,3,3,2"], [6, 3, 3, 3, 2]),
    ):
        assert main(["check", "--data", data_file, "--batch-size", "4", "--format", "json", *flags]) == 0
        assert parsed(capsys.readouterr().out)["environment"]["experiment"]["layers"] == expected


BAD = {
    "zero width": (["--layers", "6,0,2"], "layers[1] is 0"),
    "layers do not fit": (["--layers", "5,3,2"], "start layers with 6"),
    "outputs do not fit": (["--layers", "6,3,1"], "end layers with 2"),
    "layers not numbers": (["--layers", "six"], "'six' is no list of whole numbers"),
    "activation": (["--activations", "tahn,sigmoid"], "did you mean 'tanh'"),
    "initializer": (["--initializer", "leccun"], "did you mean 'lecun'"),
    "data name": (["--data", "digit"], "did you mean 'digits'"),
    "rate": (["--learning-rate", "0"], "above 0"),
    "rate not a number": (["--learning-rate", "fast"], "'fast' is not a number"),
    "beta": (["--beta", "1"], "below 1"),
    "missing file": (["--data", "nowhere.csv"], "is no file that exists"),
    "batch larger than the data": (["--batch-size", "12"], "at most 11"),
    "format": (["--format", "xml"], "invalid choice: 'xml'"),
    "unknown flag": (["--rtol", "1e-3"], "unrecognized arguments"),
    "output in no folder": (["--output", "nowhere/report.txt"], "existing one"),
    "no command": (None, "required"),
}


@pytest.mark.parametrize(("flags", "words"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line_exit_2_and_writes_nothing(flags, words, data_file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    argv = [] if flags is None else ["check", "--data", data_file, "--batch-size", "4", *flags]
    try:
        code = main(argv)
    except SystemExit as stop:  # argparse
        code = stop.code
    captured = capsys.readouterr()
    assert (code, captured.out) == (2, "")
    assert words in captured.err
    assert captured.err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_output_holds_the_report_and_the_outcome_is_printed(capsys, data_file, tmp_path):
    path = tmp_path / "report.json"
    argv = ["check", "--data", data_file, "--batch-size", "4", "--format", "json", "--output", str(path)]
    assert main(argv) == 0
    first = path.read_bytes()
    assert parsed(first.decode())["ok"] is True
    assert capsys.readouterr().out.startswith("OK: by hand and torch agree")
    assert main(argv) == 0
    assert path.read_bytes() == first


SLIPS = {
    "a syntax error": ("network.py", "return W @ A_prev + b", "return W @ A_prev +", "SyntaxError in network.py line"),
    "a bad import": (
        "losses.py",
        "import numpy as np",
        "import numpi as np",
        "ModuleNotFoundError in losses.py line 1",
    ),
    "a renamed function": (
        "optimizers.py",
        "def momentum(",
        "def momentom(",
        "handgrad.manual.optimizers has no momentum",
    ),
}


@pytest.mark.parametrize(("file", "right", "wrong", "words"), SLIPS.values(), ids=SLIPS)
def test_a_slip_in_the_derivation_is_one_line_and_exit_2(file, right, wrong, words, tmp_path, data_file):
    shutil.copytree(ROOT / "handgrad", tmp_path / "handgrad", ignore=shutil.ignore_patterns("__pycache__"))
    for package in ("manual", "torchref", "compare"):
        target = tmp_path / "handgrad" / package
        shutil.copytree(ROOT / package, target, ignore=shutil.ignore_patterns("__pycache__"))
    path = tmp_path / "handgrad" / "manual" / file
    path.write_text(
        path.read_text().replace(right, wrong, 1).replace('"momentum",', "", 1 if "momentom" in wrong else 0)
    )
    done = subprocess.run(
        [sys.executable, "-m", "handgrad", "check", "--data", data_file, "--batch-size", "4"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--output", "x" * 300], "no name that a file can have|cannot be written"),
        (["--output", "new/"], "folder"),
        (["--output", "pipe"], "is a pipe"),
        (["--data", "pipe.csv"], "no file that exists"),
        (["--data", "two\nlines.csv"], "two lines.csv|no file that exists"),
        (["--learning-rate", "1e39"], "float32 holds no more"),
        (["--layers", "6,1000000000000,2"], "no more than 100000000"),
        (["--steps", "99999999999999999999"], "at most 100000000"),
        (["--layers", "6,,2"], "'6,,2' is no list"),
    ],
)
def test_awkward_input_is_one_line_and_exit_2(flags, words, data_file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe.csv")
    try:
        code = main(["check", "--data", data_file, "--batch-size", "4", *flags])
    except SystemExit as stop:  # argparse
        code = stop.code
    captured = capsys.readouterr()
    assert (code, captured.out) == (2, "")
    assert re.search(words, captured.err)
    assert captured.err.count("\n") == 1


def test_a_report_that_cannot_be_written_leaves_the_file_as_it_was(tmp_path, data_file, capsys, monkeypatch):
    path = tmp_path / "report.txt"
    path.write_text("as it was")
    monkeypatch.setattr(
        "handgrad.compare.cli.commands._rendered", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left"))
    )
    assert main(["check", "--data", data_file, "--batch-size", "4", "--output", str(path)]) == 2
    assert path.read_text() == "as it was"
    assert "No space left" in capsys.readouterr().err


def test_output_never_replaces_the_data(capsys, data_file):
    before = Path(data_file).read_bytes()
    assert main(["check", "--data", data_file, "--output", data_file]) == 2
    assert "would be overwritten" in capsys.readouterr().err
    assert Path(data_file).read_bytes() == before


@pytest.mark.parametrize("argv", [["--help"], ["check", "--help"], ["--version"], ["check", "--beta", "2"], ["chek"]])
def test_help_version_and_argument_errors_import_neither_torch_nor_numpy(argv):
    code = (
        "import sys\nfrom handgrad.compare.cli.commands import main\n"
        f"try:\n    code = main({argv!r})\nexcept SystemExit as stop:\n    code = stop.code\n"
        "assert not {'torch', 'numpy', 'tabulate'} & set(sys.modules), 'imported'\nsys.exit(code or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "imported" not in done.stderr
    assert done.returncode == (0 if {"--help", "--version"} & set(argv) else 2)
    assert "Traceback" not in done.stderr


def test_colour_only_on_a_terminal_and_never_with_no_color(monkeypatch, capsys, data_file):
    argv = ["check", "--data", data_file, "--batch-size", "4"]
    main(argv)
    assert "\x1b[" not in capsys.readouterr().out
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    main(argv)
    assert "\x1b[32mOK" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    main(argv)
    assert "\x1b[" not in capsys.readouterr().out


def test_a_reader_who_has_seen_enough_causes_no_traceback(data_file):
    command = f"{sys.executable} -m handgrad check --data {data_file} --batch-size 4 --format json | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.stdout == "{\n"
    assert done.stderr == ""


def test_a_stored_report_of_a_strict_check_is_shown_as_it_failed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("weak.py").write_text(
        "import numpy as np\n"
        "rng = np.random.default_rng(0)\n"
        "params, batch = {'W': rng.standard_normal((4, 3))}, (rng.standard_normal((8, 4)),)\n"
        "def derivation(p, X):\n"
        "    E = X @ p['W']\n"
        "    E = E.astype(np.float32).astype(E.dtype)\n"
        "    return {'J': (E**2).sum() / 2, 'dW': X.T @ E}\n"
        "def reference(p, X):\n"
        "    return ((X @ p['W']) ** 2).sum() / 2\n"
    )
    assert main(["check", "weak.py", "--format", "json", "--output", "weak.json"]) == 0
    assert main(["show", "weak.json"]) == 0
    assert main(["check", "weak.py", "--strict", "--format", "json", "--output", "strict.json"]) == 1
    assert main(["show", "strict.json"]) == 1


def test_a_flag_that_no_check_of_a_file_reads_is_refused(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    Path("유도.py").write_text(
        "import numpy as np\nparams, batch = {'w': np.ones(2)}, (np.array([1.0, 2.0]),)\n"
        "def derivation(p, X):\n    return {'J': (p['w'] * X).sum(), 'dw': X}\n"
        "def reference(p, X):\n    return (p['w'] * X).sum()\n"
    )
    assert main(["check", "유도.py"]) == 0
    for flag in ("--seed", "--steps"):
        assert main(["check", "유도.py", flag, "5"]) == 2
        assert f"{flag} says nothing to gradients; leave it out" in capfd.readouterr().err
    assert main(["check", "없다.py"]) == 2
    assert "없다.py cannot be read" in capfd.readouterr().err


def test_prints_of_the_hand_written_side_are_not_in_the_report(capfd):
    with edited(handgrad.manual.network, ("    gradients = {}\n", "    gradients = {}\n    print('backwards')\n")):
        assert main(["check", "--data", "synthetic", "--layers", "30,2,1", "--activations", "tanh,sigmoid",
                     "--steps", "1", "--format", "json"]) == 0  # fmt: skip
    out, err = capfd.readouterr()
    assert parsed(out)["ok"]
    assert "backwards" in err


def test_a_cost_that_is_no_scalar_has_no_curves_and_ends_in_no_traceback(capfd):
    with edited(handgrad.manual.losses, ("losses.sum() / n + penalty", "losses / n + penalty")):
        assert main(["check", "--data", "synthetic", "--steps", "2", "--format", "json"]) == 1
    assert parsed(capfd.readouterr().out)["findings"][0]["name"] == "J"


def test_an_output_whose_links_lead_round_is_refused(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    Path("loop.txt").symlink_to("loop.txt")
    assert main(["check", "--data", "synthetic", "--steps", "1", "--output", "loop.txt"]) == 2
    assert "loop.txt" in capfd.readouterr().err


def test_a_check_that_a_file_begins_and_leaves_incomplete_is_said(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    Path("both.py").write_text(
        "import numpy as np\nparams, batch = {'w': np.ones(2)}, (np.array([1.0, 2.0]),)\n"
        "def derivation(p, X):\n    return {'J': (p['w'] * X).sum(), 'dw': X}\n"
        "def reference(p, X):\n    return (p['w'] * X).sum()\n"
        "def update(p, g, s):\n    return p, s\n"
        "def optimiser(tensors):\n    return None\n"
    )
    assert main(["check", "both.py"]) == 0
    assert "handgrad: not checked: updates lacks optimizer" in capfd.readouterr().err
