"""The walls of the house: who imports whom, where the equation labels stand, and that the registry is complete."""

import ast
import importlib
import inspect
import pkgutil
import re
import sys
from types import FunctionType

import pytest

from handgrad import compare, manual, torchref
from handgrad.compare.equations import EQUATIONS
from handgrad.compare.operations import OPERATIONS, names
from tests.support import ROOT

PACKAGES = {"manual": manual, "torchref": torchref, "compare": compare}
MAY_IMPORT = {"manual": {"numpy", "handgrad.manual"}, "torchref": {"torch", "handgrad.torchref"}}
BOTH_SIDES = {"F1", "F2", "L1", "L2", "L3", "L4", "U1", "I1", "I2", "I3", "I4", "I5", "I6", "O1", "O2", "O3", "O4"}
BY_HAND_ONLY = {"B1", "B2", "B3", "B4", "B5"}
ACTIVATION_FACTS = {"A2", "A3"}


def modules(package):
    found = pkgutil.walk_packages(PACKAGES[package].__path__, f"handgrad.{package}.")
    return [
        PACKAGES[package],
        *(importlib.import_module(info.name) for info in found if not info.name.endswith("__main__")),
    ]


def tree_of(module):
    return ast.parse(inspect.getsource(module))


def labels(package):
    """(label, module) of every label on a code line of a package."""
    for module in modules(package):
        for line in inspect.getsource(module).splitlines():
            for label in re.findall(r"\S.*# \(([A-Z]\d)\)", line):
                yield label, module


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_the_two_witnesses_share_nothing(package):
    allowed = MAY_IMPORT[package] | sys.stdlib_module_names
    for module in modules(package):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            imported = []
            if isinstance(node, ast.Import):
                imported = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{module.__name__} imports relatively"
                imported = [node.module]
            for name in imported:
                assert {name.partition(".")[0], ".".join(name.split(".")[:2])} & allowed, (
                    f"{module.__name__} imports {name}"
                )


def test_compare_holds_no_network_maths():
    """verdict.bounds alone multiplies matrices: absolute ones, to bound rounding; the catalogue's problems are code
    to be checked, not to check with.
    """
    own = [m for m in modules("compare") if not m.__name__.startswith("handgrad.compare.faults.problems")]
    multiplying = [m for m in own if any(isinstance(n, ast.MatMult) for n in ast.walk(tree_of(m)))]
    assert [module.__name__ for module in multiplying] == ["handgrad.compare.verdict.bounds"]


@pytest.mark.parametrize(
    ("package", "expected"),
    [("manual", BOTH_SIDES | BY_HAND_ONLY | ACTIVATION_FACTS), ("torchref", BOTH_SIDES | ACTIVATION_FACTS)],
)
def test_each_label_stands_on_exactly_one_line_and_in_that_modules_docstring(package, expected):
    found = list(labels(package))
    assert sorted(label for label, _ in found) == sorted(expected)
    for label, module in found:
        table = re.findall(r"^\s*([A-Z]\d)  ", module.__doc__, flags=re.MULTILINE)
        assert table.count(label) == 1, f"{label} is not in the table of {module.__name__}"


def test_the_reports_formulas_are_those_of_the_docstrings():
    for label, module in labels("manual"):
        if label in EQUATIONS:
            line = re.search(rf"^\s*{label}  (.*)$", module.__doc__, flags=re.MULTILINE)[1]
            assert EQUATIONS[label] in line
    assert set(EQUATIONS) == {label for label in BOTH_SIDES | BY_HAND_ONLY if label[0] != "I"}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_says_what_it_offers(package):
    for module in modules(package):
        assert module.__doc__, module.__name__
        assert isinstance(module.__all__, list), module.__name__
        for name in module.__all__:
            assert hasattr(module, name), f"{module.__name__}.{name}"
        own = {n: v for n, v in vars(module).items() if getattr(v, "__module__", None) == module.__name__}
        public = {n for n, v in own.items() if isinstance(v, (FunctionType, type)) and not n.startswith("_")}
        assert public <= set(module.__all__), module.__name__


def test_every_operation_has_both_halves():
    for row in OPERATIONS:
        for function in (*row.hands(), row.twin()):
            assert callable(function), row.name
        assert set(row.equations) <= set(EQUATIONS) | {"I1", "I2", "I3", "I4", "I5", "I6"}, row.name
        assert len({(other.kind, other.name) for other in OPERATIONS}) == len(OPERATIONS)


@pytest.mark.parametrize(
    ("kind", "module", "helpers"),
    [
        ("activation", "activations", {"_derivative"}),
        ("initializer", "initializers", {"draw"}),
        ("optimizer", "optimizers", {"no_velocities", "zero_velocities", "one_step", "step", "velocities"}),
    ],
)
def test_the_registry_misses_nothing_that_either_side_has(kind, module, helpers):
    registered = {name.replace("-", "_") for name in names(kind)}
    for package in ("manual", "torchref"):
        offered = importlib.import_module(f"{package}.{module}").__all__
        operations = {name for name in offered if name not in helpers and not name.endswith("_derivative")}
        assert operations == registered, f"{package}.{module} against the registry"


def test_the_top_level_is_the_agreed_one():
    entries = {path.name for path in ROOT.iterdir()}
    agreed = {
        "pyproject.toml",
        "README.md",
        "CHANGELOG.md",
        "Makefile",
        "constraints.txt",
        "manual",
        "torchref",
        "compare",
    }
    assert agreed | {"tests", ".ci"} <= entries
    tracked_elsewhere = {path.name for path in ROOT.iterdir() if path.suffix == ".py"}
    assert not tracked_elsewhere
