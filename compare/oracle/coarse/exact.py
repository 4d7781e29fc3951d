"""A reference on some draws without roundings: what comes out, and what each of its steps contributes to that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from handgrad.compare.oracle.coarse.effects import Effect, Step
from handgrad.compare.oracle.coarse.evaluation import Draw, Reference, evaluate
from handgrad.compare.thresholds import MOST_DIRECTIONS, SHARE_OF_STEP


@dataclass(frozen=True)
class Exact:
    """The outputs and gradients by draw, the steps that are looked at, and what each contributes, by draw and step.

    `opaque` are the operations that are not looked into.
    """

    reference: Reference
    draws: tuple[Draw, ...]
    results: tuple[list[Tensor], ...]
    steps: tuple[Step, ...]
    effects: tuple[list[list[Tensor]], ...]
    opaque: tuple[str, ...]


def exact_of(reference: Reference, draws: Sequence[Draw]) -> Exact:
    """Evaluate a reference on draws, and with each step's result a little larger."""
    probe = Effect()
    results = [evaluate(reference, draws[0], probe), *(evaluate(reference, draw, Effect()) for draw in draws[1:])]
    steps = _chosen(probe.steps)
    pairs = zip(draws, results, strict=True)
    effects = [[effect_of(reference, draw, step, plain) for step in steps] for draw, plain in pairs]
    return Exact(reference, tuple(draws), tuple(results), tuple(steps), tuple(effects), tuple(probe.opaque))


def effect_of(reference: Reference, draw: Draw, step: Step, plain: Sequence[Tensor]) -> list[Tensor]:
    """What a step contributes to each tensor of a draw; `plain` is what it is without a share of the step."""
    larger = evaluate(reference, draw, Effect(step, SHARE_OF_STEP))
    return [(b - a) / SHARE_OF_STEP for a, b in zip(plain, larger, strict=True)]


def _chosen(steps: Sequence[Step]) -> list[Step]:
    """Of whole steps, and of their last entries, so many at most, evenly; of constants, so many."""
    whole = [step for step in steps if step.axis is None and step.constant is None]
    constants = [step for step in steps if step.constant is not None]
    ends = [step for step in steps if step.axis is not None]
    return [step for kind in (whole, constants, ends) for step in kind[:: math.ceil(len(kind) / MOST_DIRECTIONS) or 1]]
