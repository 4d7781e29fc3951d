"""Gradients follow the upstream gradient: in proportion, entry by entry, through each output."""

import pytest
import torch
from torch.autograd import Function

from handgrad import check_function
from handgrad.compare.facts.functions import NotLinear, ThroughUpstream, UpstreamMisread
from handgrad.compare.facts.operands import DecayAdded
from tests.compare.checks.functions.kernels import inputs, made, norm


def causes(backward, dtype=torch.bfloat16):
    report = check_function(made(backward), norm, inputs(dtype))
    return {name: f.cause for f in report.findings for name in (f.where.name, *f.together)}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64], ids=str)
def test_a_term_that_does_not_follow_it(dtype):
    found = causes(lambda ctx, dy, dx, dw: (dx, dw + 0.1 * ctx.saved_tensors[1]), dtype)
    if dtype == torch.bfloat16:  # too coarse to tell 4.3 times from 4 times
        assert type(found["dw"]) is DecayAdded
    else:
        assert found == {"dw": NotLinear("dy", 4.0)}


def test_a_quarter_tells_where_four_times_overflow():
    class Large(Function):
        @staticmethod
        def forward(ctx, x):
            return 8000 * x

        @staticmethod
        def backward(ctx, dy):
            return 8000 * dy + 4000

    (finding,) = check_function(Large.apply, lambda x: 8000 * x, (inputs(torch.float16)[0],)).findings
    assert (finding.where.name, finding.cause) == ("dx", NotLinear("dy", 0.25))


def test_a_term_that_follows_it_twice():
    def squares(ctx, dy, dx, dw):
        return (dx.float() * dy.float().abs().mean()).to(dx.dtype), dw

    assert causes(squares) == {"dx": NotLinear("dy", 4.0)}


def test_one_entry_for_all():
    def first(ctx, dy, dx, dw):
        return _with(ctx, dy.reshape(-1)[0].expand_as(dy))

    assert causes(first) == {"dx": UpstreamMisread("dy", "first"), "dw": UpstreamMisread("dy", "first")}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_one_row_for_all(dtype):
    found = causes(lambda ctx, dy, dx, dw: _with(ctx, dy[:1].expand_as(dy)), dtype)
    assert found == {"dx": UpstreamMisread("dy", "row"), "dw": UpstreamMisread("dy", "row")}


def test_the_mean_for_every_entry():
    def mean(ctx, dy, dx, dw):
        return _with(ctx, dy.mean().expand_as(dy))

    assert {cause.how for cause in causes(mean).values()} == {"mean"}


def _with(ctx, dy):
    """The right gradients for another upstream gradient."""
    x, w = (t.detach().requires_grad_() for t in ctx.saved_tensors)
    with torch.enable_grad():
        y = norm(x, w)
    return torch.autograd.grad(y, (x, w), dy.to(y.dtype))


class Both(Function):
    """x w and x + w, of which the second's gradient is lost for w."""

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x * w, x + w

    @staticmethod
    def backward(ctx, dy, ds):
        x, w = ctx.saved_tensors
        return dy * w + ds, dy * x + 0.5 * ds.roll(1, 0)


def test_of_several_outputs_the_one_whose_upstream_gradient_is_mistaken():
    x, _ = inputs()
    report = check_function(Both.apply, lambda x, w: (x * w, x + w), (x, x.flip(0).contiguous()))
    (finding,) = report.findings
    assert (finding.where.name, finding.cause) == ("dw", ThroughUpstream(("dy2",), ("dy1",)))


def test_rounding_of_a_gradient_that_cancels_is_no_mistake_of_an_expanded_upstream_gradient():
    """An even upstream gradient leaves nothing in front of a normalisation, and torch's kernel rounds that."""
    x = torch.randn(2, 6, 9, 8, generator=torch.Generator().manual_seed(1)).bfloat16()
    report = check_function(torch.nn.functional.instance_norm, torch.nn.functional.instance_norm, x)
    assert report.findings == (), str(report)
