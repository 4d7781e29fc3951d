"""LeCun's initialiser by hand: N(0, 1/n_in), against torch."""

import numpy as np
import torch


def initializer(shape, rng):
    """A (n_out, n_in) weight matrix."""
    n_out, n_in = shape
    return rng.standard_normal(shape) * np.sqrt(1 / n_in)


def torch_initializer(tensor):
    """torch's."""
    torch.nn.init.normal_(tensor, std=tensor.shape[1] ** -0.5)


def draw(rng):
    """A random shape."""
    return {"shape": (int(rng.integers(20, 30)), int(rng.integers(40, 60)))}
