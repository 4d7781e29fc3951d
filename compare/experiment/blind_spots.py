"""Which conditions of the table hold for a run of the notes' network, from its settings and data."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from handgrad.compare.experiment.data import Data
from handgrad.compare.experiment.settings import Settings
from handgrad.compare.facts.blind_spots import CONDITIONS, blind_spot
from handgrad.compare.facts.remarks import BlindSpot


def blind_spots(settings: Settings, data: Data, steps: int) -> tuple[BlindSpot, ...]:
    """The kinds of mistake that these settings and this data cannot show in so many steps."""
    sizes = enumerate(pairwise(settings.layers), start=1)
    square = [f"W{layer}" for layer, (n_in, n_out) in sizes if n_in == n_out]
    return (
        *_of_batches(settings, data.X.shape[1], steps),
        *((blind_spot("square-weights", square),) if square else ()),
        *_applying(
            *_of_optimizer(settings),
            *_of_network(settings, steps),
            ("equal-labels", bool(np.all(data.Y == data.Y.flat[0]))),
            ("same-start-and-order", True),
        ),
    )


def _applying(*rows: tuple[str, bool]) -> Iterator[BlindSpot]:
    """The conditions, by code, that hold, with the option that shows what they hide where there is one."""
    for code, holds in rows:
        if holds:
            option = CONDITIONS[code].option
            yield blind_spot(code, remedy=f"use {option}" if option else None)


def _of_batches(settings: Settings, examples: int, steps: int) -> Iterator[BlindSpot]:
    """The conditions whose remedy depends on how many examples there are."""
    size = examples if settings.batch_size is None else settings.batch_size
    has_short = examples % size != 0 and steps * size >= examples
    if size == 1:
        several = "data with several examples" if examples == 1 else f"--batch-size {min(examples, 32)}"
        yield blind_spot("batches-of-one", remedy=f"use {several}")
    yield from _applying(("one-step", steps == 1))
    if size > 1 and not has_short:
        epoch = f"run a whole epoch with a --batch-size that does not divide {examples}"
        yield blind_spot("no-short-batch", remedy=epoch if examples > 2 else "use more examples")


def _of_optimizer(settings: Settings) -> Iterator[tuple[str, bool]]:
    beta = settings.beta if settings.optimizer == "momentum" else None
    yield "no-momentum", beta is None
    yield "no-memory", beta == 0
    yield "beta-one-half", beta == 0.5
    yield "rate-one", settings.learning_rate == 1
    yield "no-weight-decay", settings.l2 == 0


def _of_network(settings: Settings, steps: int) -> Iterator[tuple[str, bool]]:
    layers = settings.layers
    entering = settings.activations if settings.loss == "squared-error" else settings.activations[:-1]
    yield "no-hidden-layer", len(layers) == 2
    yield "one-output", layers[-1] == 1
    yield "zero-biases", settings.bias_scale == 0 and steps == 1
    # no derivative enters a gradient
    yield "linear-layers", len(layers) > 2 and all(name == "identity" for name in entering)
    yield "kink-of-relu", "relu" in settings.activations
