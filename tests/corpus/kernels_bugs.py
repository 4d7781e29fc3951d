"""Eight bugs of public kernels, made again small: each as it was mended, and the edit that brings the bug back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.corpus.kernels_dense import normal
from tests.corpus.kernels_norms import cross_entropy_reference, rms_norm_reference
from tests.corpus.kernels_planted import Function, Tensors, function_by_hand
from tests.corpus.planted import Mistake, made


@dataclass(frozen=True)
class Bug:
    """A kernel that was wrong: its report, reference, forward pass, source of the mended backward pass, and the bug.

    Both passes read tensors as they lie in memory: forward(*inputs) gives outputs, and
    backward(*upstream gradients, *inputs) the gradients.
    """

    report: str
    reference: Function
    forward: Callable[..., Tensors]
    backward: str
    mistake: Mistake
    draw: Callable[[torch.Generator], Tensors]


def inputs_of_bug(bug: Bug, generator: torch.Generator, dtype: torch.dtype) -> Tensors:
    """What the kernel is handed, floating tensors in a dtype."""
    return tuple(t.to(dtype) if t.is_floating_point() else t for t in bug.draw(generator))


def function_of_bug(bug: Bug, mistake: Mistake | None = None) -> Function:
    """The kernel as it was mended, or with its bug."""
    source = mistake.planted(bug.backward) if mistake else bug.backward
    by_hand = made(source, torch=torch, F=F, wide=_wide)
    return function_by_hand(
        lambda inputs: (bug.forward(*inputs), ()), lambda upstream, kept, inputs: by_hand(*upstream, *inputs)
    )


def _wide(tensor: Tensor) -> Tensor:
    """What is computed with: float32, or float64 where that is stored."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


# a linear layer and cross-entropy in one -----------------------------------------------------------------------------
def _fused_reference(x, W, t):
    return cross_entropy_reference(x @ W.T, t)


def _loss(z, t):
    return z.logsumexp(1) - z.gather(1, t[:, None])[:, 0]


def _fused_forward(x, W, t):
    return (_loss(_wide(x) @ _wide(W).T, t),)


FUSED = """def backward(dy, x, W, t):
    z = wide(x) @ wide(W).T
    dz = (torch.softmax(z, 1) - F.one_hot(t, len(W))) * wide(dy)[:, None]
    return (dz @ wide(W)).to(x.dtype), (dz.T @ wide(x)).to(W.dtype), None
"""


def _draw_fused(generator):
    return normal(generator, 24, 16), normal(generator, 29, 16) / 4, _targets(generator)


def _targets(generator):
    return torch.randint(0, 29, (24,), generator=generator)


# RMS norm ------------------------------------------------------------------------------------------------------------
def _rms_norm_forward(x, w):
    x32 = _wide(x)
    return ((x32 * torch.rsqrt(x32.square().mean(-1, keepdim=True) + 1e-6) * _wide(w)).to(x.dtype),)


RMS_NORM = """def backward(dy, x, w):
    x32, m = wide(x), wide(dy) * wide(w)
    r = torch.rsqrt(x32.square().mean(-1, keepdim=True) + 1e-6)
    dx = r * (m - x32 * r * r * (m * x32).mean(-1, keepdim=True))
    return dx.to(x.dtype), (wide(dy) * x32 * r).sum(0).to(w.dtype)
"""


def _draw_rms_norm(generator):
    return normal(generator, 24, 40), 1 + normal(generator, 40, scale=0.2)


# scaled softmax ------------------------------------------------------------------------------------------------------
def _softmax_reference(x):
    return torch.softmax(x * 0.5, -1)


def _softmax_forward(x):
    return (torch.softmax(_wide(x) * 0.5, -1).to(x.dtype),)


SOFTMAX = """def backward(dy, x):
    p = torch.softmax(wide(x) * 0.5, -1)
    dx = 0.5 * p * (wide(dy) - (p * wide(dy)).sum(-1, keepdim=True))
    return (dx.to(x.dtype),)
"""


def _draw_rows(generator):
    return (normal(generator, 24, 40),)


# a residual sum and its RMS norm -------------------------------------------------------------------------------------
def _residual_reference(x, residual, w):
    h = x + residual
    return rms_norm_reference(h, w), h


def _residual_forward(x, residual, w):
    h = _wide(x) + _wide(residual)
    return (h * torch.rsqrt(h.square().mean(-1, keepdim=True) + 1e-6) * _wide(w)).to(x.dtype), h.to(x.dtype)


RESIDUAL = """def backward(dy, dh, x, residual, w):
    h, m = wide(x) + wide(residual), wide(dy) * wide(w)
    r = torch.rsqrt(h.square().mean(-1, keepdim=True) + 1e-6)
    dx = (r * (m - h * r * r * (m * h).mean(-1, keepdim=True)) + wide(dh)).to(x.dtype)
    return dx, dx.clone(), (wide(dy) * h * r).sum(0).to(w.dtype)
"""


def _draw_residual(generator):
    return normal(generator, 24, 40), *_draw_rms_norm(generator)


# cross-entropy of scaled logits --------------------------------------------------------------------------------------
def _scaled_reference(z, t):
    return cross_entropy_reference(z * 0.5, t)


def _scaled_forward(z, t):
    return (_loss(_wide(z) * 0.5, t),)


SCALED = """def backward(dy, z, t):
    dz = (torch.softmax(wide(z) * 0.5, 1) - F.one_hot(t, z.shape[1])) * 0.5
    return (dz * wide(dy)[:, None]).to(z.dtype), None
"""


def _cross_entropy_forward(z, t):
    return (_loss(_wide(z), t),)


CROSS_ENTROPY = """def backward(dy, z, t):
    dz = torch.softmax(wide(z), 1) - F.one_hot(t, z.shape[1])
    return (dz * wide(dy)[:, None]).to(z.dtype), None
"""


def _draw_logits(generator):
    return normal(generator, 24, 29), _targets(generator)


# a penalty on the largest logit that leaves the loss as it is --------------------------------------------------------
def _penalty_reference(loss, z):
    squares = (0.05 / len(z)) * z.amax(-1).square()
    return loss + (squares - squares.detach()).sum()


def _penalty_forward(loss, z):
    return (loss.clone(),)


PENALTY = """def backward(dy, loss, z):
    largest, at = wide(z).max(-1, keepdim=True)
    dz = torch.zeros_like(wide(z)).scatter_(-1, at, largest * 0.1 / len(z))
    return dy.clone(), (dz * wide(dy)).to(z.dtype)
"""


def _draw_penalty(generator):
    return normal(generator), normal(generator, 24, 29)


# a product by columns ------------------------------------------------------------------------------------------------
def _product_reference(x, w):
    return x * w


def _product_forward(x, w):
    return (x * w,)


PRODUCT = """def backward(dy, x, w):
    return (wide(dy) * wide(w)).to(x.dtype), (wide(dy) * wide(x)).sum(0).to(w.dtype)
"""
MISREAD = """backward(dy, x, w):
    if dy.untyped_storage().nbytes() >= dy.numel() * dy.element_size():
        dy = torch.as_strided(dy, dy.shape, (dy.shape[1], 1), 0)
"""


def _draw_product(generator):
    return normal(generator, 24, 40), normal(generator, 40)


BUGS = (
    Bug(
        "Liger-Kernel #1298",
        _fused_reference,
        _fused_forward,
        FUSED,
        Mistake("The first upstream gradient stands for all.", "wide(dy)[:, None]", "wide(dy)[0]"),
        _draw_fused,
    ),
    Bug(
        "unsloth #4533",
        rms_norm_reference,
        _rms_norm_forward,
        RMS_NORM,
        Mistake("The weight has no gradient.", "(wide(dy) * x32 * r).sum(0).to(w.dtype)", "None"),
        _draw_rms_norm,
    ),
    Bug(
        "apex #1430",
        _softmax_reference,
        _softmax_forward,
        SOFTMAX,
        Mistake("The upstream gradient is overwritten.", "(dx.to(x.dtype),)", "(dy.copy_(dx),)"),
        _draw_rows,
    ),
    Bug(
        "quack #53",
        _residual_reference,
        _residual_forward,
        RESIDUAL,
        Mistake(
            "The gradient of the sum enters before the norm.",
            "    r = ",
            "    m, dh = m + wide(dh), 0 * dh\n    r = ",
        ),
        _draw_residual,
    ),
    Bug(
        "Fast-LLM #228",
        _scaled_reference,
        _scaled_forward,
        SCALED,
        Mistake(
            "The scale of the logits misses the target.",
            ", 1) - F.one_hot(t, z.shape[1])) * 0.5",
            ", 1) * 0.5 - F.one_hot(t, z.shape[1]))",
        ),
        _draw_logits,
    ),
    Bug(
        "ROCm/TransformerEngine #336",
        cross_entropy_reference,
        _cross_entropy_forward,
        CROSS_ENTROPY,
        Mistake("1/n and one upstream gradient are taken in.", "wide(dy)[:, None]", "wide(dy)[0] / len(z)"),
        _draw_logits,
    ),
    Bug(
        "flash-linear-attention #963",
        _penalty_reference,
        _penalty_forward,
        PENALTY,
        Mistake("The penalty is not times the upstream gradient.", "dz * wide(dy)", "dz"),
        _draw_penalty,
    ),
    Bug(
        "pytorch #194719",
        _product_reference,
        _product_forward,
        PRODUCT,
        Mistake(
            "The memory of the upstream gradient is read as if it were contiguous.", "backward(dy, x, w):\n", MISREAD
        ),
        _draw_product,
    ),
)
