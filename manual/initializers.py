"""Initial weights: one standard deviation per formula, and the draw.

    I1  Var(w) = 1/n, so the standard deviation is sqrt(1/n)                         lecun
    I2  w = randn(shape) * sqrt(1/n), n = n[l-1] being the fan-in                    the draw
    I3  for ReLU replace 1 by 2: sqrt(2/n[l-1])                                      he
    I4  the notes' "Xavier" is sqrt(1/n[l-1]), which the literature calls LeCun      notes-xavier
    I5  the notes' "He" is sqrt(2/(n[l] + n[l-1])), which the literature calls Glorot   notes-he, glorot
    I6  equal weights never separate: they must be drawn, however small              small

W[l] is (n_out, n_in) = (n_l, n_{l-1}). Each function returns the standard deviation of one weight.
"""

from collections.abc import Callable
from math import sqrt

import numpy as np

__all__ = ["draw", "glorot", "he", "lecun", "notes_he", "notes_xavier", "small", "zeros"]


def lecun(n_out: int, n_in: int) -> float:
    """LeCun: sqrt(1/n_in). Source: LeCun, Bottou, Orr and Mueller, "Efficient BackProp", 1998."""
    return sqrt(1 / n_in)  # (I1)


def he(n_out: int, n_in: int) -> float:
    """He: sqrt(2/n_in), for ReLU. Source: He, Zhang, Ren and Sun, "Delving deep into rectifiers", 2015."""
    return sqrt(2 / n_in)  # (I3)


def glorot(n_out: int, n_in: int) -> float:
    """Glorot: sqrt(2/(n_in + n_out)). Source: Glorot and Bengio, "Understanding the difficulty ...", 2010."""
    return sqrt(2 / (n_in + n_out))


def small(n_out: int, n_in: int) -> float:
    """Small random weights: 0.01 whatever the shape, just enough to break the symmetry between units."""
    return 0.01  # (I6)


def zeros(n_out: int, n_in: int) -> float:
    """No randomness: every weight 0. Units of a layer stay equal for ever; kept to show it."""
    return 0.0


notes_xavier = lecun  # (I4) the notes' name for it
notes_he = glorot  # (I5) the notes' name for it


def draw(
    standard_deviation: Callable[[int, int], float],
    shape: tuple[int, int],
    rng: np.random.Generator,
    distribution: str = "normal",
) -> np.ndarray:
    """Draw a weight matrix: a unit draw of `shape` = (n_out, n_in) times standard_deviation(n_out, n_in), float64.

    distribution "normal" is N(0, 1); "uniform" is U(-sqrt(3), sqrt(3)), whose standard deviation is 1 as well.
    Source: the notes, "np.random.randn(shape) * np.sqrt(1/n)".
    """
    unit = rng.standard_normal(shape) if distribution == "normal" else rng.uniform(-sqrt(3), sqrt(3), shape)
    return unit * standard_deviation(*shape)  # (I2) (n_out, n_in)
