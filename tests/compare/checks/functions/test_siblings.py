"""Kernels in 16 bits written by somebody who had the documents alone: right ones, and mistakes with what is said."""

import pytest
import torch
from torch.autograd import Function
from torch.nn import functional as F

from handgrad import check_function
from handgrad.compare.facts.functions import NamedIn

DRAWN = torch.Generator().manual_seed(21)


def half(*shape):
    return torch.randn(shape, generator=DRAWN).half()


def cumulative(is_exclusive):
    class Cumulative(Function):
        @staticmethod
        def forward(ctx, x):
            return x.float().cumsum(0).to(x.dtype)

        @staticmethod
        def backward(ctx, dy):
            total = dy.float().flip(0).cumsum(0).flip(0)
            return (total - dy if is_exclusive else total).to(dy.dtype)

    return Cumulative.apply, lambda x: x.cumsum(0), (half(19, 6),)


def plus_bias(axis):
    class Plus(Function):
        @staticmethod
        def forward(ctx, x, b):
            return x + b

        @staticmethod
        def backward(ctx, dy):
            return dy, dy.float().sum(axis).to(dy.dtype)

    return Plus.apply, lambda x, b: x + b, (half(13, 13), half(13))


def normed(block):
    """A root mean square norm, of whose rows a grid of blocks does the first ones."""

    class Normed(Function):
        @staticmethod
        def forward(ctx, x, w):
            r = torch.rsqrt(x.float().square().mean(-1, keepdim=True) + 1e-6)
            ctx.save_for_backward(x, w, r)
            return (x.float() * r * w.float()).to(x.dtype)

        @staticmethod
        def backward(ctx, dy):
            x, w, r = ctx.saved_tensors
            n, d, rows = x.float() * r, dy.float() * w.float(), len(x) // block * block
            dx = r * (d - n * (d * n).mean(-1, keepdim=True))
            dx[rows:] = 0
            return dx.to(x.dtype), (dy.float() * n).sum(0).to(w.dtype)

    return Normed.apply, lambda x, w: F.rms_norm(x, (20,), w, 1e-6), (half(37, 20), half(20))


def pooled(is_right):
    class Pooled(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.size = x.shape[1]
            return x.float().unfold(1, 3, 1).mean(-1).to(x.dtype)

        @staticmethod
        def backward(ctx, dy):
            dx = torch.zeros(len(dy), ctx.size)
            for k in range(3):
                dx[:, k : k + dy.shape[1]] += dy.float() / 3
            return (dx if is_right else dx / 1.5).to(dy.dtype)

    return Pooled.apply, lambda x: F.avg_pool1d(x[:, None], 3, 1)[:, 0], (half(7, 22),)


@pytest.mark.parametrize(
    "right", [cumulative(False), plus_bias(0), normed(1), pooled(True)], ids=["sums", "bias", "norm", "windows"]
)
def test_right_ones_are_left_in_peace(right):
    assert check_function(*right).findings == ()


@pytest.mark.parametrize(
    ("wrong", "name", "cause"),
    [
        (cumulative(True), "dx", "permuted"),
        (plus_bias(1), "db", "bias-sum"),
        (normed(8), "dx", "isolated-elements"),
        (pooled(False), "dx", "scale"),
    ],
    ids=["exclusive sums", "another axis", "a block too few", "windows"],
)
def test_mistakes_are_named(wrong, name, cause):
    report = check_function(*wrong)
    assert [(f.where.name, f.verdict, f.cause.code) for f in report.findings] == [(name, "FAULT", cause)]


def test_a_cause_that_is_found_in_another_dtype_says_so():
    report = check_function(*normed(8))
    assert report.first.cause.indices == (32, 33, 34, 35, 36)
    assert NamedIn("float32") in report.notes
