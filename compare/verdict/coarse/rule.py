"""The verdict on one tensor in a coarse precision: the reference's own rounding allows, and directions accuse.

FAULT    an entry or a slice is off by more than rounding explains, or a direction by more than two roundings of a
         constant, and by more than noise runs are that are judged as if they were kernels
UNTOLD   along a direction it is off by one to two; or a factor of 0.9 could not be told; or noise runs are off as
         much; or, in float32 alone, entries or slices are off by a little, and no direction is
OK       otherwise
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from torch import Tensor

from handgrad.compare.thresholds import COARSE_BLIND, CONSTANTS_UNTOLD, FLOAT32_UNTOLD, WORSE_THAN_NULL
from handgrad.compare.verdict.coarse.case import Case
from handgrad.compare.verdict.coarse.statistics import Statistics

Why = Literal["", "off", "constant", "blind", "noise", "recomputed"]


class Judged(NamedTuple):
    """The verdict on a tensor, why, how far it is off, and the smallest share that a factor must be off to show."""

    verdict: str
    why: Why
    statistics: Statistics
    resolution: float


def judge(case: Case, position: int, kernels: Sequence[Tensor]) -> Judged:
    """Judge one tensor, an output or a gradient by its position, of which there is one for each draw."""
    suspected = suspect(case, position, kernels)
    if suspected.verdict != "FAULT":
        return suspected
    found = suspected.statistics
    nulls = [null[position] for null in case.nulls]
    off = [name for name, times in found.times.items() if times > 1]
    if not any(found.times[name] > WORSE_THAN_NULL * max(null.times[name] for null in nulls) for name in off):
        return suspected._replace(verdict="UNTOLD", why="noise")
    if _may_be_recomputed(case, found):
        return suspected._replace(verdict="UNTOLD", why="recomputed")
    return suspected


def suspect(case: Case, position: int, kernels: Sequence[Tensor]) -> Judged:
    """The verdict before more noise runs are made: a FAULT may turn out to be none, anything else stands."""
    measure = case.measures[position]
    found, resolution = measure(kernels), measure.directions.resolution[None]
    if any(times > 1 for times in found.times.values()):
        return Judged("FAULT", "off", found, resolution)
    if resolution > COARSE_BLIND:
        return Judged("UNTOLD", "blind", found, resolution)
    is_told = found.along.roundings <= CONSTANTS_UNTOLD
    return Judged(*(("OK", "") if is_told else ("UNTOLD", "constant")), found, resolution)


def _may_be_recomputed(case: Case, found: Statistics) -> bool:
    """Whether float32 is all there is, and it is off a little and along no direction."""
    is_float32 = case.format.unit == case.format.accumulated
    return is_float32 and found.worst <= FLOAT32_UNTOLD and found.along.roundings <= CONSTANTS_UNTOLD
