"""Any nn.Module as a reference: loss(module(X), *targets), its parameters handed in with every call."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from torchref.tap import tap

__all__ = ["from_module"]


def from_module(
    module: nn.Module, loss: Callable[..., Tensor], *, names: Mapping[str, str] | None = None
) -> Callable[..., Tensor]:
    """A reference of an nn.Module: reference(params, X, *targets) = loss(module(X), *targets), a scalar.

    It works on a deep copy of the module, in the mode, train or eval, that the module is in; buffers are cast to the
    dtype of the parameters. `names` maps paths of parameters or submodules to names, as in
    {"0.weight": "W1", "0": "Z1"}: a named submodule's output is tapped. A parameter without a name goes by its path.
    Raises ValueError for a path that the module does not have.
    """
    mine = deepcopy(module)
    chosen = dict(names or {})
    parameters = {path: chosen.get(path, path) for path, _ in mine.named_parameters()}
    modules = dict(mine.named_modules())
    unknown = [path for path in chosen if path not in parameters and path not in modules]
    if unknown:
        known = ", ".join([*parameters, *(path for path in modules if path)])
        raise ValueError(f"the module has nothing at {unknown[0]!r}; known are {known}")
    for path, name in chosen.items():
        if path in modules:
            modules[path].register_forward_hook(_tapping(name))
    buffers = dict(mine.named_buffers())

    def reference(params: Mapping[str, Tensor], X: Tensor, *targets: Tensor) -> Tensor:
        missing = [name for name in parameters.values() if name not in params]
        if missing:
            raise ValueError(
                f"params has no {missing[0]!r}; the module's parameters are {', '.join(parameters.values())}"
            )
        placed = {path: params[name] for path, name in parameters.items()}
        dtype = next(iter(placed.values())).dtype if placed else X.dtype
        cast = {path: (b.to(dtype) if b.is_floating_point() else b).clone() for path, b in buffers.items()}
        J: Tensor = loss(functional_call(mine, {**placed, **cast}, (X,)), *targets)
        return J

    return reference


def _tapping(name: str) -> Callable[[nn.Module, Any, Any], Any]:
    def hook(_: nn.Module, __: Any, output: Any) -> Any:
        if not isinstance(output, torch.Tensor):
            raise ValueError(
                f"the submodule named {name!r} returns a {type(output).__name__}; name one that returns a tensor"
            )
        return tap(name, output)

    return hook
