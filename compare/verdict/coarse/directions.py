"""Along which directions a tensor may not be off: rounding has no business there beyond one rounded constant.

A direction v is what one step of the reference contributes: its change where the step's result is larger by a share,
over the share. With weights 1/s^2 and v of unit length, a difference d is

    ( |<d, v>| - 7 sd )+ / ( u max_k |<v_k, v>| )

roundings of one constant off, sd being the noise runs' own. Every direction counts as it is, and without its part along
the gradient, which is a direction itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from handgrad.compare.oracle.coarse.effects import Step
from handgrad.compare.thresholds import (
    ALONG_NOISE,
    APART,
    CONSTANTS_FAULT,
    LEAST_UNIT,
    MOST_NEAR,
    NEARLY,
    PARALLEL,
    VISIBLE,
)
from handgrad.compare.verdict.coarse.deviation import LEAST, Deviation


class Along(NamedTuple):
    """How far a tensor is off along a direction: in roundings of a constant, and as a share of what the step does.

    `step` is None for the tensor itself, along which it is off by a factor.
    """

    roundings: float
    share: float
    step: Step | None


@dataclass(frozen=True)
class Directions:
    """The directions of one tensor, in standard deviations, as rows; and what is allowed along each.

    `units` are of one rounded constant, with the unit roundoff, `noise` what the noise runs reach, `lengths` that of
    what each step does in whole; the first `whole` rows are of steps as they are. `resolution` is, by step, the
    smallest share of it that would have been a FAULT: infinite where the whole of a step would not have shown.
    """

    steps: tuple[Step | None, ...]
    rows: Tensor
    units: Tensor
    noise: Tensor
    lengths: Tensor
    seen: Tensor
    whole: int
    resolution: dict[Step | None, float]

    def farthest(self, difference: Tensor) -> Along:
        """Along which direction a difference, in standard deviations, is furthest off."""
        along = self.rows @ difference
        roundings = (along.abs() - self.noise).clamp(min=0) / self.units.clamp(min=LEAST)
        roundings = torch.where(self.seen, roundings, torch.zeros_like(roundings))
        first = int(roundings.argmax())
        share = float(along[first] / self.lengths[first].clamp(min=LEAST))
        return Along(float(roundings[first]), share, self.steps[first])

    def nearest(self, difference: Tensor) -> list[tuple[Along, Tensor]]:
        """The steps whose direction a difference, in standard deviations, nearly has, with that, the nearest first."""
        along = self.rows[: self.whole] @ difference
        order = torch.argsort(along.abs(), descending=True).tolist()
        near = [i for i in order if float(along[i].abs()) >= NEARLY * float(difference.norm())]
        shares = (along / self.lengths[: self.whole].clamp(min=LEAST)).tolist()
        return [(Along(0.0, shares[i], self.steps[i]), self.rows[i] / self.lengths[i]) for i in near[:MOST_NEAR]]


def directions_of(deviation: Deviation, effects: Sequence[tuple[Step, Sequence[Tensor]]], unit: float) -> Directions:
    """The directions of a tensor: itself, and the effects of steps by draw, of which nearly parallel ones are one."""
    whole = [deviation.whitened(deviation.references), *(deviation.whitened(effect) for _, effect in effects)]
    steps: list[Step | None] = [None, *(step for step, _ in effects)]
    matrix = torch.stack(whole)
    kept, alike = _distinct(matrix)
    everything, matrix = matrix, matrix[kept]
    lengths = matrix.norm(dim=1)
    rows = matrix / lengths.clamp(min=LEAST)[:, None]
    rest = matrix - (matrix @ rows[0])[:, None] * rows[0]
    apart = rest.norm(dim=1)
    is_apart = (apart > APART * lengths) & _shows(rest)
    is_apart[0] = False
    others = is_apart.nonzero().reshape(-1).tolist()
    named = [steps[i] for i in [*kept, *(kept[i] for i in others)]]
    is_whole = torch.tensor([step is None or step.axis is None for step in named[: len(kept)]], device=matrix.device)
    rows_apart = rest[others] / apart[others][:, None]
    parts = [(rows @ matrix.T).abs()[:, is_whole].amax(1), (rows_apart @ rest.T).abs()[:, is_whole].amax(1)]
    units = unit * torch.maximum(torch.cat(parts), LEAST_UNIT * lengths[0])
    rows = torch.cat([rows, rows_apart])
    runs = torch.stack(deviation.whitened_runs)
    noise = ALONG_NOISE * (rows @ runs.T).square().mean(1).sqrt()
    seen = _shows(everything)
    seen[0] = True
    is_told = seen | torch.tensor([step is not None and step.constant is not None for step in steps])
    least = (CONSTANTS_FAULT * units + noise)[alike] / everything.norm(dim=1).clamp(min=LEAST)
    shares = torch.where(is_told.to(seen.device), least, torch.full_like(least, torch.inf)).tolist()
    return Directions(
        tuple(named),
        rows,
        units,
        noise,
        torch.cat([lengths, apart[others]]),
        torch.cat([seen[kept], torch.ones_like(seen[: len(others)])]),
        len(kept),
        dict(zip(steps, shares, strict=True)),
    )


def _shows(matrix: Tensor) -> Tensor:
    """Which rows, in standard deviations, would show in some entry."""
    return matrix.abs().amax(1) >= VISIBLE


def _distinct(matrix: Tensor) -> tuple[list[int], list[int]]:
    """The rows that are neither 0 beside the first nor nearly parallel to an earlier one; and each row's among them."""
    lengths = matrix.norm(dim=1)
    unit = matrix / lengths.clamp(min=LEAST)[:, None]
    parallel = ((unit @ unit.T).abs() > PARALLEL).tolist()
    is_something = (lengths > APART**2 * lengths[0]).tolist()
    kept, alike = [0], [0]
    for i in range(1, len(matrix)):
        same = next((k for k, other in enumerate(kept) if parallel[i][other]), None)
        if same is None and is_something[i]:
            same = len(kept)
            kept.append(i)
        alike.append(same or 0)
    return kept, alike
