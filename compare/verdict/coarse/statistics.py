"""How far a tensor is off in units of what rounding explains: by entry, by slice, along a direction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from handgrad.compare.thresholds import CHANCE_OF_ENTRY, CONSTANTS_FAULT, OF_SLICE
from handgrad.compare.verdict.coarse.deviation import LEAST, Deviation
from handgrad.compare.verdict.coarse.directions import Along, Directions


class Statistics(NamedTuple):
    """The entry and the slice that are furthest off, above 1 where rounding does not explain it; and along what.

    `draw` and `entry`, a position, are where the entry stands.
    """

    by_entry: float
    by_slice: float
    along: Along
    draw: int = 0
    entry: int = 0

    @property
    def times(self) -> dict[str, float]:
        """Each statistic in units of what makes a FAULT."""
        return {"entry": self.by_entry, "slice": self.by_slice, "along": self.along.roundings / CONSTANTS_FAULT}

    @property
    def worst(self) -> float:
        """How many times what rounding explains it is off."""
        return max(self.times.values())


class Null(NamedTuple):
    """What the noise runs reach by themselves: the largest entry, and the largest slice."""

    entry: float
    slice: float


def null_of(deviation: Deviation) -> Null:
    """The largest that noise runs reach."""
    runs = deviation.whitened_runs
    entry = max((float(run.abs().max()) for run in runs if run.numel()), default=0.0)
    by_slice = (_slice(deviation, [run[m] for run in deviation.runs], 0.0) for m in range(len(runs)))
    return Null(entry, max(by_slice, default=0.0))


def entry_limit(scaled: Tensor, null: Null) -> float:
    """How many standard deviations the largest of so many entries may be off."""
    return max(math.sqrt(2 * math.log(2 * scaled.numel() / CHANCE_OF_ENTRY)), null.entry)


def statistics(
    deviation: Deviation, directions: Directions, null: Null, differences: Sequence[Tensor], unit: float
) -> Statistics:
    """How far a tensor is off whose differences from the reference are these, by draw."""
    differences = deviation.unbiased(differences)
    scaled = deviation.whitened(differences)
    if not scaled.numel():
        return Statistics(0.0, 0.0, Along(0.0, 0.0, None))
    at = int(scaled.abs().argmax())
    by_entry = float(scaled[at].abs()) / entry_limit(scaled, null)
    off = _slice(deviation, differences, CONSTANTS_FAULT * unit / OF_SLICE)
    sizes = [difference.numel() for difference in differences]
    draw = 0
    while at >= sizes[draw]:
        at -= sizes[draw]
        draw += 1
    return Statistics(by_entry, off / (OF_SLICE * max(1.0, null.slice)), directions.farthest(scaled), draw, at)


def _slice(deviation: Deviation, differences: Sequence[Tensor], share: float) -> float:
    """The largest ratio of a slice's root mean square to its deviation, over axes and indices."""
    pairs = [*zip(deviation.references, deviation.deviations, strict=True)]
    squares = [difference.square() for difference in differences]
    variances = [spread.square() + (share * reference).square() for reference, spread in pairs]

    def ratio(axis: int) -> float:
        others = [other for other in range(squares[0].dim()) if other != axis]
        off, allowed = (torch.stack([t.sum(others) if others else t for t in of]).sum(0) for of in (squares, variances))
        return float((off / allowed.clamp(min=LEAST)).sqrt().max())

    return max((ratio(axis) for axis in range(squares[0].dim()) if squares[0].numel()), default=0.0)
