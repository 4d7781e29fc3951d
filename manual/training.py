"""The loop of the notes.

O2  for each iteration: select a batch, forward propagation, backpropagation, update
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

from handgrad.manual.network import Network, backward, cost, forward, read_only

__all__ = ["Optimizer", "train"]

Arrays = Mapping[str, np.ndarray]
Optimizer = Callable[[Arrays, Arrays, Arrays], tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]


def train(
    network: Network,
    params: Arrays,
    velocities: Arrays,
    optimizer: Optimizer,
    X: np.ndarray,
    Y: np.ndarray,
    batches: Iterable[np.ndarray],
) -> Iterator[tuple[int, str, Mapping[str, np.ndarray | np.floating]]]:
    """Train, and yield everything on the way: (step, phase, {name: value}), phase by phase.

    The phases are "forward" (X, Y, Z1, A1, ...), "loss" (losses, penalty, J), "backward" (dZL, dWL, ..., db1) and
    "update" (vW1, ..., W1_next, ...). X is (n_x, N), Y is (K, N), a batch is an array of column indices (n,).
    What a step has computed from is read-only after it, `params` and `velocities` themselves too.
    """
    for step, batch in enumerate(batches, start=1):  # (O2)
        X_batch, Y_batch = read_only(X.take(batch, axis=1)), read_only(Y.take(batch, axis=1))  # (n_x, n), (K, n)
        yield step, "forward", {"X": X_batch, "Y": Y_batch}
        cache = forward(network, params, X_batch)
        yield step, "forward", cache
        yield step, "loss", cost(network, params, cache, Y_batch)
        gradients = backward(network, params, cache, X_batch, Y_batch)
        yield step, "backward", {**gradients}
        for array in (*params.values(), *velocities.values(), *gradients.values()):
            read_only(array)
        params, velocities = optimizer(params, gradients, velocities)
        yield step, "update", {**velocities, **{f"{name}_next": w for name, w in params.items()}}
