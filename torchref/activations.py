"""Activations as modules; torch supplies the derivatives.

A2  ReLU(z) = 0 for z <= 0, z for z > 0
A3  tanh'(z) = 1 - tanh(z)^2, known to autograd
A4  LeakyReLU(z) = z for z > 0, z/100 for z <= 0
A5  GELU(z) = z Phi(z), Phi(z) = (1 + erf(z/sqrt(2)))/2
A6  GELU(z) = z (1 + tanh(w))/2, w = sqrt(2/pi) (z + 0.044715 z^3)
A7  softmax(z)[k] = e^(z[k]) / (e^(z[1]) + ... + e^(z[K])), over the rows: examples are columns
"""

from functools import partial

from torch import nn

__all__ = ["gelu", "gelu_tanh", "identity", "leaky_relu", "relu", "sigmoid", "softmax", "tanh"]

sigmoid = nn.Sigmoid
relu = nn.ReLU  # (A2)
tanh = nn.Tanh  # (A3)
identity = nn.Identity
leaky_relu = nn.LeakyReLU  # (A4): its slope is 1/100 unless another is asked for
softmax = partial(nn.Softmax, dim=-2)  # (A7)
gelu = nn.GELU  # (A5)
gelu_tanh = partial(nn.GELU, approximate="tanh")  # (A6)
