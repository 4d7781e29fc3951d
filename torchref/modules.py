"""Any nn.Module as a reference: loss(module(X), *targets), its parameters handed in with every call."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from handgrad.torchref.tap import tap

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
    if not isinstance(module, nn.Module) or not callable(loss):
        wrong = (
            ("module", module, "an nn.Module") if not isinstance(module, nn.Module) else ("loss", loss, "a function")
        )
        raise ValueError(f"{wrong[0]} is a {type(wrong[1]).__name__}; it must be {wrong[2]}")
    if names is not None and not (isinstance(names, Mapping) and all(isinstance(n, str) for n in names.values())):
        raise ValueError(f'names is {names!r}; it must be a dict of paths and names, like {{"0.weight": "W1"}}')
    mine = deepcopy(module)
    chosen = dict(names or {})
    parameters = {path: chosen.get(path, path) for path, _ in mine.named_parameters()}
    modules = dict(mine.named_modules())
    tied = [path for path, _ in mine.named_parameters(remove_duplicate=False) if path not in parameters]
    if any(path in tied for path in chosen):
        path = next(path for path in chosen if path in tied)
        same = next(p for p, tensor in mine.named_parameters() if tensor is mine.get_parameter(path))
        raise ValueError(f"{path!r} is tied to {same!r}, one parameter; name it by {same!r}")
    unknown = [path for path in chosen if path not in parameters and path not in modules]
    if unknown:
        known = ", ".join([*parameters, *(path for path in modules if path)])
        raise ValueError(f"the module has nothing at {unknown[0]!r}; known are {known}")
    used = [*parameters.values(), *(name for path, name in chosen.items() if path in modules)]
    twice = [name for name in used if used.count(name) > 1]
    if twice:
        raise ValueError(f"{twice[0]!r} names two things in the module; give each a name of its own")
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
