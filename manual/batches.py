"""Which examples a step sees: all of them, one, or a mini-batch.

O1  batch, stochastic, mini-batch: n = N, 1 or between; the last batch may be smaller and divides by its own size
"""

from collections.abc import Iterable, Iterator

import numpy as np

__all__ = ["full_batch", "mini_batches", "orders", "split", "stochastic"]


def orders(N: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """The examples in a fresh random order for each epoch, without end: permutations of 0..N-1, shape (N,)."""
    while True:
        yield rng.permutation(N)  # (N,)


def split(order: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    """Cut one epoch's order (N,) into batches of `batch_size` indices; the last one holds what is left."""
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]  # (O1) (n,)


def full_batch(N: int, epochs: int) -> Iterator[np.ndarray]:
    """One batch of all N examples in each epoch."""
    return mini_batches([np.arange(N)] * epochs, N)


def stochastic(epoch_orders: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """One example at a time, in each epoch's order."""
    return mini_batches(epoch_orders, 1)


def mini_batches(epoch_orders: Iterable[np.ndarray], batch_size: int) -> Iterator[np.ndarray]:
    """Batches of `batch_size` indices through one epoch's order (N,) after the other."""
    for order in epoch_orders:
        yield from split(order, batch_size)
