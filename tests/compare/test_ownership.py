"""Whose a file is."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import handgrad.compare.errors
import handgrad.manual.network
import handgrad.torchref.network
from handgrad.compare.ownership import is_theirs, named, place

FILES = {
    "this test": (__file__, True),
    "the notes' network by hand": (handgrad.manual.network.__file__, True),
    "typed in": ("<stdin>", True),
    "a notebook": ("<ipython-input-1>", True),
    "the engine": (handgrad.compare.errors.__file__, False),
    "the torch side": (handgrad.torchref.network.__file__, False),
    "the public names": (handgrad.__file__, False),
    "NumPy": (np.__file__, False),
    "torch": (torch.__file__, False),
    "the standard library": (json.__file__, False),
    "made up": ("<__array_function__ internals>", False),
}


@pytest.mark.parametrize(("file", "expected"), FILES.values(), ids=FILES)
def test_a_file_is_the_users_if_it_is_neither_ours_nor_of_a_library(file, expected):
    assert is_theirs(file) == expected


def test_a_file_is_named_by_its_path_from_here_or_else_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert named("mine.py") == named(str(tmp_path / "mine.py")) == "mine.py"
    assert named(str(tmp_path / "nets" / "mine.py")) == "nets/mine.py"
    assert named(str(tmp_path.parent / "mine.py")) == "mine.py"
    assert named("<stdin>") == "<stdin>"
    assert named(handgrad.manual.network.__file__) == "manual/network.py"


NOTEBOOK = """
import sys
from IPython.core.compilerop import CachingCompiler
from IPython.core.interactiveshell import InteractiveShell
from traitlets import Type


class Kernels(CachingCompiler):
    def get_code_name(self, raw_code, code, number):  # as ipykernel's has it
        return f"/tmp/ipykernel_123/{abs(hash(raw_code)) % 10**9}.py"


class Shell(InteractiveShell):
    compiler_class = Type(Kernels if "kernel" in sys.argv else CachingCompiler)


shell = Shell.instance(history_manager_class="IPython.core.history.HistoryManager")
shell.history_manager.enabled = False
for cell in (
    "import numpy as np, torch\\nfrom handgrad import check_gradients, tap",
    "def derivation(p, X):\\n    Z = p['W'] @ X\\n    A = np.tanh(Z)\\n    J = (A**2).sum() / 2\\n"
    "    dZ = A * (1 - Z**2)\\n    return {'Z': Z, 'A': A, 'J': J, 'dZ': dZ, 'dW': dZ @ X.T}",
    "def reference(p, X):\\n    Z = tap('Z', p['W'] @ X)\\n    return (tap('A', Z.tanh())**2).sum() / 2",
    "rng = np.random.default_rng(5)\\nparams, X = {'W': rng.standard_normal((3, 4))}, rng.standard_normal((4, 5))",
    "report = check_gradients(derivation, reference, params, (X,))",
):
    shell.run_cell(cell, store_history=True).raise_error()
report = shell.user_ns["report"]
print(report.first.where.name, report.first.line.file, report.first.line.number, report.first.line.text, sep="|")
print(str(report).splitlines()[0])
"""


@pytest.mark.parametrize("kind", ["terminal", "kernel"])
def test_in_a_notebook_the_cell_and_its_line_are_named(kind, tmp_path):
    pytest.importorskip("IPython")
    environment = {**os.environ, "IPYTHONDIR": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", NOTEBOOK, kind], capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    finding, line = done.stdout.splitlines()[-2:]
    assert finding == "dZ|cell 2|5|dZ = A * (1 - Z**2)"
    assert line.startswith("FAULT  dZ at step 1   cell 2, line 5   dZ = A * (1 - Z**2)")


def test_without_ipython_a_cell_has_the_number_of_its_name(monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert named("<ipython-input-7-a1b2c3>") == "cell 7"
    assert named("/tmp/ipykernel_123/456.py") == "cell"
    assert place("cell 7", 5) == "cell 7, line 5"
    assert place("cell", 5) == "cell, line 5"
    assert place("cell 7.py", 5) == "cell 7.py:5"
