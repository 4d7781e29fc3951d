"""A tensor of few digits is named as far as these tell, and not where something else is wrong with it."""

import numpy as np
import pytest
import torch

from handgrad import check_gradients
from handgrad.compare.facts.causes import InDerivative, Unknown
from handgrad.compare.facts.edits import MissingFactor, MissingTerm
from handgrad.torchref import tap

FORMATS = (torch.bfloat16, torch.float16)


def drawn(seed):
    """Draw what a softmax, or an RMS norm, of 8 examples is handed."""
    rng = np.random.default_rng(seed)
    return {"X": rng.standard_normal((8, 16))}, (rng.standard_normal((8, 16)),)


def rounded(dtype, *arrays):
    """Let all that follows be computed in a format."""
    return [torch.tensor(array).to(dtype) for array in arrays]


def numbers(records):
    """Return them as they are stored."""
    return {name: tensor.float().numpy() for name, tensor in records.items()}


def softmax(p, D):
    """Take the reference's own."""
    return (tap("P", torch.softmax(p["X"], 1)) * D).sum()


def rms_norm(p, D):
    """Take the reference's own."""
    return (tap("P", p["X"] * torch.rsqrt((p["X"] ** 2).mean(1, keepdim=True) + 1e-6)) * D).sum()


def softmax_by_hand(dtype, slope):
    """Compute everything in a format, the gradient by a formula of P and D."""

    def derivation(p, D):
        X, D = rounded(dtype, p["X"], D)
        P = torch.softmax(X, 1)
        return numbers({"P": P, "J": (P * D).float().sum(), "dX": slope(P, D)})

    return derivation


def rms_norm_by_hand(dtype, slope):
    """Compute everything in a format, the gradient by a formula of P, D and 1/R."""

    def derivation(p, D):
        X, D = rounded(dtype, p["X"], D)
        scale = torch.rsqrt((X * X).mean(1, keepdim=True) + 1e-6)
        P = X * scale
        return numbers({"P": P, "J": (P * D).float().sum(), "dX": scale * slope(P, D)})

    return derivation


def cause_of(derivation, reference, seed):
    """Ask what is said of dX."""
    report = check_gradients(derivation, reference, *drawn(seed))
    causes = [finding.cause for finding in report.findings if finding.where.name == "dX" and finding.verdict == "FAULT"]
    return causes[0] if causes else None


@pytest.mark.parametrize("dtype", FORMATS)
def test_a_term_that_is_left_out_is_named_where_all_is_computed_in_few_digits(dtype):
    wrong = rms_norm_by_hand(dtype, lambda P, D: D)
    assert isinstance(cause_of(wrong, rms_norm, 1), MissingTerm)
    right = rms_norm_by_hand(dtype, lambda P, D: D - P * (D * P).mean(1, keepdim=True))
    assert cause_of(right, rms_norm, 1) is None


@pytest.mark.parametrize("dtype", FORMATS)
def test_what_is_larger_than_it_should_be_has_larger_roundings(dtype):
    cause = cause_of(softmax_by_hand(dtype, lambda P, D: D - (D * P).sum(1, keepdim=True)), softmax, 2)
    assert isinstance(cause, InDerivative)
    assert isinstance(cause.mistake, MissingFactor)
    assert cause.mistake.factor_name == "P"


@pytest.mark.parametrize("seed", [3, 4])
def test_few_digits_do_not_let_a_formula_explain_anything(seed):
    noise = torch.tensor(np.random.default_rng([seed, 1]).standard_normal((8, 16))).bfloat16()
    wrong = softmax_by_hand(torch.bfloat16, lambda P, D: P * (D - (D * P).sum(1, keepdim=True)) * (1 + noise / 2))
    assert cause_of(wrong, softmax, seed) == Unknown()


def test_a_loss_comes_before_its_gradients_whatever_is_nearest_to_the_edit():
    """The activation is left out of the loss and of its gradients alike."""
    rng = np.random.default_rng(8)

    def derivation(p, X, Y):
        s = np.tanh(p["A"] @ X)
        e = p["C"] @ (p["B"] @ s) - Y
        dB = p["C"].T @ e @ s.T
        dA = (p["B"].T @ (p["C"].T @ e) * (1 - s**2)) @ X.T
        return {"J": 0.5 * (e * e).sum(), "dC": e @ (p["B"] @ s).T, "dB": dB, "dA": dA}

    def reference(p, X, Y):
        return 0.5 * ((p["C"] @ torch.tanh(p["B"] @ torch.tanh(p["A"] @ X)) - Y) ** 2).sum()

    shapes = {"A": (3, 2), "B": (4, 3), "C": (5, 4)}
    params = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    report = check_gradients(derivation, reference, params, (rng.standard_normal((2, 7)), rng.standard_normal((5, 7))))
    assert report.first.where.name == "J", str(report)
