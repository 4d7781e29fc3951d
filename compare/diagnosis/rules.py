"""Which torch optimiser an update is instead of the one that is due: one setting changed, or a relative of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from handgrad.compare.facts.updates import OtherDecay, OtherMomentum, OtherOptimizer, OtherUpdate
from handgrad.compare.thresholds import EPSILONS

Factory = Callable[[list[Tensor]], torch.optim.Optimizer]
Change = tuple[type[OtherOptimizer], dict[str, Any]]
SHOWN = ("momentum", "dampening", "nesterov", "betas", "weight_decay", "amsgrad", "maximize")


@dataclass(frozen=True)
class Rule:
    """An optimiser beside the one that is due, and the cause that it means if an update is that one.

    `changes` are the settings in which the two differ: of two rules that explain the same, one that changes less is a
    special case of the other.
    """

    cause: OtherOptimizer
    factory: Factory
    changes: frozenset[tuple[str, Any]]

    @property
    def is_rate(self) -> bool:
        """Whether every change that it makes is the same multiple of the one that is due."""
        return {name for name, _ in self.changes} <= {"lr", "maximize"}


def relatives(due: torch.optim.Optimizer) -> Iterator[Rule]:
    """Optimisers that differ from `due` in one way, each once."""
    if len(due.param_groups) != 1 or "lr" not in due.defaults:  # one of the user's own
        return
    settings = {name: value for name, value in due.param_groups[0].items() if name in due.defaults}
    kind, known = type(due), set[frozenset[tuple[str, Any]]]()
    for cause, changes in _changes(kind, settings):
        differs = frozenset((name, value) for name, value in changes.items() if value != settings[name])
        if differs not in known:
            known.add(differs)
            reverses = ("ascends" if changes["maximize"] else "descends") if "maximize" in changes else ""
            named = cause(_shown(kind, settings, changes), reverses)
            yield Rule(named, _factory(kind, {**settings, **changes}), differs)


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


def _changes(kind: type, settings: Mapping[str, Any]) -> Iterator[Change]:
    """One setting or two that belong together, changed, with the cause that this would be."""
    lr, decay = settings["lr"], settings.get("weight_decay", 0)
    if "maximize" in settings:
        yield OtherUpdate, {"maximize": not settings["maximize"]}
    if kind is torch.optim.SGD:
        m = settings["momentum"]
        for memory in (m,) if m else (0.9, 0.95, 0.99, 0.8, 0.5):
            yield from _momenta(lr, memory)
    if "betas" in settings:
        first, second = settings["betas"]
        for betas in ((second, first), (first, first), (second, second), (round(1 - first, 12), second)):
            yield OtherMomentum, {"betas": betas}
    if decay:
        yield from ((OtherDecay, {"weight_decay": value}) for value in (0.0, 2 * decay, decay / 2))
    others = (*EPSILONS, 0.0) if "eps" in settings else ()
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
    yield OtherMomentum, {"momentum": round(1 - m, 12), **plain, "lr": lr}
