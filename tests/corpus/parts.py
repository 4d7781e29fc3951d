"""Parts that several operations share: an affine map, and the squared error with its gradient."""

import numpy as np
from torch import Tensor

from tests.corpus.cases import Array, Records, times
from tests.corpus.variants import How

__all__ = ["affine", "squared_error", "torch_squared_error"]


def affine(how: How, X: Array, W: Array, b: Array) -> Array:
    """X W + b, or [1 X] [b; W]."""
    if how.other:
        return how.mm(np.hstack([np.ones_like(X[:, :1]), X]), np.vstack([b, W]))
    return how.mm(X, W) + b


def squared_error(r: Records, how: How, Y: Array, T: Array, name: str = "Y") -> Array:
    """J = mean of (Y - T)^2 / 2; dY = (Y - T) / size. Returns dY."""
    D = Y - T
    squares = how.mm(D.reshape(1, -1), D.reshape(-1, 1)).reshape(()) / D.size if how.other else how.mean(D * D)
    r("J", squares / 2)
    return r(
        f"d{name}",
        how.over(D, D.size),
        {"factor 2 of the square kept": lambda v: 2 * v, "mean over the rows only": lambda _: how.over(D, len(D))},
        times(1e-5),
    )


def torch_squared_error(Y: Tensor, T: Tensor) -> Tensor:
    """J = mean of (Y - T)^2 / 2."""
    return ((Y - T) ** 2).mean() / 2
