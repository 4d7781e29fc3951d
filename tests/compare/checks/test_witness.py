"""torch is a witness: what either side does to it leaves no trace, in the check and behind it."""

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from handgrad import check_gradients, check_training, from_module, tap
from handgrad.compare.facts.remarks import TorchInexact
from tests.corpus.layers import SQUARES, TANH

RNG = np.random.default_rng(4)


def names_of(report):
    return [finding.where.name for finding in report.findings]


def state():
    """What a check must leave as it was."""
    modes = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype()
    return (*modes, torch.get_rng_state().tolist(), random.getstate())


# --- what the derivation does to torch


def in_no_grad():
    torch.set_grad_enabled(False)


def with_another_default():
    torch.set_default_dtype(torch.float64)


def drawing():
    torch.rand(3)
    np.random.rand(3)  # noqa: NPY002  # as users do
    random.random()


def in_inference_mode():
    torch.inference_mode().__enter__()


DISTURBANCES = [in_no_grad, with_another_default, drawing, in_inference_mode]


@pytest.mark.parametrize("disturb", DISTURBANCES)
def test_what_a_derivation_does_to_torch_changes_neither_verdict_nor_state(disturb):
    def derivation(*given):
        disturb()
        return TANH.derivation(*given)

    before = state()
    assert check_gradients(derivation, *TANH[1:]).findings == ()
    wrong = check_gradients(lambda *given: {**derivation(*given), "dW": 2 * TANH.derivation(*given)["dW"]}, *TANH[1:])
    assert names_of(wrong) == ["dW"]
    assert state() == before


@pytest.mark.parametrize("disturb", DISTURBANCES)
def test_what_a_trainer_does_to_torch_changes_no_verdict(disturb):
    def train(params, batches, rate=0.1):
        W, b = params["W"], params["b"]
        for batch in batches:
            disturb()
            records = SQUARES.derivation({"W": W, "b": b}, *batch)
            W, b = W - rate * records["dW"], b - rate * records["db"]
            yield {"W": W, "b": b, "dW": records["dW"]}

    def sgd(tensors):
        return torch.optim.SGD(tensors, lr=0.1)

    rest, before = (SQUARES.reference, sgd, SQUARES.params, [SQUARES.batch] * 2), state()
    assert check_training(train, *rest).findings == ()
    assert not check_training(lambda p, b: train(p, b, 0.2), *rest).ok
    assert state() == before


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_check_within_no_grad_sees_gradients_and_leaves_the_mode(mode):
    with mode():
        assert names_of(check_gradients(*TANH.scaled("db", 2.0))) == ["db"]
        assert not torch.is_grad_enabled()


# --- modules of the user's


def batch_norm(training):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).train(training)
    module[1].running_mean += 0.5
    return module


def by_hand(training, running):
    """Linear and batch norm with the mean of squares over two, examples in rows."""

    def derivation(p, X, Y):
        Z = X @ p["W"].T + p["b"]
        mean, variance = (Z.mean(0), Z.var(0)) if training else (a.astype(Z.dtype) for a in running)
        s = np.sqrt(variance + np.asarray(1e-5, Z.dtype))
        H = (Z - mean) / s
        A = p["g"] * H + p["c"]
        dA = 2 * (A - Y) / A.size
        dH = dA * p["g"]
        dZ = (dH - dH.mean(0) - H * (dH * H).mean(0)) / s if training else dH / s
        return {"A": A, "dg": (dA * H).sum(0), "dc": dA.sum(0), "dW": dZ.T @ X, "db": dZ.sum(0)}

    return derivation


NAMES = {"0.weight": "W", "0.bias": "b", "1.weight": "g", "1.bias": "c", "1": "A"}


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("own", [False, True], ids=["from_module", "called by the reference"])
def test_a_module_with_buffers_is_checked_and_left_as_it_was(training, own):
    module = batch_norm(training)
    module[0].weight.grad = torch.full_like(module[0].weight, 7.0)
    before = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
    params = {n: module.get_parameter(path).detach().numpy().astype(float) for path, n in NAMES.items() if path != "1"}
    running = [module[1].running_mean.numpy().copy(), module[1].running_var.numpy().copy()]
    batch = (RNG.standard_normal((6, 3)), RNG.standard_normal((6, 4)))
    reference = from_module(module, F.mse_loss, names=NAMES)

    def calling(p, X, Y):
        Z = X @ p["W"].T + p["b"]
        norm = module[1]
        mean, variance = norm.running_mean.to(Z), norm.running_var.to(Z)
        return F.mse_loss(tap("A", F.batch_norm(Z, mean, variance, p["g"], p["c"], training)), Y)

    derivation = by_hand(training, running)
    rest = (calling if own else reference, params, batch)
    assert check_gradients(derivation, *rest).findings == ()
    wrong = check_gradients(lambda *given: {**derivation(*given), "dg": 2 * derivation(*given)["dg"]}, *rest)
    assert names_of(wrong) == ["dg"]
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert torch.equal(module[0].weight.grad, torch.full_like(module[0].weight, 7.0))
    assert all(p.grad is None for n, p in module.named_parameters() if n != "0.weight")
    assert module.training is training


def test_a_module_that_the_reference_itself_calls_is_left_as_it_was():
    """Batch norm in training beside a layer that is no parameter of the check, one of its gradients there already."""
    module, head = batch_norm(training=True).double(), nn.Linear(4, 4).double()
    head.weight.grad = torch.full_like(head.weight, 7.0)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    placed = {path: name for path, name in NAMES.items() if path != "1"}
    params = {name: module.get_parameter(path).detach().numpy() for path, name in placed.items()}
    V, v = head.weight.detach().numpy().copy(), head.bias.detach().numpy().copy()

    def reference(p, X, Y):
        A = functional_call(module, {path: p[name] for path, name in placed.items()}, (X,))
        return F.mse_loss(head(tap("A", A)), Y)

    def derivation(p, X, Y, factor=1.0):
        A = by_hand(training=True, running=None)(p, X, 0)["A"]
        dA = 2 * (A @ V.T + v - Y) / Y.size @ V * factor
        records = by_hand(training=True, running=None)(p, X, A - dA * A.size / 2)
        return {**records, "dA": dA}

    rest = reference, params, (RNG.standard_normal((6, 3)), RNG.standard_normal((6, 4)))
    assert check_gradients(derivation, *rest, precisions=("float64",)).findings == ()
    wrong = check_gradients(lambda *given: derivation(*given, factor=2.0), *rest, precisions=("float64",))
    assert names_of(wrong) == ["dA"]
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert [p.grad is None for p in module.parameters()] == [True] * 4
    assert torch.equal(head.weight.grad, torch.full_like(head.weight, 7.0))
    assert head.bias.grad is None


# --- dropout seeded inside the reference


def dropped(p, X, M):
    """J = sum (M * (W X))^2 / 2 with the mask M that the reference draws as well."""
    A = M * (p["W"] @ X)
    return {"J": (A**2).sum() / 2, "dW": (M * A) @ X.T}


def seeded(p, X, M):
    torch.manual_seed(3)
    A = F.dropout(p["W"] @ X, 0.5)
    return (A**2).sum() / 2


def with_a_generator(p, X, M):
    generator = torch.Generator().manual_seed(3)
    mask = (torch.rand(4, 6, generator=generator, dtype=torch.float32) < 0.5) * 2.0
    return ((mask * (p["W"] @ X)) ** 2).sum() / 2


@pytest.mark.parametrize("reference", [seeded, with_a_generator])
def test_dropout_that_the_reference_seeds_is_repeatable_and_leaves_no_trace(reference):
    X, W = RNG.standard_normal((3, 6)), RNG.standard_normal((4, 3))
    torch.manual_seed(3)
    mask = F.dropout(torch.ones(4, 6), 0.5).numpy().astype(float)
    if reference is with_a_generator:
        generator = torch.Generator().manual_seed(3)
        mask = (torch.rand(4, 6, generator=generator) < 0.5).numpy() * 2.0
    before = state()
    rest = reference, {"W": W}, (X, mask)
    assert check_gradients(dropped, *rest, precisions=("float64",)).ok
    wrong = check_gradients(lambda p, X, M: {"dW": 2 * dropped(p, X, M)["dW"]}, *rest, precisions=("float64",))
    assert names_of(wrong) == ["dW"]
    assert state() == before


# --- autograd behind a mask


def root(p, c, beyond=0.0, off=0.0):
    """The gradient of sum c sqrt(v) where v > 0, 0 elsewhere."""
    v = p["v"]
    slope = np.where(v > 0, (1 + off) / (2 * np.sqrt(np.where(v > 0, v, 1))), beyond)
    return {"dv": (c * slope).astype(v.dtype)}


ROOTS = [
    lambda p, c: (c * torch.where(p["v"] > 0, torch.sqrt(p["v"]), 0.0)).sum(),
    lambda p, c: (c * (p["v"] ** 0.5).masked_fill(p["v"] <= 0, 0.0)).sum(),
    lambda p, c: (tap("S", torch.where(p["v"] > 0, torch.sqrt(p["v"]), 0.0)) * c).sum(),
]


@pytest.mark.parametrize("reference", ROOTS)
def test_nan_that_autograd_makes_behind_a_mask_is_torchs_own(reference):
    rest = reference, {"v": np.array([1.0, 0.0, 4.0, 0.3])}, (np.array([0.3, 1.7, -0.6, 2.0]),)
    report = check_gradients(root, *rest)
    assert report.findings == ()
    assert [(note.tensor, len(note.kernels)) for note in report.notes if isinstance(note, TorchInexact)] == [("dv", 1)]
    for wrong in ({"beyond": 1.0}, {"off": 1e-9}, {"beyond": np.nan}):
        report = check_gradients(lambda p, c, wrong=wrong: root(p, c, **wrong), *rest)
        assert [(f.verdict, f.where.name) for f in report.findings] == [("NONFINITE", "dv")]
