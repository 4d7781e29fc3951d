"""The backward's own gradients: right, cut off, wrong, or absent."""

import pytest
import torch
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from handgrad import check_function
from handgrad.compare.facts.functions import NoSecondDerivative, SecondAbsent, SecondCut, SecondOff

X = torch.randn(7, 5, generator=torch.Generator().manual_seed(6))


class Cube(Function):
    """x^3, whose backward is right twice."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        ctx.square = x * x
        return x * x * x

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return 3 * dy * x * x


class Cached(Cube):
    """It reads a square that was kept: a constant for autograd."""

    @staticmethod
    def backward(ctx, dy):
        return 3 * dy * ctx.square


class Half(Cube):
    """Half of it is kept."""

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return 3 * dy * x * x.detach()


class Once(Cube):
    """It cannot be differentiated."""

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return 3 * dy * x * x


def cube(x):
    return x * x * x


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_a_right_backward_is_right_twice(dtype):
    report = check_function(Cube.apply, cube, X.to(dtype), second=True)
    assert report.findings == (), str(report)
    assert {row.name for row in report.rows} == {"y", "dx", "ddx", "ddy"}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_a_value_kept_on_ctx_is_a_fault_where_second_derivatives_are_asked_for(dtype):
    (finding,) = check_function(Cached.apply, cube, X.to(dtype), second=True).findings
    assert (finding.where.name, finding.cause) == ("ddx", SecondCut("x"))
    report = check_function(Cached.apply, cube, X.to(dtype))
    assert report.ok
    assert NoSecondDerivative(("x",)) in report.notes


def test_half_of_it():
    (finding,) = check_function(Half.apply, cube, X, second=True).findings
    assert (finding.where.name, finding.cause) == ("ddx", SecondOff("x"))


def test_a_backward_that_refuses():
    (finding,) = check_function(Once.apply, cube, X, second=True).findings
    assert isinstance(finding.cause, SecondAbsent)
    report = check_function(Once.apply, cube, X)
    assert report.ok
    assert NoSecondDerivative() in report.notes


def test_a_reference_without_second_derivatives_asks_for_none():
    report = check_function(lambda x: 2 * x, lambda x: 2 * x, X, second=True)
    assert report.ok
    assert not [note for note in report.notes if isinstance(note, NoSecondDerivative)]


def test_what_is_wrong_once_is_not_asked_twice():
    report = check_function(lambda x: Cached.apply(x) * 1.1, cube, X, second=True)
    (finding,) = report.findings
    assert (finding.where.name, finding.together) == ("y", ("dx",))
    assert [row.name for row in report.rows] == ["y", "dx"]
