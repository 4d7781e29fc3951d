"""Derivations that run in one precision alone: they refuse the other, or ignore what they are handed."""

import numpy as np
import pytest
import torch

from handgrad import check_gradients
from handgrad.compare.facts.failures import Raised
from handgrad.compare.facts.remarks import Float32Only, Float64Only, Persists, RefusesFloat64
from handgrad.compare.ownership import named
from tests.corpus.layers import TANH


def names_of(report):
    return [finding.where.name for finding in report.findings]


# --- a derivation that runs in float64 alone


def picky(p, X, C):
    assert X.dtype == np.float64, "double precision, please"
    return TANH.derivation(p, X, C)


def test_a_derivation_that_runs_in_float64_alone_is_recognised():
    report = check_gradients(picky, *TANH[1:])
    assert report.findings == ()
    (note,) = report.notes
    assert isinstance(note, Float64Only)
    assert (note.raised.exception, note.raised.file) == ("AssertionError", named(__file__))
    assert report.environment["precisions"] == ["float64"]


def test_a_mistake_of_a_derivation_that_runs_in_float64_alone_is_found():
    report = check_gradients(*TANH._replace(derivation=picky).scaled("db", 2.0))
    (finding,) = report.findings
    assert (finding.where.name, finding.factor, finding.circumstances) == ("db", 2.0, (Persists("moves"),))


# --- a derivation that runs in float32 alone


def test_a_derivation_in_float32_alone_says_what_that_hides():
    def derive(p, X, C):
        single = TANH.derivation({n: np.float32(w) for n, w in p.items()}, np.float32(X), np.float32(C))
        return {name: np.asarray(value, np.float32) for name, value in single.items()}

    report = check_gradients(*TANH._replace(derivation=derive))
    assert report.findings == (), str(report)
    assert Float32Only() in report.notes
    assert "one-precision" in {spot.code for spot in report.blind_spots}


class Compiled(torch.autograd.Function):
    """A kernel that takes float32 only: tanh, its backward pass times a factor."""

    @staticmethod
    def forward(ctx, z, factor):
        assert z.dtype == torch.float32, "the kernel is compiled for float32"
        ctx.factor = factor
        ctx.save_for_backward(z.tanh())
        return z.tanh()

    @staticmethod
    def backward(ctx, dy):
        (y,) = ctx.saved_tensors
        return ctx.factor * (1 - y * y) * dy, None


def compiled(factor):
    """A derivation that asserts its precision, by autograd through a kernel."""

    def derive(p, X, C):
        W, b = (torch.tensor(p[name], requires_grad=True) for name in "Wb")
        J = (Compiled.apply(W @ torch.tensor(X) + b, factor) * torch.tensor(C)).sum()
        J.backward()
        return {"J": J.detach(), "dW": W.grad, "db": b.grad}

    return derive


def into_a_buffer(factor):
    """One that adds into a buffer in float32 and lets nothing be cast to it."""

    def derive(p, X, C):
        A = np.tanh(p["W"] @ X + p["b"])
        dW = np.zeros(p["W"].shape, np.float32)
        for n in range(X.shape[1]):
            np.add(dW, np.outer(C[:, n] * (1 - A[:, n] ** 2), X[:, n]), out=dW, casting="safe")
        dW *= np.float32(factor)
        return {"A": A, "J": (A * C).sum(), "dW": dW, "db": (C * (1 - A**2)).sum(1, keepdims=True)}

    return derive


@pytest.mark.parametrize("make", [compiled, into_a_buffer])
def test_a_derivation_that_refuses_float64_is_judged_in_float32_with_a_note(make):
    report = check_gradients(make(1.0), *TANH[1:])
    assert report.findings == (), str(report)
    (note,) = (note for note in report.notes if isinstance(note, RefusesFloat64))
    assert note.raised.file == named(__file__)
    assert report.environment["precisions"] == ["float32"]
    assert "one-precision" in {spot.code for spot in report.blind_spots}
    wrong = check_gradients(make(1 + 1e-4), *TANH[1:])
    assert wrong.first.verdict == "FAULT", str(wrong)
    assert "dW" in names_of(wrong)


@pytest.mark.parametrize("precisions", [("float32", "float64"), ("float32",)], ids=" ".join)
def test_where_float32_is_what_is_asked_for_first_raising_in_it_is_a_finding(precisions):
    (finding,) = check_gradients(picky, *TANH[1:], precisions=precisions).findings
    assert isinstance(finding.cause, Raised)
    assert finding.cause.dtype == ("float32" if len(precisions) > 1 else "")
