"""The operations that both engines and torch have: each once for the engines, with their NumPy, and once in torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.corpus.engines import ENGINES, Input, Operation

__all__ = ["INEXACT_IN_JAX", "OPERATIONS"]

REAL, POSITIVE, ABOVE_1, UNIT, SHARE = (Input(each) for each in ("real", "positive", "above 1", "unit", "share"))
VECTOR, MATRIX, STACK = Input("real", (5,)), Input("real", (5, 3)), Input("real", (2, 4, 5))
SQUARE, DEFINITE, LOWER = (Input(each, (4, 4)) for each in ("square", "definite", "lower"))
EXPONENT, ARGUMENT = Input("exponent"), Input("argument")
SERIES, IMAGE = Input("real", (3, 10)), Input("real", (2, 6, 6))
ROWS, LABELS = np.arange(4), np.array([0, 2, 1, 4])
JAX = ("jax",)


def of(
    by_engine: Callable[..., Any], in_torch: Callable[..., Tensor], *inputs: Input, engines: tuple[str, ...] = ENGINES
) -> Operation:
    return Operation(by_engine, in_torch, inputs or (REAL,), engines)


def alike(name: str, theirs: str = "", each: Input = REAL) -> Operation:
    """A function of NumPy that torch has by the same name, or by another."""
    return of(lambda m, x: getattr(m.np, name)(x), getattr(torch, theirs or name), each)


def special(name: str, theirs: str = "", each: Input = REAL, engines: tuple[str, ...] = ENGINES) -> Operation:
    """A special function, and its name in torch.special."""
    in_torch = getattr(torch.special, theirs or name)
    return of(lambda m, x: getattr(m.special, name)(x), in_torch, each, engines=engines)


def _log_beta(m: Any, a: Any, b: Any) -> Any:
    return m.special.betaln(a, b)


def _log_beta_in_torch(a: Tensor, b: Tensor) -> Tensor:
    return torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)


def shares(m: Any, x: Any, axis: int = -1) -> Any:
    e = m.np.exp(x - m.np.max(x, axis=axis, keepdims=True))
    return e / m.np.sum(e, axis=axis, keepdims=True)


def log_shares(m: Any, x: Any) -> Any:
    return x - m.special.logsumexp(x, axis=1, keepdims=True)


def windows(x: Any, width: int) -> list[Any]:
    return [x[..., i : x.shape[-1] - width + 1 + i] for i in range(width)]


def normalised(x: Any, axis: int) -> Any:
    """Of zero mean and unit variance along an axis, by methods that arrays of every library have."""
    centred = x - x.mean(axis, keepdims=True)
    return centred / ((centred**2).mean(axis, keepdims=True) + 1e-5) ** 0.5


def by_engine_patches(m: Any, x: Any, k: Any) -> Any:
    patches = m.np.stack([x[:, i : i + 4, j : j + 4] for i in range(3) for j in range(3)], -1)
    return m.np.einsum("bijk,ok->boij", patches, m.np.reshape(k, (2, 9)))


def attention(m: Any, q: Any, k: Any, v: Any) -> Any:
    return shares(m, q @ k.T / 5**0.5) @ v


def causal(m: Any, q: Any, k: Any, v: Any) -> Any:
    seen = np.tri(4, dtype=bool)
    return shares(m, m.np.where(seen, q @ k.T / 5**0.5, -1e9)) @ v


def causal_in_torch(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True)[0]


def lstm(m: Any, x: Any, W: Any, U: Any) -> Any:
    h = c = 0 * (x @ W)[:, :2]
    for _ in range(3):
        z = x @ W + h @ U
        i, f, o, g = (z[:, 2 * n : 2 * n + 2] for n in range(4))
        c = m.special.expit(f) * c + m.special.expit(i) * m.np.tanh(g)
        h = m.special.expit(o) * m.np.tanh(c)
    return h


def lstm_in_torch(x: Tensor, W: Tensor, U: Tensor) -> Tensor:
    h = c = x.new_zeros(len(x), 2)
    for _ in range(3):
        i, f, o, g = (x @ W + h @ U).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
    return h


def gelu_by_tanh(m: Any, x: Any) -> Any:
    return x / 2 * (1 + m.np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3)))


NAMED = ("sin", "cos", "tan", "tanh", "square", "abs", "sinc", "arctan")
NAMED_EXPONENT = ("sinh", "cosh", "exp", "exp2", "expm1")
NAMED_POSITIVE = ("sqrt", "log", "log2", "log10", "log1p", "reciprocal")
ELEMENTWISE = {
    **{name: alike(name) for name in NAMED},
    **{name: alike(name, each=EXPONENT) for name in NAMED_EXPONENT},
    "arcsinh": alike("arcsinh", "asinh"),
    **{name: alike(name, each=POSITIVE) for name in NAMED_POSITIVE},
    "arcsin": alike("arcsin", "asin", UNIT),
    "arccos": alike("arccos", "acos", UNIT),
    "arctanh": alike("arctanh", "atanh", UNIT),
    "arccosh": alike("arccosh", "acosh", ABOVE_1),
    "cube": of(lambda m, x: x**3, lambda x: x**3),
    "power 2.5": of(lambda m, x: x**2.5, lambda x: x**2.5, POSITIVE),
    "1/sqrt": of(lambda m, x: 1 / m.np.sqrt(x), torch.rsqrt, POSITIVE),
    "sigmoid": of(lambda m, x: 1 / (1 + m.np.exp(-x)), torch.sigmoid, EXPONENT),
    "relu": of(lambda m, x: m.np.maximum(x, 0.0), torch.relu),
    "leaky relu": of(lambda m, x: m.np.where(x > 0, x, 0.01 * x), lambda x: F.leaky_relu(x, 0.01)),
    "elu": of(lambda m, x: m.np.where(x > 0, x, m.np.expm1(m.np.minimum(x, 0.0))), F.elu),
    "silu": of(lambda m, x: x * m.special.expit(x), F.silu),
    "gelu": of(lambda m, x: x / 2 * (1 + m.special.erf(x / 2**0.5)), F.gelu),
    "gelu by tanh": of(gelu_by_tanh, lambda x: F.gelu(x, approximate="tanh")),
    "softplus": of(lambda m, x: m.np.logaddexp(x, 0.0), F.softplus),
    "log sigmoid": of(lambda m, x: -m.np.logaddexp(-x, 0.0), F.logsigmoid),
    "mish": of(lambda m, x: x * m.np.tanh(m.np.logaddexp(x, 0.0)), F.mish),
    "softsign": of(lambda m, x: x / (1 + m.np.abs(x)), F.softsign),
    "tanhshrink": of(lambda m, x: x - m.np.tanh(x), F.tanhshrink),
    "hardtanh": of(lambda m, x: m.np.clip(x, -1.0, 1.0), F.hardtanh),
    "hardsigmoid": of(lambda m, x: m.np.clip(x / 6 + 0.5, 0.0, 1.0), F.hardsigmoid),
    "hardswish": of(lambda m, x: x * m.np.clip(x + 3, 0.0, 6.0) / 6, F.hardswish),
    "x log x": of(lambda m, x: x * m.np.log(x), lambda x: torch.xlogy(x, x), POSITIVE),
    "entropy": of(lambda m, x: -x * m.np.log(x), torch.special.entr, SHARE),
    "cubic by Horner": of(
        lambda m, x: ((0.3 * x - 1.2) * x + 0.7) * x - 2, lambda x: ((0.3 * x - 1.2) * x + 0.7) * x - 2
    ),
    "rational": of(lambda m, x: (x + 1) / (x**2 + 1), lambda x: (x + 1) / (x**2 + 1)),
    "sin of exp": of(lambda m, x: m.np.sin(m.np.exp(x)), lambda x: torch.sin(torch.exp(x)), EXPONENT),
}
SPECIAL = {
    "erf": special("erf"),
    "erfc": special("erfc"),
    "erfinv": special("erfinv", each=UNIT),
    "expit": special("expit"),
    "logit": special("logit", each=SHARE),
    "log gamma": special("gammaln", each=POSITIVE),
    "gamma": of(lambda m, x: m.special.gamma(x), lambda x: torch.exp(torch.lgamma(x)), ARGUMENT),
    "digamma": special("digamma", each=POSITIVE),
    "trigamma": of(lambda m, x: m.special.polygamma(1, x), lambda x: torch.polygamma(1, x), POSITIVE),
    "tetragamma": of(lambda m, x: m.special.polygamma(2, x), lambda x: torch.polygamma(2, x), POSITIVE),
    "i0": special("i0", each=EXPONENT),
    "i1": special("i1", each=EXPONENT),
    "i0e": special("i0e", engines=JAX),
    "i1e": special("i1e", engines=JAX),
    "ndtr": special("ndtr", engines=JAX),
    "ndtri": special("ndtri", each=SHARE, engines=JAX),
    "entr": special("entr", each=POSITIVE, engines=JAX),
    "xlogy": of(lambda m, x, y: m.special.xlogy(x, y), torch.xlogy, REAL, POSITIVE, engines=JAX),
    "xlog1py": of(lambda m, x, y: m.special.xlog1py(x, y), torch.special.xlog1py, REAL, POSITIVE, engines=JAX),
    "log beta": of(_log_beta, _log_beta_in_torch, POSITIVE, POSITIVE, engines=("autograd",)),
}
INEXACT_IN_JAX = {
    "log ndtr": special("log_ndtr", engines=JAX),
    "log beta": of(_log_beta, _log_beta_in_torch, POSITIVE, POSITIVE, engines=JAX),
}
"""What JAX itself has only some ten digits of, beside sixty of mpmath's: no right derivations, and found to be none."""

BINARY = {
    "add": of(lambda m, x, y: x + y, torch.add, REAL, VECTOR),
    "subtract": of(lambda m, x, y: x - y, torch.sub, REAL, REAL),
    "multiply": of(lambda m, x, y: x * y, torch.mul, REAL, REAL),
    "multiply, broadcast": of(lambda m, x, y: x * y, torch.mul, REAL, VECTOR),
    "divide": of(lambda m, x, y: x / y, torch.div, REAL, POSITIVE),
    "divide, broadcast": of(lambda m, x, y: x / y, torch.div, REAL, Input("positive", (5,))),
    "power": of(lambda m, x, y: x**y, torch.pow, POSITIVE, UNIT),
    "arctan2": of(lambda m, x, y: m.np.arctan2(x, y), torch.atan2, REAL, POSITIVE),
    "hypot": of(lambda m, x, y: m.np.sqrt(x**2 + y**2), torch.hypot, REAL, POSITIVE),
    "maximum": of(lambda m, x, y: m.np.maximum(x, y), torch.maximum, REAL, REAL),
    "minimum": of(lambda m, x, y: m.np.minimum(x, y), torch.minimum, REAL, REAL),
    "where": of(
        lambda m, x, y: m.np.where(x > y, x * y, x + y), lambda x, y: torch.where(x > y, x * y, x + y), REAL, REAL
    ),
    "logaddexp": of(lambda m, x, y: m.np.logaddexp(x, y), torch.logaddexp, REAL, REAL),
    "logaddexp2": of(lambda m, x, y: m.np.logaddexp2(x, y), torch.logaddexp2, REAL, REAL),
    "lerp": of(lambda m, x, y, t: x + t * (y - x), torch.lerp, REAL, REAL, SHARE),
    "gated": of(lambda m, x, y: x * m.special.expit(y), lambda x, y: F.glu(torch.cat((x, y), 1), 1), REAL, REAL),
    "squared difference": of(lambda m, x, y: (x - y) ** 2, lambda x, y: F.mse_loss(x, y, reduction="none"), REAL, REAL),
    "huber": of(
        lambda m, x, y: m.np.where(m.np.abs(x - y) < 1, (x - y) ** 2 / 2, m.np.abs(x - y) - 0.5),
        lambda x, y: F.huber_loss(x, y, reduction="none"),
        REAL,
        REAL,
    ),
    "gaussian nll": of(
        lambda m, x, y, v: (m.np.log(v) + (x - y) ** 2 / v) / 2,
        lambda x, y, v: F.gaussian_nll_loss(x, y, v, reduction="none", eps=1e-300),
        REAL,
        REAL,
        POSITIVE,
    ),
    "binary cross-entropy of logits": of(
        lambda m, x, y: m.np.maximum(x, 0.0) - x * y + m.np.log1p(m.np.exp(-m.np.abs(x))),
        lambda x, y: F.binary_cross_entropy_with_logits(x, y, reduction="none"),
        REAL,
        SHARE,
    ),
    "binary cross-entropy": of(
        lambda m, p, y: -y * m.np.log(p) - (1 - y) * m.np.log(1 - p),
        lambda p, y: F.binary_cross_entropy(p, y, reduction="none"),
        SHARE,
        SHARE,
    ),
    "poisson nll": of(
        lambda m, x, y: m.np.exp(x) - y * x, lambda x, y: F.poisson_nll_loss(x, y, reduction="none"), EXPONENT, POSITIVE
    ),
}
REDUCTIONS = {
    "sum": of(lambda m, x: m.np.sum(x), torch.sum),
    "sum of rows": of(lambda m, x: m.np.sum(x, axis=1), lambda x: x.sum(1)),
    "mean": of(lambda m, x: m.np.mean(x), torch.mean),
    "mean of columns": of(lambda m, x: m.np.mean(x, axis=0), lambda x: x.mean(0)),
    "variance": of(lambda m, x: m.np.var(x, axis=1), lambda x: x.var(1, correction=0)),
    "variance, corrected": of(lambda m, x: m.np.var(x, ddof=1), torch.var),
    "standard deviation": of(lambda m, x: m.np.std(x, axis=0), lambda x: x.std(0, correction=0)),
    "product": of(lambda m, x: m.np.prod(x, axis=1), lambda x: x.prod(1)),
    "max": of(lambda m, x: m.np.max(x, axis=1), lambda x: x.amax(1)),
    "min": of(lambda m, x: m.np.min(x, axis=0), lambda x: x.amin(0)),
    "root mean square": of(lambda m, x: m.np.sqrt(m.np.mean(x**2, axis=1)), lambda x: x.square().mean(1).sqrt()),
    "mean absolute deviation": of(
        lambda m, x: m.np.mean(m.np.abs(x - m.np.mean(x, axis=1, keepdims=True)), axis=1),
        lambda x: (x - x.mean(1, keepdim=True)).abs().mean(1),
    ),
    "norm 2": of(lambda m, x: m.np.linalg.norm(x), torch.linalg.norm),
    "norm 2 of rows": of(lambda m, x: m.np.linalg.norm(x, axis=1), lambda x: torch.linalg.norm(x, dim=1)),
    "norm 1 of rows": of(lambda m, x: m.np.sum(m.np.abs(x), axis=1), lambda x: torch.linalg.norm(x, 1, dim=1)),
    "norm 3 of rows": of(
        lambda m, x: m.np.sum(m.np.abs(x) ** 3, axis=1) ** (1 / 3), lambda x: torch.linalg.norm(x, 3, dim=1)
    ),
    "logsumexp": of(lambda m, x: m.special.logsumexp(x), lambda x: torch.logsumexp(x, (0, 1))),
    "logsumexp of rows": of(lambda m, x: m.special.logsumexp(x, axis=1), lambda x: torch.logsumexp(x, 1)),
    "cumulative sum": of(lambda m, x: m.np.cumsum(x, axis=1), lambda x: x.cumsum(1)),
    "cumulative product": of(lambda m, x: m.np.cumprod(x, axis=1), lambda x: x.cumprod(1), engines=JAX),
    "differences": of(lambda m, x: m.np.diff(x, axis=1), lambda x: torch.diff(x, dim=1)),
    "sorted": of(lambda m, x: m.np.sort(x), lambda x: x.sort()[0], VECTOR),
    "softmax": of(shares, lambda x: x.softmax(-1)),
    "softmax of columns": of(lambda m, x: shares(m, x, 0), lambda x: x.softmax(0)),
    "log-softmax": of(log_shares, lambda x: x.log_softmax(1)),
    "cross-entropy": of(
        lambda m, x: m.special.logsumexp(x, axis=1) - x[ROWS, LABELS],
        lambda x: F.cross_entropy(x, torch.as_tensor(LABELS), reduction="none"),
    ),
    "divergence": of(
        lambda m, x, y: m.np.sum(shares(m, y) * (log_shares(m, y) - log_shares(m, x)), axis=1),
        lambda x, y: (y.softmax(1) * (y.log_softmax(1) - x.log_softmax(1))).sum(1),
        REAL,
        REAL,
    ),
    "layer norm": of(lambda m, x: normalised(x, 1), lambda x: F.layer_norm(x, (5,))),
    "batch norm": of(lambda m, x: normalised(x, 0), lambda x: F.batch_norm(x, None, None, training=True)),
    "rms norm": of(
        lambda m, x: x / m.np.sqrt(m.np.mean(x**2, axis=1, keepdims=True) + 1e-6),
        lambda x: F.rms_norm(x, (5,), eps=1e-6),
    ),
    "unit rows": of(lambda m, x: x / m.np.sqrt(m.np.sum(x**2, axis=1, keepdims=True)), F.normalize),
    "cosine": of(
        lambda m, x, y: m.np.sum(x * y, axis=1) / m.np.sqrt(m.np.sum(x**2, axis=1)) / m.np.sqrt(m.np.sum(y**2, axis=1)),
        F.cosine_similarity,
        REAL,
        REAL,
    ),
}
PRODUCTS = {
    "matrix product": of(lambda m, x, y: m.np.matmul(x, y), torch.matmul, REAL, MATRIX),
    "matrix times vector": of(lambda m, x, y: m.np.dot(x, y), torch.mv, REAL, VECTOR),
    "inner product": of(lambda m, x, y: m.np.dot(x, y), torch.dot, VECTOR, VECTOR),
    "outer product": of(lambda m, x, y: m.np.outer(x, y), torch.outer, VECTOR, VECTOR),
    "products of a stack": of(lambda m, x, y: m.np.matmul(x, y), torch.matmul, STACK, MATRIX),
    "Kronecker product": of(lambda m, x, y: m.np.kron(x, y), torch.kron, MATRIX, SQUARE),
    "einsum of three": of(
        lambda m, x, y, z: m.np.einsum("ij,jk,j->ik", x, y, z),
        lambda x, y, z: torch.einsum("ij,jk,j->ik", x, y, z),
        REAL,
        MATRIX,
        VECTOR,
    ),
    "bilinear form": of(
        lambda m, x, A: m.np.einsum("bi,ij,bj->b", x, A, x),
        lambda x, A: torch.einsum("bi,ij,bj->b", x, A, x),
        Input("real", (3, 4)),
        SQUARE,
    ),
    "Gram matrix": of(lambda m, x: x @ x.T, lambda x: x @ x.T),
    "affine": of(lambda m, x, W, b: x @ W + b, lambda x, W, b: torch.addmm(b, x, W), REAL, MATRIX, Input("real", (3,))),
    "tanh layer": of(lambda m, x, W: m.np.tanh(x @ W), lambda x, W: torch.tanh(x @ W), REAL, MATRIX),
    "two layers": of(
        lambda m, x, W, V: m.np.maximum(x @ W, 0.0) @ V,
        lambda x, W, V: torch.relu(x @ W) @ V,
        REAL,
        MATRIX,
        Input("real", (3, 2)),
    ),
    "distances": of(
        lambda m, x, y: m.np.sqrt(m.np.sum((x[:, None] - y[None]) ** 2, axis=-1)),
        lambda x, y: torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist"),
        REAL,
        Input("real", (3, 5)),
    ),
    "attention": of(attention, lambda q, k, v: F.scaled_dot_product_attention(q, k, v), REAL, REAL, REAL),
    "causal attention": of(causal, causal_in_torch, REAL, REAL, REAL),
    "lstm": of(lstm, lstm_in_torch, Input("real", (3, 4)), Input("real", (4, 8)), Input("real", (2, 8))),
    "convolution": of(
        lambda m, x, k: m.np.einsum("kbt,k->bt", m.np.stack(windows(x, 3)), k),
        lambda x, k: F.conv1d(x[:, None], k[None, None])[:, 0],
        SERIES,
        Input("real", (3,)),
    ),
    "convolution in two dimensions": of(
        by_engine_patches, lambda x, k: F.conv2d(x[:, None], k[:, None]), IMAGE, Input("real", (2, 3, 3))
    ),
    "average pool": of(
        lambda m, x: m.np.mean(m.np.reshape(x, (3, 5, 2)), axis=2), lambda x: F.avg_pool1d(x[:, None], 2)[:, 0], SERIES
    ),
    "max pool": of(
        lambda m, x: m.np.max(m.np.reshape(x, (3, 5, 2)), axis=2), lambda x: F.max_pool1d(x[:, None], 2)[:, 0], SERIES
    ),
    "roll": of(lambda m, x: m.np.roll(x, 2, axis=1) * x, lambda x: torch.roll(x, 2, 1) * x),
    "taken rows": of(lambda m, x: x[LABELS % 4], lambda x: x[LABELS % 4]),
    "concatenated": of(
        lambda m, x, y: m.np.concatenate((x, y * y), axis=1), lambda x, y: torch.cat((x, y * y), 1), REAL, REAL
    ),
    "trace": of(lambda m, A: m.np.trace(A), torch.trace, SQUARE),
    "lower triangle": of(lambda m, A: m.np.tril(A) @ A, lambda A: torch.tril(A) @ A, SQUARE),
    "power spectrum": of(lambda m, x: m.np.abs(m.np.fft.fft(x)) ** 2, lambda x: torch.fft.fft(x).abs() ** 2, SERIES),
    "solve": of(lambda m, A, b: m.np.linalg.solve(A, b), torch.linalg.solve, SQUARE, Input("real", (4, 2))),
    "solve, triangular": of(
        lambda m, A, b: m.linalg.solve_triangular(A, b, lower=True),
        lambda A, b: torch.linalg.solve_triangular(A, b, upper=False),
        LOWER,
        Input("real", (4, 2)),
    ),
    "inverse": of(lambda m, A: m.np.linalg.inv(A), torch.linalg.inv, SQUARE),
    "determinant": of(lambda m, A: m.np.linalg.det(A), torch.linalg.det, SQUARE),
    "log determinant": of(lambda m, A: m.np.linalg.slogdet(A)[1], lambda A: torch.linalg.slogdet(A)[1], SQUARE),
    "log determinant, definite": of(lambda m, A: m.np.linalg.slogdet(A)[1], lambda A: torch.logdet(A), DEFINITE),
    "Cholesky": of(
        lambda m, A: m.np.linalg.cholesky((A + A.T) / 2), lambda A: torch.linalg.cholesky((A + A.T) / 2), DEFINITE
    ),
    "eigenvalues": of(
        lambda m, A: m.np.linalg.eigh((A + A.T) / 2)[0], lambda A: torch.linalg.eigvalsh((A + A.T) / 2), DEFINITE
    ),
    "singular values": of(lambda m, A: m.np.linalg.svd(A, compute_uv=False), torch.linalg.svdvals, SQUARE),
    "Mahalanobis": of(
        lambda m, A, b: m.np.sum(b * m.np.linalg.solve(A, b)),
        lambda A, b: (b * torch.linalg.solve(A, b)).sum(),
        DEFINITE,
        Input("real", (4, 2)),
    ),
    "matrix cubed": of(lambda m, A: A @ A @ A, lambda A: torch.linalg.matrix_power(A, 3), SQUARE),
}
OPERATIONS: dict[str, Operation] = {**ELEMENTWISE, **SPECIAL, **BINARY, **REDUCTIONS, **PRODUCTS}
