"""A reference with the roundings of a coarse format is off by as much as a kernel is, and only where inputs enter."""

import pytest
import torch

from handgrad.compare.oracle.coarse.effects import Effect
from handgrad.compare.oracle.coarse.evaluation import Draw, evaluate
from handgrad.compare.oracle.coarse.formats import FORMATS, TF32
from handgrad.compare.oracle.coarse.roundings import Roundings

A = torch.randn(6, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
B = torch.randn(6, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
U = FORMATS["bfloat16"].stored


def off(reference, format=FORMATS["bfloat16"], runs=12, inputs=(A, B)):
    """The plain outputs, and their differences in noise runs, (runs, ...)."""
    draw = Draw(inputs, (), ())
    (plain,) = evaluate(reference, draw, Effect())
    noisy = torch.stack([evaluate(reference, draw, Roundings(format, seed))[0] for seed in range(runs)])
    return plain, noisy - plain


EXACT = {
    "views": lambda a, b: a[1:3].T.reshape(-1),
    "relu": lambda a, b: torch.relu(a),
    "maximum": lambda a, b: torch.maximum(a, b).amax(1),
    "a cast": lambda a, b: a.float().to(torch.bfloat16),
    "times 1": lambda a, b: a * 1,
    "an index that overwrites": lambda a, b: a.index_put((torch.tensor([1]),), b[:1]),
}


@pytest.mark.parametrize("f", EXACT.values(), ids=EXACT)
def test_what_does_not_round_is_exact(f):
    plain, differences = off(f, runs=2)
    assert not differences.any()
    assert plain.dtype == torch.float64


ROUNDED = {  # roundings of the stored format at least and at most, as a root mean square beside the result's
    "a sum": (lambda a, b: a + b, 0.3, 0.8),
    "softmax": (lambda a, b: a.softmax(1), 0.3, 0.8),
    "layer norm": (lambda a, b: torch.nn.functional.layer_norm(a, (7,)), 0.3, 0.8),
    "a matrix product": (lambda a, b: a @ b.T, 0.4, 3.0),
    "a sum of rows": (lambda a, b: a.sum(0), 0.4, 3.0),
    "a linear layer": (lambda a, b: torch.nn.functional.linear(a, b, b[:, 0]), 0.4, 3.0),
}


@pytest.mark.parametrize("name", ROUNDED)
@pytest.mark.parametrize("format", ["bfloat16", "float16"])
def test_a_result_is_off_by_a_rounding_of_what_is_stored(name, format):
    f, least, most = ROUNDED[name]
    plain, differences = off(f, FORMATS[format])
    roundings = differences.square().mean().sqrt() / plain.square().mean().sqrt() / FORMATS[format].stored
    assert least <= roundings <= most


def test_what_is_inside_a_compound_operation_is_not_stored():
    """exp, the sum and the division of a softmax add nothing to the rounding of its result."""
    _, whole = off(lambda a, b: a.softmax(1))
    _, steps = off(lambda a, b: a.exp() / a.exp().sum(1, keepdim=True))
    assert steps.square().mean() > 1.5 * whole.square().mean()


def test_what_no_input_enters_is_left_alone():
    table = torch.arange(7.0, dtype=torch.float64) / 3
    _, differences = off(lambda a, b: a * 0 + (table / 7).cos().exp(), runs=3)
    assert 0 < differences.abs().max() <= 1.01 * U * torch.e  # the addition alone


def test_infinity_is_left_alone():
    """What is hidden from a softmax is minus infinity, and not nan."""
    hidden = torch.ones(6, 6, dtype=torch.bool).triu(1)
    _, differences = off(lambda a, b: ((a @ b.T).masked_fill(hidden, -torch.inf) * 0.5).softmax(1))
    assert torch.isfinite(differences).all()


def test_a_product_that_is_read_twice_is_another_each_time():
    """O - O is 0, and a kernel that computes O again does not have 0."""
    _, copies = off(lambda a, b: a - a)
    _, products = off(lambda a, b: a @ b.T - a @ b.T)
    _, shared = off(lambda a, b: (lambda o: o - o)(a @ b.T))
    assert copies.abs().max() < FORMATS["bfloat16"].smallest * 2
    assert shared.abs().median() > 0.1 * products.abs().median() > 0


def test_that_goes_through_views_products_and_exponentials():
    def readers(a, b):
        p = torch.exp((a @ b.T) * 0.3).T
        return p - p

    _, differences = off(readers)
    assert (differences != 0).all()


def test_parts_of_a_sum_that_cancels_are_stored():
    """1000 + x - 1000: half a rounding of the root of the squared terms, not of what is left of them."""
    big = torch.cat([1000 * torch.ones_like(A), A, -1000 * torch.ones_like(A)])
    plain, differences = off(lambda a: a.sum(0), inputs=(big,))
    assert differences.square().mean().sqrt() > 20 * U * plain.square().mean().sqrt()


def test_windows_that_overlap_are_added_in_parts():
    """Each entry is 9 terms of 1/9 that cancel to 1/9 where they do, and one term where they do not."""
    upstream = (-1.0) ** torch.arange(81, dtype=torch.float64).reshape(1, 1, 9, 9)

    def rms(stride, size):
        x = torch.zeros(1, 1, size, size, dtype=torch.float64)
        pooled = torch.ops.aten.avg_pool2d_backward
        plain, differences = off(lambda g: pooled(g, x, [3, 3], [stride], [0], False, True, None), inputs=(upstream,))
        inner = (..., slice(2, size - 2), slice(2, size - 2))
        return float((differences[inner] / plain[inner]).square().mean().sqrt())

    assert 1.4 * U < rms(1, 11) < 1.8 * U  # half a rounding of 3, and one of 1
    assert 0.6 * U < rms(3, 27) < 0.9 * U


def test_tf32_cuts_the_operands_of_products_and_nothing_else():
    _, products = off(lambda a, b: a.abs() @ b.abs().T, TF32)
    _, sums = off(lambda a, b: a + b, TF32)
    assert products.mean(0).max() < 0  # one-sided
    assert products.abs().max() > 2.0**-13
    assert sums.abs().max() < 2.0**-20


def test_the_seed_fixes_the_roundings_and_torchs_own_generator_is_left_alone():
    before = torch.get_rng_state()
    draw = Draw((A, B), (), ())
    first, again, other = (evaluate(lambda a, b: a @ b.T, draw, Roundings(TF32, seed))[0] for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.get_rng_state())
