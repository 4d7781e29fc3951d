"""Arrays into tensors and back, by copy: memory that both sides write to would make a comparison vacuous."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["load", "parameters", "to_array", "to_tensor", "view_of_array", "view_of_tensor"]


def to_tensor(array: Any) -> Tensor:
    """A tensor with the values, shape and dtype of a NumPy array, in memory of its own."""
    return torch.from_numpy(array.copy())


def to_array(tensor: Tensor) -> Any:
    """A NumPy array with the values, shape and dtype of a tensor, in memory of its own."""
    return tensor.numpy(force=True).copy()


def view_of_array(array: Any) -> Tensor:
    """A tensor on the memory of a NumPy array, for large arrays that nobody writes to."""
    return torch.from_numpy(array)


def view_of_tensor(tensor: Tensor) -> Any:
    """A NumPy array on the memory of a tensor, for large tensors that nobody writes to any more."""
    return tensor.numpy(force=True)


def parameters(model: nn.Sequential) -> dict[str, nn.Parameter]:
    """The parameters under the notes' names: W1 (n_1, n_0), b1 (n_1,) as nn.Linear holds it, W2, ..."""
    linears = [module for module in model if isinstance(module, nn.Linear)]
    named: dict[str, nn.Parameter] = {}
    for l, linear in enumerate(linears, start=1):
        named[f"W{l}"] = linear.get_parameter("weight")
        named[f"b{l}"] = linear.get_parameter("bias")
    return named


def load(model: nn.Sequential, arrays: Mapping[str, Any]) -> None:
    """Copy weights W1 (n_1, n_0), b1 (n_1, 1), ... into the model, in place and without sharing memory."""
    with torch.no_grad():
        for name, parameter in parameters(model).items():
            parameter.copy_(to_tensor(arrays[name]).reshape(parameter.shape))
