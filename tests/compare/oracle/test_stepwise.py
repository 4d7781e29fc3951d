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


COMPILED = """
import numpy as np
import torch
import handgrad
from handgrad import tap
from handgrad.compare.oracle.noise import Noise

@torch.compile(backend="eager")
def doubled(Z):
    return 2 * torch.tanh(Z)

def reference(params, X):
    return (doubled(tap("Z", params["W"] @ X)) ** 2).sum()

def derivation(params, X):
    A = np.tanh(params["W"] @ X)
    dZ = 12 * A * (1 - A**2)
    return {"J": 4 * (A**2).sum(), "dZ": dZ, "dW": dZ @ X.T}

rng = np.random.default_rng(7)
report = handgrad.check_gradients(
    derivation, reference, {"W": rng.standard_normal((3, 4))}, (rng.standard_normal((4, 5)),)
)
print(report.first.cause.code, hasattr(Noise.__torch_dispatch__, "_torchdynamo_disable"))
"""


def test_the_compiler_is_kept_off_where_the_reference_has_it():
    """It would follow the checker's own code otherwise, for half a minute."""
    ran = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, timeout=300)
    assert ran.stdout.split() == ["scale", "True"], ran.stderr
    assert "Dynamo" not in ran.stderr
