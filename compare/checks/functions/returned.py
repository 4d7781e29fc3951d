"""What a function returns beside the numbers that have gradients: dtypes, indices and masks, and what is no tensor."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor

from handgrad.compare.checks.functions.passes import Pass
from handgrad.compare.checks.functions.structure import Wrong
from handgrad.compare.checks.functions.subject import Subject
from handgrad.compare.facts.failures import WrongShape
from handgrad.compare.facts.functions import LowerPrecision, NotCompared, NotEqual, OtherPrecision
from handgrad.compare.facts.remarks import Note
from handgrad.compare.oracle.coarse.effects import Effect
from handgrad.compare.oracle.coarse.evaluation import Draw, as_they_are, is_floating, returned, upcast
from handgrad.compare.oracle.coarse.formats import Format
from handgrad.compare.oracle.coarse.roundings import Roundings
from handgrad.compare.thresholds import COARSE_RUNS

MISSING = object()


def precisions(subject: Subject, made: Pass) -> Iterator[Wrong | Note]:
    """Outputs in another precision than the inputs', where the reference's are not in the same."""
    due = getattr(torch, subject.dtype)
    own = [y.dtype for y in as_they_are(subject.reference, subject.inputs) if is_floating(y)]
    for name, y, reference in zip_longest(subject.outputs(len(made.floating)), made.floating, own):
        if name is None or y.dtype in (due, reference):
            continue
        is_lower = torch.finfo(y.dtype).eps > torch.finfo(due).eps
        dtype = str(y.dtype).removeprefix("torch.")
        yield (
            Wrong(name, LowerPrecision(dtype, subject.dtype))
            if is_lower
            else OtherPrecision(name, dtype, subject.dtype)
        )


def without_gradients(subject: Subject, draw: Draw, made: Pass, format: Format) -> Iterator[Wrong | Note]:
    """What is returned that has no gradient, as indices and masks: equal in the reference, or in one that rounds.

    What is no tensor on both sides, and not equal, is in a note.
    """
    theirs = _others(returned(subject.reference, upcast(draw)[0], Effect()))
    unlike = list[str]()
    for k, (mine, due) in enumerate(zip_longest(_others(made.outputs), theirs, fillvalue=MISSING)):
        position = next((i + 1 for i, value in enumerate(made.outputs) if value is mine), 0)
        name = f"returned{position}" if mine is not MISSING else f"one of the reference's ({type(due).__name__})"
        if not isinstance(mine, Tensor) or not isinstance(due, Tensor):
            is_same = type(mine) is type(due) and isinstance(mine, (int, str, float, type(None))) and mine == due
            unlike += [] if is_same else [name]
        elif mine.shape != due.shape:
            yield Wrong(name, WrongShape(tuple(mine.shape), tuple(due.shape)))
        elif count := _differing(subject, draw, mine, due, (k, format)):
            yield Wrong(name, NotEqual(count, mine.numel()))
    if unlike:
        yield NotCompared(tuple(unlike))


def _differing(subject: Subject, draw: Draw, mine: Tensor, due: Tensor, of: tuple[int, Format]) -> int:
    """How many entries are others than in the reference, however it rounds."""
    position, format = of
    off = mine != due.to(mine.device)
    for seed in range(COARSE_RUNS):
        if not bool(off.any()):
            break
        noisy = _others(returned(subject.reference, upcast(draw)[0], Roundings(format, seed)))[position]
        off &= mine != noisy.to(mine.device) if noisy.shape == mine.shape else off
    return int(off.sum())


def _others(values: tuple[Any, ...]) -> list[Any]:
    return [value for value in values if not is_floating(value)]
