"""The user's torch modules that a reference calls are left as they were: buffers, as of batch norm, and .grad."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook


@contextmanager
def untouched() -> Iterator[None]:
    """While entered, what modules hold is noted as they are called; afterwards they hold the same."""
    tensors: dict[int, tuple[Tensor, Tensor]] = {}  # buffers and gradients, each with a copy
    gradients: dict[int, tuple[Tensor, Tensor | None]] = {}

    def note(module: nn.Module, _: Any) -> None:
        if not module._parameters and not module._buffers:  # as of an activation
            return
        leaves = [parameter for parameter in module.parameters(recurse=False) if parameter.is_leaf]
        for leaf in leaves:
            gradients.setdefault(id(leaf), (leaf, leaf.grad))
        for tensor in (*module.buffers(recurse=False), *(leaf.grad for leaf in leaves)):
            if tensor is not None and id(tensor) not in tensors:
                tensors[id(tensor)] = tensor, tensor.detach().clone()

    hook = register_module_forward_pre_hook(note)
    try:
        yield
    finally:
        hook.remove()
        with torch.no_grad():
            for tensor, before in tensors.values():
                if not torch.equal(tensor, before):
                    tensor.copy_(before)
        for parameter, gradient in gradients.values():
            parameter.grad = gradient
