"""Derivations of other operations than the notes', judged without knowing their formulas."""

import numpy as np
import pytest
import torch

from compare.errors import InputError
from compare.gradients import check_gradients
from tests.benchmarks.networks import listed, stationary_point
from tests.benchmarks.operations import BUILDERS
from torchref import mlp, tap


def case_of(name, seed=5):
    return BUILDERS[name](np.random.default_rng([seed, len(name)]))


@pytest.mark.parametrize("name", BUILDERS)
def test_right_derivations_in_two_roundings_are_left_in_peace(name):
    case = case_of(name)
    for variant in (case.variants[0], case.variants[3]):
        report = check_gradients(variant, case.reference, case.params, case.batch)
        assert report.findings == (), str(report)
        assert report.rows


@pytest.mark.parametrize("kind", ["structural", "small"])
@pytest.mark.parametrize("name", BUILDERS)
def test_a_wrong_derivation_is_found_at_its_tensor(name, kind):
    case = case_of(name)
    fault = [fault for fault in case.faults if fault.kind == kind and "rounded" not in fault.name][1]
    report = check_gradients(fault.derivation, case.reference, case.params, case.batch)
    assert not report.ok, f"{fault.name} was missed"
    assert report.first.name == fault.tensor, f"{fault.name}\n{report}"


RNG = np.random.default_rng(8)
PARAMS = {"W": RNG.standard_normal((4, 3)), "b": RNG.standard_normal((4, 1))}
BATCH = (RNG.standard_normal((3, 6)), RNG.standard_normal((4, 6)))


def reference(p, X, C):
    Z = tap("Z", p["W"] @ X + p["b"])
    return (C * torch.tanh(Z)).sum()


def derivation(p, X, C):
    Z = p["W"] @ X + p["b"]
    dZ = C * (1 - np.tanh(Z) ** 2)
    return {"Z": Z, "dZ": dZ, "dW": dZ @ X.T, "db": dZ.sum(1, keepdims=True), "dX": p["W"].T @ dZ}


def without(*names):
    return lambda *args: {name: value for name, value in derivation(*args).items() if name not in names}


def test_gradients_alone_are_enough_and_any_subset_of_intermediates():
    for left_out in (("Z", "dZ", "dX"), ("Z",), ("dZ",)):
        report = check_gradients(without(*left_out), reference, PARAMS, BATCH)
        assert report.findings == (), str(report)


def test_a_parameter_gradient_that_is_owed_is_missing():
    report = check_gradients(without("db"), reference, PARAMS, BATCH)
    assert (report.first.name, report.first.verdict) == ("db", "MISSING")


def test_the_gradient_of_an_input_is_judged():
    def wrong(*args):
        return {**derivation(*args), "dX": 1.001 * derivation(*args)["dX"]}

    assert check_gradients(wrong, reference, PARAMS, BATCH).first.name == "dX"


def test_nothing_to_compare_is_an_error():
    with pytest.raises(InputError, match="no tensor"):
        check_gradients(lambda *_: {}, lambda p, X: p["W"].detach().sum() * 0, {"W": np.ones(2)}, (np.ones(2),))


def test_naive_arithmetic_is_weak_or_not_finite_and_never_a_fault():
    """tanh by exponentials, and cross-entropy on probabilities, the notes' own formulas as code."""

    def naive(p, X, C):
        Z = p["W"] @ X + p["b"]
        A = (np.exp(Z) - np.exp(-Z)) / (np.exp(Z) + np.exp(-Z))
        return {"Z": Z, "A": A, "dZ": C * (1 - A**2), "dA": C * np.ones_like(A)} | _of(p, X, C * (1 - A**2))

    def named(p, X, C):
        Z = tap("Z", p["W"] @ X + p["b"])
        return (C * tap("A", torch.tanh(Z))).sum()

    for scale in (1e-6, 1.0, 1000.0):
        params = {name: scale * array for name, array in PARAMS.items()}
        report = check_gradients(naive, named, params, BATCH)
        assert "FAULT" not in {finding.verdict for finding in report.findings}, str(report)
    assert (report.first.name, report.first.verdict) == ("A", "NONFINITE")


def _of(p, X, dZ):
    return {"dW": dZ @ X.T, "db": dZ.sum(1, keepdims=True)}


def test_python_lists_at_a_stationary_point_of_the_last_bias_are_left_in_peace():
    """db is a pure cancellation there: the float32 run shows nothing of its rounding, only the spread does."""
    for seed in range(10):
        params, batch = stationary_point(np.random.default_rng(seed))
        report = check_gradients(listed, mlp((5, 2), ("identity",), "squared-error"), params, batch)
        assert report.findings == (), f"seed {seed}\n{report}"
