"""The notes' formulas exactly as written, where that differs from the correct one. Only compare/notes uses them.

L2  loss = -y log p + (1-y) log(1-p)                  correct: -[ y log p + (1-y) log(1-p) ]
A3  tanh = (e^z - e^-z)/(e^z + e^-z)                  correct as maths; as code use np.tanh
C2  B = W2 v1 b1 + v2 b2 + b3                         correct: W3 W2 b1 + W3 b2 + b3
I1  w ~ 1/n                                           correct: Var(w) = 1/n, standard deviation 1/sqrt(n)
I5  "He" = sqrt(2/(n[l] + n[l-1]))                    correct: sqrt(2/n[l-1]); as written it is Glorot's
"""

import numpy as np

from handgrad.manual.initializers import notes_he as he

__all__ = ["binary_cross_entropy", "collapsed_bias", "he", "standard_deviation", "tanh"]


def binary_cross_entropy(P: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """L2 as written: loss = -y log p + (1-y) log(1-p), whose second sign is wrong. P, Y and the losses are (K, n).

    It is evaluated literally, so p = 0 or 1 gives inf or nan.
    """
    return -Y * np.log(P) + (1 - Y) * np.log(1 - P)  # (K, n)


def tanh(Z: np.ndarray) -> np.ndarray:
    """A3 as written: (e^z - e^-z)/(e^z + e^-z), which is nan once e^|z| overflows. Z and the result are (n_l, n)."""
    return (np.exp(Z) - np.exp(-Z)) / (np.exp(Z) + np.exp(-Z))  # (n_l, n)


def collapsed_bias(
    W2: np.ndarray, v1: np.ndarray, b1: np.ndarray, v2: np.ndarray, b2: np.ndarray, b3: np.ndarray
) -> np.ndarray:
    """C2 as written: B = W2 v1 b1 + v2 b2 + b3, v being the letter that the notes have for W.

    W2 is (n_2, n_1), v1 = W1 is (n_1, n_0), b1 is (n_1, 1), v2 = W2, b2 is (n_2, 1), b3 is (n_3, 1). The product v1 b1
    needs n_0 = n_1: for layers 5-4-3-1 NumPy raises ValueError, the formula being not even conformable.
    """
    return W2 @ v1 @ b1 + v2 @ b2 + b3  # (n_3, 1) where all widths are equal


def standard_deviation(n_out: int, n_in: int) -> float:
    """I1 as written: w ~ 1/n_in, the variance taken for the standard deviation."""
    return 1 / n_in
