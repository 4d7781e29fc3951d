"""What holds in every test: our packages are imported as handgrad.compare, handgrad.manual and handgrad.torchref."""

import os
import sys

import pytest

os.environ.setdefault("TRITON_INTERPRET", "1")  # before anything imports triton: its kernels run on the CPU

TOP_LEVEL = {"compare", "manual", "torchref"}  # at the root of the repository, Python finds each once more as these


@pytest.fixture(autouse=True)
def _no_second_copy():
    """A second copy of our packages has types of its own: isinstance fails, a planted mistake is not seen."""
    yield
    second = sorted(TOP_LEVEL & sys.modules.keys())
    assert not second, f"imported {', '.join(second)} as of the top level; write handgrad.{second[0]}"
