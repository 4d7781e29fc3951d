"""Evidence in bits: how much of a wrong tensor a hypothesis explains, and what it has to pay for being one of many."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import log2

import torch
from torch import Tensor

from handgrad.compare.thresholds import UNEXPLAINED, UNEXPLAINED_SHARE, UNIT_ROUNDOFF

MOST_BITS = 44.0  # of one entry: a double has 53, of which the derivation's own rounding leaves these
ENOUGH_BITS = 20.0  # left over: one of a million random tensors would be named (NAMING section 3)
COPIES = 2.0**34  # entries that are equal to so many parts of the largest are one coincidence
DISTINCT = 4.0  # allowances: an entry that is off by more is wrong


@dataclass(frozen=True)
class Observed:
    """A wrong tensor beside the reference on the same, both in float64; `dtype` is the precision of the records.

    `allowed` is what rounding is known to do to it, if that is known; `share` is what it may do to any tensor. `noise`
    is how far each entry is open besides, as in a tensor that was recovered from others: below it there is no evidence.
    """

    recorded: Tensor
    reference: Tensor
    dtype: str = "float64"
    allowed: float = 0.0
    share: float | None = None
    noise: Tensor | float = 0.0

    @cached_property
    def difference(self) -> Tensor:
        """Entry by entry, without sign."""
        return (self.recorded - self.reference).abs()

    @cached_property
    def largest(self) -> float:
        """The largest entry on either side."""
        return max((float(side.abs().max()) for side in (self.recorded, self.reference) if side.numel()), default=0.0)

    @cached_property
    def rounding(self) -> float:
        """How far rounding may leave a prediction off."""
        share = UNEXPLAINED[self.dtype] if self.share is None else self.share
        own = share * float(self.recorded.abs().max()) if self.recorded.numel() else 0.0
        return max(own, self.allowed)

    @cached_property
    def limit(self) -> float:
        """The same, and no more than a small part of the difference."""
        worst = float(self.difference.max()) if self.recorded.numel() else 0.0
        return min(self.rounding, UNEXPLAINED_SHARE * worst)

    def is_explained_by(self, predicted: object) -> bool:
        """Whether the recorded tensor is the predicted one, to within rounding."""
        if not isinstance(predicted, Tensor) or predicted.shape != self.recorded.shape or not predicted.numel():
            return False
        return not predicted.is_complex() and self.residue(predicted) <= self.limit

    def is_same(self, reference: Tensor) -> bool:
        """Whether another form of the formula gives the reference as well, to within rounding."""
        if reference.shape != self.reference.shape:
            return False
        return not reference.numel() or float((reference.double() - self.reference).abs().max()) <= self.rounding

    def is_nearly(self, predicted: Tensor) -> bool:
        """The same, also where the reference itself is that near."""
        shape = self.recorded.shape
        return predicted.shape == shape and self.residue(predicted) <= self.rounding

    def residue(self, predicted: Tensor) -> float:
        """The largest difference that a prediction leaves, of what is more than the noise."""
        return float(self.beyond_noise((self.recorded - predicted.double()).abs()).max())

    def beyond_noise(self, left: Tensor) -> Tensor:
        """Differences, 0 where they are no more than the noise."""
        return torch.where(left <= self.noise, 0.0, left)

    def bits(self, predicted: Tensor) -> float:
        """log2(difference from the reference / difference from the prediction), over wrong and distinct entries.

        All but one entry say no more than how far the entries lie apart, in units of the noise.
        """
        unit = UNIT_ROUNDOFF[self.dtype]
        allowed = 16 * unit * predicted.abs() + 8 * unit * max(self.largest, float(predicted.abs().max()))
        left = torch.maximum((self.recorded - predicted).abs(), allowed + self.noise)
        wrong = self.difference > DISTINCT * allowed + self.noise
        if not bool(wrong.any()):
            return 0.0
        of_entries = torch.log2(self.difference[wrong] / left[wrong]).clamp(0.0, MOST_BITS)
        places = torch.round(predicted[wrong] / (self.largest / COPIES))
        _, groups = torch.unique(places, return_inverse=True)
        least = torch.full((int(groups.max()) + 1,), MOST_BITS, dtype=torch.float64)
        bits = least.scatter_reduce(0, groups, of_entries.double(), "amin").sort().values
        noise = torch.as_tensor(self.noise, dtype=torch.float64).mean().clamp(torch.finfo(torch.float64).tiny)
        apart = torch.log2(self.recorded.std(correction=0) / noise).clamp(0.0, MOST_BITS)
        return float(bits[-1] + torch.minimum(bits[:-1], apart).sum())


def price(tier: int, tried: int, fitted: bool, edits: int = 1) -> float:
    """What a hypothesis pays: its tier, of each edit a bit and the number of its like, and a fitted number's bits."""
    return tier + edits * (1 + log2(max(tried, 1))) + (MOST_BITS if fitted else 0.0)


def multiple(target: Tensor, of: Tensor) -> float:
    """c that makes c times a tensor come nearest to a target, in the sense of least squares; 0 where there is none."""
    if not of.is_floating_point() or of.shape != target.shape or not of.numel():
        return 0.0
    scale = float(of.abs().max())
    if not 0 < scale < float("inf"):
        return 0.0
    unit = of / scale  # so that no square overflows
    return float((target / scale * unit).sum() / (unit * unit).sum())
