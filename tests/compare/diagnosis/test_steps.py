"""Which momentum a velocity is, which rule an update is, and whether a batch holds the right examples."""

from dataclasses import replace

import numpy as np
import pytest

import handgrad.manual.optimizers
from handgrad import Experiment
from handgrad.compare.diagnosis.ranking import diagnose
from handgrad.compare.diagnosis.scene import Scene
from handgrad.compare.facts.updates import (
    DecayInUpdate,
    DecayInVelocity,
    LeftOut,
    MomentumFormula,
    OtherExamples,
    OtherOrder,
    StartsFrom,
    UpdateFormula,
    VelocityForm,
    VelocityReset,
)
from tests.support import edited, small_data

RNG = np.random.default_rng(11)
BETA, RATE = 0.8, 0.2
SETTINGS = {"beta": BETA, "learning rate": RATE}
V, G, W = RNG.standard_normal((3, 3, 4))


def scene(name, recorded, reference, step=2, **tensors):
    return Scene(
        name,
        recorded,
        reference,
        tensors={"W": W, "dW": G, **tensors},
        parameters=frozenset("W"),
        settings=SETTINGS | {"step": step},
    )


def velocity_causes(recorded):
    return diagnose(scene("vW", recorded, BETA * V + (1 - BETA) * G, **{"vW before": V}))


MOMENTA = {
    "v has the wrong sign": (-BETA * V + (1 - BETA) * G, "v = -beta v + (1 - beta) dw"),
    "dw has the wrong sign": (BETA * V - (1 - BETA) * G, "v = beta v - (1 - beta) dw"),
    "no memory": (G, "v = dw"),
    "swapped": ((1 - BETA) * V + BETA * G, "v = (1 - beta) v + beta dw"),
    "no gradient": (BETA * V, "v = beta v"),
    "undamped": (BETA * V + G, "v = beta v + dw"),
    "not decayed": (V + (1 - BETA) * G, "v = v + (1 - beta) dw"),
}


@pytest.mark.parametrize(("recorded", "formula"), MOMENTA.values(), ids=MOMENTA)
def test_which_momentum_a_velocity_is(recorded, formula):
    cause = velocity_causes(recorded)[0]
    assert isinstance(cause, VelocityForm)
    assert (cause.formula, cause.from_zero) == (formula, False)
    assert bool(cause.twin) == (formula == "v = beta v + dw")  # torch's own momentum is the heavy ball


def test_a_velocity_that_starts_anew_is_no_other_momentum():
    assert velocity_causes((1 - BETA) * G)[0] == VelocityReset()


def test_a_decay_in_the_velocity():
    assert velocity_causes(BETA * V + (1 - BETA) * G + 0.1 * W)[-1] == DecayInVelocity(pytest.approx(0.1), "W")


def test_a_first_step_shows_only_how_the_gradient_enters():
    causes = diagnose(scene("vW", G, (1 - BETA) * G, step=1))
    assert next(cause for cause in causes if isinstance(cause, VelocityForm)).from_zero


@pytest.mark.parametrize(("start", "cause"), [(W, StartsFrom("W")), (0.5, StartsFrom(fitted=pytest.approx(0.5)))])
def test_a_velocity_that_does_not_start_from_zero(start, cause):
    causes = diagnose(scene("vW", BETA * start + (1 - BETA) * G, (1 - BETA) * G, step=1))
    assert causes[0] == cause


UPDATES = {
    "replaced": (-RATE * V, UpdateFormula, "-rate vW"),
    "ascent": (W + RATE * V, UpdateFormula, "W + rate vW"),
    "the rate twice": (W - RATE**2 * V, UpdateFormula, "W - rate^2 vW"),
    "no rate": (W - V, UpdateFormula, "W - vW"),
    "nesterov": (W - RATE * (BETA * V + (1 - BETA) * G), MomentumFormula, "W - rate (beta vW + (1 - beta) dW)"),
    "nesterov undamped": (W - RATE * (BETA * V + G), MomentumFormula, "W - rate (beta vW + dW)"),
    "no velocity": (W - RATE * G, MomentumFormula, "W - rate dW"),
    "corrected": (W - RATE * V / (1 - BETA**2), MomentumFormula, "W - rate vW/(1 - beta^t)"),
    "too early": (W - RATE * G[::-1], MomentumFormula, "W - rate vW of the step before"),
}


@pytest.mark.parametrize(("recorded", "kind", "formula"), UPDATES.values(), ids=UPDATES)
def test_which_rule_an_update_is(recorded, kind, formula):
    causes = diagnose(scene("W_next", recorded, W - RATE * V, vW=V, **{"vW before": G[::-1]}))
    assert (kind, formula) in [(type(cause), getattr(cause, "formula", "")) for cause in causes]


@pytest.mark.parametrize("rate", [1e-3, 1e-8, 1e-11])
def test_a_step_that_is_small_beside_the_weights_must_be_explained_itself(rate):
    """A formula that comes near the weights is none: 0.98 of a step upwards is no ascent."""

    def formulas(recorded):
        causes = diagnose(
            replace(scene("W_next", recorded, W - rate * V, vW=V), settings=SETTINGS | {"learning rate": rate})
        )
        return [cause.formula for cause in causes if isinstance(cause, UpdateFormula)]

    assert formulas(W + rate * V) == ["W + rate vW"]
    assert formulas(W + 0.98 * rate * V) == []
    assert formulas(W - rate * (BETA * V + (1 - BETA) * G)) == ["W - rate (beta vW + (1 - beta) dW)"]


def test_an_update_by_the_gradient_itself():
    causes = diagnose(scene("W_next", W + RATE * G, W - RATE * G))
    assert UpdateFormula("W + rate dW", "it goes up the gradient") in causes


def test_a_parameter_that_is_left_out():
    assert diagnose(scene("W_next", W, W - RATE * G))[0] == LeftOut()


def test_a_decay_in_the_update():
    causes = diagnose(scene("W_next", W - RATE * G - 0.03 * W, W - RATE * G))
    assert DecayInUpdate(pytest.approx(-0.03), "W") in causes


def test_a_batch_in_another_order_and_one_of_other_examples():
    data = RNG.standard_normal((3, 8))
    batch = {"inputs": frozenset("X"), "tensors": {"all of X": data}}
    due = data[:, :4]
    assert diagnose(Scene("X", due[:, [2, 0, 3, 1]], due, **batch))[0] == OtherOrder("X")
    assert diagnose(Scene("X", data[:, 4:], due, **batch))[0] == OtherExamples("X")
    assert diagnose(Scene("X", data[:, 4:] + 1, due, **batch))[0].code == "unknown"


def test_weights_that_are_zero_are_no_term_of_an_update_and_lapack_says_nothing(capfd):
    """What it prints would stand in the midst of a report."""
    wrong = ("updated[name] = w - learning_rate * V", "updated[name] = w - learning_rate * V**2 - 1e-3")
    run = Experiment(layers=(5, 12, 2), activations=("tanh", "sigmoid"), batch_size=6, steps=1, bias_scale=0.0)
    with edited(handgrad.manual.optimizers, wrong):
        report = run.run(small_data(5, 2, 24, seed=7))
    assert {"b1_next", "W1_next"} <= {finding.where.name for finding in report.findings}
    assert capfd.readouterr() == ("", "")
