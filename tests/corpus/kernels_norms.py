"""Kernels of normalisations and losses over rows: layer norm, RMS norm, softmax cross-entropy, label smoothing."""

import torch

from tests.corpus.kernels_dense import normal
from tests.corpus.kernels_planted import Kernel
from tests.corpus.planted import Mistake

ROWS = {"tiny": (2, 5), "small": (33, 48), "mid": (128, 256), "long": (4096, 16), "wide": (8, 4096)}


# layer norm ----------------------------------------------------------------------------------------------------------
def layer_norm_reference(x, w, b):
    """Normalise rows, with gain and offset."""
    c = x - x.mean(-1, keepdim=True)
    return c * torch.rsqrt((c * c).mean(-1, keepdim=True) + 1e-5) * w + b


def layer_norm_forward(a, x, w, b):
    """Compute y = xhat w + b."""
    c = x - a.row_sum(x) * a.number(1 / x.shape[1])
    r = torch.rsqrt(a.row_sum(c * c) * a.number(1 / x.shape[1]) + a.number(1e-5))
    return (a.between(c * r) * w + b,), ()


LAYER_NORM = """def backward(a, dy, x, w, b):
    n, d = x.shape
    c = x - a.row_sum(x) / d
    var = a.row_sum(c * c) / d
    r = torch.rsqrt(var + a.number(1e-5))
    xhat = a.between(c * r)
    m = a.between(dy * w)
    along = a.row_sum(xhat * m) * a.number(1 / d)
    mean = a.row_sum(m) * a.number(1 / d)
    dx = r * (m - mean - xhat * along)
    dw = a.sum(dy * xhat, 0)
    db = a.sum(dy, 0)
    return dx, dw, db
"""


def _draw_layer_norm(generator, shape, scale):
    n, d = shape
    x = normal(generator, n, d, scale=scale) + (3 * scale if scale > 4 else 0)
    return x, 1 + normal(generator, d, scale=0.3), normal(generator, d)


LAYER_NORM_MISTAKES = (
    Mistake("The part along the normalised rows is left out.", " - xhat * along", ""),
    Mistake("The part along the normalised rows is 0.9 of it.", "xhat * along", "0.9 * xhat * along"),
    Mistake("The part along the normalised rows is added.", " - xhat * along", " + xhat * along"),
    Mistake("The mean is not subtracted.", " - mean", ""),
    Mistake("0.9 of the mean is subtracted.", " - mean", " - 0.9 * mean"),
    Mistake("The mean of dy stands for that of dy w.", "mean = a.row_sum(m)", "mean = a.row_sum(dy)"),
    Mistake("eps stands outside the root.", "torch.rsqrt(var + a.number(1e-5))", "1 / (torch.sqrt(var) + 1e-5)"),
    Mistake("eps is a hundred times as large.", "1e-5", "1e-3"),
    Mistake("The variance is divided by d - 1.", "(c * c) / d", "(c * c) / (d - 1)"),
    Mistake("The part along the rows is divided by d - 1.", "xhat * m) * a.number(1 / d)", "xhat * m) / (d - 1)"),
    Mistake("The gain is left out.", "m = a.between(dy * w)", "m = dy"),
    Mistake("1/std is left out.", "dx = r * ", "dx = "),
    Mistake("1/std is that of the row before.", "xhat = ", "r = r.roll(1, 0)\n    xhat = "),
    Mistake("The last column is left out of the part along the rows.", "(xhat * m)", "((xhat * m)[:, :-1])"),
    Mistake("The gradient of the gain is a mean.", "a.sum(dy * xhat, 0)", "a.sum(dy * xhat, 0) / n"),
    Mistake("The gradient of the gain reads the rows as they came.", "dy * xhat", "dy * x"),
    Mistake("The gradient of the gain misses the last row.", "a.sum(dy * xhat, 0)", "a.sum((dy * xhat)[:-1], 0)"),
    Mistake("The gradient of the offset is that of the gain.", "a.sum(dy, 0)", "dw"),
)


# RMS norm ------------------------------------------------------------------------------------------------------------
def rms_norm_reference(x, w):
    """Divide rows by their root mean square, with gain."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * w


def rms_norm_forward(a, x, w):
    """Compute y = x r w."""
    r = torch.rsqrt(a.row_sum(x * x) * a.number(1 / x.shape[1]) + a.number(1e-6))
    return (a.between(x * r) * w,), ()


RMS_NORM = """def backward(a, dy, x, w):
    n, d = x.shape
    r = torch.rsqrt(a.row_sum(x * x) * a.number(1 / d) + a.number(1e-6))
    xhat = a.between(x * r)
    m = a.between(dy * w)
    along = a.row_sum(m * xhat) / d
    dx = r * (m - xhat * along)
    dw = a.sum(dy * xhat, 0)
    return dx, dw
"""


def _draw_rms_norm(generator, shape, scale):
    n, d = shape
    return normal(generator, n, d, scale=scale), 1 + normal(generator, d, scale=0.3)


RMS_NORM_MISTAKES = (
    Mistake("The part along the rows is left out.", " - xhat * along", ""),
    Mistake("The part along the rows is 0.9 of it.", "xhat * along)", "0.9 * xhat * along)"),
    Mistake("The part along the rows is added.", " - xhat * along", " + xhat * along"),
    Mistake("eps is a thousand times as large.", "1e-6", "1e-3"),
    Mistake("eps is left out.", " + a.number(1e-6)", ""),
    Mistake("The squares are divided by d - 1.", "(x * x) * a.number(1 / d)", "(x * x) / (d - 1)"),
    Mistake("The gain is left out.", "a.between(dy * w)", "dy"),
    Mistake("The gain is 1 + w.", "a.between(dy * w)", "a.between(dy * (1 + w))"),
    Mistake("0.01 is added to the gain.", "a.between(dy * w)", "a.between(dy * (w + 0.01))"),
    Mistake("The rows as they came stand for the normalised ones.", "- xhat * along", "- x * along"),
    Mistake("The part along the rows is a sum.", "(m * xhat) / d", "(m * xhat)"),
    Mistake("1/rms is left out.", "dx = r * ", "dx = "),
    Mistake("The last column is left out of the part along the rows.", "(m * xhat)", "((m * xhat)[:, :-1])"),
    Mistake("The mean of m is subtracted as in a layer norm.", "(m - xhat", "(m - m.mean(1, keepdim=True) - xhat"),
    Mistake("The gradient of the gain is a mean.", "a.sum(dy * xhat, 0)", "a.sum(dy * xhat, 0) / n"),
    Mistake("The gradient of the gain misses the last row.", "a.sum(dy * xhat, 0)", "a.sum((dy * xhat)[:-1], 0)"),
    Mistake("The gradient of the gain reads the rows as they came.", "a.sum(dy * xhat, 0)", "a.sum(dy * x, 0)"),
)


# softmax cross-entropy -----------------------------------------------------------------------------------------------
def cross_entropy_reference(z, t):
    """Compute the loss of each row."""
    return -torch.log_softmax(z, 1).gather(1, t[:, None])[:, 0]


def cross_entropy_forward(a, z, t):
    """Compute log sum exp z - z_t."""
    m = z.amax(1, keepdim=True)
    return ((m + torch.log(a.row_sum(torch.exp(z - m))) - z.gather(1, t[:, None]))[:, 0],), ()


CROSS_ENTROPY = """def backward(a, dy, z, t):
    n, v = z.shape
    e = torch.exp(z - z.amax(1, keepdim=True))
    total = a.row_sum(e)
    p = e / total
    wanted = F.one_hot(t, v).to(p.dtype)
    dz = (p - wanted) * dy[:, None]
    return dz, None
"""


def _draw_cross_entropy(generator, shape, scale):
    n, v = shape
    return normal(generator, n, v, scale=min(2 * scale, 8)), torch.randint(0, v, (n,), generator=generator)


CROSS_ENTROPY_MISTAKES = (
    Mistake("1/n is taken in, as for a mean.", "dy[:, None]", "dy[:, None] / n"),
    Mistake("The target is not subtracted.", "(p - wanted)", "p"),
    Mistake("The target is subtracted unscaled.", "(p - wanted) * dy[:, None]", "p * dy[:, None] - wanted"),
    Mistake("The target is that of the next class.", "F.one_hot(t, v)", "F.one_hot(t, v).roll(1, 1)"),
    Mistake("The target is that of the next row.", "F.one_hot(t, v)", "F.one_hot(t.roll(1), v)"),
    Mistake("The target counts 0.99.", "(p - wanted)", "(p - 0.99 * wanted)"),
    Mistake("The last class is left out of the sum.", "a.row_sum(e)", "a.row_sum(e[:, :-1])"),
    Mistake(
        "The classes behind the last full tile are left out of the sum.",
        "a.row_sum(e)",
        "a.row_sum(e[:, : max(2, (v - 1) // 16 * 16)])",
    ),
    Mistake("0.01 is added to the sum.", "a.row_sum(e)", "a.row_sum(e) + 0.01"),
    Mistake("1e-5 is added to the sum.", "a.row_sum(e)", "a.row_sum(e) + 1e-5"),
    Mistake("The sum is that of the row before.", "a.row_sum(e)", "a.row_sum(e).roll(1, 0)"),
    Mistake("The probabilities are not normalised.", "e / total", "e"),
    Mistake("The temperature is 1.01.", "e = torch.exp(", "e = torch.exp(0.99 * "),
    Mistake("The sum is 0.1 % too large.", "a.row_sum(e)", "a.row_sum(e) * 1.001"),
)


# label smoothing -----------------------------------------------------------------------------------------------------
def smoothing_reference(z, t):
    """Compute the loss of each row with a tenth of the target spread over all classes."""
    logp = torch.log_softmax(z, 1)
    return -0.9 * logp.gather(1, t[:, None])[:, 0] - 0.1 * logp.mean(1)


def smoothing_forward(a, z, t):
    """Compute log sum exp z - 0.9 z_t - 0.1 mean z."""
    m = z.amax(1, keepdim=True)
    spread = 0.1 / z.shape[1] * a.row_sum(z - m)
    return ((torch.log(a.row_sum(torch.exp(z - m))) - 0.9 * (z.gather(1, t[:, None]) - m) - spread)[:, 0],), ()


SMOOTHING = CROSS_ENTROPY.replace(
    "F.one_hot(t, v).to(p.dtype)", "0.9 * F.one_hot(t, v).to(p.dtype) + a.number(0.1 / v)"
)

SMOOTHING_MISTAKES = (
    Mistake("The spread part is not divided by the classes.", "a.number(0.1 / v)", "0.1"),
    Mistake("The spread part is left out.", " + a.number(0.1 / v)", ""),
    Mistake("The spread part is half as large.", "a.number(0.1 / v)", "0.05 / v"),
    Mistake("The spread part is divided by the other classes only.", "a.number(0.1 / v)", "0.1 / (v - 1)"),
    Mistake(
        "The spread part leaves the target out.", "+ a.number(0.1 / v)", "+ 0.1 / v * (1 - F.one_hot(t, v).to(p.dtype))"
    ),
    Mistake("The target keeps all of its weight.", "0.9 * F.one_hot", "F.one_hot"),
    Mistake("The target is not smoothed.", "0.9 * F.one_hot(t, v).to(p.dtype) + a.number(0.1 / v)", "F.one_hot(t, v)"),
    Mistake(
        "The smoothing is 0.11.",
        "0.9 * F.one_hot(t, v).to(p.dtype) + a.number(0.1 / v)",
        "0.89 * F.one_hot(t, v).to(p.dtype) + 0.11 / v",
    ),
    Mistake("The target has the spread part twice.", "0.9 * F.one_hot", "(0.9 + 0.1 / v) * F.one_hot"),
    Mistake("The target is that of the next class.", "F.one_hot(t, v)", "F.one_hot(t, v).roll(1, 1)"),
    Mistake("The last class is left out of the sum.", "a.row_sum(e)", "a.row_sum(e[:, :-1])"),
    Mistake("1/n is taken in, as for a mean.", "dy[:, None]", "dy[:, None] / n"),
)


KERNELS = (
    Kernel(
        "layer norm", layer_norm_reference, layer_norm_forward, LAYER_NORM, _draw_layer_norm, ROWS, LAYER_NORM_MISTAKES
    ),
    Kernel("RMS norm", rms_norm_reference, rms_norm_forward, RMS_NORM, _draw_rms_norm, ROWS, RMS_NORM_MISTAKES),
    Kernel(
        "softmax cross-entropy",
        cross_entropy_reference,
        cross_entropy_forward,
        CROSS_ENTROPY,
        _draw_cross_entropy,
        {"tiny": (1, 4), "small": (17, 33), "mid": (64, 512), "long": (8, 4096)},
        CROSS_ENTROPY_MISTAKES,
    ),
    Kernel(
        "label smoothing",
        smoothing_reference,
        smoothing_forward,
        SMOOTHING,
        _draw_cross_entropy,
        {"tiny": (1, 4), "small": (17, 33), "mid": (64, 512), "long": (8, 4096)},
        SMOOTHING_MISTAKES,
    ),
)
