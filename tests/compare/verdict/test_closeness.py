"""How close a tensor came to what rounding explains, of one run and of many."""

import numpy as np
import pytest

from handgrad.compare.verdict import bounds
from handgrad.compare.verdict.bounds import PRECISIONS, Allowance
from handgrad.compare.verdict.closeness import Local, closest, index_of

FLOAT64 = PRECISIONS["float64"]


def affine(shape, seed, runs=1):
    """W, A, b of so many runs, half of the columns of W A in pairs that cancel."""
    rng = np.random.default_rng(seed)
    m, k, n = shape
    W, A, b = (rng.standard_normal((runs, *sizes)) for sizes in ((m, k), (k, n), (m, 1)))
    if k > 1:
        W[..., 1::2] = W[..., : 2 * (k // 2) : 2]
        A[:, 1::2] = -A[:, : 2 * (k // 2) : 2]
    return W, A, b


def one_by_one(W, A, b):
    return sum((W[..., k : k + 1] * A[..., k : k + 1, :] for k in range(A.shape[-2])), b)


def test_the_largest_ratio_is_found_where_products_cancel():
    W, A, b = (array[0] for array in affine((70, 9, 90), 5))
    local, allowance = Local(one_by_one(W, A, b), W @ A + b), bounds.linear(W, A, b)
    rho, _ = closest(local, allowance, FLOAT64, runs=1)
    assert rho[0] == pytest.approx((np.abs(local.recorded - local.reference) / allowance.everywhere(FLOAT64)).max())
    assert 0 < rho[0] < 1
    local.recorded[3, 4] += 1e-9
    rho, entry = closest(local, allowance, FLOAT64, runs=1)
    assert rho[0] > 1
    assert index_of(int(entry[0]), (70, 90)) == (3, 4)


def test_what_is_exact_is_allowed_nothing_in_any_run():
    recorded, reference = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 2.0], [3.0, 5.0]])
    rho, entry = closest(Local(recorded, reference), Allowance(0), FLOAT64, runs=2)
    assert rho.tolist() == [0.0, np.inf]
    assert entry[1] == 1


def test_nothing_over_nothing_is_nothing():
    zeros = np.zeros((1, 3))
    rho, _ = closest(Local(zeros, zeros), Allowance(0, zeros), FLOAT64, runs=1)
    assert rho.tolist() == [0.0]
    rho, entry = closest(Local(zeros + np.nan, zeros), Allowance(0, zeros), FLOAT64, runs=1)
    assert np.isnan(rho[0])
    assert entry[0] == 0


def test_a_difference_is_taken_in_float64_of_a_number_too():
    local = Local(np.float32(1.5) * np.ones((), "f4"), np.array(1.5 + 2.0**-40))
    rho, entry = closest(local, Allowance(0, 2.0**13), FLOAT64)
    assert (rho.tolist(), entry.tolist()) == ([0.5], [0])


@pytest.mark.parametrize("shape", [(), (4,), (2, 3), (2, 3, 4)])
def test_an_index_is_that_of_numpy_in_plain_integers(shape):
    for flat in range(int(np.prod(shape, dtype=int))):
        index = index_of(flat, shape)
        assert index == tuple(map(int, np.unravel_index(flat, shape) if shape else ()))
        assert all(type(n) is int for n in index)


def test_of_stacked_runs_each_has_its_own_ratio():
    W, A, b = affine((4, 3, 5), 2, runs=3)
    recorded = one_by_one(W, A, b)
    recorded[1, 2, 3] += 1e-3
    rho, entry = closest(Local(recorded, W @ A + b), bounds.linear(W, A, b), FLOAT64, runs=3)
    for run in range(3):
        alone = Local(recorded[run], W[run] @ A[run] + b[run])
        one, at = closest(alone, bounds.linear(W[run], A[run], b[run]), FLOAT64)
        assert (rho[run], entry[run]) == (pytest.approx(one[0], rel=1e-9, abs=1e-3), at[0])
    assert (rho > 1).tolist() == [False, True, False]
