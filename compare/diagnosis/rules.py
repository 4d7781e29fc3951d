"""Which torch optimiser an update is instead of the one that is due: one setting changed, or a relative of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from handgrad.compare.diagnosis.scene import Cause

__all__ = ["relatives"]

Factory = Callable[[list[Tensor]], torch.optim.Optimizer]
CODES = {
    "lr": "update-form",
    "maximize": "update-form",
    "eps": "update-form",
    "eps_inside": "update-form",
    "amsgrad": "update-form",
    "decoupled": "update-form",
    "weight_decay": "regularisation",
    "momentum": "momentum-form",
    "dampening": "momentum-form",
    "nesterov": "momentum-form",
    "betas": "momentum-form",
    "bias_correction": "momentum-form",
}
SHOWN = ("momentum", "dampening", "nesterov", "betas", "weight_decay", "amsgrad", "maximize")


def relatives(due: torch.optim.Optimizer, *, new_memory: bool = True) -> Iterator[tuple[Cause, Factory]]:
    """Optimisers that differ from `due` in one way, each with the cause that it means if the update is that one.

    Without `new_memory`, gradient descent stays without momentum.
    """
    if len(due.param_groups) != 1 or "lr" not in due.defaults:  # one of the user's own
        return
    settings = {name: value for name, value in due.param_groups[0].items() if name in due.defaults}
    kind = type(due)
    for changes in _changes(kind, settings, new_memory=new_memory):
        yield _relative(kind, kind.__name__, settings, changes)
    if kind in (torch.optim.Adam, torch.optim.AdamW):
        plain = {name: settings[name] for name in ("lr", "betas", "eps", "weight_decay")}
        plain["decoupled"] = kind is torch.optim.AdamW
        for name, value in (("decoupled", not plain["decoupled"]), ("bias_correction", False), ("eps_inside", True)):
            yield _relative(_Adam, "Adam", plain, {name: value})


def _relative(kind: Any, name: str, settings: Mapping[str, Any], changes: Mapping[str, Any]) -> tuple[Cause, Factory]:
    merged = {**settings, **changes}
    code = CODES[next(iter(changes))]
    if kind is _Adam:
        said = {
            "decoupled": "AdamW" if merged.get("decoupled") else "Adam with weight_decay in the gradient",
            "bias_correction": "Adam without bias correction",
            "eps_inside": "Adam with eps inside the square root",
        }[next(iter(changes))]
    else:
        changes = {key: value for key, value in changes.items() if value or settings[key]}
        shown = {
            "lr": merged["lr"],
            **{key: v for key, v in merged.items() if key in SHOWN and v},
            **changes,
        }
        told = ", ".join(f"{key}={v:.6g}" if isinstance(v, float) else f"{key}={v}" for key, v in shown.items())
        said = f"torch.optim.{name}({told})"
    if "maximize" in changes:
        said = f"the update goes the other way: it {'ascends' if merged['maximize'] else 'descends'}, as {said}"
        return Cause(code, said), lambda tensors: kind(tensors, **merged)
    return Cause(code, f"the update is that of {said}, at every step"), lambda tensors: kind(tensors, **merged)


def _changes(kind: type, settings: Mapping[str, Any], *, new_memory: bool) -> Iterator[dict[str, Any]]:
    """One setting or two that belong together, changed."""
    lr, decay = settings["lr"], settings.get("weight_decay", 0)
    if "maximize" in settings:
        yield {"maximize": not settings["maximize"]}
    if kind is torch.optim.SGD:
        m = settings["momentum"]
        yield from _momenta(lr, m)
        if not m and new_memory:
            yield from (change for known in (0.9, 0.95, 0.99, 0.8, 0.5) for change in _momenta(lr, known))
    if "betas" in settings:
        first, second = settings["betas"]
        yield {"betas": (second, first)}
        yield {"betas": (first, first)}
        yield {"betas": (second, second)}
        yield {"betas": (1 - first, second)}
    if decay:
        yield from ({"weight_decay": value} for value in (0.0, 2 * decay, decay / 2))
    for eps in (1e-5, 1e-6, 1e-7, 1e-8, 1e-10, 1e-12) if "eps" in settings else ():
        if eps != settings["eps"]:
            yield {"eps": eps}
    if "amsgrad" in settings:
        yield {"amsgrad": not settings["amsgrad"]}
    yield from ({"lr": value} for value in (lr * lr, 1.0, 2 * lr, lr / 2) if value != lr)


def _momenta(lr: float, m: float) -> Iterator[dict[str, Any]]:
    """Forms of momentum with the same memory; a weighted average is a heavy ball at a smaller rate."""
    if not m:
        return
    plain = {"nesterov": False, "dampening": 0.0}
    for rate in (lr, lr * (1 - m), lr / (1 - m)):
        for form in (plain, {**plain, "dampening": m}, {**plain, "nesterov": True}):
            yield {"momentum": m, **form, "lr": rate}
    yield {"momentum": 0.0, "dampening": 0.0, "nesterov": False, "lr": lr}
    yield {"momentum": 1 - m, "dampening": 0.0, "nesterov": False, "lr": lr}


class _Adam(torch.optim.Optimizer):
    """Adam in the forms that torch has no setting for."""

    def __init__(
        self,
        params: Any,
        lr: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
        decoupled: bool = False,
        bias_correction: bool = True,
        eps_inside: bool = False,
    ) -> None:
        """Settings as of torch.optim.Adam, and which form it is."""
        super().__init__(params, {"lr": lr, "eps": eps})
        self.betas, self.decay, self.decoupled = betas, weight_decay, decoupled
        self.bias_correction, self.eps_inside = bias_correction, eps_inside

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step."""
        (group,) = self.param_groups
        for w in group["params"]:
            if w.grad is None:
                continue
            state = self.state[w]
            state["t"] = t = state.get("t", 0) + 1
            g = w.grad if self.decoupled else w.grad + self.decay * w
            if self.decoupled:
                w.mul_(1 - group["lr"] * self.decay)
            state["m"] = m = torch.lerp(state.get("m", torch.zeros_like(w)), g, 1 - self.betas[0])
            state["s"] = s = torch.lerp(state.get("s", torch.zeros_like(w)), g * g, 1 - self.betas[1])
            if self.bias_correction:
                m, s = m / (1 - self.betas[0] ** t), s / (1 - self.betas[1] ** t)
            root = (s + group["eps"]).sqrt() if self.eps_inside else s.sqrt() + group["eps"]
            w.sub_(group["lr"] * m / root)
