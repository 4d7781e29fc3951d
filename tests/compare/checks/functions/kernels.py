"""A function whose backward can be made wrong in one place, for the checks of what it may not depend on."""

from __future__ import annotations

import torch
from torch.autograd import Function

EPS = 1e-5


def fine(t):
    """What it computes in."""
    return t if t.dtype == torch.float64 else t.float()


def norm(x, w):
    """The reference: y = x w / sqrt(mean(x^2) + eps)."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS) * w


def made(backward=None, forward=None):
    """RMS norm with functions of (ctx, dy, dx, dw) and (ctx, x, w, y) behind its own, which may be wrong."""

    class Norm(Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(x, w)
            r = torch.rsqrt(fine(x).square().mean(-1, keepdim=True) + EPS)
            y = (fine(x) * r * fine(w)).to(x.dtype)
            return y if forward is None else forward(ctx, x, w, y)

        @staticmethod
        def backward(ctx, dy):
            x, w = ctx.saved_tensors
            X, d = fine(x), fine(dy)
            r = torch.rsqrt(X.square().mean(-1, keepdim=True) + EPS)
            m = d * fine(w)
            dx = (r * (m - X * r * r * (m * X).mean(-1, keepdim=True))).to(x.dtype)
            dw = (d * X * r).sum(0).to(w.dtype)
            return (dx, dw) if backward is None else backward(ctx, dy, dx, dw)

    return Norm.apply


def inputs(dtype=torch.bfloat16, n=11, d=13):
    """x (n, d) and w (d,)."""
    drawn = torch.Generator().manual_seed(4)
    return torch.randn(n, d, generator=drawn).to(dtype), (1 + 0.3 * torch.randn(d, generator=drawn)).to(dtype)
