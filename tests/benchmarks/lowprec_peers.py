"""The rules that people use today on gradients in one low precision, as they wire them.

Each takes a kernel's gradients, those of eager torch in the same type and those in float64, and says whether it alarms.
Sources: torch.testing's table of tolerances; flash-attention's and torchtitan's tests (twice the error of eager torch,
and a floor); flash-linear-attention's `assert_close`, and the same as its CI runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

Gradients = Sequence[Tensor | None]


def _assert_close(ours: Tensor, eager: Tensor, _: Tensor) -> bool:
    return _raises(ours, eager)


def _assert_close_to_float64(ours: Tensor, _: Tensor, exact: Tensor) -> bool:
    return _raises(ours, exact.to(ours.dtype))


def _hundredth(ours: Tensor, _: Tensor, exact: Tensor) -> bool:
    return _raises(ours.double(), exact, rtol=1e-2, atol=1e-2)


def _raises(ours: Tensor, expected: Tensor, **tolerances: float) -> bool:
    try:
        torch.testing.assert_close(ours, expected, **tolerances)
    except AssertionError:
        return True
    return False


def twice_eager(ours: Tensor, eager: Tensor, exact: Tensor) -> bool:
    """The largest error is at most twice eager torch's, and two roundings of a number 0.3 larger."""
    stored = exact.to(ours.dtype)
    floor = 2 * (stored + 0.3 - 0.3 - stored).abs().max().item()
    return not largest(ours, exact) <= 2 * largest(eager, exact) + floor


def _ratio(ours: Tensor, _: Tensor, exact: Tensor) -> bool:
    """RMS(error) < 0.005 RMS(exact), unless no error is above 1e-6."""
    return not (largest(ours, exact) <= 1e-6 or _rms_ratio(ours, exact) < 0.005)


def _ratio_in_ci(ours: Tensor, _: Tensor, exact: Tensor) -> bool:
    """The same; but a ratio below 0.01, or no error above 0.3, is a warning only."""
    return _ratio(ours, _, exact) and not (_rms_ratio(ours, exact) < 0.01 or largest(ours, exact) <= 0.3)


def largest(ours: Tensor, exact: Tensor) -> float:
    """The largest error."""
    return float((ours.double() - exact).abs().max())


def _rms_ratio(ours: Tensor, exact: Tensor) -> float:
    return float((ours.double() - exact).square().mean().sqrt() / (exact.square().mean().sqrt() + 1e-8))


def _any(rule: Callable[[Tensor, Tensor, Tensor], bool], ours: Gradients, eager: Gradients, exact: Gradients) -> bool:
    return any(a is None or rule(a, b, c) for a, b, c in zip(ours, eager, exact, strict=True))


PEERS: dict[str, Callable[[Gradients, Gradients, Gradients], bool]] = {
    "assert_close against eager": partial(_any, _assert_close),
    "assert_close against float64": partial(_any, _assert_close_to_float64),
    "2 x eager error + floor": partial(_any, twice_eager),
    "RMS ratio < 0.005": partial(_any, _ratio),
    "RMS ratio < 0.005, as in CI": partial(_any, _ratio_in_ci),
    "rtol = atol = 1e-2": partial(_any, _hundredth),
}
