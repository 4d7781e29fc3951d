"""The rules that people use today, which the verdict is measured against.

Each takes both sides' records in float32 and in float64, step by step, and says whether it alarms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.benchmarks.lowprec_peers import largest, twice_eager

__all__ = ["PEERS", "Steps"]

Steps = list[dict[str, np.ndarray]]


def _assert_close(hand: Mapping[str, Steps], twin: Mapping[str, Steps]) -> bool:
    def compare(ours: np.ndarray, theirs: np.ndarray) -> None:
        torch.testing.assert_close(torch.tensor(ours), torch.tensor(theirs))

    return _any(compare, hand["float32"], twin["float32"])


def _numpy_rtol(dtype: str, rtol: float, hand: Mapping[str, Steps], twin: Mapping[str, Steps]) -> bool:
    return _any(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol), hand[dtype], twin[dtype])


def _beside_float64(
    rule: Callable[[Tensor, Tensor, Tensor], bool], hand: Mapping[str, Steps], twin: Mapping[str, Steps]
) -> bool:
    """Whether a rule alarms at a tensor in float32 that is handed torch's in float32 and in float64 as well."""
    for ours, theirs, exact in zip(hand["float32"], twin["float32"], twin["float64"], strict=True):
        for name, reference in exact.items():
            is_there = name in ours and ours[name].shape == reference.shape
            if is_there and rule(*(torch.tensor(side) for side in (ours[name], theirs[name], reference))):
                return True
    return False


def _twice(ours: Tensor, eager: Tensor, exact: Tensor) -> bool:
    """The largest error is at most twice torch's own."""
    return not largest(ours, exact) <= 2 * largest(eager, exact)


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
    "at most twice torch's float32 error": partial(_beside_float64, _twice),
    "twice torch's float32 error + floor": partial(_beside_float64, twice_eager),
}
