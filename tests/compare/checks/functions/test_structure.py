"""What gradients may not depend on: each mistake has its cause, its tensors and no other."""

from itertools import count, repeat

import pytest
import torch

from handgrad import check_function
from handgrad.compare.facts.causes import Scaled
from handgrad.compare.facts.failures import Mutates, Raised, WrongShape
from handgrad.compare.facts.functions import (
    NoGradient,
    OtherAnswer,
    OutputCount,
    RaisesWhere,
    SharedByCalls,
    SomeNeeded,
    Unwritten,
    WrongFor,
)
from tests.compare.checks.functions.kernels import inputs, made, norm


def check(backward=None, forward=None, dtype=torch.bfloat16):
    return check_function(made(backward, forward), norm, inputs(dtype))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_a_right_function_is_right(dtype):
    report = check(dtype=dtype)
    assert report.findings == (), str(report)
    assert {row.name for row in report.rows} == {"y", "dx", "dw"}


def test_none_is_missing():
    (finding,) = check(lambda ctx, dy, dx, dw: (dx, None)).findings
    assert (finding.where.name, finding.verdict, finding.cause) == ("dw", "MISSING", NoGradient("w"))


def test_none_is_right_where_the_reference_has_no_gradient():
    function = made(lambda ctx, dy, dx, dw: (dx, None))
    x, w = inputs()
    report = check_function(lambda x, w: function(x, w), lambda x, w: norm(x, w.detach()), (x, w))
    assert report.ok


def test_outputs_that_lead_nowhere():
    report = check_function(lambda x, w: norm(x, w).detach(), norm, inputs())
    assert {finding.cause for finding in report.findings} == {NoGradient("x", False), NoGradient("w", False)}


def test_a_gradient_of_another_shape():
    (finding,) = check(lambda ctx, dy, dx, dw: (dx.T, dw)).findings
    assert (finding.where.name, finding.cause) == ("dx", WrongShape((13, 11), (11, 13)))


def test_an_output_of_another_shape_and_of_another_kind():
    (finding,) = check(forward=lambda ctx, x, w, y: y[:-1]).findings
    assert (finding.where.name, finding.cause) == ("y", WrongShape((10, 13), (11, 13)))


@pytest.mark.parametrize(
    ("returned", "kinds", "count"),
    [
        (lambda y: y.long(), ("a Tensor of torch.int64",), 0),
        (lambda y: (y, 3, y + 1), ("a Tensor of torch.bfloat16", "an int", "a Tensor of torch.bfloat16"), 2),
        (lambda y: None, ("None",), 0),
        (lambda y: (), (), 0),
    ],
    ids=["whole numbers", "two", "None", "nothing"],
)
def test_another_number_of_outputs(returned, kinds, count):
    (finding,) = check_function(lambda x, w: returned(norm(x, w)), norm, inputs()).findings
    assert (finding.where.name, finding.cause) == ("y", OutputCount(kinds, count, 1))


def test_exceptions_are_told_with_their_line():
    def stops(ctx, dy, dx, dw):
        raise ValueError("no backward today")

    (finding,) = check(stops).findings
    assert isinstance(finding.cause, Raised)
    assert (finding.cause.exception, finding.where.phase) == ("ValueError", "backward")
    assert finding.cause.file.split("/")[-1] == "test_structure.py"
    assert finding.cause.line == stops.__code__.co_firstlineno + 1
    (finding,) = check(forward=lambda ctx, x, w, y: 1 / 0).findings
    assert (finding.cause.exception, finding.where.phase) == ("ZeroDivisionError", "forward")


def test_what_is_changed_in_place():
    def overwrites(ctx, dy, dx, dw):
        dy.zero_()
        return dx, dw

    def scales(ctx, x, w, y):
        w.data.mul_(2)
        return y

    assert Mutates("backward", "upstream gradient", "dy") in {f.cause for f in check(overwrites).findings}
    assert Mutates("function", "input", "w") in {f.cause for f in check(forward=scales).findings}


def contiguous_memory(t):
    return torch.as_strided(t, t.shape, (t.shape[1], 1), 0)


LAYOUTS = {
    "strided-upstream": lambda ctx, dy, dx, dw: (dx, dw) if dy.is_contiguous() else (2 * dx, dw),
    "transposed-upstream": lambda ctx, dy, dx, dw: (dx, dw) if dy.stride()[1] != 11 else (2 * dx, dw),
    "expanded-upstream": lambda ctx, dy, dx, dw: (dx, dw) if dy.stride()[1] else (2 * dx, dw),
    "strided-inputs": lambda ctx, dy, dx, dw: (dx, dw) if ctx.saved_tensors[0].stride()[1] != 2 else (2 * dx, dw),
    "transposed-inputs": lambda ctx, dy, dx, dw: (dx, dw) if ctx.saved_tensors[0].stride()[1] != 11 else (2 * dx, dw),
}


@pytest.mark.parametrize("situation", LAYOUTS)
def test_a_layout_that_is_misread(situation):
    findings = check(LAYOUTS[situation]).findings
    assert ("dx", WrongFor(situation)) in {(f.where.name, f.cause) for f in findings}
    assert {f.cause.code for f in findings} == {"layout"}
    assert "dw" not in {name for f in findings for name in (f.where.name, *f.together)}


def test_memory_between_the_numbers_is_nan():
    def walks(ctx, dy, dx, dw):
        return dx, contiguous_memory(dy).float().sum(0).to(dw.dtype) * 0 + dw

    assert ("dw", WrongFor("strided-upstream")) in {(f.where.name, f.cause) for f in check(walks).findings}


def test_an_exception_in_one_layout_alone():
    def refuses(ctx, dy, dx, dw):
        if not dy.is_contiguous():
            raise RuntimeError("contiguous, please")
        return dx, dw

    causes = [f.cause for f in check(refuses).findings]
    assert {cause.situation for cause in causes if isinstance(cause, RaisesWhere)} >= {"strided-upstream"}
    assert causes[0].raised.message == "contiguous, please"


def test_a_rounding_of_another_layout_is_none():
    """Another order of the sum, and other bits: judged, and right."""

    def reordered(ctx, dy, dx, dw):
        x, _ = ctx.saved_tensors
        if dy.is_contiguous():
            return dx, dw
        r = torch.rsqrt(x.float().square().mean(-1, keepdim=True) + 1e-5)
        parts = (dy.float() * x.float() * r).to(torch.bfloat16).float()
        return dx, parts.flip(0).sum(0).to(dw.dtype)

    assert check(reordered).ok


def test_other_inputs_that_require_no_gradient():
    def only_with_x(ctx, dy, dx, dw):
        return dx, dw if ctx.needs_input_grad[0] else torch.zeros_like(dw)

    (finding,) = check(only_with_x).findings
    assert (finding.where.name, finding.cause) == ("dw", SomeNeeded(("w",)))

    def counts(ctx, dy, dx, dw):
        return tuple(g for g, needed in zip((dx, dw), ctx.needs_input_grad, strict=True) if needed)

    (finding,) = check(counts).findings
    assert isinstance(finding.cause, RaisesWhere)
    assert finding.cause.situation == "subset"


def test_nothing_that_requires_a_gradient():
    def looks(ctx, x, w, y):
        return y if any(ctx.needs_input_grad) else 2 * y

    (finding,) = check(forward=looks).findings
    assert (finding.where.name, finding.cause) == ("y", WrongFor("no-gradient"))


def test_memory_that_nothing_was_written_to():
    def leaves_the_last(ctx, dy, dx, dw):
        held = torch.zeros_like(dw) if not torch.are_deterministic_algorithms_enabled() else torch.empty_like(dw)
        held[:-1] = dw[:-1]
        held[-1] += dw[-1]
        return dx, held

    (finding,) = check(leaves_the_last).findings
    assert (finding.where.name, finding.cause) == ("dw", Unwritten())


@pytest.mark.parametrize("numbers", [count(1.0), repeat(1.0), repeat(float("inf"))], ids=["others", "same", "inf"])
def test_memory_that_held_other_numbers(numbers):
    """What it holds may be another number at each call, or the same: neither is a cause."""

    def leaves_the_last(ctx, dy, dx, dw):
        is_filled = torch.are_deterministic_algorithms_enabled()
        held = torch.empty_like(dw) if is_filled else torch.full_like(dw, next(numbers))
        held[:-1] = dw[:-1]
        return 2 * dx, held

    report = check(leaves_the_last)
    causes = {finding.where.name: (finding.verdict, finding.cause) for finding in report.findings}
    assert causes == {"dw": ("FAULT", Unwritten()), "dx": ("FAULT", Scaled(2.0, ()))}
    assert "dw" not in {row.name for row in report.rows}


def test_an_output_without_a_gradient_is_right():
    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y, most = torch.tanh(x), x.abs().amax(-1)
            ctx.mark_non_differentiable(most)
            ctx.save_for_backward(y)
            return y, most

        @staticmethod
        def backward(ctx, dy, _):
            (y,) = ctx.saved_tensors
            return dy * (1 - y * y)

    x = torch.randn(5, 7, generator=torch.Generator().manual_seed(3))
    report = check_function(Function.apply, lambda x: (torch.tanh(x), x.detach().abs().amax(-1)), (x,))
    assert report.findings == (), str(report)


def test_a_buffer_that_calls_share():
    kept = {}

    def keeps(ctx, x, w, y):
        kept["x"] = x.detach()
        return y

    def reads(ctx, dy, dx, dw):
        return (kept["x"].float() / ctx.saved_tensors[0].float() * dx.float()).to(dx.dtype), dw

    (finding,) = check(reads, keeps).findings
    assert (finding.where.name, finding.cause) == ("dx", SharedByCalls())


def test_another_answer_to_the_same_question():
    calls = []

    def counts(ctx, dy, dx, dw):
        calls.append(1)
        return dx, dw if len(calls) <= 2 else dw * 1.5

    (finding,) = check(counts).findings
    assert (finding.where.name, finding.cause) == ("dw", OtherAnswer())


def test_nothing_of_the_users_is_changed():
    x, w = inputs()
    before = (x.clone(), w.clone(), torch.get_rng_state(), torch.get_default_dtype())
    torch.use_deterministic_algorithms(False)
    with torch.no_grad():
        check_function(made(), norm, (x, w))
        assert not torch.is_grad_enabled()
    assert torch.equal(x, before[0])
    assert torch.equal(w, before[1])
    assert torch.equal(torch.get_rng_state(), before[2])
    assert torch.get_default_dtype() == before[3]
    assert not torch.are_deterministic_algorithms_enabled()
    assert x.grad is None


@pytest.mark.parametrize("wrap", [lambda y, z: (y, (z,)), lambda y, z: {"y": y, "z": [z]}], ids=["tuple", "dict"])
def test_outputs_inside_of_others_are_compared(wrap):
    x, _ = inputs()
    report = check_function(lambda x: wrap(x.tanh(), 3 * x), lambda x: wrap(x.tanh(), x), x)
    assert report.first.where.name == "y2"
    assert check_function(lambda x: wrap(x.tanh(), x), lambda x: (x.tanh(), x), x).ok
