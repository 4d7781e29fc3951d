"""A small part of the engines' benchmark, of a fixed seed that is not set aside; it needs the extra `benchmarks`."""

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("autograd")

from tests.benchmarks.engines import (
    PAIRS,
    SIZES,
    Counts,
    Outcome,
    Planted,
    checked,
    drawn,
    places,
    right_counts,
    right_table,
    runs_table,
    with_error,
    wrong_table,
)
from tests.corpus.engine_operations import INEXACT_IN_JAX, OPERATIONS
from tests.corpus.engines import REGIMES, cell_of
from tests.repository import ROOT

FOUND = ("tanh", "softmax", "matrix product", "divide", "log", "solve")


def of(name, regime="ordinary", seed=0, tapped=True):
    return cell_of(OPERATIONS[name], "autograd", regime, np.random.default_rng(seed), tapped=tapped)


@pytest.mark.parametrize("regime", ["ordinary", "small (1e-3)", "twelve decades"])
@pytest.mark.parametrize("name", FOUND)
def test_right_code_is_left_in_peace(name, regime):
    for seed in range(4):
        assert checked(of(name, regime, seed, tapped=bool(seed % 2))).verdict == "OK", seed


@pytest.mark.parametrize("name", FOUND)
@pytest.mark.parametrize("size", [size for size in SIZES if size >= 1e-11])
def test_planted_errors_are_found(name, size):
    cell = of(name, seed=2)
    tensor, at = places(cell, np.random.default_rng(0))
    for place, index in at.items():
        assert checked(with_error(cell, Planted(tensor, index, size))).verdict == "FAULT", place


@pytest.mark.parametrize("name", FOUND)
def test_errors_in_float32_alone_are_found(name):
    cell = of(name, seed=4)
    tensor, _ = places(cell, np.random.default_rng(0))
    assert checked(with_error(cell, Planted(tensor, (...,), 1e-3, ("float32",)))).verdict == "FAULT"


def test_an_error_is_where_it_is_planted():
    cell = of("matrix product")
    tensor, at = places(cell, np.random.default_rng(0))
    right = cell.derivation(cell.params, *cell.batch)
    for place, number in (("all entries", right[tensor].size), ("one row", right[tensor].shape[1]), ("one entry", 1)):
        wrong = with_error(cell, Planted(tensor, at[place], 1e-3)).derivation(cell.params, *cell.batch)
        assert np.count_nonzero(wrong[tensor] != right[tensor]) == number
        assert all(np.array_equal(wrong[name], right[name]) for name in right if name != tensor)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_an_error_is_in_its_precisions_alone(dtype):
    cell = of("tanh")
    single = {name: array.astype(np.float32) for name, array in cell.params.items()}, cell.batch[0].astype(np.float32)
    wrong = with_error(cell, Planted("dx0", (...,), 0.5, (dtype,)))
    moved = {"float64": (cell.params, *cell.batch), "float32": single}
    for each, arguments in moved.items():
        same = np.array_equal(wrong.derivation(*arguments)["dx0"], cell.derivation(*arguments)["dx0"])
        assert same == (each != dtype)


def test_no_error_is_planted_where_every_gradient_is_0():
    cell = of("hardtanh", "near saturation")
    assert places(cell, np.random.default_rng(0)) == ("", {})
    assert checked(cell).verdict == "all zero"


def test_cells_can_be_drawn_again_and_keep_to_their_half():
    cells, again = ([*drawn(1, len(PAIRS) + 2, REGIMES[:1])] for _ in range(2))
    for one, other in zip(cells, again, strict=True):
        assert (one.operation, one.by, one.seed, one.tapped) == (other.operation, other.by, other.seed, other.tapped)
        assert all(np.array_equal(one.cell.params[name], other.cell.params[name]) for name in one.cell.params)
    assert {(each.operation, each.by) for each in cells[: len(PAIRS)]} == {*PAIRS}
    assert {each.seed for each in cells} == {1, 3}
    assert {each.tapped for each in cells[:2]} == {True, False}


def test_tables_show_what_was_counted():
    counts = Counts()
    for verdict in ("OK", "OK", "FAULT", "UNTOLD", "refused: no"):
        counts.add("ordinary", "right", Outcome(verdict, None, 2, 3))
        counts.add("ordinary, one entry", "1e-02", Outcome(verdict, None, 2, 3))
        counts.add_runs("right", Outcome(verdict, None, 2, 3))
    assert right_table(counts).split()[-8:] == ["10", "2", "0", "0", "2", "0", "0", "2"]
    assert wrong_table(counts).splitlines()[-1].split()[-2:] == ["5", "20"]
    assert runs_table(counts).splitlines()[-1].split() == ["right", "reference", "3", "3", "3"]
    assert right_counts(0, 0).verdicts == {}


@pytest.mark.parametrize("name", INEXACT_IN_JAX)
def test_what_jax_has_few_digits_of_is_found(name):
    pytest.importorskip("jax")
    cells = (
        cell_of(INEXACT_IN_JAX[name], "jax", "large (x30)", np.random.default_rng(n), tapped=False) for n in range(9)
    )
    assert "FAULT" in {checked(cell).verdict for cell in cells}


def test_the_command_counts_with_both_engines():
    """In a process of its own: JAX has threads, and a fork after them warns."""
    pytest.importorskip("jax")
    command = (sys.executable, "-m", "tests.benchmarks.engines", "--seed", "0", "--cells", "1")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("seed 0, ")
