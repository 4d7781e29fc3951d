"""Local replay: every operation of a torch reference evaluated on the derivation's own recorded tensors.

Upstream rounding and upstream faults cancel, and only the operation that is wrong by itself is left with a difference.
It is one autograd Function and one backward pass: a tap's forward keeps the tensor that came in, the local reference of
the value, and goes on with the recorded one; its backward keeps the cotangent that came in, the local reference of the
gradient, and passes on the recorded one. Value and gradient are replaced independently; a missing record lengthens the
segment in that direction only, and with no records at all it is the reference's own, end-to-end run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from compare.errors import InputError
from torchref.exchange import to_array, to_tensor, view_of_array, view_of_tensor
from torchref.tap import tapped

__all__ = ["Replay", "replay"]

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Replay:
    """What the reference computes at each tap and leaf, in float64 unless the leaves are of another dtype.

    `values` holds tapped tensors and J, `gradients` d<name> of taps and leaves that J depends on. Both are in dataflow
    order, leaves last unless taps were inspected. `reads` names, for each tap and J, the taps and leaves that its
    segment reads. `side_outputs` are taps that J does not depend on.
    """

    values: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray]
    reads: dict[str, frozenset[str]]
    side_outputs: frozenset[str]


def replay(
    reference: Callable[[], Tensor],
    leaves: Mapping[str, Tensor],
    records: Arrays,
    *,
    inspect: bool = False,
    stacked: bool = False,
) -> Replay:
    """Run `reference`, a call without arguments that returns the scalar J, with records in place of its own tensors.

    `leaves` are the tensors with requires_grad that it reads, by name. A record `Z1` replaces the value of tap Z1, a
    record `dZ1` its gradient; a record whose shape is not the tensor's is left alone. With `inspect`, `reads` is filled
    and misuse of taps is an InputError: a result that the code does not go on with, or goes on with only in part.

    With `stacked`, K runs are replayed at once: `reference` returns (K,), and every leaf and result has a first axis of
    K. Nothing is copied: such a reference must not change a tensor in place.
    """
    sites = _Sites(records, {"J", *leaves, *(f"d{name}" for name in leaves)}, inspect, stacked)
    try:
        return _replayed(reference, leaves, sites)
    finally:
        sites.let_go()


def _replayed(reference: Callable[[], Tensor], leaves: Mapping[str, Tensor], sites: _Sites) -> Replay:
    for leaf in leaves.values():
        leaf.grad = None
    with tapped(sites.tap):
        J = reference()
    if not isinstance(J, Tensor) or (J.numel() != 1 and not sites.stacked):
        got = f"a tensor of shape {tuple(J.shape)}" if isinstance(J, Tensor) else f"a {type(J).__name__}"
        raise InputError(f"the reference returns {got}; it must return the scalar J, so end it with a sum or a mean")
    reads = {}
    if sites.inspect:
        reads = {name: sites.reads(site.came_in, leaves) for name, site in sites.all.items()}
        reads["J"] = sites.reads(J, leaves)
    if J.requires_grad:
        noted = leaves if sites.inspect else {}
        hooks = [_hook_after_accumulation(leaf, _noting(name, sites.order)) for name, leaf in noted.items()]
        torch.autograd.backward(J, torch.ones_like(J))
        for hook in hooks:
            hook.remove()
    if sites.inspect:
        sites.check()
    gradients = {name: site.gradient for name, site in sites.all.items()}
    copied = view_of_tensor if sites.stacked else to_array
    gradients |= {name: copied(leaf.grad) for name, leaf in leaves.items() if leaf.grad is not None}
    order = sites.order if sites.inspect else [*sites.order, *leaves]
    found = ((name, gradients.get(name)) for name in dict.fromkeys(order))
    J = J if sites.stacked else J.reshape(())
    return Replay(
        values={name: site.value for name, site in sites.all.items()} | {"J": to_array(J)},
        gradients={f"d{name}": gradient for name, gradient in found if gradient is not None},
        reads=reads,
        side_outputs=frozenset(name for name, site in sites.all.items() if site.gradient is None),
    )


class _Site:
    """One call of tap: what came in, what is recorded in its place, and the gradients that arrived."""

    def __init__(self, name: str, came_in: Tensor, records: Arrays, order: list[str], stacked: bool) -> None:
        self.name, self.came_in, self.records, self.order, self.stacked = name, came_in, records, order, stacked
        self.recorded_gradient: Tensor | None = None
        self.gradient: np.ndarray | None = None  # of the tap's result
        self.gradient_of_came_in: Tensor | None = None  # of the tensor handed to tap, over all its uses
        self.node: Any = None  # the tap in autograd's graph
        self.hook: Any = None  # on the tensor handed to tap

    def pass_on(self, came_in: Tensor) -> Tensor:
        """Keep the value of what came in, and go on with the record."""
        self.value = view_of_tensor(came_in) if self.stacked else to_array(came_in)
        self.recorded_gradient = self._record(f"d{self.name}", came_in)
        record = self._record(self.name, came_in)
        return came_in.clone() if record is None else record

    def _record(self, name: str, like: Tensor) -> Tensor | None:
        array = self.records.get(name)
        if array is None or array.shape != tuple(like.shape):
            return None
        return (view_of_array(array) if self.stacked else to_tensor(array)).to(like.dtype)


class _Tap(torch.autograd.Function):
    """Goes on with the record, forward and backward, and keeps what came in."""

    @staticmethod
    def forward(ctx: Any, came_in: Tensor, site: _Site) -> Tensor:
        ctx.site = site
        return site.pass_on(came_in)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor, None]:
        site: _Site = ctx.site
        site.order.append(site.name)
        recorded = site.recorded_gradient
        kept_alone = site.stacked and recorded is not None  # nobody else goes on with what came in
        site.gradient = view_of_tensor(cotangents[0]) if kept_alone else to_array(cotangents[0])
        return cotangents[0] if recorded is None else recorded, None


def _applied(function: type[torch.autograd.Function], came_in: Tensor, site: _Site) -> Tensor:
    result: Tensor = function.apply(came_in, site)  # type: ignore[no-untyped-call]  # torch annotates no signature
    return result


class _Sites:
    """The taps of one run in call order, and the order in which gradients were found."""

    def __init__(self, records: Arrays, taken: Set[str], inspect: bool, stacked: bool) -> None:
        self.taken = taken
        self.records, self.inspect, self.stacked = records, inspect, stacked
        self.all: dict[str, _Site] = {}
        self.order: list[str] = []

    def tap(self, name: str, tensor: Tensor) -> Tensor:
        """The handler of torchref.tap: a new tensor in place of the one that came in, which is kept."""
        if not isinstance(name, str) or not name or name in self.taken:
            why = "is the name of something else" if name in self.taken else "is no name"
            raise InputError(f"tap({name!r}, ...): {name!r} {why}; give each intermediate a name of its own, like 'Z1'")
        numbered, times = name, 1
        while numbered in self.all:
            times += 1
            numbered = f"{name}[{times}]"
        site = self.all[numbered] = _Site(numbered, tensor, self.records, self.order, self.stacked)
        if not tensor.requires_grad:
            return site.pass_on(tensor)
        if self.inspect:
            site.hook = tensor.register_hook(_arriving(site))  # type: ignore[no-untyped-call]  # torch annotates no return type
        result = _applied(_Tap, tensor, site)
        site.node = result.grad_fn
        return result

    def check(self) -> None:
        """Raise InputError for a tap whose result the reference does not go on with, or not everywhere."""
        for name, site in self.all.items():
            remedy = f"go on with its result everywhere, as in {name} = tap({name!r}, ...)"
            if site.gradient_of_came_in is None:
                continue
            if site.gradient is None:
                raise InputError(f"the result of tap {name!r} is not used but the tensor handed to it is; {remedy}")
            passed_on = site.gradient if site.recorded_gradient is None else to_array(site.recorded_gradient)
            if not np.array_equal(passed_on, to_array(site.gradient_of_came_in), equal_nan=True):
                raise InputError(f"tap {name!r} is bypassed, its tensor is used beside its result; {remedy}")

    def let_go(self) -> None:
        """Break the circle of hook, site and tensor, which Python's collector cannot see and would keep for ever."""
        for site in self.all.values():
            if site.hook is not None:
                site.hook.remove()
            del site.came_in, site.node, site.hook

    def reads(self, tensor: Tensor, leaves: Mapping[str, Tensor]) -> frozenset[str]:
        """The taps and leaves that a tensor was computed from, walking back through autograd's graph to the nearest."""
        taps = {id(site.node): name for name, site in self.all.items() if site.node is not None}
        names = {id(leaf): name for name, leaf in leaves.items()}
        found = {names[id(tensor)]} if id(tensor) in names else set()
        pending: list[Any] = [tensor.grad_fn]
        seen: dict[int, Any] = {}  # keeps the nodes alive, so that no identity is used twice
        while pending:
            node = pending.pop()
            if node is None or id(node) in seen:
                continue
            seen[id(node)] = node
            variable = getattr(node, "variable", None)
            if id(node) in taps:
                found.add(taps[id(node)])
            elif id(variable) in names:
                found.add(names[id(variable)])
            else:
                pending += [parent for parent, _ in node.next_functions]
        return frozenset(found)


def _arriving(site: _Site) -> Callable[[Tensor], None]:
    def keep(gradient: Tensor) -> None:
        site.gradient_of_came_in = gradient.clone()

    return keep


def _hook_after_accumulation(leaf: Tensor, hook: Callable[[Tensor], None]) -> Any:
    return leaf.register_post_accumulate_grad_hook(hook)  # type: ignore[no-untyped-call]  # torch annotates no types


def _noting(name: str, order: list[str]) -> Callable[[Tensor], None]:
    def note(_: Tensor) -> None:
        order.append(name)

    return note
