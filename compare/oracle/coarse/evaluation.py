"""A reference evaluated in float64: its outputs, and the gradients that a cotangent of every output gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from handgrad.compare.errors import InputError, kind_of
from handgrad.compare.oracle.coarse.following import Following
from handgrad.compare.oracle.modules import untouched
from handgrad.compare.sandbox import CAUGHT, defaulting_to, gpus_of, located, quietly

Reference = Callable[..., Any]


class Draw(NamedTuple):
    """What both sides are handed: inputs, those of them that have a gradient by position, and output cotangents."""

    inputs: tuple[Any, ...]
    trained: tuple[int, ...]
    cotangents: tuple[Tensor, ...]


def promoted(draw: Draw, dtype: torch.dtype) -> Draw:
    """A draw in a dtype, where that is finer: it holds what the draw does as it is."""

    def fine(value: Any) -> Any:
        return value.to(torch.promote_types(value.dtype, dtype)) if is_floating(value) else value

    return Draw(tuple(map(fine, draw.inputs)), draw.trained, tuple(map(fine, draw.cotangents)))


def evaluate(reference: Reference, draw: Draw, mode: Following) -> list[Tensor]:
    """The outputs, then the gradients of what is trained, all in float64, as the mode has them.

    Attention is done step by step. Raises InputError where the reference fails.
    """
    inputs, leaves = upcast(draw)
    cotangents = [cotangent.detach().double() for cotangent in draw.cotangents]
    mode.follow([*inputs, *cotangents])
    with _running(gpus_of(draw.inputs)), mode:
        outputs = outputs_of(reference(*inputs))
        due = outputs if draw.cotangents else []
        gradients = gradients_of(due, leaves, cotangents)
    return [t.detach() for t in (*outputs, *gradients)]


def returned(reference: Reference, inputs: Sequence[Any], mode: Following) -> tuple[Any, ...]:
    """All that a reference returns of inputs in float64, as the mode has it. Raises InputError where it fails."""
    mode.follow(inputs)
    with _running(gpus_of(inputs)), mode:
        return several(reference(*inputs))


def as_they_are(reference: Reference, inputs: Sequence[Any]) -> tuple[Any, ...]:
    """What a reference returns in the inputs' own precision; nothing where it does not run in that."""
    copies = [t.detach().clone() if isinstance(t, Tensor) else t for t in inputs]
    try:
        with torch.random.fork_rng(gpus_of(inputs)), torch.enable_grad(), untouched(), quietly():
            return several(reference(*copies))
    except CAUGHT:  # it is evaluated in float64
        return ()


def upcast(draw: Draw) -> tuple[list[Any], list[Tensor]]:
    """Copies of the inputs, in float64, which holds them as they are; and those of them that have a gradient."""
    finer = promoted(draw, torch.float64)
    inputs = [t.detach().clone() if isinstance(t, Tensor) else t for t in finer.inputs]
    return inputs, [inputs[position].requires_grad_() for position in draw.trained]


def gradients_of(outputs: Sequence[Tensor], leaves: Sequence[Tensor], cotangents: Sequence[Tensor]) -> list[Tensor]:
    """The gradients of leaves, zeros where nothing depends on one."""
    pairs = [(y, c) for y, c in zip(outputs, cotangents, strict=False) if y.requires_grad]
    if not pairs or not leaves:
        return [torch.zeros_like(leaf) for leaf in leaves]
    ys, cs = zip(*pairs, strict=True)
    found = torch.autograd.grad(ys, [*leaves], cs, allow_unused=True)
    return [torch.zeros_like(leaf) if g is None else g for leaf, g in zip(leaves, found, strict=True)]


def outputs_of(returned: Any) -> list[Tensor]:
    """The floating tensors that a function returns, one or several; InputError for none."""
    outputs = [t for t in several(returned) if is_floating(t)]
    if not outputs:
        raise InputError(f"the reference returns {kind_of(returned)}; let it return a floating tensor, or several")
    return outputs


def several(returned: Any) -> tuple[Any, ...]:
    """What a function returns, one thing or several, in lists and tuples or without, as one tuple."""
    return tuple(leaves_of([returned]))


def leaves_of(value: Any) -> Iterator[Any]:
    """What is inside of lists, tuples and dicts, in order."""
    inside = value.values() if isinstance(value, dict) else value
    for each in inside:
        yield from leaves_of(each) if isinstance(each, (list, tuple, dict)) else [each]


def is_floating(value: Any) -> bool:
    """Whether it is a tensor of real numbers."""
    return isinstance(value, Tensor) and value.is_floating_point()


@contextmanager
def _running(gpus: Sequence[int]) -> Iterator[None]:
    """The user's reference at work: what it raises is an InputError with its line, and its draws are the same again."""
    try:
        stepwise = sdpa_kernel(SDPBackend.MATH)
        with torch.random.fork_rng(gpus), torch.enable_grad(), defaulting_to("float64"), untouched(), stepwise:
            yield
    except InputError:
        raise
    except CAUGHT as error:
        raise InputError(f"the reference raises {located(error)}; mend that line of it") from None
