"""Eight public bugs of backward passes in 16 bits, re-created small, each beside its mended version.

A kernel is emulated as it works: it stores in the dtype of its inputs and computes in float32, or in float64 where that
is what it is handed. `mended` switches the mistake off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

SCALE, EPS, SMOOTH = 0.5, 1e-6, 0.1


def fine(t: Tensor) -> Tensor:
    """What a kernel computes in."""
    return t if t.dtype == torch.float64 else t.float()


class Linear(Function):
    """Fused linear and cross-entropy: the first upstream entry for all examples (Liger-Kernel #1298)."""

    @staticmethod
    def forward(ctx, x, W, t, mended):
        z = fine(x) @ fine(W).T
        lse = z.logsumexp(1)
        p = (z - lse[:, None]).exp()
        rows = torch.arange(len(t))
        p[rows, t] -= 1
        ctx.mended = mended
        ctx.save_for_backward(p, x, W)
        return lse - z[rows, t]

    @staticmethod
    def backward(ctx, dy):
        p, x, W = ctx.saved_tensors
        d = dy[:, None] * p if ctx.mended else dy.reshape(-1)[0] * p
        return (d @ fine(W)).to(x.dtype), (d.T @ fine(x)).to(W.dtype), None, None


class RMSNorm(Function):
    """RMS norm: None for the weight (unsloth #4533)."""

    @staticmethod
    def forward(ctx, x, w, mended):
        r = torch.rsqrt(fine(x).square().mean(-1, keepdim=True) + EPS)
        ctx.save_for_backward(x, w, r)
        ctx.mended = mended
        return (fine(x) * r * fine(w)).to(x.dtype)

    @staticmethod
    def backward(ctx, dy):
        x, w, r = ctx.saved_tensors
        X, d = fine(x), fine(dy)
        m = d * fine(w)
        dx = r * (m - X * r * r * (m * X).mean(-1, keepdim=True))
        return dx.to(x.dtype), (d * X * r).sum(0).to(w.dtype) if ctx.mended else None, None


class Softmax(Function):
    """Scaled softmax: the upstream gradient is overwritten (apex #1430)."""

    @staticmethod
    def forward(ctx, x, mended):
        p = torch.softmax(fine(x) * SCALE, -1).to(x.dtype)
        ctx.save_for_backward(p)
        ctx.mended = mended
        return p

    @staticmethod
    def backward(ctx, dy):
        (p,) = ctx.saved_tensors
        P, d = fine(p), fine(dy)
        g = (SCALE * P * (d - (P * d).sum(-1, keepdim=True))).to(p.dtype)
        if ctx.mended:
            return g, None
        return (dy if dy.is_contiguous() else dy.contiguous()).copy_(g), None


class Residual(Function):
    """RMS norm of a sum, which is an output as well: its gradient is added before the norm (quack #53)."""

    @staticmethod
    def forward(ctx, x, residual, w, mended):
        h = fine(x) + fine(residual)
        r = torch.rsqrt(h.square().mean(-1, keepdim=True) + EPS)
        ctx.save_for_backward(h, w, r)
        ctx.mended, ctx.dtype = mended, x.dtype
        return (h * r * fine(w)).to(x.dtype), h.to(x.dtype)

    @staticmethod
    def backward(ctx, dy, dh):
        h, w, r = ctx.saved_tensors
        d = fine(dy)
        m = d * fine(w)
        if not ctx.mended:
            m = m + fine(dh)
        dx = r * (m - h * r * r * (m * h).mean(-1, keepdim=True))
        if ctx.mended:
            dx = dx + fine(dh)
        return dx.to(ctx.dtype), dx.to(ctx.dtype), (d * h * r).sum(0).to(w.dtype), None


class ScaledLoss(Function):
    """Cross-entropy of scaled logits: the scale misses the second term (Fast-LLM #228)."""

    @staticmethod
    def forward(ctx, z, t, mended):
        Z = fine(z) * SCALE
        lse = Z.logsumexp(1)
        ctx.save_for_backward(z, t, lse)
        ctx.mended = mended
        return lse - Z[torch.arange(len(t)), t]

    @staticmethod
    def backward(ctx, dy):
        z, t, lse = ctx.saved_tensors
        one = F.one_hot(t, z.shape[1])
        if ctx.mended:
            g = ((fine(z) * SCALE - lse[:, None]).exp() - one) * SCALE
        else:
            g = (fine(z) * SCALE - lse[:, None]).exp() * SCALE - one
        return (g * fine(dy)[:, None]).to(z.dtype), None, None


class Loss(Function):
    """Cross-entropy: 1/N where there is no mean, and one upstream entry for all (TransformerEngine #336)."""

    @staticmethod
    def forward(ctx, z, t, mended):
        Z = fine(z)
        lse = Z.logsumexp(1)
        rows = torch.arange(len(t))
        g = (Z - lse[:, None]).exp()
        g[rows, t] -= 1
        if not mended:
            g = g / len(t)
        ctx.save_for_backward(g, z)
        ctx.mended = mended
        return lse - Z[rows, t]

    @staticmethod
    def backward(ctx, dy):
        g, z = ctx.saved_tensors
        d = fine(dy)[:, None] if ctx.mended else fine(dy).reshape(-1)[0]
        return (g * d).to(z.dtype), None, None


class Penalty(Function):
    """A penalty of the largest logits, in the gradient alone: not times the upstream one (linear attention #963)."""

    @staticmethod
    def forward(ctx, loss, z, mended):
        ctx.save_for_backward(z)
        ctx.mended = mended
        return loss.clone()

    @staticmethod
    def backward(ctx, dy):
        (z,) = ctx.saved_tensors
        largest, at = fine(z).max(-1, keepdim=True)
        g = torch.zeros_like(fine(z)).scatter_(-1, at, largest * (SMOOTH / z.shape[0]))
        return dy, (g * (fine(dy) if ctx.mended else 1)).to(z.dtype), None


class Scale(Function):
    """x w: the memory of the upstream gradient is read as if it were contiguous (pytorch #194719)."""

    @staticmethod
    def forward(ctx, x, w, mended):
        ctx.save_for_backward(x, w)
        ctx.mended = mended
        return x * w

    @staticmethod
    def backward(ctx, dy):
        x, w = ctx.saved_tensors
        has_room = dy.untyped_storage().nbytes() >= dy.numel() * dy.element_size()
        if not ctx.mended and not dy.is_contiguous() and has_room:
            dy = torch.as_strided(dy, (dy.numel(),), (1,), 0).reshape(dy.shape)
        X, d = fine(x), fine(dy)
        return (d * fine(w)).to(x.dtype), (d * X).sum(0).to(w.dtype), None


def rms_norm(x, w):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS) * w


def residual_norm(x, residual, w):
    h = x + residual
    return rms_norm(h, w), h


def penalised(loss, z):
    """The value is the loss; the gradient has the penalty's as well."""
    squares = z.max(-1).values.square()
    return loss + (SMOOTH / 2 / z.shape[0]) * (squares - squares.detach()).sum()


class Bug(NamedTuple):
    """A bug: the function with its mistake or mended, the reference, its inputs in float32, and the cause's code."""

    name: str
    kind: Any
    reference: Callable[..., Any]
    inputs: tuple[Any, ...]
    code: str

    def function(self, *, mended: bool) -> Callable[..., Any]:
        return lambda *inputs: self.kind.apply(*inputs, mended)

    def inputs_in(self, dtype: torch.dtype) -> tuple[Any, ...]:
        return tuple(t.to(dtype) if t.is_floating_point() else t for t in self.inputs)


_drawn = torch.Generator().manual_seed(3)


def _normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=_drawn)


_labels = torch.randint(0, 29, (24,), generator=_drawn)
BUGS = (
    Bug(
        "Liger-Kernel #1298",
        Linear,
        lambda x, W, t: F.cross_entropy(x @ W.T, t, reduction="none"),
        (_normal(24, 16), _normal(29, 16) / 4, _labels),
        "upstream",
    ),
    Bug("unsloth #4533", RMSNorm, rms_norm, (_normal(24, 40), 1 + 0.2 * _normal(40)), "missing"),
    Bug("apex #1430", Softmax, lambda x: torch.softmax(x * SCALE, -1), (_normal(24, 40),), "mutated-input"),
    Bug(
        "quack #53",
        Residual,
        residual_norm,
        (_normal(24, 40), _normal(24, 40), 1 + 0.2 * _normal(40)),
        "upstream",
    ),
    Bug(
        "Fast-LLM #228",
        ScaledLoss,
        lambda z, t: F.cross_entropy(z * SCALE, t, reduction="none"),
        (_normal(24, 29), _labels),
        "activation-derivative",
    ),
    Bug(
        "TransformerEngine #336",
        Loss,
        lambda z, t: F.cross_entropy(z, t, reduction="none"),
        (_normal(24, 29), _labels),
        "upstream",
    ),
    Bug("flash-linear-attention #963", Penalty, penalised, (_normal(1)[0], _normal(24, 29)), "linearity"),
    Bug("pytorch #194719", Scale, lambda x, w: x * w, (_normal(24, 40), _normal(40)), "layout"),
)
