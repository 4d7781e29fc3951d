"""A convolution, smooth activations and a residual block by hand, and the slips that people make in them."""

import torch
import torch.nn.functional as F

from handgrad import tap
from tests.corpus.planted import Mistake, Operation


def _half_squares(out, T):
    return ((out - T) ** 2).sum() / (2 * len(T))


# convolution in two dimensions ---------------------------------------------------------------------------------------
def reference_convolution(params, X, T):
    """Compute half the squared error behind a padded convolution and a ReLU."""
    Z = tap("Z", F.conv2d(X, params["W"], params["b"], padding=1))
    return _half_squares(tap("A", torch.relu(Z)), T)


def _draw_convolution(rng):
    params = {"W": rng.standard_normal((3, 2, 3, 3)), "b": rng.standard_normal(3)}
    return params, (rng.standard_normal((2, 2, 5, 5)), rng.standard_normal((2, 3, 5, 5)))


CONVOLUTION = """def derivation(params, X, T):
    W, b = params["W"], params["b"]
    n = len(X)

    def windows(of):
        padded = np.pad(of, ((0, 0), (0, 0), (1, 1), (1, 1)))
        return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))

    # forward
    Z = np.einsum("nchwij,ocij->nohw", windows(X), W) + b[:, None, None]
    A = np.maximum(Z, 0)
    J = ((A - T) ** 2).sum() / (2 * n)

    # backward
    dA = (A - T) / n
    dZ = dA * (Z > 0)
    dW = np.einsum("nchwij,nohw->ocij", windows(X), dZ)
    db = dZ.sum(axis=(0, 2, 3))
    dX = np.einsum("nohwij,ocij->nchw", windows(dZ), W[:, :, ::-1, ::-1])
    return {"J": J, "Z": Z, "A": A, "dA": dA, "dZ": dZ, "dW": dW, "db": db, "dX": dX}
"""

CONVOLUTION_MISTAKES = (
    Mistake("The kernel is not turned in dX.", "W[:, :, ::-1, ::-1])", "W)"),
    Mistake("The kernel is turned along one axis in dX.", "W[:, :, ::-1, ::-1])", "W[:, :, :, ::-1])"),
    Mistake("The kernel is turned in the forward pass.", "windows(X), W) +", "windows(X), W[:, :, ::-1, ::-1]) +"),
    Mistake("The kernel is transposed in space.", "windows(X), W) +", "windows(X), W.swapaxes(2, 3)) +"),
    Mistake("db is a mean over the images.", "db = dZ.sum(axis=(0, 2, 3))", "db = dZ.mean(axis=0).sum(axis=(1, 2))"),
    Mistake("db is a mean over images and places.", "db = dZ.sum(", "db = dZ.mean("),
    Mistake("The bias is not added.", " + b[:, None, None]", ""),
    Mistake("dW reads the gradient behind the ReLU.", "windows(X), dZ)", "windows(X), dA)"),
    Mistake("dW is turned.", "windows(X), dZ)", "windows(X), dZ)[:, :, ::-1, ::-1]"),
    Mistake("The mask of the ReLU is taken from dA.", "(Z > 0)", "(dA > 0)"),
)


# GELU and SiLU -------------------------------------------------------------------------------------------------------
def reference_smooth(params, X, T):
    """Compute half the squared error of two layers, with a GELU and a SiLU."""
    A = tap("A", F.gelu(tap("Z", X @ params["W1"])))
    return _half_squares(tap("B", F.silu(tap("U", A @ params["W2"]))), T)


def _draw_smooth(rng):
    params = {"W1": rng.standard_normal((4, 5)), "W2": rng.standard_normal((5, 3))}
    return params, (rng.standard_normal((7, 4)), rng.standard_normal((7, 3)))


SMOOTH = """def derivation(params, X, T):
    from math import erf

    W1, W2 = params["W1"], params["W2"]
    n = len(X)
    errors = np.vectorize(erf, otypes=[float])

    def density(x):
        return np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)

    def share(x):
        return 0.5 * (1 + errors(x / np.sqrt(2)))

    # forward
    Z = X @ W1
    A = Z * share(Z)
    U = A @ W2
    s = 1 / (1 + np.exp(-U))
    B = U * s
    J = ((B - T) ** 2).sum() / (2 * n)

    # backward
    dB = (B - T) / n
    dU = dB * (s + U * s * (1 - s))
    dW2 = A.T @ dU
    dA = dU @ W2.T
    dZ = dA * (share(Z) + Z * density(Z))
    dW1 = X.T @ dZ
    return {"J": J, "Z": Z, "A": A, "U": U, "B": B, "dB": dB, "dU": dU, "dW2": dW2, "dA": dA, "dZ": dZ, "dW1": dW1}
"""

SMOOTH_MISTAKES = (
    Mistake("The density is left out of the derivative.", "(share(Z) + Z * density(Z))", "share(Z)"),
    Mistake("The share is left out of the derivative.", "(share(Z) + Z * density(Z))", "Z * density(Z)"),
    Mistake("The density is not normalised.", " / np.sqrt(2 * np.pi)", ""),
    Mistake("The exponent of the density is not halved.", "np.exp(-(x**2) / 2)", "np.exp(-(x**2))"),
    Mistake("The argument of erf is not divided by the root of 2.", "errors(x / np.sqrt(2))", "errors(x)"),
    Mistake("The derivative of the SiLU has its first term alone.", "(s + U * s * (1 - s))", "s"),
    Mistake("The derivative of the SiLU is that of the sigmoid.", "(s + U * s * (1 - s))", "s * (1 - s)"),
    Mistake("B stands for U in the derivative of the SiLU.", "+ U * s * (1 - s)", "+ B * s * (1 - s)"),
    Mistake("A sign in the derivative of the SiLU is wrong.", "s * (1 - s)", "s * (1 + s)"),
    Mistake("A ReLU stands for the GELU.", "A = Z * share(Z)", "A = np.maximum(Z, 0)"),
    Mistake("The derivative of the GELU is taken at A.", "(share(Z) + Z * density(Z))", "(share(A) + A * density(A))"),
)


# residual block with dropout -----------------------------------------------------------------------------------------
def reference_residual(params, X, M, T):
    """Compute half the squared error of a residual block with a given dropout mask."""
    A = tap("A", torch.relu(tap("Z", X @ params["W"])))
    return _half_squares(tap("O", X + tap("D", A * M / 0.75)), T)


def _draw_residual(rng):
    M = (rng.random((7, 4)) < 0.75).astype(float)
    return {"W": rng.standard_normal((4, 4))}, (rng.standard_normal((7, 4)), M, rng.standard_normal((7, 4)))


RESIDUAL = """def derivation(params, X, M, T):
    W = params["W"]
    n = len(X)

    # forward
    Z = X @ W
    A = np.maximum(Z, 0)
    D = A * M / 0.75
    O = X + D
    J = ((O - T) ** 2).sum() / (2 * n)

    # backward
    dO = (O - T) / n
    dD = dO
    dA = dD * M / 0.75
    dZ = dA * (Z > 0)
    dW = X.T @ dZ
    dX = dO + dZ @ W.T
    return {"J": J, "Z": Z, "A": A, "D": D, "O": O, "dO": dO, "dD": dD, "dA": dA, "dZ": dZ, "dW": dW, "dX": dX}
"""

RESIDUAL_MISTAKES = (
    Mistake("The way past the block is left out.", "dX = dO + dZ", "dX = dZ"),
    Mistake("The way through the block is left out.", "dX = dO + dZ @ W.T", "dX = dO + 0"),
    Mistake("The mask is left out on the way back.", "dD * M / 0.75", "dD / 0.75"),
    Mistake("What is kept is left out on the way back.", "dD * M / 0.75", "dD * M"),
    Mistake("The forward pass multiplies by what is kept.", "A * M / 0.75", "A * M * 0.75"),
    Mistake("The forward pass divides by what is dropped.", "A * M / 0.75", "A * M / 0.25"),
    Mistake("The mask is the other way round.", "A * M / 0.75", "A * (1 - M) / 0.75"),
    Mistake("The mask is laid over the way past the block.", "O = X + D", "O = X * M + D"),
    Mistake("The way past the block counts twice.", "dX = dO + dZ", "dX = 2 * dO + dZ"),
)


OPERATIONS = (
    Operation("convolution", reference_convolution, CONVOLUTION, _draw_convolution, CONVOLUTION_MISTAKES),
    Operation("GELU and SiLU", reference_smooth, SMOOTH, _draw_smooth, SMOOTH_MISTAKES),
    Operation("residual and dropout", reference_residual, RESIDUAL, _draw_residual, RESIDUAL_MISTAKES),
)
