"""torch's operations by how they round: one table, for every run of the reference that is looked at inside.

    exact       what comes out are numbers that went in, or zeros, ones and counts: views, copies, masks, ReLU, max
    once        one rounding of the result: arithmetic entry by entry
    several     a few roundings: exp, log, tanh and what else a library evaluates
    power       as many roundings as the exponent of the result has digits: a rounded exponent is multiplied by log x
    sum         sums of products, each rounded: matrix products, convolutions, reductions
    transform   Fourier transforms, whose error is of the size of the whole result
    decomposed  done by simpler operations of torch's own, which are in this table
    opaque      everything else: as if its inputs were rounded as well

A name that a later torch renames becomes opaque, which allows more, never less. An operation in place rounds as the one
that makes a new tensor, and is told by the underscore at the end of its name.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch

_KINDS = {
    "exact": """
        _conj _has_same_storage_numel _local_scalar_dense _reshape_alias _to_copy _unsafe_view abs alias all amax amin
        any arange argmax argmin argsort as_strided as_strided_scatter bernoulli bitwise_and bitwise_not bitwise_or
        bitwise_xor broadcast_in_dim broadcast_to bucketize cat ceil chunk clamp clamp_max clamp_min clone
        constant_pad_nd convert_element_type copy count_nonzero
        cummax cummin detach diag diag_embed diagonal diagonal_backward diagonal_copy diagonal_scatter
        embedding empty empty_like empty_permuted empty_strided eq equal expand expand_copy eye fill flip floor
        full full_like gather ge gt hardtanh hardtanh_backward heaviside im2col imag index index_copy index_fill
        index_select is_nonzero is_pinned is_same_size isfinite isinf isnan item le lift_fresh lift_fresh_copy
        linalg_diagonal logical_and logical_not logical_or logical_xor lt masked_fill masked_scatter masked_select max
        max_pool2d_with_indices max_pool2d_with_indices_backward max_pool3d_with_indices
        max_pool3d_with_indices_backward maximum median min minimum movedim nan_to_num narrow ne neg new_empty
        new_empty_strided new_full new_ones new_zeros nonzero normal one_hot ones ones_like permute pixel_shuffle
        pixel_unshuffle rand rand_like randint randint_like randn randn_like random randperm real reflection_pad1d
        reflection_pad2d relu repeat repeat_interleave replication_pad1d replication_pad2d resize resolve_conj
        resolve_neg roll rot90 round scalar_tensor scatter searchsorted select select_backward select_copy
        select_scatter set set_data sgn sign slice slice_backward slice_copy slice_scatter sort split
        split_with_sizes squeeze squeeze_copy stack swapaxes t tensor_split threshold threshold_backward tile to topk
        transpose tril tril_indices triu triu_indices trunc unbind unfold unfold_backward uniform unique
        unsafe_chunk unsafe_split unsqueeze unsqueeze_copy upsample_nearest1d upsample_nearest2d
        value_selecting_reduction_backward view view_as view_as_complex view_as_real view_copy where zero zeros
        zeros_like""",
    "once": "add addcdiv addcmul div fma lerp mul norm reciprocal rsqrt sqrt square sub true_divide",
    "several": """
        acos acosh asin asinh atan atan2 atanh cos cosh digamma erf erfc erfinv exp exp2 expm1 lgamma log log10 log1p
        log2 polygamma sigmoid sin sinh softplus softplus_backward special_zeta tan tanh""",
    "power": "linalg_vector_norm pow",
    "sum": """
        _unsafe_index_put addr avg_pool2d avg_pool2d_backward bmm col2im convolution convolution_backward cumsum dot
        embedding_dense_backward ger index_add index_put mean mm mv scatter_add sum trace upsample_bilinear2d""",
    "transform": "_fft_c2c _fft_c2r _fft_r2c",
}

_DECOMPOSED = """
    _batch_norm_no_update _batch_norm_with_update _log_softmax _log_softmax_backward_data _native_batch_norm_legit
    _native_batch_norm_legit_functional _safe_softmax _softmax _softmax_backward_data addcdiv addcmul addmm addmv
    baddbmm batch_norm_backward binary_cross_entropy binary_cross_entropy_backward binary_cross_entropy_with_logits
    dot elu elu_backward frac gelu gelu_backward glu glu_backward hardsigmoid hardswish hardswish_backward huber_loss
    huber_loss_backward leaky_relu_backward lerp log_sigmoid_forward log_sigmoid_backward logaddexp logsumexp mish
    mish_backward mse_loss mse_loss_backward native_batch_norm native_batch_norm_backward native_group_norm
    native_group_norm_backward native_layer_norm native_layer_norm_backward nll_loss_backward nll_loss_forward rsub
    sigmoid_backward silu silu_backward sinc smooth_l1_loss smooth_l1_loss_backward soft_margin_loss
    soft_margin_loss_backward std std_mean tanh_backward var var_mean xlogy"""

_KIND_OF = {name: kind for kind, names in _KINDS.items() for name in names.split()}


def is_looked_into(operation: Any) -> bool:
    """Whether the table knows how an operation rounds, itself or by another of its name."""
    return kind_of(operation) != "opaque" or name_of(operation) in _DECOMPOSED.split()


def name_of(operation: Any) -> str:
    """The name of an operation as torch's dispatcher has it, without its namespace and overload: "add", "mul_"."""
    return str(operation._schema.name.partition("::")[2])


@cache
def kind_of(operation: Any) -> str:
    """How an operation rounds: a word of the table above."""
    if decomposition(operation) is not None:
        return "decomposed"
    return _KIND_OF.get(name_of(operation).removesuffix("_"), "opaque")


@cache
def out_of_place(operation: Any) -> Any:
    """The operation that makes a new tensor instead of changing its first one; None where torch has none.

    It takes arguments of the same types; its overload may have another name, as that of pow_.
    """
    packet = getattr(torch.ops.aten, name_of(operation).removesuffix("_"), None)
    overloads = [getattr(packet, name) for name in packet.overloads()] if packet is not None else []
    return next((each for each in overloads if _takes(each) == _takes(operation)), None)


def _takes(operation: Any) -> list[str]:
    """The types of what an operation takes."""
    return [str(argument.type) for argument in operation._schema.arguments]


@cache
def decomposition(operation: Any) -> Callable[..., Any] | None:
    """What torch does instead of an operation in simpler ones, where the table says that this is looked at.

    What torch itself only puts together from others, as softmax inside of attention, is looked at in any case.
    """
    known = _decompositions().get(operation)
    if known is not None or name_of(operation).removesuffix("_") in _KIND_OF or not hasattr(operation, "decompose"):
        return known
    is_composite = torch._C._dispatch_has_kernel_for_dispatch_key(operation.name(), "CompositeImplicitAutograd")
    return operation.decompose if is_composite else None


@cache
def _decompositions() -> dict[Any, Callable[..., Any]]:
    """torch's own table, loaded once it is needed: it takes a moment."""
    from torch._decomp import get_decompositions

    names = [name for name in _DECOMPOSED.split() if hasattr(torch.ops.aten, name)]
    found = get_decompositions([getattr(torch.ops.aten, name) for name in names])
    return dict(found)


def contracted(name: str, args: tuple[Any, ...], result: torch.Tensor) -> int:
    """How many terms each entry of a sum has."""
    size = int(args[0].numel())
    if name in ("mm", "bmm", "mv", "dot"):
        return max(1, int(args[0].shape[-1]))
    if name == "convolution_backward":
        return max(1, size // max(1, int(args[0].shape[1])))
    return max(1, size // max(1, result.numel()))
