"""He's initialiser by hand, normal and uniform, for layers followed by ReLU, against torch."""

import numpy as np
import torch


def initializer(shape, rng):
    """A (n_out, n_in) weight matrix."""
    n_out, n_in = shape
    limit = np.sqrt(6 / n_in)
    return limit * (2 * rng.random(shape) - 1)


def torch_initializer(tensor):
    """torch's."""
    torch.nn.init.kaiming_uniform_(tensor, nonlinearity="relu")


def draw(rng):
    """A random shape."""
    return {"shape": (int(rng.integers(20, 30)), int(rng.integers(40, 60)))}
