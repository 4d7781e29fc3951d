"""Local replay: every operation of a torch reference evaluated on the derivation's own recorded tensors.

Upstream rounding and upstream faults cancel, and only the operation that is wrong by itself is left with a difference.
It is one backward pass: a tap keeps the tensor that came in, the local reference of the value, and goes on with the
recorded one; it keeps the cotangent that comes back, the local reference of the gradient, and passes on the recorded
one. Where the gradient is recorded the graph is cut there: autograd starts at what came in as well, with the record.
Where the value alone is, and where taps are inspected, an autograd Function stands there. Value and gradient are
replaced independently; a missing record lengthens the segment in that direction only, and with no records at all it is
the reference's own, end-to-end run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from handgrad.compare.autograd import absent_sign, is_plain_sum
from handgrad.compare.errors import InputError, kind_of
from handgrad.compare.names import gradient, is_gradient, of_gradient
from handgrad.compare.trace import Arrays, same
from handgrad.torchref.exchange import to_array, to_tensor, view_of_array, view_of_tensor
from handgrad.torchref.tap import tapped


@dataclass(frozen=True)
class Replay:
    """What the reference computes at each tap and leaf, in float64 unless the leaves are of another dtype.

    `values` holds tapped tensors and J, `gradients` d<name> of taps and leaves that J depends on; J has shape (), and
    (K,) of K stacked runs. Both are in dataflow order, leaves last unless taps were inspected. `side_outputs` are taps
    that J does not depend on. Only where taps were inspected, `reads` names the taps and leaves that each tap and J is
    computed from, `differentiated` the taps that the reference itself differentiates through, `absent_signs` those that
    the inputs of ReLUs on the way to a tap or J never have, and `is_plain_sum` says whether J is one.
    """

    values: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray]
    reads: dict[str, frozenset[str]]
    side_outputs: frozenset[str]
    differentiated: frozenset[str] = frozenset()
    absent_signs: frozenset[tuple[str, str]] = frozenset()
    is_plain_sum: bool = False


def inspect_reference(
    reference: Callable[[], Tensor], leaves: Mapping[str, Tensor], wanted: Set[str] = frozenset()
) -> Replay:
    """Run `reference`, a call without arguments that returns the scalar J, on its own tensors, and look at its taps.

    `leaves` are the tensors with requires_grad that it reads, by name. `reads` is filled, and misuse of taps is an
    InputError: a result that the code does not go on with, or goes on with only in part. Taps that are `wanted` have a
    gradient also where what they name is computed from no leaf.
    """
    return _run(reference, leaves, partial(_Sites, {}, wanted, inspect=True))


class Observer(Protocol):
    """Is told of the records that go on in place of the reference's own tensors, and of local references."""

    def given(self, name: str, tensor: Tensor) -> None: ...  # noqa: D102
    def computed(self, name: str, tensor: Tensor) -> None: ...  # noqa: D102


def replay(
    reference: Callable[[], Tensor],
    leaves: Mapping[str, Tensor],
    records: Arrays,
    wanted: Set[str] = frozenset(),
    observer: Observer | None = None,
) -> Replay:
    """Run `reference` with records in place of its own tensors.

    A record `Z1` replaces the value of tap Z1, a record `dZ1` its gradient; a record whose shape is not the tensor's is
    left alone.
    """
    return _run(reference, leaves, partial(_Sites, records, wanted, observer=observer))


def replay_stack(reference: Callable[[], Tensor], leaves: Mapping[str, Tensor], records: Arrays) -> Replay:
    """Replay K runs at once: `reference` returns (K,), and every leaf and result has a first axis of K.

    Nothing is copied: such a reference must not change a tensor in place.
    """
    return _run(reference, leaves, partial(_Sites, records, stacked=True))


def _run(reference: Callable[[], Tensor], leaves: Mapping[str, Tensor], sites_of: Callable[..., _Sites]) -> Replay:
    """One replay; repeated without those cuts of the graph that turn out to lead astray."""
    uncut: set[str] = set()
    while True:
        sites = sites_of(taken={"J", *leaves, *map(gradient, leaves)}, uncut=uncut)
        try:
            result = _replayed(reference, leaves, sites)
            astray = sites.unreached()
        except RuntimeError:  # a reference that calls autograd itself misses what was cut off
            astray = {*sites.ends}
            if not astray:
                raise
        finally:
            sites.let_go()
        if not astray:
            return result
        uncut |= astray


def _replayed(reference: Callable[[], Tensor], leaves: Mapping[str, Tensor], sites: _Sites) -> Replay:
    J = _forward(reference, leaves, sites)
    differentiated = frozenset(sites.order)  # by the reference itself
    reads = {}
    if sites.inspect:
        reads = {name: sites.reads(name, site.came_in, leaves) for name, site in sites.all.items()}
        reads["J"] = sites.reads("J", J, leaves)
    plain = sites.inspect and is_plain_sum(J)
    if J.requires_grad:
        _backward(J, leaves, sites)
    if sites.inspect:
        sites.check(differentiated)
    if sites.observer is not None:
        sites.tell(sites.observer, J, leaves)
    gradients = sites.gradients(leaves)
    order = sites.order if sites.inspect else [*reversed(sites.all), *leaves]
    return Replay(
        values={name: site.value for name, site in sites.all.items()} | {"J": to_array(J)},
        gradients={gradient(name): gradients[name] for name in dict.fromkeys(order) if name in gradients},
        reads=reads,
        side_outputs=frozenset(sites.all.keys() - gradients.keys()),
        differentiated=differentiated,
        absent_signs=frozenset(sites.absent_signs),
        is_plain_sum=plain,
    )


def _forward(reference: Callable[[], Tensor], leaves: Mapping[str, Tensor], sites: _Sites) -> Tensor:
    """J, with shape () unless runs are stacked; no leaf has a gradient afterwards."""
    with tapped(sites.tap):
        J = reference()
    watched = (site.came_in for site in sites.all.values() if site.is_watched)
    for tensor in (*leaves.values(), *sites.ends.values(), *watched):
        tensor.grad = None  # also where the reference has called backward itself
    if not isinstance(J, Tensor) or J.is_complex() or (J.numel() != 1 and not sites.stacked):
        raise InputError(
            f"the reference returns {_described(J)}; it must return the scalar J, so end it with a sum or a mean"
        )
    return J if sites.stacked else J.reshape(())


def _backward(J: Tensor, leaves: Mapping[str, Tensor], sites: _Sites) -> None:
    """Start autograd at J, and where the graph was cut with the gradient that is recorded there."""
    noted = leaves if sites.inspect else {}
    hooks: list[Any] = []
    for name, leaf in noted.items():
        hooks.append(leaf.register_post_accumulate_grad_hook(lambda _, name=name: sites.order.append(name)))  # type: ignore[no-untyped-call]  # torch annotates no types
    cut = [site for site in sites.all.values() if site.is_cut]
    total = J.sum() if J.ndim else J  # a stack has one for each step
    torch.autograd.backward([total, *(_Start.apply(site.came_in, site.recorded_gradient) for site in cut)])  # type: ignore[no-untyped-call]  # torch annotates no signature
    for hook in hooks:
        hook.remove()


def _described(returned: object) -> str:
    if not isinstance(returned, Tensor):
        return kind_of(returned)
    return "a complex number" if returned.is_complex() else f"a tensor of shape {tuple(returned.shape)}"


class _Site:
    """One call of tap: what came in, what is recorded in its place, and the gradients that arrived."""

    def __init__(self, name: str, came_in: Tensor, records: Arrays, order: list[str], stacked: bool) -> None:
        self.name, self.came_in, self.order, self.stacked = name, came_in, order, stacked
        self.value = view_of_tensor(came_in) if stacked else to_array(came_in)
        self.record = self._record(records.get(name))
        self.recorded_gradient = self._record(records.get(gradient(name)))
        self.gradient: np.ndarray | None = None  # of the tap's result
        self.observer: Observer | None = None
        self.retained: Tensor | None = None  # autograd leaves the gradient of the tap's result in it
        self.node: Any = None  # the tap in autograd's graph
        self.is_watched = False  # whether autograd leaves in what came in the gradient of that over all its uses

    def _record(self, array: np.ndarray | None) -> Tensor | None:
        if array is None or array.shape != tuple(self.came_in.shape):
            return None
        return (view_of_array(array) if self.stacked else to_tensor(array)).to(self.came_in.dtype)

    def tell(self, observer: Observer) -> None:
        """Tell what came in and what is recorded in its place, now and when a gradient arrives."""
        self.observer = observer
        observer.computed(self.name, self.came_in)
        for name, record in ((self.name, self.record), (gradient(self.name), self.recorded_gradient)):
            if record is not None:
                observer.given(name, record)

    @property
    def is_cut(self) -> bool:
        """Whether the graph ends here, so that autograd starts at what came in with the recorded gradient."""
        return self.retained is not None and self.retained is not self.came_in

    def pass_on(self, came_in: Tensor) -> Tensor:
        """Go on with the record, if there is one."""
        return came_in.clone() if self.record is None else self.record

    def cut(self) -> Tensor:
        """Go on with a new leaf; it is copied for a reference that may change it in place."""
        self.retained = (self.came_in.detach() if self.record is None else self.record).requires_grad_()
        return self.retained if self.stacked else self.retained.clone()

    def leave(self) -> Tensor:
        """Go on with what came in."""
        self.came_in.retain_grad()
        self.retained = self.came_in
        return self.came_in

    def watch(self) -> Tensor:
        """Go on with a copy of what came in, for a reference that may change it in place."""
        result = self.came_in.clone()
        result.register_hook(self.keep)  # type: ignore[no-untyped-call]  # torch annotates no return type
        self.node = result.grad_fn
        return result

    def keep(self, arrived: Tensor) -> None:
        """Keep the gradient of the tap's result."""
        self.order.append(self.name)
        self.gradient = to_array(arrived)
        if self.observer is not None:
            self.observer.computed(gradient(self.name), arrived)


class _Tap(torch.autograd.Function):
    """Goes on with the record, forward and backward, and keeps what came in."""

    @staticmethod
    def forward(ctx: Any, came_in: Tensor, site: _Site) -> Tensor:
        ctx.site = site
        return site.pass_on(came_in)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor, None]:
        site: _Site = ctx.site
        recorded = site.recorded_gradient
        site.keep(cotangents[0])
        return cotangents[0] if recorded is None else recorded, None


class _Start(torch.autograd.Function):
    """A scalar from which autograd starts at a tensor with a gradient; torch, handed that gradient, imports sympy."""

    @staticmethod
    def forward(ctx: Any, came_in: Tensor, gradient: Tensor) -> Tensor:
        ctx.gradient = gradient
        return came_in.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor, None]:
        return ctx.gradient, None


class _Sites:
    """The taps of one run in call order, and the order in which gradients were found.

    `records` stand in the taps' places; `inspect`: the taps are checked, `stacked`: the runs are.
    """

    def __init__(
        self,
        records: Arrays,
        wanted: Set[str] = frozenset(),
        *,
        taken: Set[str],
        uncut: Set[str],
        inspect: bool = False,
        stacked: bool = False,
        observer: Observer | None = None,
    ) -> None:
        self.records, self.wanted, self.taken, self.uncut = records, wanted, taken, uncut
        self.inspect, self.stacked, self.observer = inspect, stacked, observer
        self.all: dict[str, _Site] = {}
        self.order: list[str] = []
        self.absent_signs: set[tuple[str, str]] = set()

    def tap(self, name: str, tensor: Tensor) -> Tensor:
        """The handler of handgrad.torchref.tap: a new tensor in place of the one that came in, which is kept."""
        if not isinstance(name, str) or not name or name in self.taken:
            why = "is the name of something else" if name in self.taken else "is no name"
            raise InputError(f"tap({name!r}, ...): {name!r} {why}; give each intermediate a name of its own, like 'Z1'")
        if not isinstance(tensor, Tensor):
            raise InputError(f"tap({name!r}, ...) is handed {kind_of(tensor)}; hand it the tensor to be compared")
        numbered, times = name, 1
        while numbered in self.all:
            times += 1
            numbered = f"{name}[{times}]"
        is_data = not tensor.requires_grad and tensor.is_floating_point() and torch.is_grad_enabled()
        if is_data and numbered in self.wanted:
            tensor = tensor.detach().requires_grad_()
        site = self.all[numbered] = _Site(numbered, tensor, self.records, self.order, self.stacked)
        if self.observer is not None:
            site.tell(self.observer)
        if not tensor.requires_grad:
            return site.pass_on(tensor)
        if not self.inspect and site.recorded_gradient is not None and numbered not in self.uncut:
            return site.cut()
        if self.stacked and site.record is None:
            return site.leave()
        if self.inspect:
            tensor.retain_grad()
            site.is_watched = True
        if site.record is None and site.recorded_gradient is None:
            return site.watch()
        result: Tensor = _Tap.apply(tensor, site)  # type: ignore[no-untyped-call]  # torch annotates no signature
        site.node = result.grad_fn
        return result

    def check(self, differentiated: Set[str]) -> None:
        """Raise InputError for a tap named like another's gradient, or whose result the reference does not go on with.

        What the reference itself differentiates through a tap, to go on with that, reads the tensor handed to it.
        """
        for name, site in self.all.items():
            if is_gradient(name, self.all):
                of = of_gradient(name)
                raise InputError(f"tap({name!r}, ...): {name!r} is the gradient of tap {of!r}; give it another name")
            remedy = f"go on with its result everywhere, as in {name} = tap({name!r}, ...)"
            of_came_in = site.came_in.grad if site.is_watched else None
            if of_came_in is None:
                continue
            if site.gradient is None:
                raise InputError(f"the result of tap {name!r} is not used but the tensor handed to it is; {remedy}")
            passed_on = site.gradient if site.recorded_gradient is None else view_of_tensor(site.recorded_gradient)
            if not same(passed_on, view_of_tensor(of_came_in)):
                if name in differentiated:
                    raise InputError(
                        f"the reference differentiates through tap {name!r} and goes on with what it finds, which a "
                        "tap cannot follow; tap only what comes after its own autograd.grad"
                    )
                raise InputError(f"tap {name!r} is bypassed, its tensor is used beside its result; {remedy}")

    def gradients(self, leaves: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
        """The gradients of taps and leaves that J depends on, by the name of the tap or leaf."""
        kept = {name: site.gradient for name, site in self.all.items() if site.gradient is not None}
        retained = {name: site.retained for name, site in self.all.items() if site.retained is not None}
        copied = view_of_tensor if self.stacked else to_array
        kept |= {name: copied(tensor.grad) for name, tensor in retained.items() if tensor.grad is not None}
        kept |= {name: view_of_tensor(leaf.grad) for name, leaf in leaves.items() if leaf.grad is not None}
        for leaf in leaves.values():
            leaf.grad = None  # what was found is ours alone, whoever keeps the leaf
        return kept

    def tell(self, observer: Observer, J: Tensor, leaves: Mapping[str, Tensor]) -> None:
        """Tell of J, and of the gradients that autograd has left at leaves and where the graph was cut."""
        observer.computed("J", J)
        retained = {name: site.retained for name, site in self.all.items() if site.retained is not None}
        for name, tensor in {**retained, **leaves}.items():
            if tensor.grad is not None:
                observer.computed(gradient(name), tensor.grad)

    @property
    def ends(self) -> dict[str, Tensor]:
        """The leaves that the graph was cut at."""
        return {name: site.retained for name, site in self.all.items() if site.is_cut and site.retained is not None}

    def unreached(self) -> set[str]:
        """Where the graph was cut although J does not depend on what comes after: a start there leads astray."""
        return {name for name, leaf in self.ends.items() if leaf.grad is None}

    def let_go(self) -> None:
        """Break the circle of hook, site and tensor, which Python's collector cannot see and would keep for ever."""
        for site in self.all.values():
            del site.came_in, site.record, site.retained, site.node

    def reads(self, name: str, tensor: Tensor, leaves: Mapping[str, Tensor]) -> frozenset[str]:
        """The taps and leaves that a tensor was computed from, walking back through autograd's graph to the nearest.

        The signs that the inputs of ReLUs on the way do not have are kept under its name.
        """
        taps = {id(site.node): name for name, site in self.all.items() if site.node is not None}
        names = {id(leaf): name for name, leaf in leaves.items()}
        read = {names[id(tensor)]} if id(tensor) in names else set()
        pending: list[Any] = [tensor.grad_fn]
        seen: dict[int, Any] = {}  # keeps the nodes alive, so that no identity is used twice
        while pending:
            node = pending.pop()
            if node is None or id(node) in seen:
                continue
            seen[id(node)] = node
            if id(node) in taps:
                read.add(taps[id(node)])
                continue
            before = node.next_functions
            variable = None if before else getattr(node, "variable", None)
            if id(variable) in names:
                read.add(names[id(variable)])
            pending += [parent for parent, _ in before]
            if sign := absent_sign(node):
                self.absent_signs.add((name, sign))
        return frozenset(read)
