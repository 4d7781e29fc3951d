"""`handgrad` as a person runs it: what is printed, and how it exits."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import handgrad.manual.losses
import handgrad.manual.network
from handgrad.compare.cli.commands import FUNCTIONS, main
from handgrad.compare.cli.flags import COMMANDS
from tests.compare.cli.runs import LINEAR, run
from tests.support import ROOT, edited, parsed, small_data


@pytest.fixture
def data_file(tmp_path):
    X, y = small_data(6, 2, 11, seed=1)
    path = tmp_path / "data.npz"
    np.savez(path, X=X, y=y)
    return str(path)


# --- help


def test_every_command_has_its_function():
    assert [*FUNCTIONS] == [*COMMANDS]


def test_without_a_command_the_help_shows_three_examples(capsys):
    code, out, err = run(capsys)
    assert (code, err) == (0, "")
    assert len(re.findall(r"^  handgrad ", out, flags=re.MULTILINE)) == 3
    assert max(map(len, out.splitlines())) <= 80
    assert out == run(capsys, "--help")[1]


def test_the_command_that_was_meant_is_asked_for(capsys):
    code, out, err = run(capsys, "chekc", "mine.py")
    assert (code, out) == (2, "")
    assert "'chekc' is no command; did you mean 'check'?" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "argv", [[], ["--help"], ["check", "--help"], ["--version"], ["check", "--beta", "2"], ["chek"]]
)
def test_help_version_and_argument_errors_import_neither_torch_nor_numpy(argv):
    code = (
        "import sys\nfrom handgrad.compare.cli.commands import main\n"
        f"try:\n    code = main({argv!r})\nexcept SystemExit as stop:\n    code = stop.code\n"
        "assert not {'torch', 'numpy', 'tabulate'} & set(sys.modules), 'imported'\nsys.exit(code or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "imported" not in done.stderr
    assert done.returncode == (0 if not argv or {"--help", "--version"} & set(argv) else 2)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("argv", [["check"], ["check", "mine.py"]], ids=["the notes", "a file"])
def test_a_right_check_imports_neither_sympy_nor_masked_arrays_nor_data_sets(argv, tmp_path):
    code = (
        "import sys\nfrom handgrad.compare.cli.commands import main\nmain(['init', 'mine.py'])\n"
        f"assert main({argv!r}) == 0\n"
        "assert not {'sympy', 'numpy.ma', 'sklearn'} & set(sys.modules), 'imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", [[sys.executable, "-m", "handgrad"], ["handgrad"]], ids=["module", "script"])
def test_both_ways_to_start_it(command, data_file):
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [*command, "check", "--data", data_file, "--batch-size", "4"], capture_output=True, text=True, env=environment
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "agree on all" in done.stdout
    assert "\x1b" not in done.stdout


# --- the notes' network


def test_the_default_run_is_the_notes_setting_on_real_data(capsys):
    code, out, _ = run(capsys, "check")
    lines = out.strip().splitlines()
    assert code == 0
    assert "30-16-1, tanh/sigmoid, binary-cross-entropy, lecun weights, momentum, batches of 32" in out
    assert "569 x 30, each column standardised" in out
    assert lines[-2].startswith("OK: by hand and torch agree on all 828 tensors of 36 steps, in float64 and float32;")
    assert lines[-1].startswith("Not shown by this run: weight decay")


def test_json_has_every_name_in_every_step(capsys):
    code, out, _ = run(capsys, "check", "--format", "json")
    report = parsed(out)
    assert (code, report["schema"], report["ok"], report["findings"]) == (0, "handgrad.report/2", True, [])
    expected = {f"{stem}{l}" for l in (1, 2) for stem in ("Z", "A", "dZ", "dW", "db", "vW", "vb")}
    expected |= {"J", "dA1", "W1_next", "W2_next", "b1_next", "b2_next"}
    steps = {}
    for row in report["rows"]:
        steps.setdefault(row["step"], set()).add(row["name"])
    assert [*steps] == list(range(1, 37))
    assert all(expected <= names for names in steps.values())


def test_a_difference_exits_1_and_names_the_culprit(capsys, data_file):
    with edited(handgrad.manual.network, ("dZ @ A_prev.T", "2 * dZ @ A_prev.T")):
        code, out, _ = run(capsys, "check", "--data", data_file, "--batch-size", "4", "--format", "json")
    finding = parsed(out)["findings"][0]
    assert (code, finding["where"]["name"], finding["equation"], finding["cause"]["code"]) == (1, "dW2", "B2", "scale")


def test_every_setting_reaches_the_report(capsys, data_file):
    words = (
        "--layers 6,5,4,2 --activations relu,tanh,identity --loss squared-error --initializer notes-he "
        "--distribution uniform --bias-scale 0.3 --optimizer gradient-descent --learning-rate 0.25 --beta 0.5 "
        "--beta2 0.75 --epsilon 0.001 "
        "--l2 0.125 --batch-size full --epochs 3 --steps 2 --dtype float32 --seed 9 --free-running"
    )
    code, out, _ = run(capsys, "check", "--data", data_file, "--format", "json", *words.split())
    assert code == 0
    assert parsed(out)["environment"]["experiment"] == {
        "layers": [6, 5, 4, 2],
        "activations": ["relu", "tanh", "identity"],
        "loss": "squared-error",
        "initializer": "notes-he",
        "distribution": "uniform",
        "bias_scale": 0.3,
        "optimizer": "gradient-descent",
        "learning_rate": 0.25,
        "beta": 0.5,
        "beta2": 0.75,
        "epsilon": 0.001,
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
        code, out, _ = run(capsys, "check", "--data", data_file, "--batch-size", "4", "--format", "json", *flags)
        assert code == 0
        assert parsed(out)["environment"]["experiment"]["layers"] == expected


UNUSABLE = {
    "zero width": (["--layers", "6,0,2"], "layers[1] is 0"),
    "layers do not fit": (["--layers", "5,3,2"], "start layers with 6"),
    "outputs do not fit": (["--layers", "6,3,1"], "end layers with 2"),
    "layers too wide": (["--layers", "6,1000000000000,2"], "no more than 100000000"),
    "activation": (["--activations", "tahn,sigmoid"], "did you mean 'tanh'"),
    "initializer": (["--initializer", "leccun"], "did you mean 'lecun'"),
    "data name": (["--data", "digit"], "did you mean 'digits'"),
    "rate": (["--learning-rate", "0"], "above 0"),
    "rate beyond float32": (["--learning-rate", "1e39"], "float32 holds no more"),
    "rate not a number": (["--learning-rate", "fast"], "'fast' is not a number"),
    "beta": (["--beta", "1"], "below 1"),
    "steps": (["--steps", "99999999999999999999"], "at most 100000000"),
    "missing file": (["--data", "nowhere.csv"], "is no file that exists"),
    "a pipe for a file": (["--data", "pipe.csv"], "no file that exists"),
    "a name of two lines": (["--data", "two\nlines.csv"], "no file that exists"),
    "batch larger than the data": (["--batch-size", "12"], "at most 11"),
    "output in no folder": (["--output", "nowhere/report.txt"], "existing one"),
    "output to a pipe": (["--output", "pipe.csv"], "is a pipe"),
    "a check without a file": (["--only", "gradients"], "--only gradients picks a check of a file"),
}


@pytest.mark.parametrize(("flags", "message"), UNUSABLE.values(), ids=UNUSABLE)
def test_bad_input_is_one_line_exit_2_and_writes_nothing(flags, message, data_file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.csv")
    before = sorted(tmp_path.iterdir())
    code, out, err = run(capsys, "check", "--data", data_file, "--batch-size", "4", *flags)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


SLIPS = {
    "a syntax error": (
        "network.py",
        "return W @ A_prev + b",
        "return W @ A_prev +",
        "SyntaxError in manual/network.py line",
    ),
    "a bad import": (
        "losses.py",
        "import numpy as np",
        "import numpi as np",
        "ModuleNotFoundError in manual/losses.py line 1",
    ),
    "a renamed function": (
        "optimizers.py",
        "def momentum(",
        "def momentom(",
        "handgrad.manual.optimizers has no momentum",
    ),
}


@pytest.mark.parametrize(("file", "right", "wrong", "message"), SLIPS.values(), ids=SLIPS)
def test_a_slip_in_the_derivation_is_one_line_and_exit_2(file, right, wrong, message, tmp_path, data_file):
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
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_prints_of_the_hand_written_side_are_not_in_the_report(capfd):
    with edited(handgrad.manual.network, ("    return gradients\n", "    print('backwards')\n    return gradients\n")):
        code, out, err = run(
            capfd, "check", "--data", "synthetic", "--layers", "30,2,1", "--steps", "1", "--format", "json"
        )
    assert (code, parsed(out)["ok"]) == (0, True)
    assert "backwards" in err


def test_a_cost_that_is_no_scalar_has_no_curves_and_ends_in_no_traceback(capfd):
    with edited(handgrad.manual.losses, ("losses.sum() / n + penalty", "losses / n + penalty")):
        code, out, _ = run(capfd, "check", "--data", "synthetic", "--steps", "2", "--format", "json")
    assert (code, parsed(out)["findings"][0]["where"]["name"]) == (1, "J")


# --- the output


def test_output_holds_the_report_and_the_outcome_is_printed(capsys, data_file, tmp_path):
    path = tmp_path / "report.json"
    argv = ["check", "--data", data_file, "--batch-size", "4", "--format", "json", "--output", str(path)]
    code, out, _ = run(capsys, *argv)
    first = path.read_bytes()
    assert (code, parsed(first.decode())["ok"]) == (0, True)
    assert out.startswith("OK: by hand and torch agree")
    assert run(capsys, *argv)[0] == 0
    assert path.read_bytes() == first


def test_output_never_replaces_the_data(capsys, data_file):
    before = Path(data_file).read_bytes()
    code, _, err = run(capsys, "check", "--data", data_file, "--output", data_file)
    assert code == 2
    assert "would be overwritten" in err
    assert Path(data_file).read_bytes() == before


def test_colour_only_on_a_terminal_and_never_with_no_color(monkeypatch, capsys, data_file):
    argv = ["check", "--data", data_file, "--batch-size", "4"]
    assert "\x1b[" not in run(capsys, *argv)[1]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[32mOK" in run(capsys, *argv)[1]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in run(capsys, *argv)[1]


def test_a_reader_who_has_seen_enough_causes_no_traceback(data_file):
    command = f"{sys.executable} -m handgrad check --data {data_file} --batch-size 4 --format json | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.stdout == "{\n"
    assert done.stderr == ""


def test_a_row_per_tensor_of_a_failing_check_is_shown_with_table(in_folder, capsys):
    Path("wrong.py").write_text(LINEAR.replace('"dw": X', '"dw": -X'))
    assert "max |diff|" not in run(capsys, "check", "wrong.py")[1]
    code, out, _ = run(capsys, "check", "wrong.py", "--table")
    assert (code, "max |diff|" in out) == (1, True)
    run(capsys, "check", "wrong.py", "--format", "json", "--output", "wrong.json")
    assert run(capsys, "show", "wrong.json", "--table") == (1, out, "")


def test_a_stored_report_of_a_strict_check_is_shown_as_it_failed(in_folder):
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


def test_two_stored_reports_are_compared(in_folder, capsys):
    Path("wrong.py").write_text(LINEAR.replace('"dw": X', '"dw": -X'))
    for name in ("mine", "wrong"):
        main(["check", f"{name}.py", "--format", "json", "--output", f"{name}.json"])
    assert run(capsys, "diff", "mine.json", "mine.json")[0] == 0
    code, out, _ = run(capsys, "diff", "mine.json", "wrong.json", "--format", "json")
    assert (code, parsed(out)["equal"]) == (1, False)


# --- the notes and the catalogue


def test_an_unknown_statement_or_mistake_is_asked_for(capsys):
    code, _, err = run(capsys, "notes", "--id", "L22")
    assert (code, "did you mean 'L2'?" in err) == (2, True)
    code, _, err = run(capsys, "faults", "loss-with-log")
    assert (code, "did you mean 'loss-with-log2'? handgrad faults lists all" in err) == (2, True)
