"""Layer norm, RMS norm and softmax cross-entropy as Triton kernels, with backward passes by hand, as users write."""

import torch
import triton
import triton.language as tl
from torch.autograd import Function
from torch.autograd.function import once_differentiable

ROWS = 16  # that one program takes
TILE = 16  # classes at once


# layer norm ----------------------------------------------------------------------------------------------------------
@triton.jit
def layer_norm_forward(X, W, B, Y, Mean, Rstd, n, d, eps, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    rows, columns = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, BLOCK)
    inside = (rows < n)[:, None] & (columns < d)[None, :]
    at = rows[:, None] * d + columns[None, :]
    x = tl.load(X + at, mask=inside, other=0.0).to(tl.float32)
    w = tl.load(W + columns, mask=columns < d, other=0.0).to(tl.float32)
    b = tl.load(B + columns, mask=columns < d, other=0.0).to(tl.float32)
    mean = tl.sum(x, 1) / d
    c = tl.where(inside, x - mean[:, None], 0.0)
    rstd = 1 / tl.sqrt(tl.sum(c * c, 1) / d + eps)
    tl.store(Y + at, c * rstd[:, None] * w[None, :] + b[None, :], mask=inside)
    tl.store(Mean + rows, mean, mask=rows < n)
    tl.store(Rstd + rows, rstd, mask=rows < n)


@triton.jit
def layer_norm_backward(DY, X, W, Mean, Rstd, DX, DW, DB, n, d, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    rows, columns = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, BLOCK)
    inside = (rows < n)[:, None] & (columns < d)[None, :]
    at = rows[:, None] * d + columns[None, :]
    dy = tl.load(DY + at, mask=inside, other=0.0).to(tl.float32)
    x = tl.load(X + at, mask=inside, other=0.0).to(tl.float32)
    w = tl.load(W + columns, mask=columns < d, other=0.0).to(tl.float32)
    mean = tl.load(Mean + rows, mask=rows < n, other=0.0)
    rstd = tl.load(Rstd + rows, mask=rows < n, other=0.0)
    xhat = (x - mean[:, None]) * rstd[:, None]
    m = dy * w[None, :]
    shift = tl.sum(m, 1) / d
    along = tl.sum(m * xhat, 1) / d
    tl.store(DX + at, rstd[:, None] * (m - shift[:, None] - xhat * along[:, None]), mask=inside)
    part = tl.program_id(0) * d + columns
    tl.store(DW + part, tl.sum(dy * xhat, 0), mask=columns < d)
    tl.store(DB + part, tl.sum(dy, 0), mask=columns < d)


class LayerNorm(Function):
    @staticmethod
    def forward(ctx, x, w, b):
        x, w, b = x.contiguous(), w.contiguous(), b.contiguous()
        (n, d), y = x.shape, torch.empty_like(x)
        mean, rstd = torch.empty(2, n, device=x.device)
        grid, block = (triton.cdiv(n, ROWS),), triton.next_power_of_2(d)
        layer_norm_forward[grid](x, w, b, y, mean, rstd, n, d, 1e-5, ROWS, block)
        ctx.save_for_backward(x, w, mean, rstd)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        x, w, mean, rstd = ctx.saved_tensors
        (n, d), dx, dy = x.shape, torch.empty_like(x), dy.contiguous()
        grid, block = (triton.cdiv(n, ROWS),), triton.next_power_of_2(d)
        dw, db = torch.empty(2, *grid, d, device=x.device)
        layer_norm_backward[grid](dy, x, w, mean, rstd, dx, dw, db, n, d, ROWS, block)
        return dx, dw.sum(0).to(w.dtype), db.sum(0).to(w.dtype)


# RMS norm: strides are handed over, and nothing is copied ------------------------------------------------------------
@triton.jit
def rms_norm_forward(X, W, Y, R, n, d, xrow, xcolumn, wcolumn, eps, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    rows, columns = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, BLOCK)
    inside = (rows < n)[:, None] & (columns < d)[None, :]
    x = tl.load(X + rows[:, None] * xrow + columns[None, :] * xcolumn, mask=inside, other=0.0).to(tl.float32)
    w = tl.load(W + columns * wcolumn, mask=columns < d, other=0.0).to(tl.float32)
    r = 1 / tl.sqrt(tl.sum(x * x, 1) / d + eps)
    tl.store(Y + rows[:, None] * d + columns[None, :], x * r[:, None] * w[None, :], mask=inside)
    tl.store(R + rows, r, mask=rows < n)


@triton.jit
def rms_norm_backward(
    DY, X, W, R, DX, DW, n, d, yrow, ycolumn, xrow, xcolumn, wcolumn, ROWS: tl.constexpr, BLOCK: tl.constexpr
):
    columns = tl.arange(0, BLOCK)
    w = tl.load(W + columns * wcolumn, mask=columns < d, other=0.0).to(tl.float32)
    dw = tl.zeros((BLOCK,), dtype=tl.float32)
    for first in range(tl.program_id(0) * ROWS, n, tl.num_programs(0) * ROWS):
        rows = first + tl.arange(0, ROWS)
        inside = (rows < n)[:, None] & (columns < d)[None, :]
        dy = tl.load(DY + rows[:, None] * yrow + columns[None, :] * ycolumn, mask=inside, other=0.0).to(tl.float32)
        x = tl.load(X + rows[:, None] * xrow + columns[None, :] * xcolumn, mask=inside, other=0.0).to(tl.float32)
        r = tl.load(R + rows, mask=rows < n, other=0.0)
        xhat = x * r[:, None]
        m = dy * w[None, :]
        along = tl.sum(m * xhat, 1) / d
        dx = r[:, None] * (m - xhat * along[:, None])
        tl.store(DX + rows[:, None] * d + columns[None, :], dx, mask=inside)
        dw += tl.sum(dy * xhat, 0)
    tl.store(DW + tl.program_id(0) * d + columns, dw, mask=columns < d)


class RMSNorm(Function):
    @staticmethod
    def forward(ctx, x, w):
        n, d = x.shape
        y, r = torch.empty(n, d, dtype=x.dtype, device=x.device), torch.empty(n, device=x.device)
        grid, block = (triton.cdiv(n, ROWS),), triton.next_power_of_2(d)
        rms_norm_forward[grid](x, w, y, r, n, d, *x.stride(), *w.stride(), 1e-6, ROWS, block)
        ctx.save_for_backward(x, w, r)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        x, w, r = ctx.saved_tensors
        (n, d), programs = x.shape, 2
        dx, dw = torch.empty(n, d, dtype=x.dtype, device=x.device), torch.empty(programs, d, device=x.device)
        strides = (*dy.stride(), *x.stride(), *w.stride())
        rms_norm_backward[(programs,)](dy, x, w, r, dx, dw, n, d, *strides, ROWS, triton.next_power_of_2(d))
        return dx, dw.sum(0).to(w.dtype)


# softmax cross-entropy: the loss of each row, and tiles over the classes ---------------------------------------------
@triton.jit
def cross_entropy_forward(Z, T, Loss, LogSum, n, v, ROWS: tl.constexpr, TILE: tl.constexpr):
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    most = tl.full((ROWS,), -float("inf"), dtype=tl.float32)
    total = tl.zeros((ROWS,), dtype=tl.float32)
    for first in range(0, v, TILE):
        columns = first + tl.arange(0, TILE)
        inside = (rows < n)[:, None] & (columns < v)[None, :]
        z = tl.load(Z + rows[:, None] * v + columns[None, :], mask=inside, other=-1e30).to(tl.float32)
        now = tl.maximum(most, tl.max(z, 1))
        total = total * tl.exp(most - now) + tl.sum(tl.exp(z - now[:, None]), 1)
        most = now
    logsum = most + tl.log(total)
    target = tl.load(T + rows, mask=rows < n, other=0)
    wanted = tl.load(Z + rows * v + target, mask=rows < n, other=0.0).to(tl.float32)
    tl.store(Loss + rows, logsum - wanted, mask=rows < n)
    tl.store(LogSum + rows, logsum, mask=rows < n)


@triton.jit
def cross_entropy_backward(DY, Z, T, LogSum, DZ, n, v, ROWS: tl.constexpr, TILE: tl.constexpr):
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    columns = tl.program_id(1) * TILE + tl.arange(0, TILE)
    inside = (rows < n)[:, None] & (columns < v)[None, :]
    at = rows[:, None] * v + columns[None, :]
    z = tl.load(Z + at, mask=inside, other=0.0).to(tl.float32)
    dy = tl.load(DY + rows, mask=rows < n, other=0.0).to(tl.float32)
    target = tl.load(T + rows, mask=rows < n, other=0)
    logsum = tl.load(LogSum + rows, mask=rows < n, other=0.0)
    p = tl.exp(z - logsum[:, None])
    dz = (p - tl.where(columns[None, :] == target[:, None], 1.0, 0.0)) * dy[:, None]
    tl.store(DZ + at, dz, mask=inside)


class CrossEntropy(Function):
    @staticmethod
    def forward(ctx, z, t):
        z, t = z.contiguous(), t.contiguous()
        (n, v), loss = z.shape, torch.empty(len(z), dtype=z.dtype, device=z.device)
        logsum = torch.empty(n, device=z.device)
        cross_entropy_forward[(triton.cdiv(n, ROWS),)](z, t, loss, logsum, n, v, ROWS, TILE)
        ctx.save_for_backward(z, t, logsum)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        z, t, logsum = ctx.saved_tensors
        (n, v), dz, dy = z.shape, torch.empty_like(z), dy.contiguous()
        grid = triton.cdiv(n, ROWS), triton.cdiv(v, TILE)
        cross_entropy_backward[grid](dy, z, t, logsum, dz, n, v, ROWS, TILE)
        return dz, None
