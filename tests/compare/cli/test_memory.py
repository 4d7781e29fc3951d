"""What a check from the shell asks of the allocator."""

import ctypes
import subprocess
import sys
from types import SimpleNamespace

import pytest

from handgrad.compare.cli.memory import keep_freed_memory

FAULTS = """
import resource, sys, numpy as np
from handgrad.compare.cli.memory import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
for _ in range(3):
    np.ones(2**23)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    np.ones(2**23)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.parametrize("library", [SimpleNamespace(), None], ids=["without mallopt", "on another system"])
def test_where_there_is_no_mallopt_nothing_is_done(library, monkeypatch):
    if library is None:
        monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    keep_freed_memory()


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library has no mallopt")
def test_memory_that_was_freed_is_not_asked_for_again():
    kept, asked = (
        int(subprocess.run([sys.executable, "-c", FAULTS, how], check=True, capture_output=True, text=True).stdout)
        for how in ("kept", "asked")
    )
    assert kept < asked / 10, (kept, asked)
