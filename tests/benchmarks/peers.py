"""The rules that people use today, which the verdict is measured against.

Each takes both sides' records in float32 and in float64, step by step, and says whether it alarms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch

__all__ = ["PEERS", "Steps"]

Steps = list[dict[str, np.ndarray]]


def _assert_close(hand: Mapping[str, Steps], twin: Mapping[str, Steps]) -> bool:
    def compare(ours: np.ndarray, theirs: np.ndarray) -> None:
        torch.testing.assert_close(torch.tensor(ours), torch.tensor(theirs))

    return _any(compare, hand["float32"], twin["float32"])


def _numpy_rtol(dtype: str, rtol: float, hand: Mapping[str, Steps], twin: Mapping[str, Steps]) -> bool:
    return _any(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol), hand[dtype], twin[dtype])


def _twice(hand: Mapping[str, Steps], twin: Mapping[str, Steps]) -> bool:
    """The error against float64 is at most twice torch's own float32 error, tensor by tensor in the maximum norm."""
    for ours, theirs, exact in zip(hand["float32"], twin["float32"], twin["float64"], strict=True):
        for name, reference in exact.items():
            if name in ours and ours[name].shape == reference.shape:
                allowed = 2 * np.max(np.abs(theirs[name].astype(np.float64) - reference), initial=0.0)
                if not np.max(np.abs(ours[name].astype(np.float64) - reference), initial=0.0) <= allowed:
                    return True
    return False


def _any(compare: Callable[[Any, Any], None], hand: Steps, twin: Steps) -> bool:
    for ours, theirs in zip(hand, twin, strict=True):
        for name, reference in theirs.items():
            if name in ours:
                try:
                    compare(ours[name], reference)
                except AssertionError:
                    return True
    return False


PEERS: dict[str, Callable[[Mapping[str, Steps], Mapping[str, Steps]], bool]] = {
    "torch.testing.assert_close, float32": _assert_close,
    "numpy assert_allclose rtol 1e-5, float32": partial(_numpy_rtol, "float32", 1e-5),
    "numpy assert_allclose rtol 1e-7, float64": partial(_numpy_rtol, "float64", 1e-7),
    "at most twice torch's float32 error": _twice,
}
