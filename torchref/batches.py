"""Which examples a step sees.

O1  batch, stochastic, mini-batch: n = N, 1 or between; the last batch may be smaller
"""

import torch
from torch import Tensor

__all__ = ["split"]


def split(order: Tensor, batch_size: int) -> tuple[Tensor, ...]:
    """Cut one epoch's order (N,) into batches of `batch_size` indices; the last one holds what is left."""
    return torch.split(order, batch_size)  # (O1) (n,)
