"""torch put right where it is known to be inexact in float64: a few kernels, and constants rounded to float32.

torch is a witness, not the truth: where a derivation agrees with the mathematics and not with torch, torch is named.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from handgrad.compare.oracle.kernels import kind_of, name_of
from handgrad.compare.oracle.noise import mapped
from handgrad.compare.oracle.stepwise import Mode

MOST_CONSTANTS = 100_000  # numbers: a larger float32 tensor is data rather than a constant


class PutRight(Mode):
    """While entered, torch's inexact kernels are replaced by exact ones; `met` says which, in words."""

    def __init__(self) -> None:
        """Nothing is met yet; of what comes back `masked` keeps where a mask made it 0, by its id, which it keeps."""
        super().__init__()
        self.met = dict[str, None]()
        self.masked = dict[int, tuple[Tensor, Tensor]]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do an operation, exactly where that is known."""
        kwargs = kwargs or {}
        if kind_of(func) != "exact" or name_of(func) in ("_to_copy", "lift_fresh", "where"):
            args = mapped(args, self._decimal)
        found = _EXACT.get(name_of(func))
        exact = None if found is None else found[1](*args)
        if found is None or exact is None:
            result = func(*args, **kwargs)
            return result if torch._C._current_graph_task_id() < 0 else self._behind_a_mask(name_of(func), args, result)
        self.met[found[0]] = None
        return exact

    def _behind_a_mask(self, name: str, args: Any, result: Any) -> Any:
        """What comes back through a step: 0 where a mask lets nothing come back, also where the slope is infinite."""
        if name in ("where", "masked_fill"):
            self.masked[id(result)] = result, result == 0
        elif name in ("mul", "div", "neg") and id(args[0]) in self.masked:
            zeros = self.masked[id(args[0])][1]
            lost = zeros & result.isnan()
            if bool(lost.any()):
                self.met["0 times an infinite slope, as of sqrt at 0 behind torch.where, is nan in torch"] = None
                result = torch.where(lost, torch.zeros_like(result), result)
            self.masked[id(result)] = result, zeros & (result == 0)
        return result

    def _decimal(self, t: Tensor) -> Tensor:
        """A float32 constant as the decimal that was meant: 0.1 instead of 0.100000001490116."""
        if t.dtype != torch.float32 or t.requires_grad or t.numel() > MOST_CONSTANTS:
            return t
        rounded = t.detach().numpy()
        meant = np.array([float(str(x)) for x in rounded.ravel()], np.float64).reshape(rounded.shape)
        differs = meant != rounded
        if not differs.any():
            return t
        self.met[f"the constant {meant[differs].ravel()[0]:.7g} of the reference is rounded to float32"] = None
        return torch.from_numpy(meant)


def _softplus(x: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor | None:
    if not bool((x * beta > threshold).any()):
        return None
    return torch.logaddexp(torch.zeros_like(x), x * beta) / beta


def _softplus_backward(along: Tensor, x: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor | None:
    return along * torch.sigmoid(x * beta) if bool((x * beta > threshold).any()) else None


def _hardsigmoid_backward(along: Tensor, x: Tensor) -> Tensor:
    return torch.where((x > -3) & (x < 3), along / 6, torch.zeros_like(along))


def _polygamma(n: int, x: Tensor) -> Tensor | None:
    """psi'(x) = zeta(2, x) for x > 0."""
    if n != 1 or not bool((x > 0).all()):
        return None
    zeta: Tensor = torch.special.zeta(torch.full_like(x, 2.0), x)
    return zeta


_EXACT: dict[str, tuple[str, Callable[..., Tensor | None]]] = {
    "softplus": ("softplus is the identity beyond its threshold of 20 in torch", _softplus),
    "softplus_backward": ("softplus is the identity beyond its threshold of 20 in torch", _softplus_backward),
    "hardsigmoid_backward": ("the derivative of hardsigmoid is float32's 1/6 in torch", _hardsigmoid_backward),
    "polygamma": ("the derivative of digamma is off by some 4e-10 in torch", _polygamma),
}
"""The kernels that torch computes with fewer digits than float64 has: what to say, and the exact result or None."""
