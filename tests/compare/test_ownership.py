"""Whose a file is."""

import json

import numpy as np
import pytest
import torch

import handgrad.compare.errors
import handgrad.manual.network
import handgrad.torchref.network
from handgrad.compare.ownership import is_theirs, named

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
