"""Derivatives are told by what they were taken of."""

import numpy as np
import pytest

from handgrad.compare.diagnosis.ranking import diagnose
from handgrad.compare.diagnosis.scene import Scene
from handgrad.compare.facts.causes import DerivativeMissing, DerivativeTooMuch, WrongDerivative
from handgrad.compare.facts.operands import WrongTerm
from handgrad.compare.facts.updates import Masked

RNG = np.random.default_rng(11)
Z, dA = RNG.standard_normal((3, 5)), RNG.standard_normal((3, 5))
A = np.tanh(Z)
RIGHT = dA * (1 - A**2)

DERIVATIVES = {
    "missing": (dA, DerivativeMissing("A", "Z")),
    "twice": (RIGHT * (1 - A**2), DerivativeTooMuch("(1 - A^2)")),
    "at Z": (dA * (1 - Z**2), WrongDerivative("dA", "(1 - Z^2)")),
    "of the sigmoid": (dA * A * (1 - A), WrongDerivative("dA", "A (1 - A)")),
    "without its square": (dA * (1 - A), WrongDerivative("dA", "(1 - A)")),
    "of tanh at A": (dA * (1 - np.tanh(A) ** 2), WrongDerivative("dA", "tanh'(A)")),
    "where Z <= 0 only": (np.where(Z > 0, RIGHT, 3 * RIGHT + 0.1), Masked("Z", int(np.sum(Z <= 0)))),
    "another term added": (RIGHT + A, WrongTerm(pytest.approx(1.0), "A")),
    "twice another term": (RIGHT + 2 * A, WrongTerm(pytest.approx(2.0), "A")),
    "twice another term missing": (RIGHT - 2 * A, WrongTerm(pytest.approx(-2.0), "A")),
}


@pytest.mark.parametrize(("recorded", "cause"), DERIVATIVES.values(), ids=DERIVATIVES)
def test_derivatives_are_told_by_what_they_were_taken_of(recorded, cause):
    tensors = {"Z": Z, "A": A, "dA": dA, "dZ": recorded}
    scene = Scene("dZ", recorded, RIGHT, tensors=tensors, reads={"Z": frozenset(), "A": frozenset("Z")})
    assert diagnose(scene)[0] == cause
