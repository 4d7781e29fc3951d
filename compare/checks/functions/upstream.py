"""How gradients follow the upstream gradient: in proportion, entry by entry, through each output."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

import torch
from torch import Tensor

from handgrad.compare.checks.functions.passes import Layout, Pass, contiguous, expanded, run
from handgrad.compare.checks.functions.structure import Apart, Wrong, compared
from handgrad.compare.checks.functions.subject import Subject
from handgrad.compare.facts.causes import Cause
from handgrad.compare.facts.functions import NotLinear, RaisesWhere, UpstreamMisread, WrongFor
from handgrad.compare.names import gradient
from handgrad.compare.oracle.coarse.effects import Effect
from handgrad.compare.oracle.coarse.evaluation import Draw, evaluate

TIMES = (4.0, 0.25)  # exact in binary
READS: dict[str, Layout] = {
    "first": expanded,
    "row": lambda c: c[:1].expand_as(c) if c.dim() else c,
    "mean": lambda c: torch.full_like(c, float(c.double().mean())),
}
"""What may be read of an upstream gradient in place of every entry; the keys of MISREAD."""


def not_linear(subject: Subject, draw: Draw, base: Pass, is_apart: Apart) -> Iterator[Wrong]:
    """Gradients that are not 4 times as large where every upstream gradient is, or a quarter where that overflows.

    In binary that changes no digit, but sums may be added up in another order.
    """
    upstream = gradient(subject.outputs(len(draw.cotangents))[0])
    left, count = dict(enumerate(subject.trained)), len(draw.cotangents)
    for times in TIMES:
        made = run(subject, draw._replace(cotangents=tuple(times * c for c in draw.cotangents)))
        if made.raised is not None:
            yield Wrong(subject.gradients[0], RaisesWhere("scaled-upstream", made.raised))
            return
        for k, i in [*left.items()]:
            now, before = made.gradients.get(i), base.gradients.get(i)
            if now is not None and not bool(torch.isfinite(now).all()):
                continue
            del left[k]
            if is_apart(count + k, before, None if now is None else now.double() / times):
                yield Wrong(subject.gradients[k], NotLinear(upstream, times))


def for_one_number(subject: Subject, draw: Draw, is_apart: Apart) -> list[Wrong]:
    """Gradients that are others where the upstream gradient is one number expanded than where it is written out.

    `is_apart` is that of the draw: of the number's own gradients there may be nothing but rounding, as in front of a
    normalisation.
    """
    even = draw._replace(cotangents=tuple(c.square().mean().sqrt().expand(c.shape) for c in draw.cotangents))
    plain, made = run(subject, even), run(subject, even, cotangents=expanded)
    if plain.raised is not None:
        return []
    return compared(subject, plain, made, is_apart, ("expanded-upstream", WrongFor("expanded-upstream")))


def for_one_output(
    subject: Subject, draw: Draw, base: Pass, is_apart: Apart, apart_in: Callable[[Draw], Apart]
) -> Iterator[Wrong]:
    """Gradients that are wrong where one of several outputs alone is differentiated.

    The others have upstream gradients of zeros, or none: None for an autograd.Function that does not materialize them.
    `is_apart` judges the sum over the outputs, `apart_in` where one alone is differentiated.
    """
    count = len(draw.cotangents)
    draws = [only(draw, k) for k in range(count)]
    with_zeros, with_none = ([run(subject, each, cotangents=of) for each in draws] for of in (contiguous, _nonzero))
    raised = next((made.raised for made in (*with_zeros, *with_none) if made.raised is not None), None)
    if raised is not None:
        yield Wrong(subject.gradients[0], RaisesWhere("one-output", raised))
        return
    for k, i in enumerate(subject.trained):
        parts = [_double(made, subject, i) for made in with_zeros]
        is_sum = not is_apart(count + k, _double(base, subject, i), torch.stack(parts).sum(0))
        for each, part, made in zip(draws, parts, with_none, strict=True):
            due = part if is_sum else evaluate(subject.reference, each, Effect())[count + k]
            if any(apart_in(each)(count + k, due, one) for one in (part, _double(made, subject, i))):
                yield Wrong(subject.gradients[k], WrongFor("one-output"))
                break


def _double(made: Pass, subject: Subject, position: int) -> Tensor:
    """A gradient in float64, zeros where there is none."""
    found = made.gradients.get(position)
    return (torch.zeros_like(subject.inputs[position]) if found is None else found).double()


def _nonzero(t: Tensor) -> Tensor | None:
    """A copy of an upstream gradient, None for one that is 0 everywhere."""
    return contiguous(t) if bool(t.any()) else None


def misread(subject: Subject, draw: Draw, base: Pass, wrong: Collection[int]) -> dict[int, Cause]:
    """Of wrong gradients, by position, those that stay where the upstream gradient is but what is read of it."""
    upstream = gradient(subject.outputs(len(draw.cotangents))[0])
    found: dict[int, Cause] = {}
    for how, reads in READS.items():
        cotangents = tuple(reads(c).clone() for c in draw.cotangents)
        if all(torch.equal(c, other) for c, other in zip(cotangents, draw.cotangents, strict=True)):
            continue
        made = run(subject, draw._replace(cotangents=cotangents))
        for i in {*wrong} - found.keys():
            now, before = made.gradients.get(i), base.gradients.get(i)
            if now is not None and before is not None and bool(before.any()) and torch.equal(now, before):
                found[i] = UpstreamMisread(upstream, how)
    return found


def only(draw: Draw, position: int) -> Draw:
    """A draw with the upstream gradient of one output, and zeros for the others."""
    kept = (c if i == position else torch.zeros_like(c) for i, c in enumerate(draw.cotangents))
    return draw._replace(cotangents=tuple(kept))
