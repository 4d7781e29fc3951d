"""The public names: what `import handgrad` offers, and that it costs nothing until used."""

import ast
import re
import subprocess
import sys
import tomllib

import pytest

import handgrad
from tests.repository import ROOT

TREE = ast.parse((ROOT / "handgrad" / "__init__.py").read_text(encoding="utf-8"))


def python(*arguments):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True)


@pytest.mark.parametrize("name", handgrad.__all__)
def test_every_public_name_resolves_to_what_bears_that_name(name):
    assert getattr(handgrad, name).__name__ == name


def test_what_type_checkers_see_is_what_a_program_gets():
    imports = [node for node in ast.walk(TREE) if isinstance(node, ast.ImportFrom)]
    seen = {alias.name: node.module for node in imports for alias in node.names if node.module.startswith("handgrad.")}
    assert seen == {name: f"handgrad.{module}" for name, module in handgrad._MODULES.items()}
    assert sorted(seen) == handgrad.__all__


@pytest.mark.parametrize("name", ["nothing", "check_gradient", "compare_gradients"])
def test_an_unknown_name_is_an_attribute_error(name):
    with pytest.raises(AttributeError, match=f"module 'handgrad' has no attribute '{name}'"):
        getattr(handgrad, name)
    assert not hasattr(handgrad, name)


def test_everything_can_be_imported_at_once():
    names = {}
    exec("from handgrad import *", names)
    assert {*handgrad.__all__} <= names.keys()


def test_the_version_is_the_installed_one():
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert pyproject["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "handgrad.__version__"}
    assert re.fullmatch(r"\d+\.\d+\.\d+", handgrad.__version__)
    done = python("-m", "handgrad", "--version")
    assert (done.returncode, done.stdout) == (0, f"handgrad {handgrad.__version__}\n")


def test_nothing_is_imported_until_it_is_used():
    done = python("-c", "import sys, handgrad; print(*sys.modules)")
    loaded = {name for name in done.stdout.split() if name.split(".")[0] in ("handgrad", "numpy", "torch", "tabulate")}
    assert loaded == {"handgrad"}
