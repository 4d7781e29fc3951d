"""Another tensor in an operand's place, and tensors that are others unchanged."""

import numpy as np
import pytest

from handgrad.compare.diagnosis.operands import operands
from handgrad.compare.diagnosis.ranking import diagnose
from handgrad.compare.diagnosis.scene import Scene
from handgrad.compare.facts.causes import DerivativeAt, DerivativeTwice, LabelsSwapped, Scaled, Unknown
from handgrad.compare.facts.operands import (
    Copied,
    OperandSign,
    OperandTransposed,
    Overwritten,
    PathMissing,
    Stale,
    Unused,
    UpdatedAtRate,
    UpdatedOperand,
    WrongOperand,
)

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
    "another tensor": (linear(X=Y)["Z"], WrongOperand("S", "X")),
    "the transpose": (linear(W=W.T)["Z"], OperandTransposed("W")),
    "no bias": (W @ X, Unused("b")),
    "the bias subtracted": (W @ X - b, OperandSign("b")),
    "of the step before": (linear(X=X[::-1] + 1)["Z"], Stale("X")),
    "updated": (linear(W=NEXT_W)["Z"], UpdatedOperand("W")),
    "updated at some rate": (
        linear(W=W - 0.3 * DIRECTION)["Z"],
        UpdatedAtRate("W", "dW", pytest.approx(0.3, rel=1e-9)),
    ),
    "overwritten by what is computed from it": (np.tanh(Z), Overwritten("A")),
    "an operand unchanged": (X, Copied("X")),
}


@pytest.mark.parametrize(("recorded", "cause"), OPERANDS.values(), ids=OPERANDS)
def test_which_operand_a_value_reads_instead(recorded, cause):
    assert cause in causes_of_z(recorded)


def test_labels_that_are_swapped():
    def losses(Y=Y, **_):
        return {"L": np.exp(-Y) + Y**2}

    recorded = losses(Y=1 - Y)["L"]
    scene = Scene(
        "L",
        recorded,
        losses()["L"],
        tensors={"Y": Y, "L": recorded},
        inputs=frozenset("Y"),
        reads={"L": frozenset("Y")},
        replay=lambda replaced: losses(**replaced),
    )
    assert diagnose(scene)[0] == LabelsSwapped("Y")


A, dA = np.exp(Z), RNG.standard_normal((3, 5))


def cubed(A=A, Z=Z, dA=dA, **_):
    """dZ = dA (A + Z^2), which reads both."""
    return {"dZ": dA * (A + Z**2)}


GRADIENTS = {
    "taken at the output": (cubed(Z=A)["dZ"], DerivativeAt("A", "Z")),
    "taken at the input": (cubed(A=Z)["dZ"], WrongOperand("Z", "A")),
    "applied twice": (cubed(dA=cubed()["dZ"])["dZ"], DerivativeTwice("A", "Z")),
}


@pytest.mark.parametrize(("recorded", "cause"), GRADIENTS.values(), ids=GRADIENTS)
def test_what_a_derivative_is_taken_of(recorded, cause):
    scene = Scene(
        "dZ",
        recorded,
        cubed()["dZ"],
        tensors={"Z": Z, "A": A, "dA": dA, "dZ": recorded},
        reads={"Z": frozenset(), "A": frozenset("ZA")},
        replay=lambda replaced: cubed(**replaced),
    )
    with np.errstate(all="ignore"):
        assert cause in [*operands(scene)]


def test_what_comes_on_one_of_two_ways_is_missing():
    dB, dC = RNG.standard_normal((2, 3, 5))
    scene = Scene(
        "dA",
        dB,
        dB + dC,
        tensors={"A": A, "dB": dB, "dC": dC, "dA": dB},
        reads={"A": frozenset(), "B": frozenset("A"), "C": frozenset("A")},
        replay=lambda replaced: {"dA": replaced.get("dB", dB) + replaced.get("dC", dC)},
    )
    assert PathMissing("dB", ("C",)) in diagnose(scene)


def test_a_tensor_is_not_explained_by_itself():
    """ReLU of what is positive is itself: A in the place of Z then gives A, whatever A is."""
    wrong = np.abs(RNG.standard_normal((3, 5)))
    scene = Scene(
        "A",
        wrong,
        np.maximum(Z, 0),
        tensors={"Z": Z, "A": wrong},
        reads={"A": frozenset("Z")},
        replay=lambda replaced: {"A": np.maximum(replaced.get("Z", Z), 0)},
    )
    assert diagnose(scene) == (Unknown(),)


def test_a_weight_of_one_entry_is_not_called_updated():
    """At some rate it would be anything."""
    w, dZ = RNG.standard_normal((1, 1)), RNG.standard_normal((1, 6))
    scene = Scene(
        "dX",
        0.7 * w.T @ dZ,
        w.T @ dZ,
        tensors={"W": w, "dZ": dZ, "dW": RNG.standard_normal((1, 1))},
        parameters=frozenset("W"),
        reads={"Z": frozenset("WX")},
        replay=lambda replaced: {"dX": replaced.get("W", w).T @ dZ},
    )
    assert diagnose(scene) == (Scaled(pytest.approx(0.7)),)
