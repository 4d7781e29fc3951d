"""Which conditions of the table hold for a run of the notes' network, from its settings and data."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from handgrad.compare.experiment.data import Data
from handgrad.compare.experiment.settings import Settings
from handgrad.compare.facts.blind_spots import CONDITIONS, blind_spot
from handgrad.compare.facts.remarks import BlindSpot
from handgrad.compare.operations import operation


def blind_spots(settings: Settings, data: Data, steps: int) -> tuple[BlindSpot, ...]:
    """The kinds of mistake that these settings and this data cannot show in so many steps.

    Each names the option that shows what it hides where there is one; what there is depends on the number of examples.
    """
    examples = data.X.shape[1]
    several = "data with several examples" if examples == 1 else f"--batch-size {min(examples, 32)}"
    epoch = f"run a whole epoch with a --batch-size that does not divide {examples}"
    remedies = {
        "batches-of-one": f"use {several}",
        "no-short-batch": epoch if examples > 2 else "use more examples",
        "square-weights": None,
    }
    found = []
    for code, of in _conditions(settings, data, steps).items():
        option = CONDITIONS[code].option
        remedy = remedies.get(code, f"use {option}" if option else None)
        if of:
            found.append(blind_spot(code, () if of is True else of, remedy=remedy))
    return tuple(found)


def _conditions(settings: Settings, data: Data, steps: int) -> dict[str, bool | list[str]]:
    """Which conditions hold, by code, or of which weights."""
    layers, examples = settings.layers, data.X.shape[1]
    size = settings.batch_size or examples
    has_short = examples % size != 0 and steps * size >= examples
    beta = operation("optimizer", settings.optimizer).chosen(settings).get("beta")
    slopes = [operation("activation", name).slope for name in settings.activations]
    entering = slopes if operation("loss", settings.loss).reads == "A" else slopes[:-1]
    sizes = enumerate(pairwise(layers), start=1)
    return {
        "batches-of-one": size == 1,
        "one-step": steps == 1,
        "no-short-batch": size > 1 and not has_short,
        "square-weights": [f"W{layer}" for layer, (n_in, n_out) in sizes if n_in == n_out],
        "no-momentum": beta is None,
        "no-memory": beta == 0,
        "beta-one-half": beta == 0.5,
        "rate-one": settings.learning_rate == 1,
        "no-weight-decay": settings.l2 == 0,
        "no-hidden-layer": len(layers) == 2,
        "one-output": layers[-1] == 1,
        "zero-biases": settings.bias_scale == 0 and steps == 1,
        # no derivative enters a gradient
        "linear-layers": len(layers) > 2 and all(slope == "constant" for slope in entering),
        "kink-of-relu": "stepped" in entering,
        "equal-labels": bool(np.all(data.Y == data.Y.flat[0])),
        "same-start-and-order": True,
    }
