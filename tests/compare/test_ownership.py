"""Whose a file is."""

import json

import numpy as np
import pytest
import torch

import handgrad.compare.errors
import handgrad.manual.network
import handgrad.torchref.network
from handgrad.compare.ownership import is_theirs

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
