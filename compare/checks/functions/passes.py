"""One forward and backward pass of the user's function, on copies in a layout of our choice, and what it did."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction

from handgrad.compare.checks.functions.graph import captured
from handgrad.compare.checks.functions.subject import Subject
from handgrad.compare.facts.failures import Mutates, Raised
from handgrad.compare.names import gradient
from handgrad.compare.oracle.coarse.evaluation import Draw, is_floating, several
from handgrad.compare.ownership import is_theirs, named
from handgrad.compare.results import SourceLine
from handgrad.compare.sandbox import CAUGHT, gpus_of, located, quietly, states_of

Layout = Callable[[Tensor], Tensor]
Cotangents = Callable[[Tensor], Tensor | None]
COMPILED_AT_MOST = 256  # torch's own limit for a function in all places where it is compiled


@dataclass(frozen=True)
class Pass:
    """What came out: outputs and gradients, by the position of the input, None where there is none.

    `changed` is what the function changed that it was handed. `raised` ended it, in the forward or, where there are
    outputs, in the backward, which begins on `line`. `is_connected`: an output requires a gradient.
    `draws`: it drew random numbers. `live` has outputs and gradients in the memory that they came in, `captured` the
    shapes of further tensors that its graph has gradients for.
    """

    outputs: tuple[Any, ...] = ()
    gradients: Mapping[int, Tensor | None] = field(default_factory=dict)
    changed: tuple[Mutates, ...] = ()
    raised: Raised | None = None
    line: SourceLine | None = None
    is_connected: bool = True
    draws: bool = False
    live: Pass | None = None
    captured: tuple[tuple[int, ...], ...] = ()

    @property
    def has_gradients(self) -> bool:
        """Whether it came to its end and gave any gradient."""
        return self.raised is None and any(g is not None for g in self.gradients.values())

    @property
    def floating(self) -> list[Tensor]:
        """The outputs that have a gradient."""
        return [y for y in self.outputs if is_floating(y)]


def contiguous(t: Tensor) -> Tensor:
    """A copy, its numbers beside each other."""
    return t.detach().clone(memory_format=torch.contiguous_format)


def strided(t: Tensor) -> Tensor:
    """A copy whose numbers are two apart, with nan between them."""
    if not t.dim():
        return contiguous(t)
    between = float("nan") if t.is_floating_point() else 0
    wide = torch.full((*t.shape, 2), between, dtype=t.dtype, device=t.device)
    wide[..., 0] = t.detach()
    return wide[..., 0]


def transposed(t: Tensor) -> Tensor:
    """A copy that is transposed in memory."""
    return t.detach().transpose(0, -1).contiguous().transpose(0, -1) if t.dim() > 1 else contiguous(t)


def expanded(t: Tensor) -> Tensor:
    """Its first number for all, with strides of 0."""
    return t.detach().reshape(-1)[:1].clone().reshape([1] * t.dim()).expand(t.shape)


def run(
    subject: Subject,
    draw: Draw,
    *,
    needed: Collection[int] | None = None,
    inputs: Layout = contiguous,
    cotangents: Cotangents = contiguous,
    between: Callable[[], object] = lambda: None,
) -> Pass:
    """Call the function on copies of a draw and differentiate it; only the inputs `needed` require a gradient.

    `between` is called before it is differentiated. What it draws from torch's generators is the same in every pass.
    """
    gpus, trained = gpus_of(draw.inputs), draw.trained if needed is None else tuple(needed)
    with torch.random.fork_rng(gpus), torch.enable_grad():
        before = states_of(gpus)
        made = _passed(subject, draw._replace(trained=trained), (inputs, cotangents), between)
        return replace(made, draws=not all(map(torch.equal, before, states_of(gpus))))


def _passed(subject: Subject, draw: Draw, layouts: tuple[Layout, Cotangents], between: Callable[[], object]) -> Pass:
    inputs, cotangents = layouts
    handed = [inputs(t) if isinstance(t, Tensor) else t for t in draw.inputs]
    leaves = {i: handed[i].requires_grad_() for i in draw.trained}
    try:
        outputs = _called(subject, handed)
    except CAUGHT as error:
        return Pass(raised=located(error), changed=tuple(_changed("function", subject, draw, handed)))
    changed = tuple(_changed("function", subject, draw, handed))
    upstream = [cotangents(c) for c in draw.cotangents]
    held = [y.detach().clone() if isinstance(y, Tensor) else y for y in outputs]
    made = Pass(tuple(held), changed=changed, line=_line_of(outputs), captured=captured(outputs, leaves.values()))
    due = [y for y in outputs if is_floating(y)]
    pairs = [(y, c) for y, c in zip(due, upstream, strict=False) if y.requires_grad and c is not None]
    if not pairs or not leaves:
        return replace(made, gradients=dict.fromkeys(leaves), live=_live(outputs, {}), is_connected=bool(pairs))
    ys, cs = zip(*pairs, strict=True)
    try:
        with quietly():
            between()
            found = torch.autograd.grad(ys, [*leaves.values()], cs, allow_unused=True)
    except CAUGHT as error:
        return replace(made, raised=located(error))
    names, by_forward = subject.outputs(len(due)), {change.name for change in changed}
    changed = (
        *changed,
        *(each for each in _changed("backward", subject, draw, handed) if each.name not in by_forward),
        *_mutated("backward", "upstream gradient", map(gradient, names), draw.cotangents, upstream),
        *_mutated("backward", "output", names, filter(is_floating, held), due),
    )
    live = _live(outputs, dict(zip(leaves, found, strict=True)))
    gradients = {i: None if g is None else g.clone() for i, g in live.gradients.items()}
    return replace(made, gradients=gradients, changed=changed, live=live)


def _live(outputs: tuple[Any, ...], gradients: Mapping[int, Tensor | None]) -> Pass:
    """What came out as it is, without its graph."""
    tensors = tuple(y.detach() if isinstance(y, Tensor) else y for y in outputs)
    return Pass(tensors, {i: None if g is None else g.detach() for i, g in gradients.items()})


def _called(subject: Subject, handed: list[Any]) -> tuple[Any, ...]:
    with quietly():
        return several(subject.function(*handed))


def _changed(who: str, subject: Subject, draw: Draw, handed: list[Any]) -> Iterator[Mutates]:
    return _mutated(who, "input", subject.names, draw.inputs, handed)


def _mutated(who: str, what: str, names: Iterable[str], before: Iterable[Any], now: Iterable[Any]) -> Iterator[Mutates]:
    """What is told of tensors that are others now than before."""
    for name, old, new in zip(names, before, now, strict=False):
        if isinstance(old, Tensor) and new is not None and not same_bits(new.detach(), old):
            yield Mutates(who, what, name)


def same_bits(a: Tensor | None, b: Tensor | None) -> bool:
    """Whether two tensors are the same, nan being the same as nan; nothing is the same as nothing."""
    if a is None or b is None:
        return a is b
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return bool(torch.equal(a, b)) or bool(((a == b) | ((a != a) & (b != b))).all())  # nan


def returned_shapes(subject: Subject, draw: Draw) -> dict[int, tuple[int, ...]]:
    """The shapes of the gradients that a backward of the user's returns, by position, before torch looks at them."""
    handed = [contiguous(t) if isinstance(t, Tensor) else t for t in draw.inputs]
    leaves = {i: handed[i].requires_grad_() for i in draw.trained}
    positions = {id(leaf): i for i, leaf in leaves.items()}
    shapes: dict[int, tuple[int, ...]] = {}
    try:
        with torch.enable_grad():
            due = [y for y in _called(subject, handed) if is_floating(y)]
        nodes: list[Any] = [y.grad_fn for y in due if isinstance(y.grad_fn, BackwardCFunction)]
        for node in nodes[:1]:
            ends = [positions.get(id(getattr(after, "variable", None))) for after, _ in node.next_functions]
            with _noting(node._forward_cls, ends, shapes), quietly():
                torch.autograd.grad(due, [*leaves.values()], [contiguous(c) for c in draw.cotangents])
    except CAUGHT:  # it is told already
        pass
    return shapes


@contextmanager
def _noting(kind: Any, ends: list[int | None], shapes: dict[int, tuple[int, ...]]) -> Iterator[None]:
    """While entered, the backward of a class notes the shapes that it returns, of what ends in an input."""
    backward = kind.__dict__["backward"]

    def noting(ctx: Any, *given: Any) -> Any:
        returned = backward.__func__(ctx, *given)
        tensors = [(end, g) for end, g in zip(ends, several(returned), strict=False) if end is not None]
        shapes.update({end: tuple(g.shape) for end, g in tensors if isinstance(g, Tensor)})
        return returned

    kind.backward = staticmethod(noting)
    try:
        yield
    finally:
        kind.backward = backward


def _line_of(outputs: tuple[Any, ...]) -> SourceLine | None:
    """The line that the backward begins on, where it is Python of the user's."""
    nodes = (y.grad_fn for y in outputs if isinstance(y, Tensor))
    of_theirs = (getattr(node, "_forward_cls", None) for node in nodes if isinstance(node, BackwardCFunction))
    backward = next((getattr(kind, "backward", None) for kind in of_theirs), None)
    try:
        function = inspect.unwrap(backward)  # type: ignore[arg-type]  # None is a TypeError
        lines, first = inspect.getsourcelines(function)
        file = inspect.getsourcefile(function) or ""
    except (TypeError, OSError):
        return None
    at = next((i for i, line in enumerate(lines) if line.lstrip()[:4] == "def "), 0)
    return SourceLine(named(file), first + at, lines[at].strip()) if file and is_theirs(file) else None


@contextmanager
def compiled_anew() -> Iterator[None]:
    """While entered, what torch.compile wraps is compiled for every situation.

    Beyond a limit of 8 it would run uncompiled, or raise with fullgraph=True.
    """
    dynamo: Any = sys.modules.get("torch._dynamo")  # nothing is compiled where it is not there
    with nullcontext() if dynamo is None else dynamo.config.patch(cache_size_limit=COMPILED_AT_MOST):
        yield


@contextmanager
def filled_memory() -> Iterator[None]:
    """While entered, memory that torch hands out holds nan, in the whole process."""
    settings: Any = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    filled = settings.fill_uninitialized_memory
    try:
        torch.use_deterministic_algorithms(True, warn_only=True)
        settings.fill_uninitialized_memory = True
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        settings.fill_uninitialized_memory = filled
