"""The commands of the Makefile and of CI do what their names say."""

import os
import subprocess

import pytest

from tests.repository import ROOT
from tests.rules.sources import FOLDERS


def steps(target):
    """What make would run, with the environment there already."""
    alone = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "--dry-run", "--assume-old=.venv/.installed", target]
    done = subprocess.run(command, cwd=ROOT, env=alone, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("target", "commands"),
    [
        ("check", [".venv/bin/handgrad check"]),
        ("test", [".venv/bin/python -m pytest -n auto --dist worksteal"]),
        (
            "site",
            [
                "rm -rf build/docs build/html",
                "mkdir -p build/docs",
                "cp -R README.md CONTRIBUTING.md CHANGELOG.md LICENSE docs build/docs",
                "NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --quiet --strict",
            ],
        ),
        ("lint", [".venv/bin/ruff check .", ".venv/bin/ruff format --check .", ".ci/types"]),
    ],
)
def test_a_target_runs_its_commands(target, commands):
    assert steps(target) == commands


def test_what_is_released_is_built_from_what_is_committed():
    *_, unpacked, built = steps("dist")
    assert unpacked == "git archive HEAD | tar -x -C build/clean"
    assert built.endswith("-m build --no-isolation --outdir dist build/clean")


def test_ci_runs_the_tests_and_lint():
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert {"set -euo pipefail", "make test", "make lint", "make site"} <= {*lines}
    assert all(os.access(ROOT / ".ci" / name, os.X_OK) for name in ("run", "types"))


def test_mypy_sees_the_package_as_it_is_installed():
    subprocess.run([ROOT / ".ci" / "types", "--version"], check=True, capture_output=True)
    package = ROOT / "build" / "types" / "handgrad"
    for folder in FOLDERS:
        init = "__init__.py" if folder == "handgrad" else f"{folder}/__init__.py"
        assert (package / init).samefile(ROOT / folder / "__init__.py")
    assert (package / "py.typed").exists()
