"""Whether a function does its products in TF32, which reads ten bits of an operand: the others change nothing then."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from math import inf, isnan

import torch
from torch import Tensor

from handgrad.compare.checks.functions.passes import Pass, run, same_bits
from handgrad.compare.checks.functions.structure import pairs
from handgrad.compare.checks.functions.subject import Subject
from handgrad.compare.oracle.coarse.effects import Effect
from handgrad.compare.oracle.coarse.evaluation import Draw, evaluate, is_floating
from handgrad.compare.thresholds import AS_REPEATED, FOLLOWS, UNIT_ROUNDOFF

HALF, LAST = 2**12, 2**13  # of the bits of a float32 number of which TF32 reads ten: half of the last, and the last
REPEATS = 3  # passes on the same draw, where the first two differ
LARGER = 1.0625  # times an operand, which changes what it is read as


def reads_ten_bits(subject: Subject, draw: Draw, base: Pass, plain: Sequence[Tensor]) -> bool:
    """Whether an operand of ten bits, cut off or rounded, changes no bit of a tensor that follows this operand.

    `base` is the pass on the draw, `plain` what the reference gives there. Whatever else is wrong does not hide it. No
    bit more, that is, than passes on the same differ by, as sums in another order each time do.
    """
    spreads = _spreads(subject, base, draw)
    for of in _operands(draw):
        for added in (0, HALF):
            short = _with(draw, of, partial(_short, added=added))
            same = _same(subject, base, run(subject, short), spreads)
            if not same:
                continue
            moved = evaluate(subject.reference, short, Effect())
            same = {i for i in same if _follows(plain[i], moved[i])}
            if same and same - _same(subject, base, run(subject, _with(draw, of, lambda t: LARGER * t)), spreads):
                return True
    return False


Operand = tuple[str, int]
"""A field of a draw and a position in that."""


def _operands(draw: Draw) -> Iterator[Operand]:
    """The inputs and upstream gradients that ten bits do not hold."""
    for field in ("inputs", "cotangents"):
        for i, t in enumerate(getattr(draw, field)):
            if is_floating(t) and not torch.equal(_short(t, 0), t):
                yield field, i


def _with(draw: Draw, of: Operand, change: Callable[[Tensor], Tensor]) -> Draw:
    """A draw with an operand changed."""
    field, position = of
    tensors = [*getattr(draw, field)]
    tensors[position] = change(tensors[position])
    return draw._replace(**{field: tuple(tensors)})


def _short(t: Tensor, added: int) -> Tensor:
    """A tensor with ten bits of its fraction, once something is added to the bits that are cut off."""
    bits = t.float().contiguous().view(torch.int32)
    return ((bits + added) & -LAST).view(torch.float32).to(t.dtype)


def _spreads(subject: Subject, base: Pass, draw: Draw) -> dict[int, float]:
    """How far passes on the same draw are from the first, by output and gradient: 0 where they have the same bits."""
    spreads = dict[int, float]()
    for _ in range(REPEATS):
        again = run(subject, draw)
        apart = {i: _apart(a, b) for _, i, a, b in pairs(subject, base, again) if a is not None and b is not None}
        spreads = {i: max(far, spreads.get(i, 0.0)) for i, far in apart.items()}
        if not any(spreads.values()):
            break
    return spreads


def _same(subject: Subject, base: Pass, made: Pass, spreads: Mapping[int, float]) -> set[int]:
    """The outputs and gradients, by position, that two passes give alike."""
    both = ((i, a, b) for _, i, a, b in pairs(subject, base, made) if a is not None and b is not None)
    return {i for i, a, b in both if _apart(a, b) <= AS_REPEATED * spreads.get(i, 0.0)}


def _apart(a: Tensor, b: Tensor) -> float:
    """The largest difference of two tensors: 0 for the same bits, infinity for what cannot be compared."""
    if same_bits(a, b):
        return 0.0
    if a.shape != b.shape or not (is_floating(a) and is_floating(b)):
        return inf
    far = float((a.double() - b.double()).abs().max())
    return inf if isnan(far) else far


def _follows(plain: Tensor, moved: Tensor) -> bool:
    """Whether most entries of the reference move by many roundings of float32."""
    is_moved = (moved - plain).abs() > FOLLOWS * UNIT_ROUNDOFF["float32"] * plain.abs()
    return bool(is_moved.double().mean() > 0.5)
