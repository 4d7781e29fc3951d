"""An optimiser's step as a recurrence: one recorded step of which its settings, its state and t are inputs.

The step is recorded with settings that note what is computed from them, each moved a little so that no two numbers are
equal: a number in the graph is then known by its formula, as lr / (1 - beta1^t). Every tensor is one of entries alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from handgrad.compare.errors import InputError
from handgrad.compare.names import gradient, updated
from handgrad.compare.oracle.graph import Graph, Node, Recorder
from handgrad.compare.oracle.kernels import name_of
from handgrad.compare.oracle.optimizer import Follower, Optimizer
from handgrad.compare.thresholds import MOVE_SETTINGS

WARM = 12  # steps before the one that is recorded: t is then a number that no formula has
WEIGHTS, GRADIENT, COUNT, DECAY, DIGITS = "w", gradient("w"), "t", "weight_decay", 12
AFTER = updated(WEIGHTS)
POSITION, TOTAL, NORM, NORM_OF_ALL = "position", "parameters", "norm of the gradient", "norm of all gradients"
OF_THE_RUN = (POSITION, TOTAL, NORM, NORM_OF_ALL)  # which no optimiser of torch takes


def before(state: str) -> str:
    """The name of a state before the step."""
    return f"{state} before"


@dataclass(frozen=True)
class Recurrence:
    """A step of one parameter; `early` has the steps, counted from 0, that torch takes in another way at first.

    `graph` has the weights after the step and every state as outputs; weights, gradient, states before and settings
    are inputs. `starts` are the states that are there before the first step, `settings` those of the optimiser, and
    `decays` the weight decays of other parameters.
    """

    graph: Graph
    early: Mapping[int, Graph]
    settings: Mapping[str, float]
    starts: Mapping[str, float]
    decays: tuple[float, ...]

    @property
    def states(self) -> tuple[str, ...]:
        """What is kept from step to step."""
        return tuple(name for name in self.graph.outputs if name != AFTER)

    @property
    def form(self) -> tuple[str, ...]:
        """What two recurrences have in common whose formula is the same."""
        return tuple(node.kind or node.name for node in self.graph.nodes)


def recurrence(optimizer: Optimizer, params: Mapping[str, np.ndarray], name: str) -> Recurrence | None:
    """The recurrence of one parameter; None where a step cannot be recorded so."""
    small = {n: np.full([min(size, 2) for size in array.shape], 0.5) for n, array in params.items()}
    try:
        return _recorded(Follower(optimizer, small), small, name)
    except (InputError, ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
        return None


def _recorded(follower: Follower, params: Mapping[str, np.ndarray], name: str) -> Recurrence:
    leaf, drawn = follower.leaves[name], np.random.default_rng(1)
    (group,) = (group for group in follower.optimizer.param_groups if any(each is leaf for each in group["params"]))
    settings = dict(_settings(group))
    table: list[_Number] = []
    moved = {
        key: _Number(value * (1 - MOVE_SETTINGS * (0.2 + 0.61803 * i % 0.8)), (key,), table)
        for i, (key, value) in enumerate(settings.items(), start=1)
    }
    _replace(group, moved)
    starts = {key: float(tensor.flatten()[0]) for key, tensor in _states(follower, leaf).items()}
    lifts = []
    for _ in range(WARM + 1):
        along = {gradient(name): drawn.standard_normal(params[name].shape)}
        table[:] = moved.values()
        recorder = _Recorder("textbook")
        _record(follower, recorder, name, params, along)
        lifts.append(_Lift(recorder, [*table], settings))
    *early, last = lifts
    graphs = {step: lift.graph() for step, lift in enumerate(early) if lift.kinds != last.kinds}
    decays = {float(each.get(DECAY, 0.0)) for each in follower.optimizer.param_groups if each is not group} - {0.0}
    return Recurrence(last.graph(), graphs, settings, starts, tuple(decays))


def _settings(group: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The numbers of an optimiser's formula that are not 0, by name."""
    for key, value in group.items():
        values = (
            {f"{key.removesuffix('s')}{i}": each for i, each in enumerate(value, 1)} if _are(value) else {key: value}
        )
        yield from ((name, float(each)) for name, each in values.items() if _is_number(each) and each)


def _are(value: Any) -> bool:
    return isinstance(value, tuple) and all(map(_is_number, value))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _replace(group: dict[str, Any], numbers: Mapping[str, Any]) -> None:
    """Put numbers in the places of settings, and choose the implementation that takes one tensor at a time."""
    for key, value in group.items():
        if _are(value):
            names = [f"{key.removesuffix('s')}{i}" for i in range(1, len(value) + 1)]
            group[key] = tuple(numbers.get(name, each) for name, each in zip(names, value, strict=True))
        elif key in ("foreach", "fused"):
            group[key] = False
        else:
            group[key] = numbers.get(key, value)


def _states(follower: Follower, leaf: Tensor) -> dict[str, Tensor]:
    kept = follower.optimizer.state.get(leaf, {})
    return {
        COUNT if key == "step" else key: tensor
        for key, tensor in kept.items()
        if isinstance(tensor, Tensor) and tensor.is_floating_point() and tensor.shape in ((), leaf.shape)
    }


def _record(
    follower: Follower,
    recorder: _Recorder,
    name: str,
    params: Mapping[str, np.ndarray],
    along: Mapping[str, np.ndarray],
) -> None:
    follower.hand(params, along)
    leaf = follower.leaves[name]
    assert leaf.grad is not None
    given = {WEIGHTS: leaf, GRADIENT: leaf.grad}
    given |= {before(key): tensor for key, tensor in _states(follower, leaf).items()}
    for key, tensor in given.items():
        recorder.given(key, tensor)
    with recorder:
        follower.go()
    for key, tensor in {AFTER: leaf, **_states(follower, leaf)}.items():
        recorder.computed(key, tensor)


@dataclass(eq=False)
class _Recorder(Recorder):
    """It notes as well which step gave a number that is computed with outside of torch."""

    items: dict[float, Node] = field(default_factory=dict)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do and note an operation."""
        result = super().__torch_dispatch__(func, types, args, kwargs)
        if name_of(func) == "_local_scalar_dense":
            self.items[float(result)] = self._node(args[0])
        return result


class _Number(float):
    """A number that keeps how it was computed: a name, or an operation and what that took."""

    how: tuple[Any, ...]
    table: list[_Number]

    def __new__(cls, value: float, how: tuple[Any, ...], table: list[_Number]) -> _Number:
        """Note it in a table of all."""
        made = super().__new__(cls, value)
        made.how, made.table = how, table
        table.append(made)
        return made

    def _with(self, kind: str, value: Any, one: Any, other: Any) -> Any:
        return value if value is NotImplemented else _Number(value, (kind, one, other), self.table)

    def __add__(self, other: Any) -> Any:
        return self._with("add", super().__add__(other), self, other)

    def __radd__(self, other: Any) -> Any:
        return self._with("add", super().__radd__(other), other, self)

    def __sub__(self, other: Any) -> Any:
        return self._with("sub", super().__sub__(other), self, other)

    def __rsub__(self, other: Any) -> Any:
        return self._with("sub", super().__rsub__(other), other, self)

    def __mul__(self, other: Any) -> Any:
        return self._with("mul", super().__mul__(other), self, other)

    def __rmul__(self, other: Any) -> Any:
        return self._with("mul", super().__rmul__(other), other, self)

    def __truediv__(self, other: Any) -> Any:
        return self._with("div", super().__truediv__(other), self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return self._with("div", super().__rtruediv__(other), other, self)

    def __pow__(self, other: Any, _: Any = None) -> Any:
        return self._with("pow", super().__pow__(other), self, other)

    def __rpow__(self, other: Any, _: Any = None) -> Any:
        return self._with("pow", super().__rpow__(other), other, self)

    def __neg__(self) -> Any:
        return _Number(-float(self), ("neg", self), self.table)


class _Lift:
    """A recorded step with its numbers as steps of their own, signs taken out of products, in sums of few entries."""

    def __init__(self, recorder: _Recorder, table: list[_Number], settings: Mapping[str, float]) -> None:
        """Nothing is lifted yet."""
        self.recorder, self.settings = recorder, settings
        self.formulas: dict[str, Any] = {}
        for number in table:
            own = {float(number): number, -float(number): ("neg", number), 1 - float(number): ("sub", 1, number)}
            own |= {float(number) ** 0.5: ("pow", number, 0.5)} if number > 0 else {}
            for value, how in own.items():
                self.formulas.setdefault(_digits(value), how)
        self.nodes: list[Node] = []
        self.known: dict[Any, Node] = {}
        self.lifted: dict[Node, tuple[Node, float]] = {}

    @property
    def kinds(self) -> list[str]:
        """What torch does, in order."""
        return [node.kind for node in self.recorder.nodes if node.kind]

    def graph(self) -> Graph:
        """All of it, as a graph."""
        steps = self.recorder.graph
        needed = {node for name in steps.outputs for node in steps.segment(name)}
        for name, node in steps.inputs.items():
            self.lifted[node] = self._input(name, node.value), 1.0
        for name, value in {**self.settings, **dict.fromkeys(OF_THE_RUN, 1.0)}.items():
            self._input(name, torch.tensor(value, dtype=torch.float64))
        for node in steps.nodes:
            if node in needed and node not in self.lifted:
                self.lifted[node] = self._of(node)
        outputs = {name: self._plain(*self.lifted[node]) for name, node in steps.outputs.items()}
        inputs = {node.name: node for node in self.nodes if node.name}
        constants = frozenset(node for node in self.nodes if node.operation is None and not node.name)
        used = dict.fromkeys(outputs.values())
        for node in reversed(self.nodes):
            used |= dict.fromkeys(node.parents) if node in used else {}
        kept = tuple(node for node in self.nodes if node in used or node.name)
        return Graph(kept, outputs, inputs, {}, constants)

    def _input(self, name: str, value: Tensor) -> Node:
        if name not in self.known:
            self.known[name] = Node(None, (), {}, value.double() if not value.ndim else value.flatten(), name)
            self.nodes.append(self.known[name])
        return self.known[name]

    def _step(self, operation: Callable[..., Any], *args: Any) -> Node:
        """A step, once."""
        key = (operation, *(id(each) if isinstance(each, Node) else each for each in args))
        if key not in self.known:
            value = operation(*(each.value if isinstance(each, Node) else each for each in args))
            parents = tuple(dict.fromkeys(each for each in args if isinstance(each, Node)))
            self.known[key] = Node(operation, args, {}, value, parents=parents)
            self.nodes.append(self.known[key])
        return self.known[key]

    def _plain(self, node: Any, sign: float) -> Any:
        return node if sign > 0 else self._step(torch.neg, node) if isinstance(node, Node) else -node

    def _of(self, node: Node) -> tuple[Node, float]:
        if node.operation is None:
            number, sign = self._number(float(node.value.flatten()[0]))
            return self._constant(number), sign
        args = [self._argument(each) for each in node.args]
        alpha = self._argument(node.kwargs.get("alpha", 1))
        if node.kind in ("mul", "div") and len(args) == 2:
            (one, a), (other, b) = args
            return (self._product(one, other) if node.kind == "mul" else self._quotient(one, other)), a * b
        if node.kind in ("add", "sub") and len(args) == 2:
            (one, a), (other, b) = args
            b *= alpha[1] * (-1 if node.kind == "sub" else 1)
            return self._sum(self._plain(one, a), self._product(other, alpha[0]), b), 1.0
        if node.kind == "neg":
            return self._constant(args[0][0]), -args[0][1]
        plain = [self._plain(*each) if isinstance(each, tuple) else each for each in args]
        operation = getattr(torch, node.kind, node.operation)
        return self._step(operation, *plain), 1.0

    def _argument(self, value: Any) -> Any:
        """A step or a number with its sign."""
        if isinstance(value, Node):
            return self.lifted[value]
        return self._number(float(value)) if _is_number(value) else value

    def _constant(self, number: Any) -> Node:
        if isinstance(number, Node):
            return number
        key = ("number", number)
        if key not in self.known:
            self.known[key] = Node(None, (), {}, torch.tensor(number, dtype=torch.float64))
            self.nodes.append(self.known[key])
        return self.known[key]

    def _sum(self, one: Any, other: Any, sign: float) -> Node:
        if not isinstance(one, Node):
            one, other, sign = (other, one, 1.0) if sign > 0 else (self._step(torch.neg, other), one, 1.0)
        return self._step(torch.add if sign > 0 else torch.sub, one, other)

    def _product(self, one: Any, other: Any) -> Any:
        """One of them may be a number; g c g is c g^2."""
        if not isinstance(one, Node):
            one, other = other, one
        if not isinstance(one, Node):
            return one * other
        if other == 1.0:
            return one
        if isinstance(other, Node) and one.kind == "mul" and one.args[0] is other:
            return self._step(torch.mul, self._step(torch.mul, other, other), one.args[1])
        return self._step(torch.mul, one, other)

    def _quotient(self, one: Any, other: Any) -> Node:
        if isinstance(one, Node):
            return self._step(torch.div, one, other)
        inverse = self._step(torch.reciprocal, other)
        return inverse if one == 1.0 else self._step(torch.mul, inverse, one)

    def _number(self, value: float) -> tuple[Any, float]:
        """A number as the formula that gave it, with its sign."""
        how = self.formulas.get(_digits(value)) if abs(value) not in (0.0, 1.0, 2.0) else None
        if how is not None:
            return self._formula(how)
        return (self._item(value), 1.0) if value >= 0 else (-value, -1.0)

    def _item(self, value: float) -> Any:
        """A number that a step gave, one more, one less or twice that; or as it is."""
        for item, node in self.recorder.items.items():
            if node not in self.lifted or item in (0.0, 1.0, 2.0):  # of these nothing can be told
                continue
            own, _ = self.lifted[node]
            near: dict[float, tuple[Callable[..., Any], float]] = {
                item + 1: (torch.add, 1.0),
                2 * item: (torch.mul, 2.0),
                item - 1: (torch.sub, 1.0),
                1 - item: (torch.rsub, 1.0),
            }
            if value == item:
                return own
            if value in near:
                operation, number = near[value]
                return self._step(operation, own, number)
        return value

    def _formula(self, how: Any) -> tuple[Any, float]:
        how = how.how if isinstance(how, _Number) else how
        kind, args = how[0], how[1:]
        if not args:
            return self.known[kind], 1.0
        taken = [self._formula(each) if isinstance(each, _Number) else (self._item(float(each)), 1.0) for each in args]
        (one, a), (other, b) = taken[0], taken[-1]
        if kind == "neg":
            return one, -a
        if kind == "mul":
            return self._product(one, other), a * b
        if kind == "div":
            return self._quotient(one, other), a * b
        one, other = self._plain(one, a), self._plain(other, b)
        if kind == "pow":
            return (self._step(torch.sqrt, one) if other == 0.5 else self._step(torch.pow, one, other)), 1.0
        if kind == "add":
            return self._sum(one, other, 1.0), 1.0
        if isinstance(one, Node):
            return self._step(torch.sub, one, other), 1.0
        twice = other.kind == "rsub" and other.args[1] == 1.0 == one  # 1 - (1 - beta)
        return (other.args[0] if twice else self._step(torch.rsub, other, one)), 1.0


def _digits(value: float) -> str:
    return f"{value:.{DIGITS}e}"
