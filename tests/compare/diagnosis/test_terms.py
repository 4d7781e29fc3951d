"""A multiple of another tensor added, a tensor that is written over, and an operand of another moment."""

import numpy as np
import pytest

from handgrad.compare.diagnosis.ranking import diagnose
from handgrad.compare.diagnosis.scene import Scene
from handgrad.compare.facts.operands import Accumulated, DecayAdded, OfStepBefore, Overwritten, Stale, UpdatedOperand

RNG = np.random.default_rng(11)
R, W = RNG.standard_normal((3, 4)), RNG.standard_normal((3, 4))


def causes(recorded, **more):
    return diagnose(Scene("dW", recorded, R, tensors={"W": W}, parameters=frozenset("W"), **more))


def test_a_weight_decay_that_is_not_due():
    assert causes(R + 0.25 * W) == (DecayAdded(pytest.approx(0.25), "W"),)


def test_a_multiple_of_the_weights_has_the_names_that_fit():
    assert causes(R - 0.1 * W, numbers={"rate": 0.1}) == (DecayAdded(pytest.approx(-0.1), "W", names=("rate",)),)


@pytest.mark.parametrize(("times", "is_plain"), [(-1.0, True), (1.0, True), (0.7, False)])
def test_the_decay_of_j_is_plainly_missing_or_twice_there(times, is_plain):
    (cause,) = causes(R + times * 0.05 * W, settings={"l2": 0.05})
    assert cause == DecayAdded(pytest.approx(times * 0.05), "W", 0.05, plain=is_plain)


def test_gradients_summed_over_two_steps():
    before = W[::-1]
    assert causes(R + before, previous={"dW": before}) == (Accumulated("dW"),)
    assert causes(before, previous={"dW": before}) == (OfStepBefore(),)


# --- memory and moments

X, Y = RNG.standard_normal((3, 5)), RNG.uniform(0, 1, (3, 5))
V, OLD_V, NEXT_V, DIRECTION = RNG.standard_normal((4, 3, 3))
b = RNG.standard_normal((3, 1))
Z = V @ X + b


def linear(V=V, X=X, b=b, **_):
    """Z = V X + b, from what may be replaced."""
    return {"Z": V @ X + b}


def causes_of_z(recorded):
    scene = Scene(
        "Z",
        recorded,
        Z,
        tensors={"V": V, "b": b, "X": X, "S": Y, "Z": recorded, "dV": DIRECTION},
        parameters=frozenset("Vb"),
        inputs=frozenset("X"),
        reads={"S": frozenset("X"), "Z": frozenset("VXb"), "A": frozenset("Z")},
        replay=lambda replaced: {**linear(**replaced), "A": np.tanh(replaced.get("Z", Z))},
        previous={"X": X[::-1] + 1, "V": OLD_V},
        updated={"V": NEXT_V},
    )
    return diagnose(scene)


OPERANDS = {
    "of the step before": (linear(X=X[::-1] + 1)["Z"], Stale("X")),
    "updated": (linear(V=NEXT_V)["Z"], UpdatedOperand("V")),
    "overwritten by what is computed from it": (np.tanh(Z), Overwritten("A")),
}


@pytest.mark.parametrize(("recorded", "cause"), OPERANDS.values(), ids=OPERANDS)
def test_which_operand_a_value_reads_instead(recorded, cause):
    assert cause in causes_of_z(recorded)
