"""What holds in every test: our packages are imported as handgrad.compare, handgrad.manual and handgrad.torchref.

And none fails by chance: what Hypothesis draws is the same in every run, however fast the machine.
"""

import gc
import os
import sys

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("TRITON_INTERPRET", "1")  # before anything imports triton: its kernels run on the CPU

TOP_LEVEL = {"compare", "manual", "torchref"}  # at the root of the repository, Python finds each once more as these

settings.register_profile("repeatable", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("repeatable")
gc.disable()  # while tests are collected nothing is garbage: it would walk through all of torch and every syntax tree


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def _no_second_copy():
    """A second copy of our packages has types of its own: isinstance fails, a planted mistake is not seen."""
    yield
    second = sorted(TOP_LEVEL & sys.modules.keys())
    assert not second, f"imported {', '.join(second)} as of the top level; write handgrad.{second[0]}"


@pytest.fixture
def no_causes(monkeypatch):
    """Half of a check of wrong code is the search for its name: left out where many are only to be found."""
    from handgrad.compare.pipeline import judged
    from tests.support import NO_CAUSES

    for name, function in NO_CAUSES.items():
        monkeypatch.setattr(judged, name, function)
