"""What a check says of the notes' formulas exactly as written, where that can be run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import numpy as np
from torch.nn.init import kaiming_normal_

from handgrad.compare.checks.initializer import check_initializer
from handgrad.compare.experiment.run import Experiment, run
from handgrad.compare.faults.planting import planted
from handgrad.compare.report.report import Report
from handgrad.manual import as_written

SHAPE = (64, 256)
TANH = "return (np.exp(Z) - np.exp(-Z)) / (np.exp(Z) + np.exp(-Z))"


def _tanh() -> Report:
    """A3: the quotient of exponentials in place of np.tanh, on data that nobody has standardised."""
    X, y = 500 * np.random.default_rng(21).standard_normal((12, 4)), np.arange(12.0)[:, None] % 2
    experiment = Experiment(layers=(4, 3, 1), activations=("tanh", "sigmoid"), bias_scale=0.0, batch_size=12, steps=1)
    hand = planted("handgrad.manual.activations", (("return np.tanh(Z)", TANH),))
    return run(experiment, (X, y), hand=hand)


def _initializer(deviation: Callable[[int, int], float], torch_initializer: Callable[..., object]) -> Report:
    """I1, I5: draws with the standard deviation as written, against what the formula is to be."""

    def drawn(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        return rng.standard_normal(shape) * deviation(*shape)

    return check_initializer(drawn, torch_initializer, SHAPE)


LITERAL: Mapping[str, Callable[[], Report]] = MappingProxyType(
    {
        "A3": _tanh,
        "I1": partial(_initializer, as_written.standard_deviation, partial(kaiming_normal_, nonlinearity="linear")),
        "I5": partial(_initializer, as_written.he, partial(kaiming_normal_, nonlinearity="relu")),
    }
)
"""The check of a formula as written by statement, run when called."""
