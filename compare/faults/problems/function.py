"""RMS norm as a torch function with a backward of its own: y = x r w, r = 1/sqrt(mean(x^2) + eps), rows as examples."""

import torch

EPS = 1e-3


class Norm(torch.autograd.Function):
    """Forward and backward by hand."""

    @staticmethod
    def forward(ctx, x, w):
        """Keep the inputs; what follows from them is computed anew, so that the backward has a derivative, too."""
        r = torch.rsqrt((x * x).mean(-1, keepdim=True) + EPS)
        ctx.r = r
        ctx.save_for_backward(x, w)
        return x * r * w

    @staticmethod
    def backward(ctx, dy):
        """The gradients of x and w."""
        x, w = ctx.saved_tensors
        r = torch.rsqrt((x * x).mean(-1, keepdim=True) + EPS)
        d = dy
        m = d * w
        dx = r * (m - x * r * r * (m * x).mean(-1, keepdim=True))
        dw = (d * x * r).sum(0)
        return dx, dw


function = Norm.apply
second = True


def reference(x, w):
    """The same forward pass in torch."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS) * w


def draw(rng):
    """Random sizes and values."""
    n, d = rng.integers(4, 9), rng.integers(9, 14)
    inputs = (rng.standard_normal((n, d)), 1 + 0.3 * rng.standard_normal(d))
    return {"inputs": tuple(torch.tensor(array, dtype=torch.float32) for array in inputs)}
