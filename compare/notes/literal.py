"""What a check says of the notes' formulas exactly as written, where that can be run."""

from collections.abc import Callable
from functools import partial

import numpy as np

from handgrad.compare.checks.initializer import check_initializer
from handgrad.compare.experiment.run import Experiment, run
from handgrad.compare.faults.planting import planted
from handgrad.compare.report.report import Report
from handgrad.manual import as_written
from handgrad.manual.initializers import draw
from handgrad.torchref import initializers as in_torch

SHAPE = (64, 256)
TANH = "return (np.exp(Z) - np.exp(-Z)) / (np.exp(Z) + np.exp(-Z))"


def _tanh() -> Report:
    """A3: the quotient of exponentials in place of np.tanh, on data that nobody has standardised."""
    X, y = 500 * np.random.default_rng(21).standard_normal((12, 4)), np.arange(12.0)[:, None] % 2
    experiment = Experiment(layers=(4, 3, 1), activations=("tanh", "sigmoid"), bias_scale=0.0, batch_size=12, steps=1)
    hand = planted("handgrad.manual.activations", (("return np.tanh(Z)", TANH),))
    return run(experiment, (X, y), hand=hand)


LITERAL: dict[str, Callable[[], Report]] = {
    "A3": _tanh,
    "I1": partial(check_initializer, partial(draw, as_written.standard_deviation), in_torch.lecun, SHAPE),
    "I5": partial(check_initializer, partial(draw, as_written.he), in_torch.he, SHAPE),
}
"""The check of a formula as written by statement, run when called."""
