"""What a reference must not do that bears witness: change or detach its inputs, draw, leave the inputs' range."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from handgrad.compare.checks.functions.structure import Apart
from handgrad.compare.checks.functions.subject import Subject
from handgrad.compare.errors import InputError
from handgrad.compare.facts.functions import WITHOUT_DRAWS
from handgrad.compare.oracle.coarse.effects import Effect
from handgrad.compare.oracle.coarse.evaluation import Draw, evaluate, outputs_of, returned, upcast
from handgrad.compare.oracle.coarse.exact import Exact
from handgrad.compare.sandbox import drawing_others, gpus_of
from handgrad.compare.thresholds import MOVE_OF_DETACHED


def outputs_due(subject: Subject) -> list[Tensor]:
    """The outputs of the reference. Raises InputError where it fails, or changes an input."""
    handed, _ = upcast(Draw(subject.inputs, (), ()))
    outputs = outputs_of(returned(subject.reference, handed, Effect()))
    for name, before, now in zip(subject.names, subject.inputs, handed, strict=True):
        if isinstance(before, Tensor) and not torch.equal(now, before.detach().to(now.dtype)):
            raise InputError(f"the reference changes {name} in place; let it work on a copy, {name}.clone()")
    return outputs


def check_repeats(subject: Subject, draw: Draw, plain: Sequence[Tensor], is_apart: Apart) -> None:
    """Raise InputError where the reference is another with other random numbers."""
    with drawing_others(gpus_of(draw.inputs)):
        again = evaluate(subject.reference, draw, Effect())
    if any(is_apart(i, before, now) for i, (before, now) in enumerate(zip(plain, again, strict=True))):
        raise InputError(f"the reference is another with other random numbers, which it draws: {WITHOUT_DRAWS}")


def check_range(subject: Subject, plain: Sequence[Tensor]) -> None:
    """Raise InputError where the reference itself gives what the format of the inputs cannot hold."""
    most = torch.finfo(getattr(torch, subject.dtype)).max
    names = (*subject.outputs(len(plain) - len(subject.trained)), *subject.gradients)
    for name, t in zip(names, plain, strict=True):
        if t.numel() and not bool((t.abs() < most).all()):
            raise InputError(
                f"{name} of the reference is {float(t.abs().max()):g}, which {subject.dtype} does not hold; rescale "
                "the inputs"
            )


def is_detached(exact: Exact, position: int, gradient: int) -> bool:
    """Whether a gradient is 0 though the outputs depend on the input at a position, as they do behind detach."""
    if any(bool(results[gradient].any()) for results in exact.results):
        return False
    inputs, _ = upcast(exact.draws[0]._replace(trained=()))
    inputs[position] *= 1 + MOVE_OF_DETACHED
    moved = evaluate(exact.reference, Draw(tuple(inputs), (), ()), Effect())
    return any(not torch.equal(before, now) for before, now in zip(exact.results[0], moved, strict=False))
