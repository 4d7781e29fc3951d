"""An exception of the hand-written side: which equation raised it, and what had been computed by then."""

from dataclasses import replace

import numpy as np
import pytest

from handgrad.compare.experiment.exceptions import located_by_hand, recorded_before
from handgrad.compare.experiment.run import run
from handgrad.compare.facts.failures import Raised, WrongShape
from handgrad.compare.facts.remarks import ThenRaised
from handgrad.compare.faults.planting import planted
from handgrad.compare.ownership import named
from tests.compare.experiment.networks import DATA, LOSSES, NETWORK, OPTIMIZERS, TRAINING, experiment, run_with


def test_an_exception_is_a_finding_against_the_line_that_raised_it():
    report = run_with(NETWORK, ("dZ @ A_prev.T  # (B2)", "dZ @ A_prev  # (B2)"))
    (first,) = report.findings
    assert (first.where.name, first.equation, first.verdict) == ("dW[l]", "B2", "FAULT"), str(report)
    assert (first.cause.exception, first.cause.file) == ("ValueError", "manual/network.py")
    assert first.cause.line > 1
    assert {row.phase for row in report.rows} == {"forward", "loss", "backward"}


def test_an_exception_of_no_line_of_the_derivation_has_no_place():
    first = run_with(TRAINING, ('"backward", {**gradients}', '"backward", list(gradients)')).first
    assert first.cause == Raised("AttributeError", "'list' object has no attribute 'items'")


def test_an_exception_on_a_line_without_a_label_belongs_to_the_equation_above_it():
    first = run_with(NETWORK, ("dW = dW + network.l2 * W", "dW = dW + network.l2 * W.T")).first
    assert (first.equation, type(first.cause), first.where.name) == ("B2", Raised, "dW[l]"), first


def test_a_head_of_a_loop_is_no_equation_of_what_stands_in_it():
    first = run_with(TRAINING, ("cache = forward(network", "1 / 0; cache = forward(network")).first
    assert (first.where.phase, first.equation, first.cause.exception) == ("forward", "", "ZeroDivisionError")


SHAPES = {
    "a value": ("A = g.value(Z)  # (F2)", "A = g.value(Z).T  # (F2)", "A1", "F2"),
    "a gradient": ("dA_prev = W.T @ dZ", "dA_prev = (W.T @ dZ).T", "dA1", "B4"),
}


@pytest.mark.parametrize(("right", "wrong", "name", "equation"), SHAPES.values(), ids=SHAPES)
def test_a_tensor_of_the_wrong_shape_gets_the_blame_for_the_exception_it_causes(right, wrong, name, equation):
    report = run_with(NETWORK, (right, wrong))
    first = report.first
    assert (first.where.name, first.equation, type(first.cause)) == (name, equation, WrongShape), str(report)
    (then,) = (fact for fact in first.circumstances if isinstance(fact, ThenRaised))
    assert then.raised.exception == "ValueError"
    assert not any(isinstance(finding.cause, Raised) for finding in report.findings)


NO_ARRAYS = {
    "exit": (NETWORK, "dW = dZ @", "import sys; sys.exit(0); dW = dZ @", "B2"),
    "None for all": (NETWORK, "    return gradients\n", "    return None\n", ""),
    "None": (LOSSES, "    return losses.sum() / n + penalty", "    return None", "L1"),
    "list": (NETWORK, "= dW, db", "= dW.tolist(), db", "B2"),
    "masked": (NETWORK, "= dW, db", "= np.ma.array(dW), db", "B2"),
    "object": (NETWORK, "= dW, db", "= dW.astype(object), db", "B2"),
    "longdouble": (NETWORK, "Z = linear(", "Z = np.longdouble(1) * linear(", "F1"),
    "complex": (NETWORK, "Z = linear(", "Z = 1j * linear(", "F1"),
    "key": (NETWORK, 'gradients[f"dW{l}"], ', "gradients[7], ", "B2"),
}


@pytest.mark.parametrize(("module", "right", "wrong", "equation"), NO_ARRAYS.values(), ids=NO_ARRAYS)
def test_what_is_no_array_of_real_numbers_is_a_finding_at_its_tensor(module, right, wrong, equation):
    report = run_with(module, (right, wrong))
    assert not report.ok
    assert report.first.equation == equation, str(report)


@pytest.mark.parametrize(
    ("right", "wrong", "equation"),
    [
        ("V = beta * velocities", "gradients[f'd{name}'] *= 1.0; V = beta * velocities", "O3"),
        ("updated[name] = w - learning_rate * V", "w -= learning_rate * V; updated[name] = w", "O4"),
    ],
    ids=["gradients", "weights"],
)
def test_writing_into_what_an_earlier_equation_kept_is_an_exception_there(right, wrong, equation):
    first = run_with(OPTIMIZERS, (right, wrong)).first
    assert (first.where.step, type(first.cause), first.equation) == (1, Raised, equation)
    assert "read-only" in first.cause.message


def test_an_exception_in_a_run_that_starts_a_rounding_apart_alone_is_a_finding():
    """The third run to reach its forward pass is the second of those."""
    counting = ("class Activation(NamedTuple):", "CALLS = []\n\n\nclass Activation(NamedTuple):")
    failing = ("    cache = {}\n", "    cache = {}\n    CALLS.append(1 / (len(CALLS) - 2))\n")
    settings = replace(experiment(depth=1, steps=1), free_running=True)
    first = run(settings, DATA, hand=planted(NETWORK, [counting, failing])).first
    assert (first.where.step, first.cause.exception) == (1, "ZeroDivisionError")


# --- by itself


def caught(act):
    try:
        act()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def test_what_functions_by_hand_were_filling_is_recorded_and_what_they_were_handed_is_not():
    network = planted(NETWORK, [("A = g.value(Z)  # (F2)", "1 / (l - 2); A = g.value(Z)  # (F2)")])["network"]
    layer = network.Activation(np.tanh, lambda A: 1 - A**2, "A")
    params = {f"{w}{l}": np.ones((1, 1)) for l in (1, 2, 3) for w in "Wb"}
    X = np.array([[0.5]])
    error = caught(lambda: network.forward(network.Network((layer,) * 3, None), params, X))
    records = recorded_before(error, {"Z1", "A1", "Z2", "W1"})
    assert {name: array.tolist() for name, array in records.items()} == {"Z1": [[1.5]], "A1": [[np.tanh(1.5)]]}
    raised, label = located_by_hand(error)
    assert (raised.exception, raised.file, label) == ("ZeroDivisionError", "manual/network.py", "F2")


def test_what_a_function_was_handed_is_not_recorded_under_another_name_either():
    first = run_with(
        TRAINING, ("backward(network, params, cache, X_batch", "backward(network, params, cache, state")
    ).first
    assert (type(first.cause), first.equation) == (Raised, "B2")


def test_an_exception_from_elsewhere_has_its_own_place_and_no_equation():
    error = caught(lambda: {}["W1"])
    raised, label = located_by_hand(error)
    assert (raised.exception, raised.file, label) == ("KeyError", named(__file__), "")
    assert recorded_before(error, {"W1"}) == {}
