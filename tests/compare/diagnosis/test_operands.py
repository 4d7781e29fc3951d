"""Tensors of another moment in an operand's place, and tensors that are written over."""

import numpy as np
import pytest

from handgrad.compare.diagnosis.ranking import diagnose
from handgrad.compare.diagnosis.scene import Scene
from handgrad.compare.facts.operands import Overwritten, Stale, UpdatedOperand

RNG = np.random.default_rng(11)
X, Y = RNG.standard_normal((3, 5)), RNG.uniform(0, 1, (3, 5))
W, OLD_W, NEXT_W, DIRECTION = RNG.standard_normal((4, 3, 3))
b = RNG.standard_normal((3, 1))
Z = W @ X + b


def linear(W=W, X=X, b=b, **_):
    """Z = W X + b, from what may be replaced."""
    return {"Z": W @ X + b}


def causes_of_z(recorded):
    scene = Scene(
        "Z",
        recorded,
        Z,
        tensors={"W": W, "b": b, "X": X, "S": Y, "Z": recorded, "dW": DIRECTION},
        parameters=frozenset("Wb"),
        inputs=frozenset("X"),
        reads={"S": frozenset("X"), "Z": frozenset("WXb"), "A": frozenset("Z")},
        replay=lambda replaced: {**linear(**replaced), "A": np.tanh(replaced.get("Z", Z))},
        previous={"X": X[::-1] + 1, "W": OLD_W},
        updated={"W": NEXT_W},
    )
    return diagnose(scene)


OPERANDS = {
    "of the step before": (linear(X=X[::-1] + 1)["Z"], Stale("X")),
    "updated": (linear(W=NEXT_W)["Z"], UpdatedOperand("W")),
    "overwritten by what is computed from it": (np.tanh(Z), Overwritten("A")),
}


@pytest.mark.parametrize(("recorded", "cause"), OPERANDS.values(), ids=OPERANDS)
def test_which_operand_a_value_reads_instead(recorded, cause):
    assert cause in causes_of_z(recorded)
