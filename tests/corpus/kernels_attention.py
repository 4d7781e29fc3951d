"""Kernels of attention: with all keys and causal, recomputed from the saved row sums as in flash attention; rotary."""

from functools import partial

import torch

from tests.corpus.kernels_dense import normal
from tests.corpus.kernels_planted import Kernel
from tests.corpus.kernels_slips import STALE
from tests.corpus.planted import Mistake


def _hidden(first, n):
    """Which keys a query does not see: those so many behind it, or more."""
    return torch.ones(n, n, dtype=torch.bool).triu(n if first is None else first)


# attention -----------------------------------------------------------------------------------------------------------
def attention_reference(q, k, v, first=None):
    """Compute softmax(q k^T / sqrt(d)) v of (batch, time, d); keys from `first` behind a query on are hidden."""
    S = q @ k.transpose(1, 2) * q.shape[-1] ** -0.5
    return torch.softmax(S.masked_fill(_hidden(first, q.shape[1]), float("-inf")), -1) @ v


def attention_forward(a, q, k, v, first=None):
    """Compute O, and keep it as it is stored, and the log of each row's sum."""
    S = a.matmul(q, k.transpose(1, 2)) * a.number(q.shape[-1] ** -0.5)
    S = S.masked_fill(_hidden(first, q.shape[1]), float("-inf"))
    m = S.amax(-1, keepdim=True)
    E = torch.exp(S - m)
    total = a.row_sum(E)
    O = a.matmul(E, v) / total
    return (O,), (a.load(a.store(O)), m + torch.log(total))


ATTENTION = """def backward(a, dO, O, L, q, k, v):
    scale = a.number(q.shape[-1] ** -0.5)
    n = q.shape[1]
    hidden = torch.zeros(n, n, dtype=torch.bool)
    S = a.matmul(q, k.transpose(1, 2)) * scale
    P = torch.exp(S - L).masked_fill(hidden, 0)
    D = a.row_sum(dO * O)
    dP = a.matmul(dO, v.transpose(1, 2))
    dS = P * (dP - D)
    dq = a.matmul(dS, k) * scale
    dk = a.matmul(dS.transpose(1, 2), q) * scale
    dv = a.matmul(P.transpose(1, 2), dO)
    return dq, dk, dv
"""


def _draw_attention(generator, shape, scale):
    return normal(generator, *shape, scale=min(scale, 4)), normal(generator, *shape), normal(generator, *shape)


ATTENTION_MISTAKES = (
    Mistake("The row sum D is left out.", "(dP - D)", "dP"),
    Mistake("The row sum D is added.", "(dP - D)", "(dP + D)"),
    Mistake("0.9 of the row sum D is subtracted.", "(dP - D)", "(dP - 0.9 * D)"),
    Mistake("0.99 of the row sum D is subtracted.", "(dP - D)", "(dP - 0.99 * D)"),
    Mistake("D is that of the row before.", "a.row_sum(dO * O)", "a.row_sum(dO * O).roll(1, 1)"),
    Mistake("D misses the last column.", "a.row_sum(dO * O)", "a.row_sum((dO * O)[..., :-1])"),
    Mistake("D is a mean.", "a.row_sum(dO * O)", "a.row_sum(dO * O) / q.shape[-1]"),
    Mistake("D reads v where O belongs.", "a.row_sum(dO * O)", "a.row_sum(dO * v)"),
    Mistake("The scale is that of d + 1.", "q.shape[-1] ** -0.5", "(q.shape[-1] + 1) ** -0.5"),
    Mistake("The scale is 1.05 of what it should be.", "a.number(q", "1.05 * a.number(q"),
    Mistake(
        "The scale is missing where the probabilities are recomputed.",
        "transpose(1, 2)) * scale\n    P",
        "transpose(1, 2))\n    P",
    ),
    Mistake("The row sums are 1 % too large.", "S - L", "S - L - 0.01"),
    Mistake("The row sums are those of the row before.", "S - L", "S - L.roll(1, 1)"),
    Mistake("The last key is skipped.", "(hidden, 0)", "(hidden | (torch.arange(n) == n - 1), 0)"),
    Mistake("The first key is skipped.", "(hidden, 0)", "(hidden | (torch.arange(n) == 0), 0)"),
    Mistake(
        "The keys behind the last full tile are skipped.",
        "(hidden, 0)",
        "(hidden | (torch.arange(n) >= (n - 1) // 16 * 16), 0)",
    ),
    Mistake("The scale is missing in dq.", "dq = a.matmul(dS, k) * scale", "dq = a.matmul(dS, k)"),
    Mistake("dk has the scale twice.", "q) * scale", "q) * scale * scale"),
    Mistake("dk of the last key is zero.", "q) * scale", "q) * scale * (torch.arange(n) < n - 1)[:, None]"),
    Mistake("dv has the transposed probabilities.", "a.matmul(P.transpose(1, 2), dO)", "a.matmul(P, dO)"),
    Mistake("dv misses the last query.", "(P.transpose(1, 2), dO)", "(P[:, :-1].transpose(1, 2), dO[:, :-1])"),
    Mistake("The probabilities are left out of dS.", "dS = P * (dP - D)", "dS = dP - D"),
    Mistake(
        "The first query's probabilities are 1.5 of what they should be.", "    dS =", "    P[:, 0] *= 1.5\n    dS ="
    ),
)


# causal attention ----------------------------------------------------------------------------------------------------
CAUSAL = ATTENTION.replace("torch.bool)", "torch.bool) | (torch.arange(n) > torch.arange(n)[:, None])")

CAUSAL_MISTAKES = (
    *ATTENTION_MISTAKES,
    Mistake("A query does not see its own key.", "> torch.arange(n)[:, None]", ">= torch.arange(n)[:, None]"),
    Mistake("A query sees the next key.", "> torch.arange(n)[:, None]", "> torch.arange(n)[:, None] + 1"),
    Mistake("Nothing is hidden.", "masked_fill(hidden, 0)", "masked_fill(hidden & False, 0)"),
    Mistake("The hidden keys are those before a query.", "(torch.arange(n) > ", "(torch.arange(n) < "),
    Mistake("Only the next sixteen keys are hidden.", "(hidden, 0)", "(hidden & ~hidden.triu(17), 0)"),
)


# rotary --------------------------------------------------------------------------------------------------------------
def _angles(n, d):
    theta = 10000.0 ** (-torch.arange(0, d, 2, dtype=torch.float64) / d)
    return (torch.arange(n, dtype=torch.float64)[:, None] * theta)[:, None]


def _rotated(x, cos, sin):
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


def rotary_reference(q, k):
    """Rotate halves of (time, heads, d) by angles that grow with time."""
    angles = _angles(q.shape[0], q.shape[2])
    cos, sin = angles.cos().to(q.dtype), angles.sin().to(q.dtype)
    return _rotated(q, cos, sin), _rotated(k, cos, sin)


def rotary_forward(a, q, k):
    """Compute the rotated queries and keys."""
    angles = _angles(q.shape[0], q.shape[2])
    cos, sin = a.between(a.load(angles.cos())), a.between(a.load(angles.sin()))
    return (_rotated(q, cos, sin), _rotated(k, cos, sin)), ()


ROTARY = """def backward(a, dq, dk, q, k):
    n, _, d = q.shape
    theta = 10000.0 ** (-torch.arange(0, d, 2, dtype=torch.float64) / d)
    angles = (torch.arange(n)[:, None] * theta)[:, None]
    cos, sin = a.between(a.load(angles.cos())), a.between(a.load(angles.sin()))

    def back(dy):
        first, second = dy[..., : d // 2], dy[..., d // 2 :]
        return torch.cat([first * cos + second * sin, second * cos - first * sin], -1)

    return back(dq), back(dk)
"""


def _draw_rotary(generator, shape, scale):
    return normal(generator, *shape, scale=scale), normal(generator, *shape, scale=scale)


ROTARY_MISTAKES = (
    Mistake("Both are rotated forward again.", "a.load(angles.sin())", "a.load(-angles.sin())"),
    Mistake(
        "Pairs of neighbours are rotated, not halves.",
        "dy[..., : d // 2], dy[..., d // 2 :]",
        "dy[..., ::2], dy[..., 1::2]",
    ),
    Mistake("The positions begin at 1.", "torch.arange(n)[:", "torch.arange(1, n + 1)[:"),
    Mistake("The base is 9000.", "10000.0", "9000.0"),
    Mistake("The base is 9990.", "10000.0", "9990.0"),
    Mistake("The gradient of the keys is not rotated.", "back(dk)", "dk"),
    Mistake(
        "The gradient of the queries is not rotated at the last position.",
        "back(dq),",
        "torch.cat([back(dq)[:-1], dq[-1:]]),",
    ),
    Mistake("The cosine stands for the sine.", "angles.sin()", "angles.cos()"),
    Mistake("The sines are left out.", "cos + second * sin, second * cos - first * sin", "cos, second * cos"),
    Mistake("One of the sines has the wrong sign.", "- first * sin", "+ first * sin"),
    Mistake("The angles are rounded to bfloat16.", "* theta)[:, None]", "* theta)[:, None].bfloat16().double()"),
    Mistake("The frequencies are spread over d + 2.", "torch.float64) / d", "torch.float64) / (d + 2)"),
    Mistake("The gradients of queries and keys are swapped.", "return back(dq), back(dk)", "return back(dk), back(dq)"),
)


SEQUENCES = {"tiny": (1, 3, 4), "small": (2, 37, 16), "mid": (2, 128, 64), "long": (1, 512, 16)}

KERNELS = (
    Kernel(
        "attention",
        attention_reference,
        attention_forward,
        ATTENTION,
        _draw_attention,
        SEQUENCES,
        ATTENTION_MISTAKES,
    ),
    Kernel(
        "causal attention",
        partial(attention_reference, first=1),
        partial(attention_forward, first=1),
        CAUSAL,
        _draw_attention,
        SEQUENCES,
        CAUSAL_MISTAKES,
    ),
    Kernel(
        "rotary",
        rotary_reference,
        rotary_forward,
        ROTARY,
        _draw_rotary,
        {"tiny": (2, 1, 4), "small": (9, 3, 8), "mid": (64, 4, 32), "long": (4096, 1, 8)},
        ROTARY_MISTAKES,
        unmoved=(STALE,),
    ),
)
