"""The corpus of the engines: the operations are the same on both sides, and their arguments are what a regime says."""

import numpy as np
import pytest
import torch

from tests.corpus.engine_operations import OPERATIONS
from tests.corpus.engines import REGIMES, Input, cell_of, draw

DOMAINS = {
    "real": lambda A: np.isfinite(A).all(),
    "positive": lambda A: (A > 0).all(),
    "exponent": lambda A: (np.abs(A) <= 80).all(),
    "argument": lambda A: ((A > 0) & (A <= 30)).all(),
    "above 1": lambda A: (A > 1).all(),
    "unit": lambda A: (np.abs(A) < 1).all(),
    "share": lambda A: ((A > 0) & (A < 1)).all(),
    "square": lambda A: np.linalg.matrix_rank(A, tol=0.0) == len(A),
    "lower": lambda A: np.array_equal(A, np.tril(A)) and np.diag(A).all(),
    "definite": lambda A: np.array_equal(A, A.T) and np.linalg.eigvalsh(A).min() > 0,
}
TORCH_IS_OFF = {"hardsigmoid": 1e-7, "digamma": 1e-9}  # a constant in float32, and a series that is cut short


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("domain", DOMAINS)
def test_arguments_lie_where_an_operation_is_defined(domain, regime):
    for seed in range(20):
        A = draw(Input(domain, (4, 4)), regime, np.random.default_rng(seed))
        assert A.dtype == np.float64
        assert A.shape == (4, 4)
        assert DOMAINS[domain](A), (seed, A)


def test_regimes_are_what_they_are_called():
    size = {
        regime: np.abs(draw(Input("real", (40, 40)), regime, np.random.default_rng(0))).ravel() for regime in REGIMES
    }
    assert np.median(size["large (x30)"]) == pytest.approx(30 * np.median(size["ordinary"]))
    assert np.median(size["small (1e-3)"]) == pytest.approx(1e-3 * np.median(size["ordinary"]))
    assert np.log10(size["twelve decades"].max() / size["twelve decades"].min()) > 11
    assert size["near saturation"].min() > 3
    assert np.std(size["near cancellation"]) < 0.1 * np.mean(size["near cancellation"])


def test_there_are_many_operations():
    assert len(OPERATIONS) >= 120


@pytest.mark.parametrize("name", [name for name, operation in OPERATIONS.items() if "autograd" in operation.engines])
def test_an_operation_is_the_same_by_the_engine_and_in_torch(name):
    pytest.importorskip("autograd")
    cell = cell_of(OPERATIONS[name], "autograd", "ordinary", np.random.default_rng(1), tapped=True)
    records = cell.derivation(cell.params, *cell.batch)
    leaves = {name: torch.tensor(value, requires_grad=True) for name, value in cell.params.items()}
    J = cell.reference(leaves, *map(torch.tensor, cell.batch))
    J.backward()
    assert records.keys() == {"J", "y", "dy", *(f"d{name}" for name in leaves)}
    assert records["J"] == pytest.approx(J.item(), rel=1e-10)
    for parameter, leaf in leaves.items():
        gradient = leaf.grad.numpy()
        off = np.abs(records[f"d{parameter}"] - gradient).max()
        assert off <= TORCH_IS_OFF.get(name, 1e-10) * np.abs(gradient).max(), parameter


def test_near_cancellation_half_of_the_cells_are_near_an_optimum():
    pytest.importorskip("autograd")
    near = 0
    for seed in range(20):
        cell = cell_of(OPERATIONS["tanh"], "autograd", "near cancellation", np.random.default_rng(seed), tapped=True)
        records = cell.derivation(cell.params, *cell.batch)
        near += np.abs(records["dy"]).max() < 1e-2
        expected = cell.batch[0] if np.abs(records["dy"]).max() >= 1e-2 else records["y"] - cell.batch[0]
        np.testing.assert_allclose(records["dy"], expected, rtol=1e-12)
    assert 4 < near < 16


def test_results_are_returned_where_they_are_tapped_only():
    pytest.importorskip("autograd")
    for tapped in (True, False):
        cell = cell_of(OPERATIONS["sum"], "autograd", "ordinary", np.random.default_rng(0), tapped=tapped)
        assert ("y" in cell.derivation(cell.params, *cell.batch)) == tapped
