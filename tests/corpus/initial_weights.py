"""Slips in initialisers by hand, each with the codes that are right for it and what the fields of its cause mention."""

from collections.abc import Callable
from math import prod, sqrt
from typing import Any, NamedTuple

import numpy as np
import torch

__all__ = ["RIGHT", "WRONG", "Weights"]

I = torch.nn.init  # read as torch.nn.init
SCALE, FAMILY = ("initializer-scale",), ("initializer-family",)
CONV, CONV1D, DENSE = (16, 8, 3, 3), (12, 8, 5), (30, 20)


class Weights(NamedTuple):
    """What torch draws, what is drawn by hand, and what is right to say of it."""

    shape: tuple[int, ...]
    by_hand: Callable[..., Any]
    torch: Callable[..., Any]
    codes: tuple[str, ...]
    mentions: tuple[str, ...] = ()


def normal(spread):
    return lambda shape, rng: rng.standard_normal(shape) * spread


def uniform(bound):
    return lambda shape, rng: rng.uniform(-bound, bound, shape)


def cut(spread, at=2.0):
    """A normal drawn again beyond so many deviations."""

    def draw(shape, rng):
        drawn = rng.standard_normal(shape)
        while (far := abs(drawn) > at).any():
            drawn[far] = rng.standard_normal(far.sum())
        return drawn * spread

    return draw


def repeated(spread):
    return lambda shape, rng: np.repeat(rng.standard_normal((1, *shape[1:])), shape[0], axis=0) * spread


def orthogonal(gain):
    """Orthogonal by the decomposition of a random matrix, its signs made random."""

    def draw(shape, rng):
        tall = (max(shape), min(shape))
        q, r = np.linalg.qr(rng.standard_normal(tall))
        q = q * np.sign(np.diag(r))
        return gain * (q if shape == tall else q.T)

    return draw


def linear(w):
    I.kaiming_uniform_(w, a=sqrt(5))


def he(w):
    I.kaiming_normal_(w, nonlinearity="relu")


def he_out(w):
    I.kaiming_normal_(w, mode="fan_out", nonlinearity="relu")


def fan(shape, axis):
    return shape[axis] * prod(shape[2:])


GAIN = 5 / 3  # of tanh
OF_CUT = 0.8796256610342398  # the deviation of a normal that is cut at 2

WRONG = {
    "conv fan out for fan in": Weights(CONV, normal(sqrt(2 / fan(CONV, 0))), he, SCALE, ("fan_out", "fan_in")),
    "conv fan in for fan out": Weights(CONV, normal(sqrt(2 / fan(CONV, 1))), he_out, SCALE, ("fan_out", "fan_in")),
    "conv fan without the kernel": Weights(CONV, normal(sqrt(2 / 8)), he, SCALE, ("shape[1]", "fan_in")),
    "conv fan of all": Weights(CONV, normal(sqrt(2 / prod(CONV))), he, SCALE, ("fan_in",)),
    "conv1d fan out for fan in": Weights(CONV1D, normal(sqrt(2 / fan(CONV1D, 0))), he, SCALE, ("fan_out", "fan_in")),
    "conv glorot by one fan": Weights(CONV, normal(sqrt(1 / fan(CONV, 1))), I.xavier_normal_, SCALE, ("fan_in",)),
    "gain forgotten": Weights(DENSE, normal(sqrt(1 / 20)), he, SCALE, ("shape[1]",)),
    "gain of tanh squared": Weights(
        DENSE,
        normal(GAIN**2 * sqrt(2 / 50)),
        lambda w: I.xavier_normal_(w, gain=GAIN),
        SCALE,
        ("5/3",),
    ),
    "gain of tanh forgotten": Weights(
        DENSE, normal(sqrt(2 / 50)), lambda w: I.xavier_normal_(w, gain=GAIN), SCALE, ("5/3",)
    ),
    "gain of leaky relu forgotten": Weights(
        DENSE, normal(sqrt(2 / 20)), lambda w: I.kaiming_normal_(w, a=0.2), SCALE, ("shape[1]",)
    ),
    "bound for spread": Weights(
        DENSE, uniform(sqrt(2 / 20)), lambda w: I.kaiming_uniform_(w, nonlinearity="relu"), SCALE
    ),
    "no root": Weights(DENSE, normal(2 / 20), he, SCALE, ("2/shape[1]",)),
    "torch's default by he": Weights(DENSE, uniform(sqrt(6 / 20)), linear, SCALE, ("shape[1]",)),
    "torch's default by 1/n": Weights(DENSE, uniform(1 / 20), linear, SCALE, ("shape[1]",)),
    "normal for torch's default": Weights(DENSE, normal(sqrt(1 / 20)), linear, FAMILY, ("normal", "uniform")),
    "cut and rescaled": Weights(DENSE, cut(sqrt(2 / 20) / OF_CUT), he, FAMILY, ("2",)),
    "cut and not rescaled": Weights(DENSE, cut(sqrt(2 / 20)), he, (*FAMILY, *SCALE), ("2",)),
    "torch's is cut": Weights(
        DENSE, normal(0.02), lambda w: I.trunc_normal_(w, std=0.02, a=-0.04, b=0.04), FAMILY, ("2",)
    ),
    "cut with rescaling where torch has none": Weights(
        DENSE, cut(0.02 / OF_CUT), lambda w: I.trunc_normal_(w, std=0.02, a=-0.04, b=0.04), SCALE
    ),
    "gaussian for orthogonal": Weights((60, 40), normal(1 / sqrt(60)), I.orthogonal_, FAMILY, ("orthogonal",)),
    "orthogonal with another gain": Weights(
        (30, 20), orthogonal(sqrt(2)), I.orthogonal_, (*SCALE, *FAMILY), ("sqrt(2)",)
    ),
    "rows repeated": Weights(DENSE, repeated(sqrt(2 / 20)), he, (*FAMILY, "few-distinct", "symmetric"), ("rows",)),
    "constant rows": Weights(
        DENSE,
        lambda shape, rng: np.broadcast_to(rng.standard_normal((shape[0], 1)), shape) * sqrt(2 / 20),
        he,
        (*FAMILY, "few-distinct", "symmetric"),
        ("columns",),
    ),
    "constant": Weights(DENSE, lambda shape, rng: np.full(shape, 0.1), he, (*FAMILY, *SCALE, "constant", "zero")),
}

RIGHT = {
    "he of a convolution": (CONV, normal(sqrt(2 / fan(CONV, 1))), he),
    "he by fan out": (CONV, normal(sqrt(2 / fan(CONV, 0))), he_out),
    "torch's default": (DENSE, uniform(1 / sqrt(20)), linear),
    "cut": (DENSE, cut(0.02), lambda w: I.trunc_normal_(w, std=0.02, a=-0.04, b=0.04)),
    "orthogonal": ((30, 20), orthogonal(1.0), I.orthogonal_),
}
