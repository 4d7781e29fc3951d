"""Calls of torch's own kernels, each a function of tensors, and how far their gradients are off in a low precision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from handgrad.compare.checks.functions.passes import strided
from tests.corpus.kernels_dense import normal
from tests.corpus.kernels_planted import Function, Tensors, doubled, gradients_of

SCALES = (1.0, 4.0, 0.1)  # of the first input
LEAST = torch.finfo(torch.float64).tiny


@dataclass(frozen=True)
class Call:
    """A function of tensors and what draws its inputs at a scale, in float64."""

    function: Function
    draw: Callable[[torch.Generator, float], Tensors]


def roundings(function: Function, inputs: Sequence[Tensor], cotangents: Sequence[Tensor]) -> float:
    """The largest error of a gradient, in what storing the exact gradient costs: RMS over RMS.

    A kernel that computes in float32 has about 1 in 16 bits. torch may take another path for an upstream gradient with
    gaps in memory, and for one number expanded, of which a gradient may cancel: that is stored as the others are.
    """
    even = tuple(c.square().mean().sqrt().expand(c.shape) for c in cotangents)
    exact, exact_of_even = (gradients_of(function, doubled(inputs), doubled(each)) for each in (cotangents, even))
    pairs = (cotangents, exact), (tuple(map(strided, cotangents)), exact), (even, exact_of_even)
    return max(
        _rms(ours - due) / max(_stored(due, ours.dtype), _stored(usual, ours.dtype), LEAST)
        for upstream, dues in pairs
        for ours, due, usual in zip(gradients_of(function, inputs, upstream), dues, exact, strict=True)
    )


def _stored(exact: Tensor, dtype: torch.dtype) -> float:
    """What storing costs: at least a tenth of eps, so that 0 is divided by something where it costs nothing."""
    return max(_rms(exact.to(dtype) - exact), torch.finfo(dtype).eps / 10 * _rms(exact))


def _rms(tensor: Tensor) -> float:
    return float(tensor.square().mean().sqrt())


def floats(*shapes: tuple[int, ...]) -> Callable[[torch.Generator, float], Tensors]:
    """Draw normal numbers of these shapes."""
    return lambda generator, scale: tuple(
        normal(generator, *shape, scale=1.0 if i else scale) for i, shape in enumerate(shapes)
    )


def indexed(shape: tuple[int, ...], below: int, indices: tuple[int, ...]) -> Callable[..., Tensors]:
    """Draw normal numbers, and indices."""
    return lambda generator, scale: (
        normal(generator, *shape, scale=scale),
        torch.randint(0, below, indices, generator=generator),
    )


def _targets(generator: torch.Generator, scale: float) -> Tensors:
    return normal(generator, 33, 48, scale=scale), torch.rand(33, 48, generator=generator, dtype=torch.float64)


def _mlp(x: Tensor, W1: Tensor, b1: Tensor, W2: Tensor) -> Tensor:
    return F.linear(F.gelu(F.linear(x, W1, b1)), W2)


def _residual(x: Tensor, w: Tensor, W: Tensor) -> Tensor:
    return x + F.linear(F.silu(F.layer_norm(x, (x.shape[1],), w)), W)


def _norm(function: Function, **options: Any) -> Function:
    return lambda x, *weights: function(x, (x.shape[-1],), *weights, **options)


ROWS, IMAGE = (33, 48), (2, 6, 9, 8)
POINTWISE: dict[str, Function] = {
    "gelu": F.gelu,
    "gelu, tanh": partial(F.gelu, approximate="tanh"),
    "silu": F.silu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softplus": F.softplus,
    "logsigmoid": F.logsigmoid,
    "elu": F.elu,
    "selu": F.selu,
    "mish": F.mish,
    "hardswish": F.hardswish,
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "exp": lambda x: torch.exp(x / 4),
    "glu": F.glu,
    "softmax": partial(torch.softmax, dim=-1),
    "log_softmax": partial(torch.log_softmax, dim=-1),
    "logsumexp": partial(torch.logsumexp, dim=-1),
    "cumsum": partial(torch.cumsum, dim=-1),
    "mean": partial(torch.mean, dim=-1),
    "var": partial(torch.var, dim=-1),
    "norm": partial(torch.linalg.vector_norm, dim=-1),
    "normalize": F.normalize,
}
IMAGES: dict[str, Function] = {
    "max_pool2d": partial(F.max_pool2d, kernel_size=2),
    "avg_pool2d": partial(F.avg_pool2d, kernel_size=3, stride=1, padding=1),
    "adaptive_avg_pool2d": partial(F.adaptive_avg_pool2d, output_size=4),
    "interpolate": partial(F.interpolate, scale_factor=2, mode="bilinear"),
    "pad": partial(F.pad, pad=(1, 1, 1, 1), mode="reflect"),
    "group_norm": partial(F.group_norm, num_groups=3),
    "instance_norm": F.instance_norm,
}
CALLS: dict[str, Call] = {
    **{name: Call(function, floats(ROWS)) for name, function in POINTWISE.items()},
    **{name: Call(function, floats(IMAGE)) for name, function in IMAGES.items()},
    "linear": Call(F.linear, floats((33, 17), (9, 17), (9,))),
    "matmul": Call(torch.matmul, floats((33, 64), (64, 17))),
    "bmm": Call(torch.bmm, floats((3, 17, 20), (3, 20, 9))),
    "addmm": Call(torch.addmm, floats((33, 9), (33, 17), (17, 9))),
    "einsum": Call(partial(torch.einsum, "bik,bjk->bij"), floats((3, 17, 20), (3, 9, 20))),
    "bilinear": Call(F.bilinear, floats((17, 9), (17, 6), (5, 9, 6))),
    "conv1d": Call(partial(F.conv1d, padding=1), floats((2, 6, 20), (8, 6, 3), (8,))),
    "conv2d": Call(partial(F.conv2d, padding=1), floats(IMAGE, (8, 6, 3, 3), (8,))),
    "conv2d, groups": Call(partial(F.conv2d, groups=3), floats(IMAGE, (9, 2, 3, 3))),
    "conv_transpose2d": Call(F.conv_transpose2d, floats(IMAGE, (6, 5, 3, 3))),
    "layer_norm": Call(_norm(F.layer_norm), floats(ROWS, (48,), (48,))),
    "layer_norm, 4096 rows": Call(_norm(F.layer_norm), floats((4096, 16), (16,), (16,))),
    "rms_norm": Call(_norm(F.rms_norm, eps=1e-6), floats(ROWS, (48,))),
    "batch_norm": Call(
        lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True), floats((2, 6, 9, 8), (6,), (6,))
    ),
    "cross_entropy": Call(partial(F.cross_entropy, reduction="none"), indexed(ROWS, 48, (33,))),
    "cross_entropy, mean": Call(F.cross_entropy, indexed(ROWS, 48, (33,))),
    "cross_entropy, smoothed": Call(
        partial(F.cross_entropy, label_smoothing=0.1, reduction="none"), indexed(ROWS, 48, (33,))
    ),
    "binary_cross_entropy_with_logits": Call(F.binary_cross_entropy_with_logits, _targets),
    "mse_loss": Call(F.mse_loss, floats(ROWS, ROWS)),
    "smooth_l1_loss": Call(F.smooth_l1_loss, floats(ROWS, ROWS)),
    "huber_loss": Call(F.huber_loss, floats(ROWS, ROWS)),
    "cosine_similarity": Call(F.cosine_similarity, floats(ROWS, ROWS)),
    "attention": Call(F.scaled_dot_product_attention, floats(*[(2, 3, 37, 16)] * 3)),
    "attention, causal": Call(partial(F.scaled_dot_product_attention, is_causal=True), floats(*[(2, 3, 37, 16)] * 3)),
    "embedding": Call(lambda W, t: F.embedding(t, W), indexed((11, 7), 11, (5,))),
    "embedding, repeated": Call(lambda W, t: F.embedding(t, W), indexed((4, 7), 4, (160,))),
    "gather": Call(lambda x, t: x.gather(1, t), indexed((17, 6), 6, (17, 40))),
    "prelu": Call(F.prelu, floats((33, 6), (6,))),
    "MLP": Call(_mlp, floats(ROWS, (24, 48), (24,), (9, 24))),
    "residual block": Call(_residual, floats(ROWS, (48,), (48, 48))),
}
