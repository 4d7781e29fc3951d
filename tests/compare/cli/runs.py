"""A file to check, and the command line run on words."""

from handgrad.compare.cli.commands import main

LINEAR = """
import numpy as np
params, batch = {"w": np.ones(2)}, (np.array([1.0, 2.0]),)

def derivation(p, X):
    return {"J": (p["w"] * X).sum(), "dw": X}

def reference(p, X):
    return (p["w"] * X).sum()
"""


def run(capsys, *words):
    """The exit status, what was printed, and the errors."""
    try:
        code = main([*words])
    except SystemExit as stop:  # argparse
        code = stop.code
    return code, *capsys.readouterr()
