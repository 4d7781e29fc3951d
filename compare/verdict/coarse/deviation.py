"""How far rounding moves each entry of a tensor: the reference's own noise runs, on every draw.

s_i^2 is the mean square over the runs, moderated half and half by the product of row and column means, as a few runs
tell little of one entry; it is at least a share of the entry's own rounding and of the tensor's root mean square.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from handgrad.compare.oracle.coarse.formats import Format
from handgrad.compare.thresholds import MOST_BIAS, OF_ENTRY, OF_TENSOR

LEAST = torch.finfo(torch.float64).tiny


@dataclass(frozen=True)
class Deviation:
    """One tensor by draw: the reference, its noise runs as differences from it, (M, ...), and the deviation of those.

    `bias` is the mean of the runs where operands are truncated, which the runs are without; else it is empty.
    """

    references: tuple[Tensor, ...]
    runs: tuple[Tensor, ...]
    deviations: tuple[Tensor, ...]
    bias: tuple[Tensor, ...] = ()

    def unbiased(self, differences: Sequence[Tensor]) -> list[Tensor]:
        """Differences without the multiple of the bias that comes nearest, which a kernel that rounds has not."""
        if not self.bias:
            return [*differences]
        biases, scaled = self.whitened(self.bias), self.whitened(differences)
        share = float(biases.dot(scaled)) / max(float(biases.dot(biases)), LEAST)
        times = min(max(share, 0.0), MOST_BIAS)
        return [difference - times * bias for difference, bias in zip(differences, self.bias, strict=True)]

    def whitened(self, differences: Sequence[Tensor]) -> Tensor:
        """Differences of all draws in standard deviations, as one vector."""
        pairs = zip(differences, self.deviations, strict=True)
        return torch.cat([(difference / deviation).reshape(-1) for difference, deviation in pairs])

    @property
    def whitened_runs(self) -> list[Tensor]:
        """Each noise run in standard deviations, one vector over all draws."""
        return [self.whitened([run[m] for run in self.runs]) for m in range(len(self.runs[0]))]


def deviation_of(references: Sequence[Tensor], noisy: Sequence[Sequence[Tensor]], format: Format) -> Deviation:
    """What rounding does to a tensor: the reference and its noise runs, by draw."""
    drawn = torch.Generator().manual_seed(0)
    runs, bias = [], []
    for reference, made in zip(references, noisy, strict=True):
        off = torch.stack([run - reference for run in made])
        own = torch.rand(off.shape, generator=drawn, dtype=torch.float64).to(off.device) * 2 - 1
        off = off + (format.stored * reference.abs() + format.smallest) * own  # the result is stored
        if format.truncated:
            mean, count = off.mean(0), len(made)
            bias.append(mean)
            off = (off - mean) * math.sqrt(count / (count - 1))
        runs.append(off)
    floors = [OF_ENTRY * format.stored * reference.abs() + format.smallest for reference in references]
    deviations = [_moderated(off, floor) for off, floor in zip(runs, floors, strict=True)]
    return Deviation(tuple(references), tuple(runs), tuple(deviations), tuple(bias))


def _moderated(off: Tensor, floor: Tensor) -> Tensor:
    """The standard deviation by entry from a few runs (M, ...)."""
    variance = off.square().mean(0)
    flat = variance.reshape(-1, variance.shape[-1]) if variance.dim() > 1 else variance.reshape(1, -1)
    total = flat.mean()
    if variance.dim() > 1:
        expected = flat.mean(1, keepdim=True) * flat.mean(0, keepdim=True) / total.clamp(min=LEAST)
    else:
        expected = torch.minimum(total.expand_as(flat), 4 * flat)  # a vector has no second axis
    moderated = ((flat + expected) / 2).reshape(variance.shape) + floor.square()
    return (moderated + OF_TENSOR**2 * moderated.mean()).sqrt().clamp(min=LEAST)
