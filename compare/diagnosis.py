"""What kind of mistake explains a tensor: a cause is named only if the tensor it predicts is the recorded one.

A hypothesis is the local reference changed in one way: times a factor, negated, transposed, zero. It is accepted if the
recorded tensor differs from it by no more than rounding, as the precision ladder decides. What nothing explains is
`unknown`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from compare.verdict import Local, judge

__all__ = ["UNKNOWN", "Cause", "explained", "named_factors"]

INFORMATIVE = 3  # entries that a tensor must have before its cause is named; fewer can be explained by anything


@dataclass(frozen=True)
class Cause:
    """A code of the catalogue, a sentence, and the factor between the two sides where there is one.

    `factor` is there for a tensor that is too small to name a cause, too: others may share it.
    """

    code: str
    text: str = ""
    factor: float | None = None


UNKNOWN = Cause("unknown")


def explained(runs: Mapping[str, Local], sizes: Mapping[str, int]) -> Cause:
    """The cause of a tensor's difference, from its runs by dtype; `sizes` names the numbers that a factor may be."""
    finest = runs.get("float64", next(iter(runs.values())))
    recorded, reference = finest.recorded.astype(np.float64), finest.reference
    if not recorded.any():
        return Cause("zero", "by hand it is exactly zero everywhere")
    factor = next((f for f in _factors(recorded, reference) if _explains(runs, f)), None)
    if factor is not None:
        if np.count_nonzero(reference) < INFORMATIVE:
            return Cause("unknown", "it has too few entries to name a cause", factor)
        if factor == -1.0:
            return Cause("sign", "every entry has the wrong sign", factor)
        direction = "too large" if abs(factor) > 1 else "too small" if factor > 0 else "off"
        return Cause("scale", f"every entry is {_shown(factor, sizes)} times torch's, {direction}", factor)
    square = recorded.ndim == 2 and recorded.shape[0] == recorded.shape[1] > 1
    if square and _agree({dtype: Local(local.recorded.T, local.reference) for dtype, local in runs.items()}):
        return Cause("transpose", "it is the transpose of what it should be")
    return UNKNOWN


def _factors(recorded: np.ndarray, reference: np.ndarray) -> list[float]:
    """The factor that fits best, after the whole number nearest to it or to one over it."""
    scale = float(np.max(np.abs(reference), initial=0.0))
    if not (np.isfinite(recorded).all() and np.isfinite(scale)) or scale == 0.0:
        return []
    unit = reference / scale
    factor = float(np.vdot(recorded / scale, unit) / np.vdot(unit, unit))
    simple = float(round(factor)) if abs(factor) >= 1 else 1 / round(1 / factor) if factor else 0.0
    return [f for f in (simple, factor) if f not in (0.0, 1.0)]


def _explains(runs: Mapping[str, Local], factor: float) -> bool:
    return _agree({dtype: Local(local.recorded, factor * local.reference) for dtype, local in runs.items()})


def _agree(runs: Mapping[str, Local]) -> bool:
    with np.errstate(all="ignore"):
        return judge(runs, None, None).verdict == "OK"


def _shown(factor: float, sizes: Mapping[str, int]) -> str:
    names = " or ".join(named_factors(factor, sizes))
    return f"{factor:.12g}" + (f" = {names}" if names else "")


def named_factors(factor: float, sizes: Mapping[str, int]) -> tuple[str, ...]:
    """The names that a factor goes by: a size or one over it; two sizes may be equal, then all are named."""
    found = []
    for name, size in sizes.items():
        if size > 1:
            found += [name] if abs(abs(factor) - size) <= 1e-9 * size else []
            found += [f"1/({name})"] if abs(abs(factor) * size - 1) <= 1e-9 else []
    return tuple(found)
