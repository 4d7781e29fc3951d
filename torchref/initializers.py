"""torch.nn.init calls that draw from the notes' distributions.

    I1  Var(w) = 1/n: gain 1, which torch calls nonlinearity="linear"                  lecun
    I2  n is the fan-in: the columns of a weight, which torch keeps as (out, in)       the draw
    I3  for ReLU replace 1 by 2: gain sqrt(2)                                          he
    I4  the notes' "Xavier" is kaiming_normal_ with gain 1, not xavier_normal_         notes-xavier
    I5  the notes' "He" is xavier_normal_, not kaiming_normal_                         notes-he, glorot
    I6  equal weights never separate: they must be drawn, however small                small

The random streams of NumPy and torch cannot be matched, so a run draws once, by hand, and copies; these twins serve to
compare the distributions. Each fills a weight (n_out, n_in) in place, with normal draws.
"""

from functools import partial

from torch import Tensor, nn

__all__ = ["glorot", "he", "lecun", "notes_he", "notes_xavier", "small", "zeros"]

_fan_in_normal_ = partial(nn.init.kaiming_normal_, mode="fan_in")  # (I2)


def lecun(weight: Tensor) -> None:
    """LeCun: standard deviation sqrt(1/n_in)."""
    _fan_in_normal_(weight, nonlinearity="linear")  # (I1)


def he(weight: Tensor) -> None:
    """He: standard deviation sqrt(2/n_in)."""
    _fan_in_normal_(weight, nonlinearity="relu")  # (I3)


def glorot(weight: Tensor) -> None:
    """Glorot: standard deviation sqrt(2/(n_in + n_out))."""
    nn.init.xavier_normal_(weight)


def small(weight: Tensor) -> None:
    """Small random weights: standard deviation 0.01 whatever the shape."""
    nn.init.normal_(weight, std=0.01)  # (I6)


def zeros(weight: Tensor) -> None:
    """No randomness: every weight 0."""
    nn.init.zeros_(weight)


notes_xavier = lecun  # (I4) the notes' name for it
notes_he = glorot  # (I5) the notes' name for it
