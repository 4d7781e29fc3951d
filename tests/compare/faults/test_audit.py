"""The audit of a run: which known mistakes it would not show, and the smallest change that would."""

import inspect
from dataclasses import replace

import numpy as np
import pytest

import handgrad.manual.network
from handgrad.compare.experiment.run import Experiment, run
from handgrad.compare.faults.audit import Audit, Hidden, audit, render
from handgrad.compare.faults.catalogue import catalogue
from handgrad.compare.faults.planting import planted

ENTRIES = catalogue()
NETWORK = [fault for fault in ENTRIES.values() if fault.is_of_network]
X = np.random.default_rng(3).standard_normal((11, 4))
Y = (np.random.default_rng(4).random((11, 2)) < 0.5).astype(float)
RECOMMENDED = Experiment(
    layers=(4, 4, 4, 3, 2),
    activations=("tanh", "relu", "relu", "sigmoid"),
    l2=0.5,
    batch_size=4,
    epochs=2,
    bias_scale=0.5,
)
SMALL = Experiment(layers=(4, 5, 2), activations=("tanh", "sigmoid"), batch_size=1, steps=1, l2=0.1)


@pytest.fixture(scope="module")
def of_one_example():
    return audit(SMALL, (X, Y))


def test_the_audit_of_one_example_and_one_step_lists_what_they_hide(of_one_example):
    remedies = {fault.name: remedy for fault, remedy in of_one_example.hidden}
    for name in ("bias-gradient-mean", "bias-gradient-of-one-example", "cost-without-mean", "gradient-without-mean"):
        assert remedies[name].startswith("--batch-size"), name
    for name in ("velocity-reset", "gradients-accumulated", "stale-cache"):
        assert remedies[name] == "--steps 2", name
    assert "relu in a hidden layer" not in remedies.values(), "code that does not run is not counted as hidden"


def test_the_audit_of_the_recommended_run_is_nearly_empty():
    result = audit(RECOMMENDED, (X, Y))
    assert {fault.name for fault, _ in result.hidden} <= {"loss-of-log-zero", "relu-derivative-at-zero"}
    assert all(remedy for _, remedy in result.hidden)
    assert len(result.shown) + len(result.hidden) + sum(map(len, result.idle.values())) == len(NETWORK)


def test_functions_that_are_never_called_are_told_apart(of_one_example):
    assert set(of_one_example.idle) == {
        "handgrad.manual.activations.relu_derivative",
        "handgrad.manual.activations.sigmoid_derivative",
        "handgrad.manual.losses.squared_error",
        "handgrad.manual.losses.squared_error_derivative",
    }
    assert of_one_example.lost == ()


def test_the_remedy_is_one_that_works(of_one_example):
    fault = next(fault for fault, _ in of_one_example.hidden if fault.name == "velocity-reset")
    hand = planted(fault.module, fault.edits)
    assert run(SMALL, (X, Y), hand=hand).ok
    assert not run(replace(SMALL, steps=2), (X, Y), hand=hand).ok


def test_what_is_installed_is_never_changed(of_one_example):
    assert run(RECOMMENDED, (X, Y)).findings == ()


def test_an_edit_of_manual_hides_the_mistakes_planted_there_and_nothing_else(monkeypatch):
    """As if a student had written the layer in another way."""
    source, right = inspect.getsource, "return W @ A_prev + b"
    monkeypatch.setattr(inspect, "getsource", lambda of: source(of).replace(right, "return (W @ A_prev) + b"))
    result = audit(replace(SMALL, batch_size=4), (X, Y), lambda faults: faults[:2])
    assert {fault.module for fault in result.lost} == {handgrad.manual.network.__name__}
    assert {right for fault in result.lost for right, _ in fault.edits} == {right}
    assert len(result.shown) + len(result.hidden) == 2


def test_an_audit_is_told_by_the_change_that_shows_most():
    first, second, third, fourth = NETWORK[:4]
    hidden = (Hidden(first, ""), Hidden(second, "--steps 2"), Hidden(third, "--l2 0.1"), Hidden(fourth, "--l2 0.1"))
    idle = {"handgrad.manual.losses.squared_error": (NETWORK[7],)}
    assert render(Audit((NETWORK[4],), hidden, idle, (NETWORK[5],))) == (
        "With --l2 0.1 it would show:\n"
        "  labels-swapped-in-the-loss                 loss = -[ (1-y) log p + y log(1-p) ]\n"
        "  loss-with-log2                             loss = max(z, 0) - z y + log2(1 + exp(-|z|))\n\n"
        "With --steps 2 it would show:\n"
        "  loss-without-minus                         loss = y log p + (1-y) log(1-p)\n\n"
        "No single change shows:\n"
        "  loss-as-in-the-notes                       loss = -y log p + (1-y) log(1-p)\n\n"
        "This run does not call (with the number of known mistakes in each): squared_error (1).\n\n"
        "Not tried, because manual/ was edited where they are: loss-of-log-zero.\n\n"
        "This run shows 1 of 5 known mistakes in the code that it calls.\n"
    )
