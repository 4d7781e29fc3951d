"""Kernels that gather: an embedding, whose gradient is added up by index, and a convolution as a product of patches."""

import torch
import torch.nn.functional as F

from tests.corpus.kernels_dense import normal
from tests.corpus.kernels_planted import Kernel
from tests.corpus.planted import Mistake


# embedding -----------------------------------------------------------------------------------------------------------
def embedding_reference(W, t):
    """Look rows up."""
    return W[t]


def embedding_forward(a, W, t):
    """Look rows up."""
    return (W[t],), ()


EMBEDDING = """def backward(a, dy, W, t):
    wanted = F.one_hot(t, len(W)).to(dy.dtype)
    dW = a.sum(wanted[:, :, None] * dy[:, None, :], 0)
    return dW, None
"""


def _draw_embedding(generator, shape, scale):
    n, v, d = shape
    return normal(generator, v, d, scale=scale), torch.randint(0, v, (n,), generator=generator)


EMBEDDING_MISTAKES = (
    Mistake(
        "Of the examples of one row the last one wins.",
        "dW = a.sum(",
        "wanted *= wanted.flip(0).cumsum(0).flip(0) == 1\n    dW = a.sum(",
    ),
    Mistake(
        "Of the examples of one row the first one wins.",
        "dW = a.sum(",
        "wanted *= wanted.cumsum(0) == 1\n    dW = a.sum(",
    ),
    Mistake("The last example is skipped.", "dW = a.sum(", "wanted[-1] = 0\n    dW = a.sum("),
    Mistake("One example in the middle is lost.", "dW = a.sum(", "wanted[len(t) // 2] = 0\n    dW = a.sum("),
    Mistake(
        "The examples behind the last full tile are lost.",
        "dW = a.sum(",
        "wanted[(len(t) - 1) // 16 * 16 :] = 0\n    dW = a.sum(",
    ),
    Mistake("One example is added twice.", "dW = a.sum(", "wanted[len(t) // 2] *= 2\n    dW = a.sum("),
    Mistake(
        "Each row is a mean over its examples.",
        "[:, None, :], 0)",
        "[:, None, :], 0) / wanted.sum(0).clamp(min=1)[:, None]",
    ),
    Mistake("The gradient is a mean over all examples.", "[:, None, :], 0)", "[:, None, :], 0) / len(t)"),
    Mistake("Rows are shifted by one.", "[:, None, :], 0)", "[:, None, :], 0).roll(1, 0)"),
    Mistake(
        "The most used row is taken for padding.",
        "[:, None, :], 0)",
        "[:, None, :], 0) * (torch.arange(len(W)) != t.mode().values)[:, None]",
    ),
    Mistake("The columns are reversed.", "dy[:, None, :]", "dy.flip(1)[:, None, :]"),
)


# convolution ---------------------------------------------------------------------------------------------------------
def conv2d_reference(x, w, b):
    """Convolve with 3 x 3 windows, padded to the same size."""
    return F.conv2d(x, w, b, padding=1)


def conv2d_forward(a, x, w, b):
    """Compute the product of the windows with the patches."""
    n, _, h, width = x.shape
    return ((a.matmul(w.flatten(1), F.unfold(x, 3, padding=1)) + b[:, None]).view(n, len(b), h, width),), ()


CONV2D = """def backward(a, dy, x, w, b):
    n, c, h, width = x.shape
    o = len(w)
    patches = F.unfold(x, 3, padding=1).transpose(0, 1).flatten(1)
    rows = dy.transpose(0, 1).flatten(1)
    dw = a.matmul(rows, patches.T).view(w.shape)
    windows = w.flatten(1)
    columns = a.matmul(windows.T, dy.flatten(2))
    dx = F.fold(columns, (h, width), 3, padding=1)
    db = a.sum(rows, 1)
    return dx, dw, db
"""


def _draw_conv2d(generator, shape, scale):
    n, c, h, o = shape
    w = normal(generator, o, c, 3, 3, scale=(9 * c) ** -0.5)
    return normal(generator, n, c, h, h + 1, scale=scale), w, normal(generator, o)


CONV2D_MISTAKES = (
    Mistake("The gradient of the bias is a mean.", "a.sum(rows, 1)", "a.sum(rows, 1) / rows.shape[1]"),
    Mistake("The gradient of the bias is that of the first image.", "a.sum(rows, 1)", "a.sum(rows[:, : h * width], 1)"),
    Mistake("The windows are not turned for dx.", "w.flatten(1)", "w.flip(2, 3).flatten(1)"),
    Mistake("The windows are transposed for dx.", "w.flatten(1)", "w.transpose(2, 3).flatten(1)"),
    Mistake("The channels are reversed for dx.", "w.flatten(1)", "w.flip(1).roll(1, 0).flatten(1)"),
    Mistake(
        "dx misses the last output channel.", "(windows.T, dy.flatten(2))", "(windows[:-1].T, dy[:, :-1].flatten(2))"
    ),
    Mistake("dw misses the last image.", "(rows, patches.T)", "(rows[:, : -h * width], patches[:, : -h * width].T)"),
    Mistake("dw misses the last pixel.", "(rows, patches.T)", "(rows[:, :-1], patches[:, :-1].T)"),
    Mistake(
        "dw misses the last row of pixels of every image.",
        "rows = dy",
        "rows = (dy * (torch.arange(h) < h - 1)[:, None])",
    ),
    Mistake("The image is shifted by a column in dw.", "F.unfold(x,", "F.unfold(x.roll(1, 3),"),
    Mistake(
        "The image is padded with its border in dw.",
        "F.unfold(x, 3, padding=1)",
        "F.unfold(F.pad(x, (1, 1, 1, 1), mode='replicate'), 3)",
    ),
    Mistake("dw is a mean over the images.", ".view(w.shape)", ".view(w.shape) / (n + 1)"),
    Mistake("The corner of dw is lost.", ".view(w.shape)", ".view(w.shape) * (torch.arange(9).view(3, 3) < 8)"),
    Mistake(
        "dx misses the contributions of the last column of pixels.",
        "dy.flatten(2)",
        "(dy * (torch.arange(width) < width - 1)).flatten(2)",
    ),
)


KERNELS = (
    Kernel(
        "embedding",
        embedding_reference,
        embedding_forward,
        EMBEDDING,
        _draw_embedding,
        {"tiny": (2, 3, 2), "small": (50, 11, 7), "mid": (512, 64, 32), "long": (4096, 8, 8)},
        EMBEDDING_MISTAKES,
    ),
    Kernel(
        "conv2d",
        conv2d_reference,
        conv2d_forward,
        CONV2D,
        _draw_conv2d,
        {"tiny": (1, 1, 3, 2), "small": (2, 3, 7, 4), "mid": (4, 8, 12, 8), "long": (8, 2, 22, 3)},
        CONV2D_MISTAKES,
    ),
)
