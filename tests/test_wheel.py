"""A project outside the repository installs the wheel, tests its backward pass, breaks it, and learns what is wrong."""

import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.support import ROOT
from tests.test_readme import blocks, masked

PACKAGES = ("manual", "torchref", "compare")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def project(wheel, tmp_path_factory):
    """A folder with a virtual environment: the wheel in it, and torch, NumPy and pytest from the one that runs this."""
    folder = tmp_path_factory.mktemp("project")
    venv.create(folder / "env", symlinks=True)
    python = folder / "env" / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    (site,) = (folder / "env" / "lib").glob("*/site-packages")
    (site / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    script = folder / "env" / "bin" / "pytest"
    script.write_text(f"#!{python}\nimport sys\nimport pytest\nsys.exit(pytest.console_main())\n")
    script.chmod(0o755)
    return folder


@pytest.fixture
def run(project, tmp_path):
    def command(line, **variables):
        path = f"{project / 'env' / 'bin'}{os.pathsep}{os.environ['PATH']}"
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "PYTHON"))}
        done = subprocess.run(
            ["bash", "-e", "-c", line],
            cwd=tmp_path,
            env={**kept, **variables, "PATH": path},
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout + done.stderr

    return command


@pytest.fixture
def written(run, tmp_path):
    """The README's test beside the file that `handgrad init` writes."""
    assert run("handgrad init my_derivation.py")[0] == 0
    (test,) = [text for text in blocks("python") if "def test_" in text]
    assert len([line for line in test.splitlines() if line.strip()]) <= 5
    (tmp_path / "test_backward.py").write_text(test)
    return tmp_path


def broken(folder):
    file = folder / "my_derivation.py"
    right = re.search(r"    dZ1 = .*\n", file.read_text())[0]
    wrong = "    dZ1 = dA1 * (1 - Z1**2)\n"
    assert right != wrong
    assert wrong.strip() in (ROOT / "README.md").read_text(encoding="utf-8")
    file.write_text(file.read_text().replace(right, wrong))


def test_the_wheel_holds_the_packages_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        (entry_points,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        declared = archive.read(entry_points).decode()
    files = (path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file())
    assert names == {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}
    assert {"compare/report/schema.json", "compare/py.typed", "compare/pytest_plugin.py"} <= names
    assert "[pytest11]\nhandgrad = handgrad.pytest_plugin" in declared


def test_the_project_uses_the_wheel_and_not_the_repository(run, project):
    code, output = run("python -c 'import compare, torchref, manual; print(compare.__file__, torchref.__file__)'")
    assert code == 0
    assert all(Path(path).is_relative_to(project) for path in output.split())


@pytest.mark.parametrize("workers", ["", " -n 2"], ids=["one process", "two workers"])
def test_a_parity_test_passes_and_fails_readably_when_the_backward_pass_is_broken(run, written, workers):
    code, output = run(f"pytest{workers}")
    assert code == 0, output
    assert "1 check agrees; the closest to being flagged is" in output
    broken(written)
    code, output = run(f"pytest{workers}")
    assert code == 1
    assert (
        "E       handgrad.compare.errors.ParityError: FAULT: dZ1 is the first tensor that differs, at step 1" in output
    )
    assert "step 1 / backward / dZ1  FAULT" in output
    assert "FAULT test_backward.py::test_backward: step 1 / backward / dZ1" in output
    assert not re.search(r"^\S*compare/\w+\.py:\d+", output, flags=re.MULTILINE), "frames of ours are hidden"
    if not workers:
        (shown,) = [text for text in blocks("console") if text.startswith("$ pytest\n")]
        report = re.search(r"^=+ FAILURES.*(?=^=+ short test summary)", output, flags=re.DOTALL | re.MULTILINE)[0]
        assert masked(report) == masked(shown.partition("\n")[2])


def test_the_readmes_workflow_puts_the_report_on_the_page(run, written, tmp_path):
    (workflow,) = map(yaml.safe_load, blocks("yaml"))
    steps = workflow["jobs"]["parity"]["steps"]
    ours = [step for step in steps if "parity" in step.get("run", "")]
    assert len(ours) == 2
    assert len(blocks("yaml")[0].splitlines()) <= 13
    broken(written)
    summary = tmp_path / "summary"
    codes = [run(step["run"], GITHUB_STEP_SUMMARY=str(summary))[0] for step in ours]
    assert codes == [1, 0]
    assert ours[1]["if"] == "always()"
    text = summary.read_text()
    assert text.startswith("### handgrad: 1 of 1 check differs")
    assert "| test_backward.py::test_backward | FAULT" in text
    assert "| dZ1 " in text
