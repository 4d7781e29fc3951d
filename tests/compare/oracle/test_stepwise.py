"""What a check imports beside torch: neither its compiler nor its symbols."""

import subprocess
import sys

import pytest

CHECK = """
import sys
import numpy as np
import handgrad
from handgrad import tap

def reference(params, X):
    Z = tap("Z", params["W"] @ X)
    return (tap("A", Z.{function}()) ** 2).sum()

def derivation(params, X):
    Z = params["W"] @ X
    A, slope = {by_hand}
    dA = 2 * A
    return {{"Z": Z, "A": A, "J": (A**2).sum(), "dA": dA, "dZ": dA * slope{wrong}, "dW": (dA * slope{wrong}) @ X.T}}

rng = np.random.default_rng(7)
report = handgrad.check_gradients(
    derivation, reference, {{"W": rng.standard_normal((3, 4))}}, (rng.standard_normal((4, 5)),)
)
print(report.ok, "torch._dynamo" in sys.modules, "sympy" in sys.modules)
"""
BY_HAND = {"tanh": "np.tanh(Z), 1 - np.tanh(Z) ** 2", "sin": "np.sin(Z), np.cos(Z)"}


@pytest.mark.parametrize("function", BY_HAND)
def test_no_check_imports_torchs_compiler_and_a_passing_one_no_sympy(function):
    for wrong in ("", " * 1.5"):
        code = CHECK.format(function=function, by_hand=BY_HAND[function], wrong=wrong)
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
        ok, compiler, sympy = ran.stdout.split()
        assert (ok, compiler) == (str(not wrong), "False"), ran.stderr
        assert wrong or sympy == "False"
