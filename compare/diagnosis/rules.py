"""Which torch optimiser an update is instead of the one that is due: one setting changed, or a relative of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from handgrad.compare.facts.updates import OtherDecay, OtherMomentum, OtherOptimizer, OtherUpdate

Factory = Callable[[list[Tensor]], torch.optim.Optimizer]
Change = tuple[type[OtherOptimizer], dict[str, Any]]
SHOWN = ("momentum", "dampening", "nesterov", "betas", "weight_decay", "amsgrad", "maximize")


def relatives(due: torch.optim.Optimizer, *, new_memory: bool = True) -> Iterator[tuple[OtherOptimizer, Factory]]:
    """Optimisers that differ from `due` in one way, each with the cause that it means if the update is that one.

    Without `new_memory`, gradient descent stays without momentum.
    """
    if len(due.param_groups) != 1 or "lr" not in due.defaults:  # one of the user's own
        return
    settings = {name: value for name, value in due.param_groups[0].items() if name in due.defaults}
    kind = type(due)
    for cause, changes in _changes(kind, settings, new_memory=new_memory):
        reverses = ("ascends" if changes["maximize"] else "descends") if "maximize" in changes else ""
        yield cause(_shown(kind, settings, changes), reverses), _factory(kind, {**settings, **changes})
    if kind in (torch.optim.Adam, torch.optim.AdamW):
        is_decoupled = kind is torch.optim.AdamW
        plain = {name: settings[name] for name in ("lr", "betas", "eps", "weight_decay")} | {"decoupled": is_decoupled}
        other = "Adam with weight_decay in the gradient" if is_decoupled else "AdamW"
        yield OtherUpdate(other), _factory(_Adam, {**plain, "decoupled": not is_decoupled})
        yield OtherMomentum("Adam without bias correction"), _factory(_Adam, {**plain, "bias_correction": False})
        yield OtherUpdate("Adam with eps inside the square root"), _factory(_Adam, {**plain, "eps_inside": True})


def _shown(kind: type, settings: Mapping[str, Any], changes: Mapping[str, Any]) -> str:
    """The call that makes an optimiser: its rate, its settings that are not 0, and what is changed."""
    merged = {**settings, **changes}
    shown = {name: value for name, value in merged.items() if name in SHOWN and value}
    shown |= {name: value for name, value in changes.items() if value or settings[name]}
    values = {"lr": merged["lr"], **shown}.items()
    return f"torch.optim.{kind.__name__}({', '.join(f'{name}={_number(value)}' for name, value in values)})"


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _factory(kind: Callable[..., torch.optim.Optimizer], settings: Mapping[str, Any]) -> Factory:
    return lambda tensors: kind(tensors, **settings)


def _changes(kind: type, settings: Mapping[str, Any], *, new_memory: bool) -> Iterator[Change]:
    """One setting or two that belong together, changed, with the cause that this would be."""
    lr, decay = settings["lr"], settings.get("weight_decay", 0)
    if "maximize" in settings:
        yield OtherUpdate, {"maximize": not settings["maximize"]}
    if kind is torch.optim.SGD:
        m = settings["momentum"]
        for memory in (m,) if m else (0.9, 0.95, 0.99, 0.8, 0.5) if new_memory else ():
            yield from _momenta(lr, memory)
    if "betas" in settings:
        first, second = settings["betas"]
        for betas in ((second, first), (first, first), (second, second), (1 - first, second)):
            yield OtherMomentum, {"betas": betas}
    if decay:
        yield from ((OtherDecay, {"weight_decay": value}) for value in (0.0, 2 * decay, decay / 2))
    others = (1e-5, 1e-6, 1e-7, 1e-8, 1e-10, 1e-12) if "eps" in settings else ()
    yield from ((OtherUpdate, {"eps": eps}) for eps in others if eps != settings["eps"])
    if "amsgrad" in settings:
        yield OtherUpdate, {"amsgrad": not settings["amsgrad"]}
    yield from ((OtherUpdate, {"lr": value}) for value in (lr * lr, 1.0, 2 * lr, lr / 2) if value != lr)


def _momenta(lr: float, m: float) -> Iterator[Change]:
    """Forms of momentum with the same memory; a weighted average is a heavy ball at a smaller rate."""
    plain = {"nesterov": False, "dampening": 0.0}
    for rate in (lr, lr * (1 - m), lr / (1 - m)):
        for form in (plain, {**plain, "dampening": m}, {**plain, "nesterov": True}):
            yield OtherMomentum, {"momentum": m, **form, "lr": rate}
    yield OtherMomentum, {"momentum": 0.0, **plain, "lr": lr}
    yield OtherMomentum, {"momentum": 1 - m, **plain, "lr": lr}


class _Adam(torch.optim.Optimizer):
    """Adam in the forms that torch has no setting for."""

    def __init__(self, params: Any, **settings: Any) -> None:
        """Settings as of torch.optim.Adam, and the form: decoupled, bias_correction, eps_inside."""
        super().__init__(params, {"bias_correction": True, "eps_inside": False, **settings})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # no loss is returned
        """One step."""
        (group,) = self.param_groups
        lr, (beta1, beta2), eps, decay = (group[name] for name in ("lr", "betas", "eps", "weight_decay"))
        for w in (w for w in group["params"] if w.grad is not None):
            state = self.state[w]
            state["t"] = t = state.get("t", 0) + 1
            g = w.grad if group["decoupled"] else w.grad + decay * w
            if group["decoupled"]:
                w.mul_(1 - lr * decay)
            state["m"] = m = torch.lerp(state.get("m", torch.zeros_like(w)), g, 1 - beta1)
            state["s"] = s = torch.lerp(state.get("s", torch.zeros_like(w)), g * g, 1 - beta2)
            if group["bias_correction"]:
                m, s = m / (1 - beta1**t), s / (1 - beta2**t)
            root = (s + eps).sqrt() if group["eps_inside"] else s.sqrt() + eps
            w.sub_(lr * m / root)
