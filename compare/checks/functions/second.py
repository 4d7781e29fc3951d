"""The backward as a function of its own: of the inputs and the upstream gradients, with outputs of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from handgrad.compare.checks.functions.passes import run
from handgrad.compare.checks.functions.structure import Wrong
from handgrad.compare.checks.functions.subject import Subject
from handgrad.compare.facts.functions import NoGradient, NoSecondDerivative, SecondCut
from handgrad.compare.names import gradient
from handgrad.compare.oracle.coarse.effects import Effect
from handgrad.compare.oracle.coarse.evaluation import Draw, evaluate, is_floating, several


def second_of(subject: Subject, draw: Draw) -> Subject:
    """The backward of a subject, whose inputs are those of the subject and the upstream gradients of a draw."""
    outputs = subject.outputs(len(draw.cotangents))
    count, upstream = len(subject.inputs), tuple(gradient(name) for name in outputs)
    names = (*subject.names, *upstream)
    trained = (*subject.trained, *range(count, count + len(upstream)))

    def backward_of(function: Callable[..., Any]) -> Callable[..., Any]:
        def backward(*values: Any) -> tuple[Tensor, ...]:
            leaves = [_differentiable(values[i]) for i in subject.trained]
            inputs = [*values[:count]]
            for i, leaf in zip(subject.trained, leaves, strict=True):
                inputs[i] = leaf
            ys = [y for y in several(function(*inputs)) if is_floating(y)]
            pairs = [(y, c) for y, c in zip(ys, values[count:], strict=True) if y.requires_grad]
            if not pairs:
                return tuple(map(torch.zeros_like, leaves))
            due, given = zip(*pairs, strict=True)
            found = torch.autograd.grad(due, leaves, given, create_graph=True, allow_unused=True)
            return tuple(torch.zeros_like(t) if g is None else g for t, g in zip(leaves, found, strict=True))

        return backward

    return Subject(
        backward_of(subject.function),
        backward_of(subject.reference),
        (*draw.inputs, *draw.cotangents),
        names,
        trained,
        subject.gradients,
        tuple(gradient(gradient(name)) for name in (*(subject.names[i] for i in subject.trained), *outputs)),
    )


def _differentiable(value: Tensor) -> Tensor:
    """A tensor that a gradient can be asked for, itself where it is one."""
    return value if value.requires_grad else value.detach().requires_grad_()


def told_of_second(wrong: Wrong) -> Wrong:
    """What is wrong about a plain pass of the backward, said of second derivatives."""
    cause = wrong.cause
    return wrong._replace(cause=SecondCut(cause.input)) if isinstance(cause, NoGradient) else wrong


def second_draw(second: Subject, draw: Draw, cotangents: tuple[Tensor, ...]) -> Draw:
    """The draw of the backward that belongs to one of the function."""
    return Draw((*draw.inputs, *draw.cotangents), second.trained, cotangents)


def note_on_second(subject: Subject, draw: Draw) -> NoSecondDerivative | None:
    """Whether second derivatives are absent or silently left out, which need not be wrong; None where neither is."""
    second = second_of(subject, draw)
    along = second_draw(second, draw, tuple(torch.ones_like(draw.inputs[i]) for i in subject.trained))
    made = run(second, along)
    due = evaluate(second.reference, along, Effect())[-len(second.trained) :]
    pairs = zip(second.trained, due, strict=True)
    cut = tuple(second.names[i] for i, g in pairs if made.gradients.get(i) is None and bool(g.any()))
    return NoSecondDerivative(cut if made.has_gradients else ()) if cut else None
