"""Products in TF32 are recognised by the bits that they do not read, and nothing else is taken for them."""

from functools import partial

import pytest
import torch
from torch.autograd import Function

from handgrad import check_function
from handgrad.compare.facts.functions import CoarserInside
from tests.corpus.kernels import KERNELS
from tests.corpus.kernels_arithmetic import FLOAT32, TF32, truncated, unchanged, variants
from tests.corpus.kernels_planted import function_of, inputs_of

X, W = (torch.randn(shape, generator=torch.Generator().manual_seed(3)) for shape in ((17, 64), (64, 9)))


def rounded(t):
    return truncated((t.contiguous().view(torch.int32) + 4096).view(torch.float32))


def linear(cut, wrong=lambda dw: dw, before=lambda t: t):
    """x @ w with operands that are cut, after something is done to them."""

    class Linear(Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(x, w)
            return cut(before(x)) @ cut(w)

        @staticmethod
        def backward(ctx, dy):
            x, w = ctx.saved_tensors
            return cut(dy) @ cut(w.T), wrong(cut(x.T) @ cut(dy))

    return Linear.apply


def told(function, reference=torch.matmul, inputs=(X, W)):
    """Whether products are told to be in TF32, and what is wrong."""
    report = check_function(function, reference, inputs)
    return CoarserInside("TF32") in report.notes, [f.where.name for f in report.findings]


@pytest.mark.parametrize("cut", [truncated, rounded])
def test_operands_that_are_short_are_right(cut):
    assert told(linear(cut)) == (True, [])


@pytest.mark.parametrize(
    "wrong", [torch.zeros_like, lambda dw: dw.flip(0), lambda dw: 1.05 * dw], ids=["zeros", "other", "a factor"]
)
def test_a_wrong_gradient_does_not_hide_them(wrong):
    assert told(linear(rounded, wrong)) == (True, ["dx2"])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda dw: dw * (1 - 2.0**-10),
        lambda dw: dw + 2.0**-10 * dw.sin() * dw,
        lambda dw: dw.to(torch.bfloat16).float(),
        lambda dw: torch.where(torch.arange(64)[:, None] == 63, 0.999 * dw, dw),
        torch.zeros_like,
    ],
    ids=["a factor", "noise", "16 bits", "a row", "zeros"],
)
def test_mistakes_of_that_size_are_none(wrong):
    assert told(linear(unchanged, wrong)) == (False, ["dx2"])


def test_without_products_nothing_is_short():
    def off(x):
        return x.tanh() * (1 - 2.0**-10 * x.abs())

    assert told(off, torch.tanh, (X,))[0] is False


def test_one_operand_that_is_handed_over_tells():
    """The other is another number before it is cut: its ten bits depend on all of its own."""
    centred = partial(torch.sub, other=0.3)
    assert told(linear(truncated, lambda dw: dw, centred), lambda x, w: (x - 0.3) @ w)[0]


@pytest.mark.parametrize("name", ["attention", "causal attention"])
@pytest.mark.parametrize("arithmetic", [0, 2, 4])
def test_three_keys_in_chunks_whose_weights_are_normalised_afterwards(name, arithmetic):
    """What is cut there is no operand of the reference."""
    kernel = KERNELS[name]
    inputs = inputs_of(kernel, torch.Generator().manual_seed(153766255), kernel.shapes["tiny"], torch.float32, 1.0)
    assert told(function_of(kernel, variants(TF32, 153766255)[arithmetic]), kernel.reference, inputs) == (True, [])
    assert told(function_of(kernel, variants(FLOAT32, 3)[arithmetic]), kernel.reference, inputs) == (False, [])


@pytest.mark.parametrize("name", ["linear", "conv2d", "SwiGLU MLP"])
def test_sums_in_another_order_at_every_call_do_not_hide_them(name):
    """As atomic additions give them: no two passes have the same bits."""
    kernel = KERNELS[name]
    inputs = inputs_of(kernel, torch.Generator().manual_seed(8), kernel.shapes["mid"], torch.float32, 1.0)
    shuffled = next(arithmetic for arithmetic in variants(TF32, 5) if "shuffled" in arithmetic.name)
    exact = next(arithmetic for arithmetic in variants(FLOAT32, 5) if "shuffled" in arithmetic.name)
    assert told(function_of(kernel, shuffled), kernel.reference, inputs) == (True, [])
    assert told(function_of(kernel, exact), kernel.reference, inputs) == (False, [])
