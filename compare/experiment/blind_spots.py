"""What a run of the notes' network could not reveal, from its settings and data, with the change that would."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from handgrad.compare.experiment.data import Data
from handgrad.compare.experiment.settings import Settings
from handgrad.compare.facts.remarks import BlindSpot

Rows = tuple[tuple[bool, str, str, str, str], ...]  # whether it applies, and a blind spot's fields


def blind_spots(settings: Settings, data: Data, steps: int) -> tuple[BlindSpot, ...]:
    """The kinds of mistake that these settings and this data cannot show in so many steps."""
    rows = (
        *_of_batches(settings, data.X.shape[1], steps),
        *_of_optimizer(settings),
        *_of_network(settings, steps),
        *_of_data(data),
    )
    return tuple(BlindSpot(code, hides, because, remedy) for applies, code, hides, because, remedy in rows if applies)


def _of_batches(settings: Settings, examples: int, steps: int) -> Rows:
    size = examples if settings.batch_size is None else settings.batch_size
    several = "data with several examples" if examples == 1 else f"--batch-size {min(examples, 32)}"
    epoch = f"run a whole epoch with a --batch-size that does not divide {examples}"
    has_short = examples % size != 0 and steps * size >= examples
    return (
        (size == 1, "batches-of-one", "mistakes in sums over examples", "batches of 1", f"use {several}"),
        (steps == 1, "one-step", "state carried from step to step", "one step", "use --steps 5"),
        (
            size > 1 and not has_short,
            "no-short-batch",
            "a short last batch",
            "no step has one",
            epoch if examples > 2 else "use more examples",
        ),
    )


def _of_optimizer(settings: Settings) -> Rows:
    beta = settings.beta if settings.optimizer == "momentum" else None
    return (
        (beta is None, "no-momentum", "momentum", "gradient descent", "use --optimizer momentum"),
        (beta == 0, "no-memory", "the memory of momentum", "beta is 0", "use --beta 0.9"),
        (beta == 0.5, "beta-one-half", "beta swapped with 1 - beta", "beta is 0.5", "use --beta 0.9"),
        (
            settings.learning_rate == 1,
            "rate-one",
            "a learning rate that is forgotten or used twice",
            "it is 1",
            "use --learning-rate 0.1",
        ),
        (settings.l2 == 0, "no-weight-decay", "weight decay", "l2 is 0", "use --l2 0.1"),
    )


def _of_network(settings: Settings, steps: int) -> Rows:
    layers = settings.layers
    is_square = any(a == b for a, b in pairwise(layers))
    entering = settings.activations if settings.loss == "squared-error" else settings.activations[:-1]
    is_linear = len(layers) > 2 and all(name == "identity" for name in entering)  # no derivative enters a gradient
    derivative, sizes = "the derivative of an activation", "transposes seen by their shape"
    return (
        (len(layers) == 2, "no-hidden-layer", "errors passed between layers", "no hidden layer", "use more --layers"),
        (layers[-1] == 1, "one-output", "mistakes between outputs", "one output", "use data with several labels"),
        (is_square, "square-weights", sizes, "a weight matrix is square", "use widths that differ"),
        (
            settings.bias_scale == 0 and steps == 1,
            "zero-biases",
            "an unused bias",
            "biases are 0",
            "use --bias-scale 0.1",
        ),
        (is_linear, "linear-layers", derivative, "no hidden layer has one but 1", "use tanh or relu"),
        (
            "relu" in settings.activations,
            "kink-of-relu",
            "ReLU' at exactly 0",
            "random weights hardly ever give z = 0",
            "",
        ),
    )


def _of_data(data: Data) -> Rows:
    are_equal = bool(np.all(data.Y == data.Y.flat[0]))
    both = "mistakes in initialisers or the order of examples"
    return (
        (are_equal, "equal-labels", "mistakes in the label", "all labels are equal", "use varied data"),
        (True, "same-start-and-order", both, "both sides get the same", "use check_initializer"),
    )
