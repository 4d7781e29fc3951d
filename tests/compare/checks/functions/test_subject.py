"""What can be handed over, and what is told of the rest; modules are checked with their parameters."""

import pytest
import torch
from torch import nn

from handgrad import InputError, check_function
from tests.compare.checks.functions.kernels import inputs, made, norm


@pytest.mark.parametrize(("function", "reference", "given", "says"), [
    (3, norm, (torch.ones(2),), "function is an int"),
    (norm, None, (torch.ones(2),), "reference is None"),
    (norm, norm, 3.0, "inputs is a float"),
    (norm, norm, (torch.arange(3), 2), "no input is a floating tensor"),
    (norm, norm, (torch.ones(2, dtype=torch.complex64),), "x is complex"),
    (norm, norm, (torch.ones(0),), "no entry"),
    (norm, norm, (torch.tensor([1.0, float("nan")]), torch.ones(2)), "nan or infinity"),
    (norm, norm, (torch.eye(3).to_sparse(), torch.ones(3)), "to_dense"),
    (norm, norm, (torch.ones(2, device="meta"), torch.ones(2)), "x is on the device meta"),
    (nn.LazyLinear(3), nn.Linear(2, 3), (torch.ones(2),), "weight, bias of the function are uninitialised"),
    (norm, nn.LazyLinear(3, bias=False), (torch.ones(2),), "weight of the reference is uninitialised"),
    (norm, norm, ([torch.ones(2)], torch.ones(2)), "x is a list with floating tensors .* one by one"),
    (norm, norm, (torch.ones(2), {"a": (3, torch.ones(2))}), "w is a dict with floating tensors"),
    (nn.Linear, norm, (torch.ones(2),), "class Linear"),
    (norm, lambda x: x @ x, (torch.ones(2, 3),), "raises RuntimeError"),
    (lambda x: x.exp(), lambda x: x.double().exp(), (torch.full((2,), 12.0, dtype=torch.float16),), "does not hold"),
])  # fmt: skip
def test_what_cannot_be_used_is_an_input_error(function, reference, given, says):
    with pytest.raises(InputError, match=says):
        check_function(function, reference, given)


def test_a_list_of_labels_is_no_list_of_inputs():
    report = check_function(lambda x, rows: x[rows[0]], lambda x, rows: x[rows[0]], (torch.ones(3), [torch.arange(2)]))
    assert report.ok, str(report)


def test_second_is_true_or_false():
    with pytest.raises(InputError, match="second is 'no'"):
        check_function(norm, norm, inputs(), second="no")


def test_inputs_that_require_a_gradient_are_the_ones_that_are_checked():
    x, w = inputs()
    only_x = made(lambda ctx, dy, dx, dw: (dx, None))
    assert not check_function(only_x, norm, (x, w)).ok
    report = check_function(only_x, norm, (x.requires_grad_(), w))
    assert report.ok, str(report)
    assert [row.name for row in report.rows] == ["y", "dx"]


def test_labels_numbers_and_a_function_class():
    drawn = torch.Generator().manual_seed(0)
    z, t = torch.randn(7, 5, generator=drawn), torch.randint(0, 5, (7,), generator=drawn)

    class Loss(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z, t, scale):
            ctx.save_for_backward(z, t)
            ctx.scale = scale
            return nn.functional.cross_entropy(z * scale, t, reduction="none")

        @staticmethod
        def backward(ctx, dy):
            z, t = ctx.saved_tensors
            p = torch.softmax(z * ctx.scale, 1) - nn.functional.one_hot(t, 5)
            return ctx.scale * p * dy[:, None], None, None

    def reference(z, t, scale):
        return nn.functional.cross_entropy(z * scale, t, reduction="none")

    report = check_function(Loss, reference, (z, t, 0.5))
    assert report.findings == (), str(report)
    assert [row.name for row in report.rows] == ["y", "dz"]


class Norm(nn.Module):
    """RMS norm with a backward of its own, and a buffer that counts."""

    def __init__(self, d, factor=1.0):
        super().__init__()
        self.weight = nn.Parameter(1 + 0.3 * torch.randn(d, generator=torch.Generator().manual_seed(5)))
        self.register_buffer("calls", torch.zeros(()))
        self.own = made(lambda ctx, dy, dx, dw: (dx, dw * factor))

    def forward(self, x):
        self.calls += 1
        return self.own(x, self.weight)


class Reference(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(d))

    def forward(self, x):
        return norm(x, self.weight)


def test_a_module_is_checked_with_its_parameters_against_a_module_or_a_function():
    x, _ = inputs(torch.float32)
    for reference in (Reference(13), lambda x, weight: norm(x, weight)):
        right, wrong = Norm(13), Norm(13, factor=1.1)
        report = check_function(right, reference, (x,))
        assert report.findings == (), str(report)
        assert [row.name for row in report.rows] == ["y", "dx", "dweight"]
        assert not check_function(wrong, reference, (x,)).ok
        assert right.calls == 0
        assert right.weight.grad is None
    with pytest.raises(InputError, match="name them alike"):
        check_function(Norm(13), nn.LayerNorm(13), (x,))


def by_position(x, w, scale=1.0):
    return norm(x, w) * scale


def by_name(x, *, w):
    return norm(x, w)


@pytest.mark.parametrize(("reference", "says"), [
    (by_name, r"takes \(x, \*, w\), and is handed x, x2 by position .* lambda x, w: reference\(x, w=w\)"),
    (lambda x: x, r"takes \(x\).*too many positional arguments"),
    (lambda x, w, b: x * w + b, "missing a required argument: 'b'.*wrap it"),
    (Reference(13), r"functional_call\(module, \{'w': w\}, \(x,\)\)"),
])  # fmt: skip
def test_how_a_reference_is_called_that_does_not_take_the_inputs_by_position(reference, says):
    with pytest.raises(InputError, match=says):
        check_function(made(), reference, inputs())


def test_references_that_are_called_by_name():
    """As the sentences above say."""
    wrong, module = made(lambda ctx, dy, dx, dw: (dx, 1.1 * dw)), Reference(13)
    for reference in (
        lambda x, w: by_name(x, w=w),
        lambda x, w: torch.func.functional_call(module, {"weight": w}, (x,)),
        by_position,
    ):
        assert check_function(made(), reference, inputs()).findings == ()
        (finding,) = check_function(wrong, reference, inputs()).findings
        assert finding.where.name == "dw"
    with pytest.raises(InputError, match=r"and weight by name .missing a required argument: 'w'"):
        check_function(Norm(13), norm, (inputs(torch.float32)[0],))


class Part(nn.Linear):
    """One of ours: torch does not compile the methods of its own modules in every process."""

    def forward(self, x):
        return nn.functional.linear(x, self.weight, self.bias)


class Block(nn.Module):
    """A part that may be compiled by itself, and a gain."""

    def __init__(self, wrapped=lambda part: part):
        super().__init__()
        self.part, self.gain = wrapped(Part(13, 4)), nn.Parameter(torch.full((4,), 1.5))

    def forward(self, x):
        return torch.tanh(self.part(x)) * self.gain


def compiled(module):
    return torch.compile(module, backend="eager", fullgraph=True)  # raises where torch would rather not compile again


@pytest.mark.parametrize("made_of", [lambda: compiled(Block()), lambda: Block(compiled)], ids=["whole", "a part"])
def test_a_compiled_module_has_the_parameters_of_its_own_and_is_compiled_for_every_situation(made_of):
    (x, _), module = inputs(torch.float32), made_of()
    limit = torch._dynamo.config.cache_size_limit

    def by_name(x, gain, part_weight, part_bias):
        return torch.tanh(nn.functional.linear(x, part_weight, part_bias)) * gain

    for reference in (Block(), by_name):
        report = check_function(module, reference, (x,))
        assert report.findings == (), str(report)
        assert [row.name for row in report.rows] == ["y", "dx", "dgain", "dpart_weight", "dpart_bias"]
    wrong = check_function(module, lambda x, **parameters: by_name(x + 0.1, **parameters), (x,))
    found = {name for finding in wrong.findings for name in (finding.where.name, *finding.together)}
    assert found >= {"y", "dpart_weight"}
    assert torch._dynamo.config.cache_size_limit == limit


def test_a_reference_that_is_a_module_alone_has_constants():
    x, _ = inputs(torch.float32)
    linear = nn.Linear(13, 4)
    report = check_function(lambda x: x @ linear.weight.detach().T + linear.bias.detach(), linear, (x,))
    assert report.ok, str(report)
