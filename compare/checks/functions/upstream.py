"""How gradients follow the upstream gradient: in proportion, entry by entry, through each output."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

import torch
from torch import Tensor

from handgrad.compare.checks.functions.passes import Layout, Pass, expanded, run
from handgrad.compare.checks.functions.structure import Wrong
from handgrad.compare.checks.functions.subject import Subject
from handgrad.compare.facts.causes import Cause
from handgrad.compare.facts.functions import NotLinear, RaisesWhere, UpstreamMisread, WrongFor
from handgrad.compare.names import gradient
from handgrad.compare.oracle.coarse.evaluation import Draw

TIMES = (4.0, 0.25)  # exact in binary
READS: dict[str, Layout] = {
    "first": expanded,
    "row": lambda c: c[:1].expand_as(c) if c.dim() else c,
    "mean": lambda c: torch.full_like(c, float(c.double().mean())),
}
"""What may be read of an upstream gradient in place of every entry; the keys of MISREAD."""


def not_linear(subject: Subject, draw: Draw, base: Pass, is_apart: Callable[[int, Tensor], bool]) -> Iterator[Wrong]:
    """Gradients that are not 4 times as large where every upstream gradient is, or a quarter where that overflows.

    In binary that changes no digit, but sums may be added up in another order: `is_apart` says whether a change of a
    gradient is more than rounding.
    """
    upstream = gradient(subject.outputs(len(draw.cotangents))[0])
    left = dict(enumerate(subject.trained))
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
            if now is not None and before is not None and is_apart(k, now.double() / times - before.double()):
                yield Wrong(subject.gradients[k], NotLinear(upstream, times))


def for_one_number(subject: Subject, draw: Draw, is_apart: Callable[[int, Tensor], bool]) -> Iterator[Wrong]:
    """Gradients that are others where the upstream gradient is one number expanded than where it is written out.

    `is_apart` says whether a change of a gradient is more than rounding.
    """
    plain = run(subject, draw._replace(cotangents=tuple(expanded(c).clone() for c in draw.cotangents)))
    made = run(subject, draw, cotangents=expanded)
    if made.raised is not None and plain.raised is None:
        yield Wrong(subject.gradients[0], RaisesWhere("expanded-upstream", made.raised))
        return
    for k, i in enumerate(subject.trained):
        now, written = made.gradients.get(i), plain.gradients.get(i)
        if now is not None and written is not None and is_apart(k, now.double() - written.double()):
            yield Wrong(subject.gradients[k], WrongFor("expanded-upstream"))


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
