"""A reference with roundings of its own is off by as much as rounding, and by nothing where it does not round."""

import numpy as np
import pytest
import torch

from handgrad.compare.oracle.noise import Noise, floating, mapped
from handgrad.compare.oracle.reference import run_on_records
from tests.corpus.engine_operations import OPERATIONS
from tests.corpus.engines import cell_of

U = 2.0**-30
A = torch.from_numpy(np.random.default_rng(0).standard_normal((6, 7)))
B = torch.from_numpy(np.random.default_rng(1).standard_normal((6, 7)))


def spread(f, runs=20):
    """The standard deviation of f(A, B) over runs, in units of the roundings' size."""
    plain = f(A.clone(), B.clone())
    changes = []
    for seed in range(runs):
        with Noise(U, seed):
            changes.append(((f(A.clone(), B.clone()) - plain) / U).detach())
    return plain, torch.stack(changes).square().mean(0).sqrt()


EXACT = {
    "views": lambda a, b: a[1:3].T.reshape(-1),
    "relu": lambda a, b: torch.relu(a),
    "maximum": lambda a, b: torch.maximum(a, b).amax(1),
    "where": lambda a, b: torch.where(a > 0, a, -b),
    "gather": lambda a, b: a.gather(1, torch.tensor([[0, 3]] * 6)),
    "relu in place": lambda a, b: a.relu_(),
    "a seeded draw": lambda a, b: torch.bernoulli(abs(a) / 9, generator=torch.Generator().manual_seed(3)),
}  # fmt: skip


@pytest.mark.parametrize("f", EXACT.values(), ids=EXACT)
def test_what_does_not_round_is_exact(f):
    assert not spread(f, 2)[1].any()


ROUNDED = {  # how many roundings of the result at least and at most, as a root mean square
    "a sum": (lambda a, b: a + b, 0.3, 1.0),
    "a product in place": (lambda a, b: a.mul_(b), 0.3, 1.0),
    "a slice in place": (lambda a, b: (a[:, 1:].div_(3.0), a)[1][:, 1:], 0.3, 1.0),
    "a list in place": (lambda a, b: (torch._foreach_mul_([a, b], 1 / 3), a)[1], 0.3, 3.0),
    "exp": (lambda a, b: a.exp(), 1.0, 4.0),
    "softmax": (lambda a, b: a.softmax(1), 0.5, 8.0),
    "a matrix product": (lambda a, b: a @ b.T, 0.3, 200.0),
    "a transform": (lambda a, b: torch.fft.rfft(a).abs(), 0.3, 50.0),
    "a solution": (lambda a, b: torch.linalg.solve(a[:, :6] + 9 * torch.eye(6), b), 0.3, 100.0),
}


@pytest.mark.parametrize(("f", "least", "most"), ROUNDED.values(), ids=ROUNDED)
def test_what_rounds_is_off_by_as_much(f, least, most):
    plain, off = spread(f)
    share = (off / plain.abs()).median()
    assert least / 3 <= share <= most


def test_what_cancels_is_off_by_the_roundings_of_its_terms():
    _, off = spread(lambda a, b: (a + 1e6) - 1e6)
    assert 1e5 < off.median() < 1e7
    _, off = spread(lambda a, b: torch.cat([a, 1e6 * b, -1e6 * b]).sum(0))
    assert 1e5 < off.median() < 1e8


def test_a_saturated_unit_has_the_roundings_of_1():
    """1 - A^2 is computed from A = 1: what torch's fused backward hides."""
    z = torch.full((3,), 12.0, dtype=torch.float64)

    def derivative(a, b):
        leaf = z.clone().requires_grad_()
        torch.tanh(leaf).sum().backward()
        return leaf.grad

    plain, off = spread(derivative)
    assert (off > 0.1).all()
    assert (plain < 1e-9).all()


def test_a_product_that_is_added_rounds_as_well():
    _, off = spread(lambda a, b: a.zero_().add_(b, alpha=1e3) - 1e3 * b)
    assert off.median() > 10


def test_whole_numbers_do_not_round():
    whole = torch.arange(12.0, dtype=torch.float64).reshape(3, 4)
    for f in (lambda a, b: whole @ whole.T, lambda a, b: whole + 3, lambda a, b: whole.sum(0), lambda a, b: whole * 2):
        assert not spread(f, 2)[1].any()
    assert spread(lambda a, b: whole + 0.5, 2)[1].any()
    assert spread(lambda a, b: whole * 2.0**53 + whole, 2)[1].any()  # beyond what float64 holds


def test_the_seed_fixes_the_roundings_and_torchs_own_generator_is_left_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    with Noise(U, 5):
        first = A @ B.T
    with Noise(U, 5):
        again = A @ B.T
    with Noise(U, 6):
        other = A @ B.T
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.get_rng_state())


def test_what_it_does_not_know_is_off_all_the_same():
    with Noise(U, 0):
        off = torch.linalg.det(A[:, :6])
    assert 0 < abs(off - torch.linalg.det(A[:, :6])) < 1e-3 * abs(off)


def test_gradients_have_roundings_of_their_own():
    leaf = A.clone().requires_grad_()
    with Noise(U, 0):
        (leaf.sigmoid() * B).sum().backward()
    noisy, leaf.grad = leaf.grad, None
    (leaf.sigmoid() * B).sum().backward()
    off = ((noisy - leaf.grad) / leaf.grad / U).abs()
    assert 0.1 < off.median() < 20


def test_tensors_in_lists_and_tuples_are_reached():
    found = [*floating((A, [B, 3, None], torch.arange(3)))]
    assert [each is mine for each, mine in zip(found, (A, B), strict=True)] == [True, True]
    doubled = mapped((A, [B, "x"], torch.arange(3)), lambda t: 2 * t)
    assert torch.equal(doubled[1][0], 2 * B)
    assert doubled[1][1] == "x"
    assert torch.equal(doubled[2], torch.arange(3))


@pytest.mark.parametrize("name", OPERATIONS)
def test_no_run_with_noise_fails_and_each_is_off_by_little(name):
    """Of all the operations of the engines' corpus, forward and backward: what fails would be judged by size alone."""
    operation = OPERATIONS[name]
    cell = cell_of(operation, operation.engines[0], "ordinary", np.random.default_rng(3), tapped=False)
    given = {"given": cell.batch[0]}
    plain = run_on_records(cell.reference, cell.params, given, {}).gradients
    with Noise(2.0**-36, 1):
        noisy = run_on_records(cell.reference, cell.params, given, {}).gradients
    for gradient, exact in plain.items():
        assert np.max(np.abs(noisy[gradient] - exact)) <= 2.0**-20 * np.max(np.abs(exact)), gradient
