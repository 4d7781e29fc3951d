"""What autograd's graph tells: plain sums, hand-written functions at J, and ReLUs whose inputs have one sign."""

import pytest
import torch

from handgrad.compare.autograd import Starts, absent_sign, is_plain_sum, unit_upstream

Z = torch.tensor([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]], dtype=torch.float64)
C = Z.flip(1)


def leaf(values=Z):
    return values.clone().requires_grad_()


PLAIN = {
    "tanh": (lambda z: torch.tanh(z).sum(), True),
    "a tap": (lambda z: torch.tanh(z).clone().sum(), True),
    "gamma and beta": (lambda z: (torch.tanh(z) * z + z).sum(), True),
    "layer norm": (lambda z: torch.nn.functional.layer_norm(z, (3,)).sum(), True),
    "a cotangent": (lambda z: (torch.tanh(z).clone() * C).sum(), False),
    "a tapped product": (lambda z: (C * torch.tanh(z)).clone().sum(), False),
    "a square": (lambda z: (z**2).sum(), False),
    "a square as a product": (lambda z: (z * z).sum(), False),
    "cross-entropy": (lambda z: -(C.abs() * torch.log_softmax(z, 1)).sum(), False),
    "cross-entropy of torch": (lambda z: torch.nn.functional.cross_entropy(z, torch.tensor([0, 2])), False),
    "a loss of torch, summed": (lambda z: torch.nn.functional.mse_loss(z, C, reduction="none").sum(), False),
    "binary, summed": (
        lambda z: torch.nn.functional.binary_cross_entropy_with_logits(z, C.sigmoid(), reduction="none").sum(),
        False,
    ),
}


@pytest.mark.parametrize(("loss", "is_plain"), PLAIN.values(), ids=PLAIN)
def test_a_sum_that_is_weighed_or_a_loss_is_no_plain_one(loss, is_plain):
    assert is_plain_sum(loss(leaf())) == is_plain
    assert unit_upstream(loss(_Doubled.apply(leaf()))) == ("sum" if is_plain else "")
    assert unit_upstream(loss(leaf())) == ""  # where torch alone handles what comes from upstream


class _Own(torch.autograd.Function):
    """A sum of somebody's own."""

    @staticmethod
    def forward(ctx, z):
        return z.sum()

    @staticmethod
    def backward(ctx, upstream):
        return upstream.expand(2, 3)


class _Doubled(torch.autograd.Function):
    """Twice something, by somebody."""

    @staticmethod
    def forward(ctx, z):
        return 2 * z

    @staticmethod
    def backward(ctx, upstream):
        return 2 * upstream


@pytest.mark.parametrize(
    ("J", "how"),
    [
        (lambda z: _Own.apply(z), "loss"),
        (lambda z: _Own.apply(z).reshape(1), "loss"),
        (lambda z: _Own.apply(z).float(), "loss"),
        (lambda z: _Own.apply(z).sum(), "sum"),
        (lambda z: (_Doubled.apply(z) * z + z).sum(), "sum"),
        (lambda z: _Own.apply(z) / 2, ""),
        (lambda z: z.detach().sum(), ""),
    ],
)
def test_an_own_function_at_j_has_an_upstream_gradient_of_1(J, how):
    assert unit_upstream(J(leaf())) == how


BEGUN = {
    "backward": (lambda z: _Own.apply(z).backward(), "loss"),
    "backward with 1": (lambda z: _Own.apply(z).backward(torch.ones(())), "loss"),
    "grad": (lambda z: torch.autograd.grad(_Own.apply(z), z), "loss"),
    "grad of several": (lambda z: torch.autograd.grad((z.mean(), _Own.apply(z)), [z]), "loss"),
    "grad of func": (lambda z: torch.func.grad(lambda y: (y**2).sum())(z), ""),
    "ones": (lambda z: _Doubled.apply(z).backward(torch.ones_like(z)), "sum"),
    "a cotangent": (lambda z: _Doubled.apply(z).backward(C), ""),
    "half a loss": (lambda z: _Own.apply(z).backward(torch.tensor(0.5)), ""),
    "a cotangent of grad": (lambda z: torch.autograd.grad(_Doubled.apply(z), z, C), ""),
    "nothing begun": (lambda z: _Own.apply(z), ""),
}


@pytest.mark.parametrize(("begin", "how"), BEGUN.values(), ids=BEGUN)
def test_what_autograd_is_started_with_is_seen(begin, how):
    with Starts() as starts:
        begin(leaf())
    assert starts.upstream == how


KINKS = {
    "relu": torch.relu,
    "leaky": torch.nn.functional.leaky_relu,
    "elu": torch.nn.functional.elu,
    "abs": torch.abs,
    "clamp": lambda z: z.clamp(min=0),
    "clamp_min": lambda z: torch.clamp_min(z, 0),
    "clamp on both sides": lambda z: z.clamp(0, 9),
    "relu6": torch.nn.functional.relu6,
    "threshold": lambda z: torch.nn.functional.threshold(z, 0, 0),
    "prelu": lambda z: torch.nn.functional.prelu(z, C[0, :1]),
    "rrelu": torch.nn.functional.rrelu,
    "celu": torch.nn.functional.celu,
    "selu": torch.nn.functional.selu,
    "leaky, in place": lambda z: torch.nn.functional.leaky_relu_(z * 1),
    "maximum": lambda z: torch.maximum(z, torch.zeros_like(z)),
    "maximum, 0 first": lambda z: torch.maximum(torch.zeros_like(z), z),
}


@pytest.mark.parametrize("function", KINKS.values(), ids=KINKS)
def test_the_sign_that_no_input_has_is_told(function):
    signs = [absent_sign(function(leaf(values)).grad_fn) for values in (Z.abs(), -Z.abs(), Z)]
    assert signs == ["negative", "positive", ""]


@pytest.mark.parametrize(
    "function",
    [
        torch.tanh,
        lambda z: z.clamp(min=0.1),
        lambda z: z.clamp(-9, 9),
        torch.nn.functional.hardtanh,
        lambda z: torch.nn.functional.threshold(z, 0.1, 0),
        lambda z: torch.maximum(z, C),
        lambda z: z * (z > 0),
        lambda z: torch.relu(z[:0]),
    ],
)
def test_of_what_has_no_kink_at_0_nothing_is_told(function):
    assert absent_sign(function(leaf(Z.abs())).grad_fn) == ""


def test_of_what_was_changed_in_place_since_nothing_is_told():
    z = leaf(Z.abs()) * 1
    result = torch.abs(z)
    z += 1
    assert absent_sign(result.grad_fn) == ""
