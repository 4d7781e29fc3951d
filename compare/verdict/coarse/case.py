"""A reference on some draws, and what rounding does to all that comes out: many kernels are judged against it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from handgrad.compare.oracle.coarse.effects import Effect, Step
from handgrad.compare.oracle.coarse.evaluation import Draw, Reference, evaluate
from handgrad.compare.oracle.coarse.exact import Exact
from handgrad.compare.oracle.coarse.formats import Format
from handgrad.compare.oracle.coarse.roundings import Roundings
from handgrad.compare.thresholds import COARSE_RUNS, NULL_RUNS, TRIES_FOR_SHARE
from handgrad.compare.verdict.coarse.deviation import Deviation, deviation_of
from handgrad.compare.verdict.coarse.directions import Along, Directions, directions_of
from handgrad.compare.verdict.coarse.statistics import Null, Statistics, entry_limit, null_of, statistics

SEED, SPACING = 1_000_000, 1000  # of the first noise run, and between draws


@dataclass(frozen=True)
class Measure:
    """One tensor: what rounding does to it, and how far a kernel's is off in such units."""

    deviation: Deviation
    directions: Directions
    null: Null
    unit: float

    def __call__(self, kernels: Sequence[Tensor]) -> Statistics:
        """How far tensors, by draw, are off."""
        return statistics(self.deviation, self.directions, self.null, self._differences(kernels), self.unit)

    def scaled(self, kernels: Sequence[Tensor]) -> Tensor:
        """How far tensors, by draw, are off, in standard deviations."""
        return self.deviation.whitened(self.deviation.unbiased(self._differences(kernels)))

    def _differences(self, kernels: Sequence[Tensor]) -> list[Tensor]:
        pairs = zip(kernels, self.deviation.references, strict=True)
        return [kernel.double() - reference for kernel, reference in pairs]


@dataclass(frozen=True)
class Case:
    """A reference in a format; `measures` has one for each output and gradient."""

    exact: Exact
    format: Format
    measures: tuple[Measure, ...]

    @cached_property
    def nulls(self) -> list[list[Statistics]]:
        """Fresh noise runs as if they were kernels: how far each tensor of each is off."""
        reference, draws = self.exact.reference, self.exact.draws
        runs = [_noisy(reference, draw, self.format, NULL_RUNS, ~s) for s, draw in enumerate(draws)]
        return [
            [measure([made[m][i] for made in runs]) for i, measure in enumerate(self.measures)]
            for m in range(NULL_RUNS)
        ]

    def explained(self, position: int, kernels: Sequence[Tensor]) -> Along | None:
        """The step, or the tensor itself, whose share makes a tensor what it is to within rounding; None without one.

        The share is looked for by evaluating the reference with it, as what a step contributes may not be linear.
        """
        measure = self.measures[position]
        difference = measure.scaled(kernels)
        limit = entry_limit(difference, measure.null)
        for along, towards in measure.directions.nearest(difference):
            share = along.share
            for _ in range(TRIES_FOR_SHARE):
                left = difference - self._with(position, along.step, share)
                if float(left.abs().max()) <= limit:
                    return along._replace(share=share)
                share += float(left.dot(towards))
                if not math.isfinite(share):
                    break
        return None

    def _with(self, position: int, step: Step | None, share: float) -> Tensor:
        """How far the reference is off, in standard deviations, where a step is larger by a share."""
        measure = self.measures[position]
        if step is None:
            return share * measure.deviation.whitened(measure.deviation.references)
        made = [evaluate(self.exact.reference, draw, Effect(step, share))[position] for draw in self.exact.draws]
        return measure.scaled(made)


def case_of(exact: Exact, format: Format) -> Case:
    """A reference in a format: everything that does not depend on a kernel."""
    noisy = [_noisy(exact.reference, draw, format, COARSE_RUNS, s) for s, draw in enumerate(exact.draws)]
    measures = []
    for i in range(len(exact.results[0])):
        runs = [[made[i] for made in of_draw] for of_draw in noisy]
        deviation = deviation_of([results[i] for results in exact.results], runs, format)
        moved = [(step, [of_draw[k][i] for of_draw in exact.effects]) for k, step in enumerate(exact.steps)]
        directions = directions_of(deviation, moved, format.unit)
        measures.append(Measure(deviation, directions, null_of(deviation), format.unit))
    return Case(exact, format, tuple(measures))


def _noisy(reference: Reference, draw: Draw, format: Format, runs: int, of_draw: int) -> list[list[Tensor]]:
    """Noise runs on a draw, whose seeds are of another one each."""
    seeds = (SEED + SPACING * of_draw + run for run in range(runs))
    return [evaluate(reference, draw, Roundings(format, seed)) for seed in seeds]
