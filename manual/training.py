"""The loop of the notes.

O2  for each iteration: select a batch, forward propagation, backpropagation, update
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

from handgrad.manual.network import Network, backward, cost, forward

__all__ = ["Optimizer", "train"]

Arrays = Mapping[str, np.ndarray]
Optimizer = Callable[[Arrays, Arrays, Arrays], tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]


def train(
    network: Network,
    params: Arrays,
    state: Arrays,
    optimizer: Optimizer,
    X: np.ndarray,
    Y: np.ndarray,
    batches: Iterable[np.ndarray],
) -> Iterator[tuple[int, str, Mapping[str, np.ndarray | np.floating]]]:
    """Train, and yield everything on the way: (step, phase, {name: value}), phase by phase.

    The phases are "forward" (X, Y, Z1, A1, ...), "loss" (losses, penalty, J), "backward" (dZL, dWL, ..., db1) and
    "update" (the state, such as vW1, ..., then W1_next, ...). X is (n_x, N), Y is (K, N), a batch is an array of
    column indices (n,).
    """
    for step, batch in enumerate(batches, start=1):  # (O2)
        X_batch, Y_batch = X.take(batch, axis=1), Y.take(batch, axis=1)  # (n_x, n), (K, n)
        yield step, "forward", {"X": X_batch, "Y": Y_batch}
        cache = forward(network, params, X_batch)
        yield step, "forward", cache
        yield step, "loss", cost(network, params, cache, Y_batch)
        gradients = backward(network, params, cache, X_batch, Y_batch)
        yield step, "backward", {**gradients}
        params, state = optimizer(params, gradients, state)  # all gradients were found before any update
        yield step, "update", {**state, **{f"{name}_next": w for name, w in params.items()}}
