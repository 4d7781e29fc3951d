"""The recorded graph: every primitive step of a reference and of its backward pass, on the derivation's own tensors.

A dispatch mode around one replay notes each of torch's operations with what it took and gave. Compound operations go
on in a textbook's form, or in torch's own simpler ones, where the tables know one; in the stable form those that would
overflow in a textbook's are torch's. Identity is where a tensor lies: its
storage, offset, shape and strides, so views that change nothing are the tensor itself. A write in place is a new
tensor, and every view of the memory goes on with what it shows then. What draws random numbers, and what no operation
made, is a constant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor

from handgrad.compare.oracle.guarded import GUARDED, within_shapes
from handgrad.compare.oracle.kernels import decomposition, name_of, out_of_place
from handgrad.compare.oracle.lines import Lines, Place
from handgrad.compare.oracle.normalisation import told_to
from handgrad.compare.oracle.stepwise import Mode
from handgrad.compare.oracle.textbook import STABLE, textbook

Form = Literal["textbook", "stable"]
FORMS: tuple[Form, ...] = ("textbook", "stable")
FILLING = {
    "full_like", "zeros_like", "ones_like", "new_zeros", "new_full", "new_ones", "empty_like", "new_empty",
    "new_empty_strided",
}  # fmt: skip
Key = tuple[Any, ...]
Values = Callable[[Any], Any]  # what a step gives, and every number that is none
UNCHANGED = {"alias", "clone", "contiguous", "detach", "lift_fresh", "lift_fresh_copy"}  # the result is the argument


@dataclass(eq=False, slots=True)
class Node:
    """One step: an operation of torch's, None for a tensor that no step made, with what it took and gave.

    `args` and `kwargs` hold nodes in place of tensors. `name` is that of a record, a parameter or an input, `place`
    the line of the reference that does the step.
    """

    operation: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    value: Any
    name: str = ""
    parents: tuple[Node, ...] = ()
    place: Place | None = None

    @property
    def kind(self) -> str:
        """The name of the operation, as torch's dispatcher has it; nothing for a tensor that no step made."""
        return "" if self.operation is None else _kind(self.operation)

    def evaluated(self, values: Mapping[Node, Any]) -> Any:
        """What the step gives where some of what it takes has other values."""
        return self.done(lambda each: values.get(each, each.value) if isinstance(each, Node) else each)

    def done(self, of: Values, instead: Mapping[int | str, Callable[[Values], Any]] = MappingProxyType({})) -> Any:
        """The step done with what `of` makes of each node and number, and with something else in some places."""
        args = [instead[i](of) if i in instead else _each(of, each) for i, each in enumerate(self.args)]
        if not self.kwargs:
            return self.operation(*args)
        kwargs = {name: instead[name](of) if name in instead else _each(of, each) for name, each in self.kwargs.items()}
        return self.operation(*args, **kwargs)


def _kind(operation: Any) -> str:
    return name_of(operation) if hasattr(operation, "_schema") else str(operation.__name__)


def _each(of: Values, value: Any) -> Any:
    return [_each(of, each) for each in value] if isinstance(value, (list, tuple)) else of(value)


@dataclass(frozen=True)
class Compound:
    """An operation that was done by simpler steps: its name, and what it took."""

    kind: str
    args: tuple[Any, ...]


@dataclass(frozen=True)
class Graph:
    """All steps in order, and what they compute: the local reference of every tap, J and gradient, by its name.

    `inputs` are the records, parameters and inputs by name, `compounds` what steps are the last of;
    `constants` depend on no input: numbers, masks that were drawn, counts. `variables` are names in the user's code.
    """

    nodes: tuple[Node, ...]
    outputs: Mapping[str, Node]
    inputs: Mapping[str, Node]
    compounds: Mapping[Node, Compound]
    constants: frozenset[Node]
    variables: Mapping[Node, str] = field(default_factory=dict)

    def segment(self, name: str) -> tuple[Node, ...]:
        """The steps that a local reference is computed by, in order, with what they start from."""
        pending = [self.outputs[name]]
        seen = set(pending)
        while pending:
            for parent in pending.pop().parents:
                if parent not in seen:
                    seen.add(parent)
                    pending.append(parent)
        return tuple(node for node in self.nodes if node in seen)

    def beside(self, tensors: Mapping[str, Tensor]) -> Graph:
        """The same with more inputs, which no step takes."""
        more = {name: Node(None, (), {}, t, name) for name, t in tensors.items() if name not in self.inputs}
        return replace(self, nodes=(*more.values(), *self.nodes), inputs={**self.inputs, **more})

    def valued(self, inputs: Mapping[str, Tensor]) -> dict[Node, Any]:
        """What every step gives where some inputs are others: what the graph says that replay does there."""
        values: dict[Node, Any] = {self.inputs[name]: tensor for name, tensor in inputs.items() if name in self.inputs}
        for node in self.nodes:
            if node not in values:
                values[node] = node.value if node.operation is None else node.evaluated(values)
        return values


def reached(steps: Iterable[Node], start: Iterable[Node]) -> tuple[Node, ...]:
    """Of steps in order, those that are among some or depend on one of these."""
    touched, found = {*start}, list[Node]()
    for node in steps:
        if node in touched or not touched.isdisjoint(node.parents):
            touched.add(node)
            found.append(node)
    return tuple(found)


def getitem(values: Sequence[Any], index: int) -> Any:
    """One of several results."""
    return values[index]


@dataclass(eq=False)
class Recorder(Mode):
    """While entered, notes what torch computes; `given` and `computed` tell it which tensors have names."""

    form: Form
    nodes: list[Node] = field(default_factory=list)
    outputs: dict[str, Node] = field(default_factory=dict)
    inputs: dict[str, Node] = field(default_factory=dict)
    compounds: dict[Node, Compound] = field(default_factory=dict)
    _known: dict[Key, Node] = field(default_factory=dict)
    _kept: list[Tensor] = field(default_factory=list)  # so that no memory is used twice
    _constants: set[Node] = field(default_factory=set)
    _lines: Lines = field(default_factory=Lines)

    def __post_init__(self) -> None:
        """Set up torch's part of it."""
        super().__init__()

    @property
    def graph(self) -> Graph:
        """What has been noted."""
        return Graph(
            tuple(self.nodes), dict(self.outputs), dict(self.inputs), dict(self.compounds), frozenset(self._constants)
        )

    def given(self, name: str, tensor: Tensor) -> None:
        """A record, a parameter or an input, before it is used."""
        self.inputs[name] = self._new(Node(None, (), {}, tensor.detach(), name))
        self._bind(tensor, self.inputs[name])

    def computed(self, name: str, tensor: Tensor) -> None:
        """A local reference, when it is known."""
        self.outputs[name] = self._node(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do an operation, in simpler ones where it is compound, and note it."""
        kwargs = kwargs or {}
        is_stable = self.form == "stable" and name_of(func) in STABLE
        for form in (None if is_stable else textbook(func), decomposition(func)):
            if form is None:
                continue
            with self, told_to(self._tell):
                result = form(*args, **kwargs)
            if isinstance(result, Tensor):
                self.compounds[self._node(result)] = Compound(name_of(func), self._referred(args))
            if result is not NotImplemented:
                return result
        written = _written(func, args, kwargs)
        if written:
            return self._write(func, args, kwargs, written)
        result = func(*args, **kwargs)
        if _changes_nothing(func, args, result):
            self._bind(result, self._node(args[0]))
        elif torch.Tag.nondeterministic_seeded not in func.tags:
            self._note(func, args, kwargs, result)
        return result

    def _tell(self, kind: str, tensor: Tensor, of: Tensor) -> None:
        """Keep what a step inside a compound operation is called."""
        self.compounds[self._node(tensor)] = Compound(kind, (self._node(of),))

    def _note(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        if name_of(func) == "mul" and isinstance(args[1], Tensor):
            for one, other in (args, args[::-1]):
                if self._is_one(one) and other.shape == result.shape and other.dtype == result.dtype:
                    self._bind(result, self._node(other))
                    return
        several = isinstance(result, (list, tuple))
        if not (several or isinstance(result, Tensor)):
            return
        if isinstance(result, Tensor) and _key(result) in self._known and _views(func):
            return  # a view that changes nothing
        node = self._new(self._step(func, args, kwargs, result))
        if not several:
            self._bind(result, node)
            return
        for index, each in enumerate(result):
            if isinstance(each, Tensor):
                self._bind(each, self._item(node, index))

    def _item(self, node: Node, index: int) -> Node:
        return self._new(Node(getitem, (node, index), {}, node.value[index], parents=(node,)))

    def _is_one(self, tensor: Tensor) -> bool:
        """Whether a tensor depends on nothing and is 1, as the gradient of J is."""
        return self._node(tensor) in self._constants and bool((tensor == 1).all())

    def _step(self, func: Any, args: Any, kwargs: Any, result: Any) -> Node:
        taken = args
        args, kwargs = self._referred(args), {name: self._referred(each) for name, each in kwargs.items()}
        parents = dict.fromkeys([*_nodes(args), *_nodes(tuple(kwargs.values()))])
        if not parents or name_of(func) in FILLING:  # numbers alone, in the default dtype of the moment
            return Node(None, (), {}, _mapped(result, Tensor.detach))
        done = GUARDED.get(func, func)
        if done is func and name_of(func).endswith("_backward"):
            done = within_shapes(func, name_of(func), taken)
        place = self._lines.place(name_of(func))
        return Node(done, args, kwargs, _mapped(result, Tensor.detach), parents=tuple(parents), place=place)

    def _write(self, func: Any, args: Any, kwargs: Any, written: Sequence[Tensor]) -> Any:
        """Do an operation in place: what it writes to is a new tensor, and so is every view of that memory."""
        before = [(tensor, *self._views_of(tensor)) for tensor in written]
        for _, _, views in before:
            for _, node in views:
                node.value = _copied(node.value)
        anew = out_of_place(func) if len(written) == 1 and written[0] is args[0] else None
        if anew is not None and (textbook(anew) or decomposition(anew)):
            step = self._node(self.__torch_dispatch__(anew, (), args, kwargs))
            result = func(*args, **kwargs)
        else:
            step = self._new(self._step(anew or _functional(func), args, kwargs, None))
            result = func(*args, **kwargs)
            values = [tensor.detach().clone() for tensor in written]
            step.value = values[0] if len(values) == 1 else values
        if torch.Tag.nondeterministic_seeded in func.tags:
            step.operation, step.args, step.kwargs, step.parents = None, (), {}, ()
            self._constants.add(step)
        for index, (tensor, own, views) in enumerate(before):
            new = step if len(written) == 1 else self._item(step, index)
            self._bind(tensor, new)
            for key, node in views:
                if key != own:
                    self._known[key] = self._shown(node, key, new, own)
        return result

    def _views_of(self, tensor: Tensor) -> tuple[Key, list[tuple[Key, Node]]]:
        own = _key(tensor)
        self._node(tensor)
        return own, [(key, node) for key, node in self._known.items() if key[:2] == own[:2]]

    def _shown(self, node: Node, key: Key, new: Node, own: Key) -> Node:
        """What a view shows after another view of the same memory was written to."""
        look = _Look(key[2:5], own[2:5])
        value = look(node.value, new.value)
        return (
            node
            if torch.equal(value, node.value)
            else self._new(Node(look, (node, new), {}, value, parents=(node, new)))
        )

    def _referred(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self._node(value)
        if isinstance(value, (list, tuple)):
            return type(value)(self._referred(each) for each in value)
        return value

    def _node(self, tensor: Tensor) -> Node:
        key = _key(tensor)
        if key not in self._known:
            self._bind(tensor, self._new(Node(None, (), {}, tensor.detach())))
        return self._known[key]

    def _bind(self, tensor: Tensor, node: Node) -> None:
        self._known[_key(tensor)] = node
        self._kept.append(tensor)

    def _new(self, node: Node) -> Node:
        self.nodes.append(node)
        if not node.name and all(parent in self._constants for parent in node.parents):
            self._constants.add(node)
        return node


@dataclass(frozen=True)
class _Look:
    """A view of memory after another view of it was written to: both by offset, shape and strides."""

    seen: tuple[int, tuple[int, ...], tuple[int, ...]]
    written: tuple[int, tuple[int, ...], tuple[int, ...]]
    __name__ = "written"

    def __call__(self, before: Tensor, new: Tensor) -> Tensor:
        """Lay what was seen into empty memory, the new over it, and look again."""
        size = max(map(_end, (self.seen, self.written)))
        memory = before.new_zeros(size)
        for (offset, shape, strides), value in ((self.seen, before), (self.written, new)):
            memory.as_strided(shape, strides, offset).copy_(value)
        offset, shape, strides = self.seen
        return memory.as_strided(shape, strides, offset).clone()


def _end(view: tuple[int, tuple[int, ...], tuple[int, ...]]) -> int:
    offset, shape, strides = view
    return offset + 1 + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True)) if 0 not in shape else 0


def _key(tensor: Tensor) -> Key:
    """Where a tensor lies."""
    if not tensor.numel() or tensor.layout != torch.strided:
        return (id(tensor),)
    memory = tensor.untyped_storage().data_ptr()
    return (memory, tensor.dtype, tensor.storage_offset(), tuple(tensor.shape), tensor.stride())


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    return [_mapped(each, change) for each in value] if isinstance(value, (list, tuple)) else value


def _copied(value: Any) -> Any:
    return _mapped(value, torch.clone)


def _changes_nothing(func: Any, args: Any, result: Any) -> bool:
    """Whether an operation gives what it took: a copy, or a multiple of 1."""
    if name_of(func) in UNCHANGED or (args and result is args[0]):
        return True
    by_one = name_of(func) in ("mul", "pow") and not isinstance(args[1], Tensor) and args[1] == 1
    return by_one and isinstance(args[0], Tensor) and result.dtype == args[0].dtype


def _views(func: Any) -> bool:
    """Whether an operation gives a view of what it takes."""
    return any(each.alias_info is not None for each in func._schema.arguments)


def _written(func: Any, args: Any, kwargs: Any) -> list[Tensor]:
    """The tensors that an operation writes to."""
    tensors: list[Tensor] = []
    for position, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[position] if position < len(args) else kwargs.get(argument.name)
            tensors += [value] if isinstance(value, Tensor) else [*value] if isinstance(value, (list, tuple)) else []
    return tensors


def _functional(func: Any) -> Callable[..., Any]:
    """An operation in place as one that gives what it would have written."""

    def written(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = tuple(map(_copied, args)), {name: _copied(each) for name, each in kwargs.items()}
        func(*args, **kwargs)
        tensors = _written(func, args, kwargs)
        return tensors[0] if len(tensors) == 1 else tensors

    return written


def _nodes(values: Iterable[Any]) -> Iterator[Node]:
    for value in values:
        if isinstance(value, Node):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _nodes(value)
