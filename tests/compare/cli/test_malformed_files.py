"""Malformed files for `handgrad check`: a report or one sentence, never a traceback of ours."""

import contextlib
import io

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handgrad.compare.cli.commands import main

fuzz = settings(max_examples=50, suppress_health_check=list(HealthCheck))

lines = st.sampled_from(
    [
        "import numpy as np", "derivation = 3", "def derivation(p, x): return p", "reference = None", "params = {}",
        "def reference(p, x): return p['w'].sum()", "params = {'w': [1.0, 2.0]}", "batch = ([1.0],)", "batch = 7",
        "raise SystemExit", "raise KeyError('x')", "1 +", "\tx", "def f():", "import nothing_here", "exit()", "(",
        "update = print", "optimizer = len", "trainer = iter", "batches = [batch]", "steps = 'x'", "shape = ()",
        "initializer = max", "torch_initializer = min", "def derivation(): pass", "del params", "precisions = 5",
        "gradients = 5", "seed = 'x'", "shape = (2, 3)", "import os; os.nothing", "é = 'ü'", "# coding: nothing", "\0",
    ]
)  # fmt: skip


@fuzz
@given(st.lists(lines, max_size=9), st.sampled_from([[], ["--strict"], ["--only", "updates"], ["--format", "json"]]))
def test_files_of_anything(tmp_path_factory, content, flags):
    path = tmp_path_factory.mktemp("files") / "mine.py"
    path.write_text("\n".join(content), encoding="utf-8")
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["check", str(path), *flags])
    assert code in (0, 1, 2)
    assert "Traceback" not in err.getvalue()
    if code == 2:
        assert err.getvalue().splitlines()[-1].startswith("handgrad: ")
        assert out.getvalue() == ""
