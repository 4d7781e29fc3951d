"""Activations and their derivatives, side by side.

    A2  ReLU(z) = 0 for z <= 0, z for z > 0;  ReLU'(z) = 0 for z <= 0, 1 for z > 0
    A3  tanh'(z) = 1 - tanh(z)^2
    A4  LeakyReLU(z) = z for z > 0, z/100 for z <= 0;  LeakyReLU'(z) = 1 for z > 0, 1/100 for z <= 0
    A5  GELU(z) = z Phi(z), Phi(z) = (1 + erf(z/sqrt(2)))/2;  GELU'(z) = Phi(z) + z phi(z)
    A6  GELU(z) = z (1 + tanh(w))/2, w = sqrt(2/pi) (z + 0.044715 z^3), which is A5 to three digits
    A7  softmax(z)[k] = e^(z[k]) / (e^(z[1]) + ... + e^(z[K])); its derivative is part of B1

Every function but softmax is elementwise: Z and A are (n_l, n), the result has the shape and dtype of Z. A derivative
is written as a function of Z or of A = g(Z), whichever gives the shorter formula; its argument says which.
"""

from math import erf, pi, sqrt

import numpy as np

__all__ = [
    "gelu",
    "gelu_derivative",
    "gelu_tanh",
    "gelu_tanh_derivative",
    "identity",
    "identity_derivative",
    "leaky_relu",
    "leaky_relu_derivative",
    "relu",
    "relu_derivative",
    "sigmoid",
    "sigmoid_derivative",
    "softmax",
    "tanh",
    "tanh_derivative",
]


@np.errstate(over="ignore")  # where exp(-Z) overflows, A is 0, as it should be
def sigmoid(Z: np.ndarray) -> np.ndarray:
    """Sigmoid: A = 1 / (1 + exp(-Z)). Z and A are (n_l, n). Source: the notes, "Improving NNs" A."""
    return 1 / (1 + np.exp(-Z))  # (n_l, n)


def sigmoid_derivative(A: np.ndarray) -> np.ndarray:
    """Derivative of the sigmoid: g'(Z) = A (1 - A). A = sigmoid(Z) and the result are (n_l, n)."""
    return A * (1 - A)  # (n_l, n)


def relu(Z: np.ndarray) -> np.ndarray:
    """ReLU: A = max(Z, 0). Z and A are (n_l, n). Source: the notes, "Improving NNs" A."""
    return np.maximum(Z, 0)  # (A2) (n_l, n)


def relu_derivative(Z: np.ndarray) -> np.ndarray:
    """Derivative of ReLU: g'(Z) = 1 where Z > 0, else 0; the value at Z = 0 is a convention, torch.relu's too.

    Z and the result are (n_l, n).
    """
    return (Z > 0).astype(Z.dtype)  # (n_l, n)


def leaky_relu(Z: np.ndarray) -> np.ndarray:
    """Leaky ReLU: A = Z where Z > 0, else Z/100: a unit that is off still learns. Z and A are (n_l, n). Supplied.

    Source: Maas, Hannun and Ng, "Rectifier nonlinearities improve neural network acoustic models", 2013.
    """
    return np.where(Z > 0, Z, 0.01 * Z)  # (A4) (n_l, n)


def leaky_relu_derivative(Z: np.ndarray) -> np.ndarray:
    """Derivative of leaky ReLU: g'(Z) = 1 where Z > 0, else 1/100, also at Z = 0. Z and the result are (n_l, n)."""
    return np.where(Z > 0, 1, 0.01).astype(Z.dtype)  # (n_l, n)


def gelu(Z: np.ndarray) -> np.ndarray:
    """GELU: A = Z Phi(Z), Z times the chance that a standard normal number is below it. Z and A are (n_l, n). Supplied.

    Source: Hendrycks and Gimpel, "Gaussian error linear units", 2016.
    """
    return Z * _Phi(Z)  # (A5) (n_l, n)


def gelu_derivative(Z: np.ndarray) -> np.ndarray:
    """Derivative of GELU: g'(Z) = Phi(Z) + Z phi(Z), by the product rule; phi = Phi'. Z and the result are (n_l, n)."""
    phi = np.exp(-Z * Z / 2) / sqrt(2 * pi)  # (n_l, n)
    return _Phi(Z) + Z * phi  # (n_l, n)


def _Phi(Z: np.ndarray) -> np.ndarray:
    """The distribution function of the standard normal: Phi(z) = (1 + erf(z/sqrt(2)))/2. Both are (n_l, n)."""
    return (1 + np.vectorize(erf, otypes=[Z.dtype])(Z / sqrt(2))) / 2  # (n_l, n); NumPy has no erf


def gelu_tanh(Z: np.ndarray) -> np.ndarray:
    """GELU by tanh: A = Z (1 + tanh(w))/2, w = sqrt(2/pi) (Z + 0.044715 Z^3). Z and A are (n_l, n). Supplied.

    Source: Hendrycks and Gimpel, "Gaussian error linear units", 2016, section 2.
    """
    w = sqrt(2 / pi) * (Z + 0.044715 * Z * Z * Z)  # (n_l, n)
    return Z * (1 + np.tanh(w)) / 2  # (A6) (n_l, n)


def gelu_tanh_derivative(Z: np.ndarray) -> np.ndarray:
    """Derivative of GELU by tanh: g'(Z) = (1 + T)/2 + Z (1 - T^2) w'/2, T = tanh(w). Z and the result are (n_l, n)."""
    T = np.tanh(sqrt(2 / pi) * (Z + 0.044715 * Z * Z * Z))  # (n_l, n)
    dw = sqrt(2 / pi) * (1 + 3 * 0.044715 * Z * Z)  # (n_l, n)
    return (1 + T) / 2 + Z * (1 - T * T) * dw / 2  # (n_l, n)


def softmax(Z: np.ndarray) -> np.ndarray:
    """Softmax: A[k] = e^Z[k] / sum over j of e^Z[j], K numbers above 0 that add up to 1 in each example. Supplied.

    The largest Z is taken from all, which changes nothing and lets nothing overflow. Every A[k] depends on every Z[j],
    so there is no g'(Z): softmax stands last, before cross-entropy. Z and A are (K, n).
    """
    E = np.exp(Z - Z.max(axis=0))  # (K, n)
    return E / E.sum(axis=0)  # (A7) (K, n)


def tanh(Z: np.ndarray) -> np.ndarray:
    """Hyperbolic tangent: A = tanh(Z). Z and A are (n_l, n). Source: the notes, "Improving NNs" A.

    np.tanh, because the quotient of exponentials in the notes is nan for large Z (handgrad.manual.as_written.tanh).
    """
    return np.tanh(Z)  # (n_l, n)


def tanh_derivative(A: np.ndarray) -> np.ndarray:
    """Derivative of tanh: g'(Z) = 1 - A^2. A = tanh(Z) and the result are (n_l, n)."""
    return 1 - A * A  # (A3) (n_l, n)


def identity(Z: np.ndarray) -> np.ndarray:
    """Identity: A = Z, as an array of its own. Z and A are (n_l, n). Source: the notes, C0."""
    return Z.copy()  # (n_l, n)


def identity_derivative(Z: np.ndarray) -> np.ndarray:
    """Derivative of the identity: g'(Z) = 1. Z and the result are (n_l, n)."""
    return np.ones_like(Z)  # (n_l, n)
