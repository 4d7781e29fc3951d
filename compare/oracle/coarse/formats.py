"""How the formats round that a hand-written function may compute in, with nothing finer beside it."""

from __future__ import annotations

from typing import NamedTuple

import torch

from handgrad.compare.thresholds import COARSE_SMALLEST, COARSE_UNITS, TRUNCATED, UNIT_ROUNDOFF


class Format(NamedTuple):
    """A format: the unit roundoff of what is stored, and the smallest number of it.

    `accumulated` is the unit roundoff of sums, `truncated` what is cut off the operands of products at most.
    """

    name: str
    stored: float
    smallest: float
    accumulated: float = UNIT_ROUNDOFF["float32"]
    truncated: float = 0.0

    @property
    def unit(self) -> float:
        """What one constant may be off by."""
        return max(self.stored, self.truncated)

    @property
    def finer(self) -> str:
        """The build of a function that would tell more: in float32, or of one in float32 in float64."""
        return "float64" if self.name == "float32" else "float32"


FORMATS = {
    name: Format(name, unit, COARSE_SMALLEST[name], min(unit, UNIT_ROUNDOFF["float32"]))
    for name, unit in COARSE_UNITS.items()
}
TF32 = FORMATS["float32"]._replace(name="TF32", truncated=TRUNCATED)


def coarsest(dtypes: list[torch.dtype]) -> str:
    """The name of the coarsest of some floating dtypes."""
    return str(max(dtypes, key=lambda dtype: torch.finfo(dtype).eps)).removeprefix("torch.")
