"""Whoever follows CONTRIBUTING.md adds ELU, in three files, and the network's checks have it."""

import subprocess
import sys

import pytest

from tests.documents import blocks_of, change_of
from tests.repository import ROOT
from tests.rules.sources import FOLDERS

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
CHECK = """
import numpy as np
from handgrad import Experiment
from handgrad.compare.notes.statements import STATEMENTS

rng = np.random.default_rng(3)
X, y = rng.standard_normal((11, 5)), rng.integers(0, 2, (11, 2)).astype(float)
for scale in (1e-3, 1.0, 1e3):
    report = Experiment((5, 4, 3, 2), ("elu", "elu", "sigmoid"), batch_size=4, l2=0.1).run((scale * X, y))
    assert report.ok and all(row.verdict == "OK" for row in report.rows), str(report)
(statement,) = [statement for statement in STATEMENTS if statement.id == "A8"]
assert statement.verdict == "supplied" and "30 tensors agree" in statement.prove().text, statement.prove().text
"""


@pytest.fixture(scope="module")
def changes():
    return [change_of(block.text) for block in blocks_of(TEXT) if block.language == "diff"]


def test_it_touches_three_files(changes):
    assert [*dict.fromkeys(file for file, *_ in changes)] == [
        "manual/activations.py",
        "torchref/activations.py",
        "compare/operations.py",
    ]


def test_the_operation_that_it_adds_is_right(changes, tmp_path):
    package = tmp_path / "handgrad"
    package.mkdir()
    for path in (ROOT / "handgrad").glob("*.py"):
        (package / path.name).write_bytes(path.read_bytes())
    for part in set(FOLDERS) - {"handgrad"}:
        for path in (ROOT / part).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                target = package / path.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
    for file, before, after in changes:
        text = (package / file).read_text(encoding="utf-8")
        assert text.count(before.rstrip("\n")) == 1, before
        (package / file).write_text(text.replace(before.rstrip("\n"), after.rstrip("\n")), encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", CHECK], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
