"""Losses by another formula, and J with another mean or another penalty."""

import numpy as np
import pytest

from handgrad.compare.diagnosis.losses import cost_forms, loss_forms
from handgrad.compare.diagnosis.ranking import diagnose
from handgrad.compare.diagnosis.scene import Scene
from handgrad.compare.facts.causes import LossFormula, MeanOfLosses, PartialMeanOfLosses, PenaltyTimes
from handgrad.compare.thresholds import EPSILONS

RNG = np.random.default_rng(11)
Z = RNG.standard_normal((2, 5))
A, Y = 1 / (1 + np.exp(-Z)), (RNG.uniform(size=(2, 5)) > 0.5).astype(float)
RIGHT = -(Y * np.log(A) + (1 - Y) * np.log(1 - A))

FORMULAS = {
    "labels swapped": (-((1 - Y) * np.log(A) + Y * np.log(1 - A)), "the binary-cross-entropy loss with 1 - Y for Y"),
    "base 2": (RIGHT / np.log(2), "the binary-cross-entropy loss by the logarithm to base 2"),
    "another loss": (0.5 * (A - Y) ** 2, "the squared-error loss"),
    "one part": (-Y * np.log(A), "the part -y log p alone"),
    "a sign": (
        (1 - Y) * np.log(1 - A) - Y * np.log(A),
        "the notes' literal formula -y log p + (1-y) log(1-p), with one sign wrong",
    ),
    "an epsilon": (
        -(Y * np.log(A + 1e-8) + (1 - Y) * np.log(1 - A + 1e-8)),
        "the loss with an epsilon of 1e-08 in the logarithm",
    ),
}


def losses(recorded, **more):
    return Scene("losses", recorded, RIGHT, tensors={"Y": Y, "Z1": 2 * Z, "A1": 1 - A, "Z12": Z, "A12": A}, **more)


@pytest.mark.parametrize(("recorded", "formula"), FORMULAS.values(), ids=FORMULAS)
def test_losses_by_another_formula_of_the_last_layer(recorded, formula):
    assert diagnose(losses(recorded))[0] == LossFormula(formula)


def test_other_losses_have_no_form():
    assert not [*loss_forms(losses(RIGHT**2 + 0.1))]
    assert not [*loss_forms(Scene("losses", RIGHT / 2, RIGHT, tensors={"A1": A}))]


def test_every_epsilon_that_is_tried_is_positive_and_no_two_are_equal():
    assert min(EPSILONS) > 0
    assert len({*EPSILONS}) == len(EPSILONS)


def cost(mean=1.0, penalty=0.25, times=1.0, **numbers):
    """J = mean + penalty, recorded with other factors."""
    recorded = np.array(mean * RIGHT.mean() + times * penalty)
    tensors = {"losses": RIGHT, "penalty": np.array(penalty)}
    return Scene("J", recorded, np.array(RIGHT.mean() + penalty), tensors=tensors, numbers=numbers)


def test_the_mean_of_the_losses_is_off_and_the_penalty_is_right():
    assert [*cost_forms(cost(5.0, n=5))] == [MeanOfLosses(pytest.approx(5.0), ("n",))]
    named = ("n/(batch size)",)
    assert [*cost_forms(cost(0.625, n=5, **{"batch size": 8}))] == [PartialMeanOfLosses(pytest.approx(0.625), named)]


@pytest.mark.parametrize("times", [0.0, -1.0, 2.0, 0.5])
def test_the_penalty_enters_with_a_wrong_factor(times):
    assert [*cost_forms(cost(times=times))] == [PenaltyTimes(times)]


def test_a_tensor_of_a_user_that_is_called_penalty_is_no_penalty():
    scene = Scene("J", np.array(2.0), np.array(1.0), tensors={"losses": RIGHT, "penalty": np.ones(3)})
    assert not [*cost_forms(scene)]
