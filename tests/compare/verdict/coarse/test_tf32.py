"""Products in TF32 are recognised by what short operands do, and nothing else is taken for them."""

import pytest
import torch

from handgrad.compare.oracle.coarse.evaluation import Draw
from handgrad.compare.oracle.coarse.exact import exact_of
from handgrad.compare.oracle.coarse.formats import FORMATS, TF32
from handgrad.compare.verdict.coarse.case import case_of
from handgrad.compare.verdict.coarse.tf32 import or_in_tf32
from tests.corpus.kernels_arithmetic import truncated

DRAWN = torch.Generator().manual_seed(3)
X, W, C = (torch.randn(shape, generator=DRAWN) for shape in ((17, 64), (64, 9), (17, 9)))
CASE = case_of(exact_of(lambda x, w: x @ w, [Draw((X, W), (0, 1), (C,))]), FORMATS["float32"])


def rounded(t):
    return truncated((t.contiguous().view(torch.int32) + 4096).view(torch.float32))


def kernels(cut, wrong=lambda dw: dw):
    """y, dx and dw with operands that are cut."""
    x, w, c = map(cut, (X, W, C))
    return {0: [x @ w], 1: [c @ w.T], 2: [wrong(x.T @ c)]}


@pytest.mark.parametrize("cut", [truncated, rounded])
@pytest.mark.parametrize(
    "wrong", [lambda dw: dw, torch.zeros_like, lambda dw: dw.flip(0)], ids=["no", "zeros", "other"]
)
def test_operands_that_are_short_show_beside_a_wrong_gradient(cut, wrong):
    assert or_in_tf32(CASE, kernels(cut, wrong)).format == TF32


def test_a_factor_on_a_tensor_does_not_hide_them():
    assert or_in_tf32(CASE, {2: kernels(truncated, lambda dw: 1.05 * dw)[2]}).format == TF32


@pytest.mark.parametrize(
    "wrong",
    [
        lambda dw: dw * (1 - 2.0**-10),
        lambda dw: dw * (1 + 2.0**-10 * torch.rand(dw.shape)),
        lambda dw: dw.to(torch.bfloat16).float(),
        lambda dw: torch.where(torch.arange(64)[:, None] == 63, 0.999 * dw, dw),
    ],
    ids=["a factor", "noise", "16 bits", "a row"],
)
def test_mistakes_of_that_size_are_none(wrong):
    torch.manual_seed(0)
    assert or_in_tf32(CASE, kernels(lambda t: t, wrong)) is CASE


def test_without_products_there_is_nothing_to_cut():
    x, c = X[:, :9], C
    case = case_of(exact_of(torch.tanh, [Draw((x,), (0,), (c,))]), FORMATS["float32"])
    assert or_in_tf32(case, {0: [x.tanh() * (1 - 2.0**-10 * x.abs())]}) is case


def test_a_few_entries_are_like_it_by_chance():
    """Noise of its size on nine numbers has its direction now and then."""
    x, w, c = X[:1], W, C[:1]
    case = case_of(exact_of(lambda x, w: x @ w, [Draw((x, w), (), (c,))]), FORMATS["float32"])
    y, short = x @ w, truncated(x) @ truncated(w)
    assert or_in_tf32(case, {0: [short]}).format == TF32
    drawn = torch.Generator().manual_seed(0)
    noise = torch.randn(40, *y.shape, generator=drawn) * (short - y).abs()
    assert sum(or_in_tf32(case, {0: [y + off]}) is not case for off in noise) <= 1
