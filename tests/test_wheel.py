"""What is built holds what it should, and projects outside the repository use it, also one with names like ours."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from functools import partial

import pytest
import yaml

from tests.documents import blocks, change_of, masked
from tests.repository import ROOT, clean_copy, tracked
from tests.rules.sources import FOLDERS

DOCUMENT = "docs/pytest-and-ci.md"
ONLY_IN_A_CLONE = {".gitignore", ".github", ".pre-commit-config.yaml"}


PYTEST = """#!{python}
import sys
from importlib.metadata import entry_points

(pytest,) = entry_points(group="console_scripts", name="pytest")
sys.exit(pytest.load()())
"""


def ran(*command, cwd):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with the source distribution and the wheel, which is built from that; a build before left a file."""
    copy, dist = clean_copy(tmp_path_factory.mktemp("copy")), tmp_path_factory.mktemp("dist")
    (copy / "build" / "lib" / "handgrad" / "compare").mkdir(parents=True)
    (copy / "build" / "lib" / "handgrad" / "compare" / "deleted.py").write_text("")
    ran(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(dist), str(copy), cwd=copy)
    return dist


@pytest.fixture(scope="module")
def wheel(built):
    (file,) = built.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def project(wheel, tmp_path_factory):
    """A folder with a virtual environment: the wheel in it, and torch, NumPy and pytest from the one that runs this."""
    folder = tmp_path_factory.mktemp("project")
    venv.create(folder / "env", symlinks=True)
    python = folder / "env" / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index")
    ran(*pip, str(wheel), cwd=folder)
    (site,) = (folder / "env" / "lib").glob("*/site-packages")
    (site / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    script = folder / "env" / "bin" / "pytest"
    script.write_text(PYTEST.format(python=python))
    script.chmod(0o755)
    return folder


def command(project, folder, line, **variables):
    path = f"{project / 'env' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "PYTHON"))}
    environment = {**kept, **variables, "PATH": path}
    done = subprocess.run(["bash", "-e", "-c", line], cwd=folder, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def run(project, tmp_path):
    return partial(command, project, tmp_path)


@pytest.fixture(scope="module")
def derivation(project, tmp_path_factory):
    """The file that `handgrad init` writes."""
    folder = tmp_path_factory.mktemp("init")
    assert command(project, folder, "handgrad init my_derivation.py")[0] == 0
    return folder / "my_derivation.py"


@pytest.fixture
def written(derivation, tmp_path):
    """The document's test beside that file."""
    shutil.copy(derivation, tmp_path)
    (test,) = blocks(DOCUMENT, "python")
    assert len([line for line in test.splitlines() if line.strip()]) <= 5
    (tmp_path / "test_backward.py").write_text(test)
    return tmp_path


def broken(folder):
    (diff,) = blocks(DOCUMENT, "diff")
    name, right, wrong = change_of(diff)
    text = (folder / name).read_text()
    assert text.count(right) == 1
    (folder / name).write_text(text.replace(right, wrong))


def test_the_build_needs_a_setuptools_that_knows_the_licence():
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = pyproject["build-system"]["requires"]
    assert needed == ["setuptools>=77"]
    assert {*needed} < {*pyproject["dependency-groups"]["test"]}
    (locked,) = re.findall(r"^setuptools==(\d+)", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE)
    assert int(locked) >= 77


def test_the_wheel_holds_what_git_tracks_of_the_package_and_nothing_else(wheel):
    """A room that is missing here is missing in `packages` in pyproject.toml; a file of data, in `package-data`."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    paths = {path for path in tracked(*FOLDERS) if not path.endswith(".md")}
    assert names == {path if path.startswith("handgrad/") else f"handgrad/{path}" for path in paths}
    assert {name.split("/")[0] for name in names} == {"handgrad"}
    assert "handgrad/py.typed" in names
    assert {"json", "html", "css", "toml"} <= {name.split(".")[-1] for name in names}


def test_the_wheel_declares_the_command_and_the_plugin(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (file,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        declared = archive.read(file).decode()
    assert "[console_scripts]\nhandgrad = handgrad.compare.cli:main" in declared
    assert "[pytest11]\nhandgrad = handgrad.pytest_plugin" in declared


def test_the_source_distribution_holds_what_git_tracks(built):
    """Sources, tests, documents, versions: what a packager needs. What is missing here is missing in MANIFEST.in."""
    (file,) = built.glob("*.tar.gz")
    with tarfile.open(file) as archive:
        paths = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    made = {path for path in paths if path in ("PKG-INFO", "setup.cfg") or path.startswith("handgrad.egg-info/")}
    assert paths - made == {path for path in tracked() if path.split("/")[0] not in ONLY_IN_A_CLONE}


EVERY_MODULE = """
import importlib, pkgutil, sys
import handgrad
for module in pkgutil.walk_packages(handgrad.__path__, "handgrad."):
    try:
        importlib.import_module(module.name)
    except ImportError as error:
        print(module.name, "cannot be imported:", error)
print(handgrad.__file__, *sorted({"compare", "manual", "torchref"} & sys.modules.keys()))
"""


def test_every_module_of_the_wheel_can_be_imported_and_none_as_of_the_top_level(run, project, tmp_path):
    (tmp_path / "every_module.py").write_text(EVERY_MODULE)
    code, output = run("python every_module.py")
    (site,) = project.glob("env/lib/*/site-packages")
    assert (code, output) == (0, f"{site / 'handgrad' / '__init__.py'}\n")


NEIGHBOURS = {
    "compare.py": "MINE = 'the project has a compare of its own'\n",
    "torchref.py": "MINE = 'and a torchref'\n",
    "manual/__init__.py": "",
    "manual/page.py": "MINE = 'and a manual'\n",
    "test_own.py": "import compare, torchref, manual.page\n\n\ndef test_own():\n    assert compare.MINE\n",
    "script.py": "import compare, manual.page, handgrad\n\nassert handgrad.check_gradients\nprint(compare.MINE)\n",
}


@pytest.mark.parametrize(
    ("command", "shows"),
    [
        ("python -m pytest --parity-report=parity.md && cat parity.md", "2 passed"),
        ("pytest --parity-report=parity.md && cat parity.md", "2 passed"),
        ("python script.py", "the project has a compare of its own"),
        ("handgrad check my_derivation.py", "OK: by hand and torch agree"),
        ("cd manual && handgrad check ../my_derivation.py", "OK: by hand and torch agree"),
        ("python -m handgrad check my_derivation.py", "OK: by hand and torch agree"),
    ],
)
def test_a_project_may_have_files_of_the_names_that_our_packages_had(run, written, command, shows):
    for path, text in NEIGHBOURS.items():
        (written / path).parent.mkdir(exist_ok=True)
        (written / path).write_text(text)
    file = written / "my_derivation.py"
    file.write_text(f"{file.read_text()}\nfrom compare import MINE\nimport torchref\n\nassert MINE and torchref.MINE\n")
    code, output = run(command)
    assert code == 0, output
    assert shows in output


@pytest.mark.parametrize("workers", ["", " -n 2"], ids=["one process", "two workers"])
def test_a_parity_test_passes_and_fails_readably_when_the_backward_pass_is_broken(run, written, workers):
    code, output = run(f"pytest{workers}")
    assert code == 0, output
    assert "1 check agrees; the closest to being flagged is" in output
    broken(written)
    code, output = run(f"pytest{workers}")
    assert code == 1
    assert "E       handgrad.compare.errors.ParityError: FAULT  dZ1 at step 1   my_derivation.py:29" in output
    assert "FAULT test_backward.py::test_backward: dZ1 at step 1 (my_derivation.py:29)" in output
    assert not re.search(r"^\S*compare/\w+\.py:\d+", output, flags=re.MULTILINE), "frames of ours are hidden"
    if not workers:
        shown, *_ = blocks(DOCUMENT, "console")
        report = re.search(r"^=+ FAILURES.*(?=^=+ short test summary)", output, flags=re.DOTALL | re.MULTILINE)[0]
        assert masked(report) == masked(shown.partition("\n")[2])


def test_the_documents_workflow_puts_the_report_on_the_page(run, written, tmp_path):
    (text,) = blocks(DOCUMENT, "yaml")
    workflow = yaml.safe_load(text)
    steps = workflow["jobs"]["parity"]["steps"]
    ours = [step for step in steps if "parity" in step.get("run", "")]
    assert len(ours) == 2
    assert len(text.splitlines()) <= 13
    broken(written)
    summary = tmp_path / "summary"
    codes = [run(step["run"], GITHUB_STEP_SUMMARY=str(summary))[0] for step in ours]
    assert codes == [1, 0]
    assert ours[1]["if"] == "always()"
    text = summary.read_text()
    assert text.startswith("### handgrad: 1 of 1 check differs")
    assert "| test_backward.py::test_backward | FAULT" in text
    assert "| dZ1 " in text
