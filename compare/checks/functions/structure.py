"""What the gradients of a right function do not depend on: how its operands lie in memory, which of its inputs require
a gradient, what was called before and between.

Each situation is compared with the plain pass bit by bit. Other bits need not be wrong, as another layout may be summed
in another order: they are judged as the plain ones are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from handgrad.compare.checks.functions.passes import (
    Layout,
    Pass,
    contiguous,
    filled_memory,
    returned_shapes,
    run,
    same_bits,
    strided,
    transposed,
)
from handgrad.compare.checks.functions.subject import Subject
from handgrad.compare.errors import kind_of
from handgrad.compare.facts.causes import Cause
from handgrad.compare.facts.failures import NotReal, WrongShape
from handgrad.compare.facts.functions import (
    NoGradient,
    OtherAnswer,
    OutputCount,
    Overwritten,
    RaisesWhere,
    Random,
    SharedByCalls,
    SomeNeeded,
    Unwritten,
    WrongFor,
)
from handgrad.compare.oracle.coarse.evaluation import Draw, is_floating
from handgrad.compare.sandbox import drawing_others, gpus_of

OTHER = 0.5  # times the inputs, of another call
LAYOUTS: dict[str, tuple[Layout, Layout]] = {
    "strided-upstream": (contiguous, strided),
    "transposed-upstream": (contiguous, transposed),
    "strided-inputs": (strided, contiguous),
    "transposed-inputs": (transposed, contiguous),
}
"""How inputs and upstream gradients lie in memory in each situation."""


class Wrong(NamedTuple):
    """A tensor that is wrong, and why; `name` is that of the finding."""

    name: str
    cause: Cause


Apart = Callable[[int, Tensor | None, Tensor | None], bool]
"""Whether an output or a gradient, by its position among them, changes by more than rounding, if it is there."""


def misshapen(
    subject: Subject, draw: Draw, made: Pass, due: Sequence[Tensor], gradients: Sequence[Tensor] = ()
) -> Iterator[Wrong]:
    """What keeps the plain pass from being judged: exceptions, types, shapes, and gradients that are None.

    `due` are the reference's outputs, `gradients` its gradients, of which those of 0 need not be there.
    """
    names = subject.outputs(len(due))
    if made.raised is not None:
        returned = returned_shapes(subject, draw) if made.outputs and not made.raised.file else {}
        shapes = [
            Wrong(subject.gradients[k], WrongShape(returned[i], tuple(subject.inputs[i].shape)))
            for k, i in enumerate(subject.trained)
            if i in returned and not _broadcasts(tuple(subject.inputs[i].shape), returned[i])
        ]
        yield from shapes or [Wrong(names[0] if not made.outputs else subject.gradients[0], made.raised)]
        return
    if len(made.floating) != len(due):
        yield Wrong(names[0], OutputCount(tuple(map(kind_of, made.outputs)), len(made.floating), len(due)))
        return
    device = next(t.device for t in subject.inputs if is_floating(t))
    for name, y, reference in zip(names, made.floating, due, strict=True):
        if y.shape != reference.shape:
            yield Wrong(name, WrongShape(tuple(y.shape), tuple(reference.shape)))
        elif y.device != device:
            yield Wrong(name, NotReal(f"a tensor on {y.device}", f"it on {device}, where the inputs are"))
    for name, i, reference in zip(subject.gradients, subject.trained, gradients, strict=False):
        if made.gradients.get(i) is None and bool(reference.any()):
            yield Wrong(name, NoGradient(subject.names[i], made.is_connected))


def _broadcasts(shape: tuple[int, ...], returned: tuple[int, ...]) -> bool:
    """Whether torch takes a gradient of a shape for an input of another: it sums what was broadcast."""
    try:
        return np.broadcast_shapes(shape, returned) == returned
    except ValueError:
        return False


def other_answers(subject: Subject, draw: Draw, base: Pass, is_apart: Apart) -> list[Wrong]:
    """What is another by more than rounding where the same is asked again, and other random numbers are drawn."""
    with drawing_others(gpus_of(draw.inputs)):
        made = run(subject, draw)
    return compared(subject, base, made, is_apart, ("again", Random() if base.draws else OtherAnswer()))


def unwritten(subject: Subject, draw: Draw, base: Pass) -> Iterator[Wrong]:
    """What is nan only where new memory holds nan: nothing was written there."""
    with filled_memory():
        made = run(subject, draw)
    for name, _, before, now in pairs(subject, base, made):
        if before is not None and now is not None and bool((torch.isnan(now) & ~torch.isnan(before)).any()):
            yield Wrong(name, Unwritten())


def situations(subject: Subject, draw: Draw, base: Pass, is_apart: Apart) -> Iterator[Wrong]:
    """What is wrong in some situation and right in the plain pass, which agrees.

    Random numbers may be others where inputs lie otherwise in memory, which is then no mistake.
    """
    for situation, cause, made in _passes(subject, draw, base):
        yield from compared(subject, base, made, is_apart, (situation, cause))
    run(subject, _another(draw))
    live = pairs(subject, base, base.live or base)
    yield from (Wrong(name, Overwritten()) for name, _, before, now in live if not same_bits(now, before))


def _passes(subject: Subject, draw: Draw, base: Pass) -> Iterator[tuple[str, Cause, Pass]]:
    """The situations, what is told of a tensor that is another there, and the passes."""
    for situation, (inputs, cotangents) in LAYOUTS.items():
        if inputs is contiguous or not base.draws:
            yield situation, WrongFor(situation), run(subject, draw, inputs=inputs, cotangents=cotangents)
    with filled_memory():
        made = run(subject, draw)
    yield "filled-memory", Unwritten(), made
    yield "no-gradient", WrongFor("no-gradient"), run(subject, draw, needed=())
    count = len(subject.trained)
    sizes = {1, count - 1} - {0, count}  # one alone, all but one
    for needed in (some for size in sorted(sizes) for some in combinations(subject.trained, size)):
        names = tuple(subject.names[i] for i in needed)
        yield "subset", SomeNeeded(names), run(subject, draw, needed=needed)
    yield "second-call", SharedByCalls(), _interrupted(subject, draw)


def compared(subject: Subject, base: Pass, made: Pass, is_apart: Apart, told: tuple[str, Cause]) -> list[Wrong]:
    """The outputs and gradients that are others than in the plain pass, for a cause, or what a situation raises."""
    situation, cause = told
    if made.raised is not None:
        first = subject.gradients[0] if made.outputs else subject.outputs(1)[0]
        return [Wrong(first, RaisesWhere(situation, made.raised))]
    return [Wrong(name, cause) for name, i, before, now in pairs(subject, base, made) if is_apart(i, before, now)]


def _interrupted(subject: Subject, draw: Draw) -> Pass:
    """A pass with another call between its forward and its backward."""

    def another() -> None:
        other = [contiguous(t) if isinstance(t, Tensor) else t for t in _another(draw).inputs]
        for i in draw.trained:
            other[i].requires_grad_()
        subject.function(*other)

    return run(subject, draw, between=another)


def _another(draw: Draw) -> Draw:
    """A draw of other numbers."""
    inputs = (OTHER * t if is_floating(t) else t for t in draw.inputs)
    return draw._replace(inputs=tuple(inputs), cotangents=tuple(OTHER * c for c in draw.cotangents))


def pairs(subject: Subject, base: Pass, made: Pass) -> Iterator[tuple[str, int, Tensor | None, Tensor | None]]:
    """The outputs and gradients of the plain pass and of another, by name and position."""
    names = subject.outputs(len(base.floating))
    for i, (name, y, other) in enumerate(zip(names, base.floating, made.floating, strict=False)):
        yield name, i, y, other
    for k, position in enumerate(subject.trained):
        if position in made.gradients:
            before, now = base.gradients.get(position), made.gradients[position]
            yield subject.gradients[k], len(names) + k, _or_zeros(before, now), _or_zeros(now, before)


def _or_zeros(gradient: Tensor | None, other: Tensor | None) -> Tensor | None:
    """None where the other is something is 0."""
    return torch.zeros_like(other) if gradient is None and other is not None else gradient
