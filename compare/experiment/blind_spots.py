"""What a run could not reveal, from its own properties: one sentence each, with the smallest change that would."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from handgrad.compare.experiment.data import Data
from handgrad.compare.experiment.settings import Experiment

__all__ = ["blind_spots", "of_arrays"]


def blind_spots(experiment: Experiment, data: Data, steps: int) -> tuple[str, ...]:
    """The kinds of mistake that this experiment on this data cannot show, most important first."""
    N = data.X.shape[1]
    batch_size = N if experiment.batch_size is None else experiment.batch_size
    hidden = experiment.layers[1:-1]
    several = "data with several examples" if N == 1 else f"--batch-size {min(N, 32)}"
    short = f"run a whole epoch with a --batch-size that does not divide {N}" if N > 2 else "use more examples"
    return tuple(
        sentence
        for applies, sentence in (
            (batch_size == 1, f"sums over examples mistaken (batches of 1; use {several})"),
            (steps == 1, "state carried from step to step (one step; use --steps 5)"),
            (not hidden, "errors passed between layers (no hidden layer; use three or more --layers)"),
            (
                batch_size > 1 and (N % batch_size == 0 or steps * batch_size < N),
                f"a short last batch (no step has one; {short})",
            ),
            (experiment.optimizer == "gradient-descent", "momentum (gradient descent; use --optimizer momentum)"),
            (
                experiment.optimizer == "momentum" and experiment.beta == 0,
                "the memory of momentum (beta is 0; use --beta 0.9)",
            ),
            (
                experiment.beta == 0.5 and experiment.optimizer == "momentum",
                "beta swapped with 1 - beta (beta is 0.5; use --beta 0.9)",
            ),
            (experiment.learning_rate == 1, "a forgotten or doubled rate (it is 1; use --learning-rate 0.1)"),
            (experiment.l2 == 0, "weight decay (l2 is 0; use --l2 0.1)"),
            (experiment.layers[-1] == 1, "mistakes between outputs (one output; use data with several labels)"),
            (
                any(a == b for a, b in zip(experiment.layers, experiment.layers[1:], strict=False)),
                "transposes told by their shape (a weight matrix is square; use widths that differ)",
            ),
            (experiment.bias_scale == 0 and steps == 1, "an unused bias (biases are 0; use --bias-scale 0.1)"),
            (
                not _curved(experiment),
                "the derivative of an activation (no hidden layer has one but 1; use tanh or relu)",
            ),
            (bool(np.all(data.Y == data.Y.flat[0])), "mistakes in the label (all labels are equal; use varied data)"),
            (
                "relu" in experiment.activations,
                "ReLU' at exactly 0 (random weights hardly ever give z = 0)",
            ),
            (
                True,
                "mistakes in initialisers or the order of examples (both sides get the same; use check_initializer)",
            ),
        )
        if applies
    )


def _curved(experiment: Experiment) -> bool:
    """Whether the derivative of an activation enters a gradient: a hidden layer's, or the last under squared error."""
    used = experiment.activations if experiment.loss == "squared-error" else experiment.activations[:-1]
    return any(name != "identity" for name in used) or not experiment.layers[1:-1]


def of_arrays(params: Mapping[str, Any], batch: Sequence[Any]) -> tuple[str, ...]:
    """What the values and sizes of a user's parameters and batch hide, whatever the derivation is."""
    values = {name: np.asarray(array) for name, array in params.items()}
    inputs = {f"input {position}": np.asarray(array) for position, array in enumerate(batch, start=1)}
    arrays = {**values, **inputs}
    together = [a.shape for a in inputs.values() if a.ndim]
    shared = set.intersection(*(set(shape) for shape in together)) if len(together) > 1 else set()
    n = shared.pop() if len(shared) == 1 else 0  # else it is not known which axis is that of the examples
    sizes = ((f"{name}'s axis {axis}", size) for name, a in values.items() for axis, size in enumerate(a.shape))
    others = [place for place, size in sizes if size == n > 1]
    matrices = {name: a for name, a in values.items() if a.ndim == 2 and a.shape[0] == a.shape[1] > 1}
    symmetric = [name for name, a in matrices.items() if (a == a.T).all()]
    equal = [name for name, a in arrays.items() if a.size > 1 and a.any() and (a == a.flat[0]).all()]
    floats = [np.abs(a) for a in values.values() if a.dtype.kind == "f" and a.any()]
    small = bool(floats) and max(float(a.max()) for a in floats) < 0.05
    return tuple(
        text
        for applies, text in (
            (n == 1, "sums over examples mistaken (the batch has one example; use several)"),
            (others, f"the number of examples for another size ({n} is also {', '.join(others[:3])}; use others)"),
            (symmetric, f"a weight matrix for its transpose ({', '.join(symmetric)} symmetric; use random values)"),
            (equal, f"which entry of {', '.join(equal)} is used where (all are equal; use random values)"),
            (small, "the derivative of an activation (all parameters are below 0.05; use larger ones)"),
        )
        if applies
    )
