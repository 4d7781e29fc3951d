"""Kernels of dense layers: a linear layer, a SwiGLU MLP, bias and GELU, scale and shift."""

import math

import torch

from tests.corpus.kernels_planted import Kernel
from tests.corpus.planted import Mistake


def normal(generator, *shape, scale=1.0):
    """Draw normal numbers of a standard deviation."""
    return scale * torch.randn(shape, generator=generator, dtype=torch.float64)


# linear --------------------------------------------------------------------------------------------------------------
def linear_reference(x, W, b):
    """Map rows by an affine map."""
    return x @ W.T + b


def linear_forward(a, x, W, b):
    """Compute y = x W^T + b."""
    return (a.matmul(x, W.T) + b,), ()


LINEAR = """def backward(a, dy, x, W, b):
    dx = a.matmul(dy, W)
    dW = a.matmul(dy.T, x)
    db = a.sum(dy, 0)
    return dx, dW, db
"""


def _draw_linear(generator, shape, scale):
    n, k, o = shape
    return normal(generator, n, k, scale=scale), normal(generator, o, k, scale=k**-0.5), normal(generator, o)


LINEAR_MISTAKES = (
    Mistake("The gradient of the bias is a mean over the rows.", "a.sum(dy, 0)", "a.sum(dy, 0) / len(dy)"),
    Mistake("The gradient of the bias reads the first half of the rows.", "(dy, 0)", "(dy[: (len(dy) + 1) // 2], 0)"),
    Mistake("The gradient of the bias misses the last row.", "a.sum(dy, 0)", "a.sum(dy[:-1], 0)"),
    Mistake("dW misses the last row.", "a.matmul(dy.T, x)", "a.matmul(dy[:-1].T, x[:-1])"),
    Mistake(
        "dW misses the rows behind the last full tile.",
        "(dy.T, x)",
        "(dy[: len(x) // 32 * 32].T, x[: len(x) // 32 * 32])",
    ),
    Mistake("dW misses every 32nd row.", "(dy.T, x)", "(dy.T, x * (torch.arange(len(x)) % 32 != 0)[:, None])"),
    Mistake("dW reads the first tile twice.", "a.matmul(dy.T, x)", "a.matmul(dy.T, x) + a.matmul(dy[:8].T, x[:8])"),
    Mistake("dW is a mean over the rows.", "a.matmul(dy.T, x)", "a.matmul(dy.T, x) / len(x)"),
    Mistake("dW is off by (n - 1)/n.", "a.matmul(dy.T, x)", "a.matmul(dy.T, x) * (len(x) - 1) / len(x)"),
    Mistake("A weight decay of 0.01 is in dW.", "a.matmul(dy.T, x)", "a.matmul(dy.T, x) + 0.01 * W"),
    Mistake("The columns of x are centred in dW.", "(dy.T, x)", "(dy.T, x - x.mean(1, keepdim=True))"),
    Mistake("dx misses the last output.", "a.matmul(dy, W)", "a.matmul(dy[:, :-1], W[:-1])"),
    Mistake("dx reads the outputs in reversed order.", "a.matmul(dy, W)", "a.matmul(dy, W.flip(0))"),
)


# SwiGLU --------------------------------------------------------------------------------------------------------------
def swiglu_reference(x, W1, W2, W3):
    """Gate one projection by the SiLU of another, and project the product."""
    z = x @ W1.T
    return (z * torch.sigmoid(z) * (x @ W2.T)) @ W3.T


def swiglu_forward(a, x, W1, W2, W3):
    """Compute y = (silu(x W1^T) * x W2^T) W3^T."""
    z, u = a.between(a.matmul(x, W1.T)), a.between(a.matmul(x, W2.T))
    return (a.matmul(a.between(z * torch.sigmoid(z) * u), W3.T),), ()


SWIGLU = """def backward(a, dy, x, W1, W2, W3):
    z, u = a.between(a.matmul(x, W1.T)), a.between(a.matmul(x, W2.T))
    s = torch.sigmoid(z)
    h = a.between(z * s * u)
    dh = a.between(a.matmul(dy, W3))
    dz = a.between(dh * u * s * (1 + z * (1 - s)))
    du = a.between(dh * z * s)
    dx = a.matmul(dz, W1) + a.matmul(du, W2)
    dW1 = a.matmul(dz.T, x)
    dW2 = a.matmul(du.T, x)
    dW3 = a.matmul(dy.T, h)
    return dx, dW1, dW2, dW3
"""


def _draw_swiglu(generator, shape, scale):
    n, d, h = shape
    x = normal(generator, n, d, scale=min(scale, 4))
    inner = (normal(generator, h, d, scale=d**-0.5) for _ in range(2))
    return x, *inner, normal(generator, d, h, scale=h**-0.5)


SWIGLU_MISTAKES = (
    Mistake("The derivative of the SiLU is a sigmoid.", " * (1 + z * (1 - s))", ""),
    Mistake("The second part of the SiLU's derivative is 0.9 of it.", "1 + z * (1 - s)", "1 + 0.9 * z * (1 - s)"),
    Mistake("The SiLU stands for z in its derivative.", "1 + z * (1 - s)", "1 + z * s * (1 - s)"),
    Mistake("The derivative of the SiLU is that of the sigmoid.", "s * (1 + z * (1 - s))", "s * (1 - s)"),
    Mistake("The sigmoid has a slope of 1.02.", "torch.sigmoid(z)", "torch.sigmoid(1.02 * z)"),
    Mistake("The sigmoid of the up projection is taken.", "torch.sigmoid(z)", "torch.sigmoid(u)"),
    Mistake("The gradients of the two projections are swapped.", "    dx = ", "    dz, du = du, dz\n    dx = "),
    Mistake("The up projection is left out of dz.", "dh * u * s", "dh * s"),
    Mistake("The sigmoid is left out of du.", "du = a.between(dh * z * s)", "du = a.between(dh * z)"),
    Mistake("dx has the way through the gate only.", " + a.matmul(du, W2)", ""),
    Mistake("dx has the way through the up projection twice.", "(du, W2)", "(2 * du, W2)"),
    Mistake("dW3 misses the last row.", "a.matmul(dy.T, h)", "a.matmul(dy[:-1].T, h[:-1])"),
    Mistake("dW3 reads the gate alone.", "a.matmul(dy.T, h)", "a.matmul(dy.T, z * s)"),
    Mistake("dW2 reads dz.", "a.matmul(du.T, x)", "a.matmul(dz.T, x)"),
)


# bias and GELU -------------------------------------------------------------------------------------------------------
def gelu_reference(x, b):
    """Add a bias, and take the GELU."""
    return (x + b) * 0.5 * (1 + torch.erf((x + b) * 0.5**0.5))


def gelu_forward(a, x, b):
    """Compute y = z Phi(z) of z = x + b."""
    z = a.between(x + b)
    return (0.5 * z * (1 + torch.erf(z * math.sqrt(0.5))),), ()


GELU = """def backward(a, dy, x, b):
    z = a.between(x + b)
    cdf = 0.5 * (1 + torch.erf(z * math.sqrt(0.5)))
    pdf = torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    dx = dy * (cdf + z * pdf)
    db = a.sum(a.between(dx), 0)
    return dx, db
"""
TANH = """(lambda z, t: 0.5 * (1 + t)
        + 0.5 * z * (1 - t * t) * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * z * z)
    )(z, torch.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))"""


def _draw_gelu(generator, shape, scale):
    n, d = shape
    return normal(generator, n, d, scale=min(scale, 4)), normal(generator, d)


GELU_MISTAKES = (
    Mistake("The density is left out.", "(cdf + z * pdf)", "cdf"),
    Mistake("The density has 0.9 of its weight.", "z * pdf", "0.9 * z * pdf"),
    Mistake("z is left out before the density.", "z * pdf", "pdf"),
    Mistake("1/sqrt(2 pi) is taken for 0.403.", "/ math.sqrt(2 * math.pi)", "* 0.403"),
    Mistake("The density has no half in its exponent.", "-0.5 * z * z", "-z * z"),
    Mistake("The derivative is that of the tanh form.", "(cdf + z * pdf)", TANH),
    Mistake(
        "The derivative is that of z sigmoid(1.702 z).",
        "(cdf + z * pdf)",
        "(torch.sigmoid(1.702 * z) * (1 + 1.702 * z * torch.sigmoid(-1.702 * z)))",
    ),
    Mistake("The bias is left out.", "a.between(x + b)", "x"),
    Mistake("The half is left out within the root.", "z * math.sqrt(0.5)", "z"),
    Mistake("The gradient of the bias is a mean.", "a.between(dx), 0)", "a.between(dx), 0) / len(dx)"),
    Mistake("The gradient of the bias is that of the first row.", "a.sum(a.between(dx), 0)", "dx[0]"),
    Mistake("The gradient of the bias misses the last row.", "a.between(dx), 0", "a.between(dx[:-1]), 0"),
    Mistake("The gradient of the bias is the sum of the upstream gradient.", "a.between(dx), 0", "dy, 0"),
)


# scale and shift -----------------------------------------------------------------------------------------------------
def affine_reference(x, s, t):
    """Scale columns and shift each sequence, (batch, time, d) by (d,) and (batch, 1, d)."""
    return x * s + t


def affine_forward(a, x, s, t):
    """Compute y = x s + t."""
    return (a.between(x * s) + t,), ()


AFFINE = """def backward(a, dy, x, s, t):
    dx = dy * s
    ds = a.sum(a.sum(a.between(dy * x), 1), 0)
    dt = a.sum(dy, 1)[:, None]
    return dx, ds, dt
"""


def _draw_affine(generator, shape, scale):
    b, _, d = shape
    x = normal(generator, *shape, scale=scale)
    return x, 1 + normal(generator, d, scale=0.3), normal(generator, b, 1, d)


AFFINE_MISTAKES = (
    Mistake(
        "The gradient of the scale is a mean.", "a.between(dy * x)", "a.between(dy * x) / (x.shape[0] * x.shape[1])"
    ),
    Mistake("The gradient of the scale is a mean over time.", "a.between(dy * x)", "a.between(dy * x) / x.shape[1]"),
    Mistake("The gradient of the scale is that of the first sequence.", "(dy * x), 1), 0)", "(dy * x), 1)[:1], 0)"),
    Mistake("The gradient of the scale misses the last step.", "a.between(dy * x)", "a.between(dy * x)[:, :-1]"),
    Mistake("The gradient of the scale reads the output.", "dy * x", "dy * (x * s + t)"),
    Mistake("The gradient of the scale is divided by the scale.", "dy * x", "dy * x / s"),
    Mistake(
        "The gradient of the scale misses the steps behind the last full tile.",
        "a.between(dy * x)",
        "a.between(dy * x)[:, : x.shape[1] // 16 * 16]",
    ),
    Mistake("The gradient of the shift is a mean.", "a.sum(dy, 1)", "a.sum(dy / x.shape[1], 1)"),
    Mistake(
        "The gradient of the shift is summed over the sequences too.", "[:, None]", "[:, None].sum(0).expand_as(t)"
    ),
    Mistake("The gradient of the shift is that of the last step.", "a.sum(dy, 1)", "dy[:, -1]"),
    Mistake("The gradient of the shift is scaled.", "a.sum(dy, 1)", "a.sum(dx, 1)"),
    Mistake("dx leaves the scale out.", "dx = dy * s", "dx = dy"),
    Mistake("dx is scaled twice.", "dx = dy * s", "dx = dy * s * s"),
)


KERNELS = (
    Kernel(
        "linear",
        linear_reference,
        linear_forward,
        LINEAR,
        _draw_linear,
        {"tiny": (1, 3, 2), "small": (33, 17, 9), "mid": (256, 64, 48), "long": (4096, 32, 24)},
        LINEAR_MISTAKES,
    ),
    Kernel(
        "SwiGLU MLP",
        swiglu_reference,
        swiglu_forward,
        SWIGLU,
        _draw_swiglu,
        {"tiny": (1, 3, 4), "small": (17, 24, 33), "mid": (128, 64, 96), "long": (2048, 16, 24)},
        SWIGLU_MISTAKES,
    ),
    Kernel(
        "bias GELU",
        gelu_reference,
        gelu_forward,
        GELU,
        _draw_gelu,
        {"tiny": (1, 3), "small": (33, 17), "mid": (256, 128), "long": (4096, 8)},
        GELU_MISTAKES,
    ),
    Kernel(
        "scale and shift",
        affine_reference,
        affine_forward,
        AFFINE,
        _draw_affine,
        {"tiny": (1, 2, 3), "small": (5, 7, 9), "mid": (8, 33, 64), "long": (4, 1024, 8)},
        AFFINE_MISTAKES,
    ),
)
