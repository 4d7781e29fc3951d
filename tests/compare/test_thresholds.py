"""Every threshold is used, says what it means, and stands nowhere else."""

import ast
import re

import numpy as np
import pytest

from handgrad.compare import thresholds
from handgrad.compare.verdict.bounds import PRECISIONS
from tests.repository import ROOT
from tests.rules.sources import of_folders, one

SOURCES = of_folders(ROOT, "compare")
FILE = one(SOURCES, "handgrad.compare.thresholds")
NAMES = [
    target.id
    for node in FILE.tree.body
    if isinstance(node, ast.Assign)
    for target in ast.walk(node.targets[0])
    if isinstance(target, ast.Name)
]
ROOMS = ("verdict", "oracle", "pipeline", "checks", "diagnosis", "experiment")
ELSEWHERE = {  # what is no threshold: the sizes of gradients that are drawn, and the settings of optimisers
    "compare/checks/updates.py": {"2.0 ** (-20)", "1e-08"},
    "compare/experiment/settings.py": {"1e-08"},
    "compare/diagnosis/rules.py": {"1e-05", "1e-06", "1e-07", "1e-08", "1e-10", "1e-12"},
}


def imported(source):
    """What a file imports from the thresholds, and reads."""
    names = {
        alias.name
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ImportFrom) and node.module == "handgrad.compare.thresholds"
        for alias in node.names
    }
    of_module = {ast.unparse(node) for node in ast.walk(source.tree) if isinstance(node, ast.Attribute)}
    read = {name.removeprefix("thresholds.") for name in of_module if name.startswith("thresholds.")}
    return read | (names & {node.id for node in ast.walk(source.tree) if isinstance(node, ast.Name)})


def test_every_threshold_is_used():
    used = set().union(*map(imported, SOURCES))
    assert [name for name in NAMES if name not in used] == []
    assert used <= {*NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_every_threshold_says_what_it_is(name):
    """On its own line, or in the lines above it."""
    lines = FILE.text.splitlines()
    (number,) = (n for n, line in enumerate(lines) if re.match(rf"(?:\w+, )*{name}(?:, \w+)* = ", line))
    assert "  # " in lines[number] or lines[number - 1].startswith("# ")


def looks_like_one(node):
    """A power of two below 1, and what is less than a thousandth."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        return isinstance(node.left, ast.Constant) and isinstance(node.right, ast.UnaryOp)
    return isinstance(node, ast.Constant) and isinstance(node.value, float) and 0 < node.value < 1e-3


@pytest.mark.parametrize("room", ROOMS)
def test_no_threshold_stands_elsewhere(room):
    there = [source for source in SOURCES if source.path.startswith(f"compare/{room}/")]
    assert there
    numbers = [
        f"{source.path}:{node.lineno}: {ast.unparse(node)}"
        for source in there
        for node in ast.walk(source.tree)
        if looks_like_one(node) and ast.unparse(node) not in ELSEWHERE.get(source.path, ())
    ]
    assert numbers == []


def test_the_cut_is_the_midpoint_between_rounding_and_fault():
    assert pytest.approx(PRECISIONS["float64"].u / PRECISIONS["float32"].u) == thresholds.CUT**2


def test_the_roundoff_is_that_of_the_dtypes():
    for dtype, u in thresholds.UNIT_ROUNDOFF.items():
        assert np.finfo(dtype).eps == 2 * u


def test_the_steps_are_what_their_reasons_say():
    """A move is 2^33 roundings of its precision or 2^14, and noise is 2^17 of float64's."""
    float64, float32 = (thresholds.UNIT_ROUNDOFF[dtype] for dtype in ("float64", "float32"))
    assert thresholds.MOVE == 2.0**33 * float64
    assert thresholds.MOVE_FLOAT32 == 2.0**14 * float32
    coarse, finer, finest = thresholds.NOISES
    assert thresholds.MOVE_LESS > coarse == 2.0**17 * float64 > finer > finest == float64
    assert thresholds.SLOPE_NEAR == 4 * float64
