"""Small runs of the notes' network, right or with a mistake planted in the hand-written side."""

from typing import Any

from handgrad import Experiment, Report
from handgrad.compare.experiment.run import run
from handgrad.compare.faults.planting import planted
from tests.support import small_data

__all__ = [
    "BATCHES",
    "DATA",
    "INITIALIZERS",
    "LOSSES",
    "NETWORK",
    "OPTIMIZERS",
    "TRAINING",
    "N",
    "experiment",
    "run_with",
]

BATCHES, INITIALIZERS, LOSSES = (f"handgrad.manual.{name}" for name in ("batches", "initializers", "losses"))
NETWORK, OPTIMIZERS, TRAINING = (f"handgrad.manual.{name}" for name in ("network", "optimizers", "training"))
LAYERS = {1: (5,), 2: (5, 7), 4: (5, 7, 6, 9)}
N = 11  # batches of 4, 4 and 3
DATA = small_data(5, 2, N, seed=7)


def experiment(
    activation: str = "tanh",
    depth: int = 2,
    K: int = 2,
    loss: str = "binary-cross-entropy",
    batch_size: int | None = 4,
    **fields: Any,
) -> Experiment:
    """A run of two epochs on five inputs in which every equation enters."""
    last = "sigmoid" if loss == "binary-cross-entropy" else "identity"
    settings: dict[str, Any] = {"l2": 0.05, "bias_scale": 0.5, "learning_rate": 0.01, "epochs": 2, "seed": 3, **fields}
    return Experiment(
        layers=(*LAYERS[depth], K),
        activations=(activation,) * (depth - 1) + (last,),
        loss=loss,
        batch_size=batch_size,
        **settings,
    )


def run_with(module: str, *edits: tuple[str, str], settings: Experiment | None = None, **fields: Any) -> Report:
    """The report on a run whose hand-written side has pieces of one module replaced."""
    return run(settings or experiment(**fields), DATA, hand=planted(module, edits))
