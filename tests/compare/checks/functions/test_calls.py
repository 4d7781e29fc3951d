"""What a function does beside computing: random numbers, memory that calls share, gradient mode, captured tensors."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd import Function
from torch.utils.checkpoint import checkpoint

from handgrad import InputError, check_function
from handgrad.compare.facts.failures import Mutates
from handgrad.compare.facts.functions import (
    Detached,
    NoGradient,
    OtherAnswer,
    Overwritten,
    RaisesWhere,
    Random,
    WrongFor,
)
from tests.compare.checks.functions.kernels import inputs, made, norm

X = torch.randn(5, 7, generator=torch.Generator().manual_seed(3))


class Square(Function):
    """x^2, without buffers of its own."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return 2 * x * dy


def square(x):
    return x * x


def told(report):
    return {name: f.cause for f in report.findings for name in (f.where.name, *f.together)}


def spots(report):
    return {spot.code: spot.of for spot in report.blind_spots}


# --- random numbers


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_a_mask_that_is_drawn_is_another_at_each_call(dtype):
    report = check_function(nn.functional.dropout, lambda x: 1 * x, X.to(dtype))
    assert told(report) == {"y": Random(), "dx": Random()}


def test_a_backward_that_draws():
    def noisy(ctx, dy, dx, dw):
        return dx, (dw * (1 + 0.5 * torch.randn(()))).to(dw.dtype)

    assert told(check_function(made(noisy), norm, inputs())) == {"dw": Random()}


def test_a_generator_that_is_kept_between_calls():
    drawn = np.random.default_rng(0)

    def noisy(ctx, dy, dx, dw):
        return dx, dw * (1 + float(drawn.random()))

    assert told(check_function(made(noisy), norm, inputs())) == {"dw": OtherAnswer()}


def test_a_seed_makes_it_repeatable_and_no_layout_is_blamed():
    def seeded(x):
        torch.manual_seed(7)
        return nn.functional.dropout(x)

    report = check_function(seeded, seeded, X)
    assert report.findings == (), str(report)
    assert "random" in spots(report)
    assert "random" not in spots(check_function(square, square, X))


def test_a_rounding_that_is_drawn_is_right_and_a_wrong_one_is_not_called_random():
    def stochastic(factor):
        def rounds(ctx, dy, dx, dw):
            off = 1 + 2.0**-9 * (torch.rand(dw.shape) - 0.5)
            return dx, (factor * dw.float() * off).to(dw.dtype)

        return check_function(made(rounds), norm, inputs())

    assert stochastic(1.0).findings == ()
    (finding,) = stochastic(2.0).findings
    assert (finding.where.name, finding.cause.code) == ("dw", "scale")


def test_a_reference_that_draws_is_an_input_error():
    with pytest.raises(InputError, match=r"reference .* random numbers.* as an input"):
        check_function(square, lambda x: x * x * torch.rand_like(x), X)
    block = nn.Sequential(nn.Linear(7, 3), nn.Dropout())
    with pytest.raises(InputError, match=r"\.eval\(\)"):
        check_function(block, block, X)
    assert check_function(block.eval(), block, X).ok


def test_the_generators_of_the_user_are_where_they_were():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    check_function(lambda x: x * torch.rand(()), square, X)
    assert torch.equal(torch.get_rng_state(), before)


def test_how_torch_fills_memory_is_as_it_was():
    settings = torch.utils.deterministic
    before = settings.fill_uninitialized_memory
    try:
        settings.fill_uninitialized_memory = False
        check_function(square, square, X)
        assert not settings.fill_uninitialized_memory
        assert not torch.are_deterministic_algorithms_enabled()
    finally:
        settings.fill_uninitialized_memory = before


# --- what the reference does to its inputs


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(
    "changing",
    [lambda x: x.mul_(1) + x.mul_(2), lambda x: x * x.data.mul_(2), lambda x: x.detach().copy_(x * x)],
    ids=["itself", "data", "detached"],
)
def test_a_reference_that_changes_its_input_is_an_input_error(changing, dtype):
    x = X.to(dtype)
    with pytest.raises(InputError, match=r"the reference changes x in place; .* x\.clone\(\)"):
        check_function(square, changing, x)
    assert torch.equal(x, X.to(dtype))
    assert check_function(square, lambda x: x.clone().mul_(x), x).ok


def test_a_reference_that_changes_labels_is_an_input_error():
    rows = torch.arange(3)
    with pytest.raises(InputError, match="the reference changes rows in place"):
        check_function(lambda x, rows: x[rows], lambda x, rows: x[rows.add_(1)], (X, rows))
    assert rows.tolist() == [0, 1, 2]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(
    "detaching",
    [lambda x, w: x * w.detach(), lambda x, w: x * torch.from_numpy(w.detach().numpy().copy())],
    ids=["detach", "numpy"],
)
def test_a_reference_that_detaches_an_input_is_told_of_the_reference(detaching, dtype):
    x, w = inputs(dtype)
    assert told(check_function(lambda x, w: x * w, detaching, (x, w))) == {"dw": Detached("w")}
    assert check_function(lambda x, w: x * w.detach(), detaching, (x, w)).ok, "if it is meant"


def test_a_gradient_that_is_0_as_it_should_be_is_not_detached():
    class Steps(Function):
        """The whole part of x, with the gradient of x."""

        @staticmethod
        def forward(ctx, x):
            return x.floor()

        @staticmethod
        def backward(ctx, dy):
            return dy

    (cause,) = told(check_function(Steps.apply, torch.floor, X)).values()
    assert not isinstance(cause, Detached)


# --- memory


def in_numpy(t, held):
    """A copy of a tensor in one array of NumPy's."""
    held[:] = t.detach().numpy()
    return torch.from_numpy(held)


@pytest.mark.parametrize(("of_y", "of_dx"), [(True, False), (False, True), (True, True)])
def test_one_buffer_for_all_calls(of_y, of_dx):
    y_held, dx_held = (np.empty(X.shape, np.float32) for _ in range(2))

    class Static(Square):
        @staticmethod
        def forward(ctx, x):
            y = Square.forward(ctx, x)
            return in_numpy(y, y_held) if of_y else y

        @staticmethod
        def backward(ctx, dy):
            dx = Square.backward(ctx, dy)
            return in_numpy(dx, dx_held) if of_dx else dx

    report = check_function(Static.apply, square, X)
    assert told(report) == {name: Overwritten() for name, is_held in (("y", of_y), ("dx", of_dx)) if is_held}
    assert {f.verdict for f in report.findings} == {"FAULT"}
    assert {row.verdict for row in report.rows} == {"OK"}


def test_a_constant_that_is_returned_again_is_right():
    table = torch.ones(3)
    report = check_function(lambda x: (Square.apply(x), table), lambda x: (x * x, table.double()), X)
    assert report.findings == (), str(report)


def test_a_backward_that_changes_what_was_saved_is_told_as_its_doing():
    class Doubles(Square):
        @staticmethod
        def backward(ctx, dy):
            (x,) = ctx.saved_tensors
            x.mul_(2)
            return x * dy

    (finding,) = check_function(Doubles.apply, square, X).findings
    assert (finding.where.phase, finding.cause) == ("backward", Mutates("backward", "input", "x"))
    assert finding.line.number == Doubles.backward.__code__.co_firstlineno + 1


# --- gradient mode, and what leads to no gradient


def test_gradient_mode_that_the_function_switches_off_stays_with_it():
    def off(x):
        torch.set_grad_enabled(False)
        return Square.apply(x)

    report = check_function(off, square, X)
    assert told(report) == {"dx": NoGradient("x", False)}
    assert torch.is_grad_enabled()
    report = check_function(Square.apply, lambda x: (x * x, torch.set_grad_enabled(False))[0], X)
    assert [(row.name, row.verdict) for row in report.rows] == [("y", "OK"), ("dx", "OK")]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_inputs_without_a_gradient_on_either_side_are_named(dtype):
    a, b = X.to(dtype), X.flip(0).to(dtype)
    report = check_function(lambda a, b: Square.apply(a) + 0 * b.detach(), lambda a, b: a * a, (a, b))
    assert report.ok, str(report)
    assert spots(report)["frozen"] == ("b",)
    report = check_function(lambda x: Square.apply(x).detach(), lambda x: (x * x).detach(), a)
    assert report.ok, str(report)
    assert spots(report)["frozen"] == ("x",)
    assert "frozen" not in spots(check_function(Square.apply, square, a))


def test_a_tensor_from_outside_that_has_a_gradient_is_named():
    w, constant = X.flip(1).requires_grad_(), X.flip(1)
    report = check_function(lambda x: Square.apply(x) * w, lambda x: x * x * w, X)
    assert report.ok, str(report)
    assert spots(report)["captured"] == ("a tensor of shape (5, 7)",)
    assert "captured" not in spots(check_function(lambda x: x * constant, lambda x: x * constant, X))
    assert "captured" not in spots(check_function(lambda x, w: x * w, lambda x, w: x * w, (X, w)))
    assert w.grad is None


def test_a_checkpoint_that_cannot_be_differentiated_so():
    with pytest.raises(InputError, match="use_reentrant=False"):
        check_function(lambda x: checkpoint(Square.apply, x, use_reentrant=True), square, X)
    assert check_function(lambda x: checkpoint(Square.apply, x, use_reentrant=False), square, X).ok


# --- one of several outputs


def two(backward):
    """x^2 and 3 x, with a backward that is handed None for an output that is not differentiated."""

    class Two(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            ctx.save_for_backward(x)
            return x * x, 3 * x

        @staticmethod
        def backward(ctx, *upstream):
            return backward(ctx.saved_tensors[0], *upstream)

    return check_function(Two.apply, lambda x: (x * x, 3 * x), X)


def test_one_output_alone_is_differentiated():
    def right(x, a, b):
        return (2 * x * a if a is not None else 0) + (3 * b if b is not None else 0)

    assert two(right).findings == ()
    (finding,) = two(lambda x, a, b: 2 * x * a + 3 * b).findings
    assert finding.where.name == "dx"
    assert isinstance(finding.cause, RaisesWhere)
    assert (finding.cause.situation, finding.cause.raised.exception) == ("one-output", "TypeError")
    forgets = two(lambda x, a, b: right(x, a, b) if a is not None else None)
    assert told(forgets) == {"dx": WrongFor("one-output")}
    stops = two(lambda x, a, b: right(x, a, b) if a is not None and a.any() else torch.zeros_like(x))
    assert told(stops) == {"dx": WrongFor("one-output")}


def test_parts_that_cancel_are_no_mistake():
    def parts(x):
        return 1000 * x.sin(), -999 * x.sin()

    x = X.bfloat16()
    report = check_function(lambda x: tuple(y.to(x.dtype) for y in parts(x.float())), parts, x)
    assert not [f for f in report.findings if f.verdict == "FAULT"], str(report)


def test_one_finding_for_all_layouts_of_a_tensor():
    class AsStored(Square):
        @staticmethod
        def backward(ctx, dy):
            (x,) = ctx.saved_tensors
            return dy.as_strided(x.shape, (7, 1)) * 2 * x

    (finding,) = check_function(AsStored.apply, square, X).findings
    assert (finding.where.name, finding.cause) == ("dx", WrongFor("strided-upstream"))
