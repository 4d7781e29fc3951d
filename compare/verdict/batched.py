"""Steps where rounding explains everything: judged at once and given their rows.

Tensors are laid end to end, as many as fit a processor's cache; one that does not fit goes alone, some runs at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import accumulate, repeat
from typing import Any, NamedTuple

import numpy as np

from handgrad.compare.results import Row
from handgrad.compare.trace import Arrays
from handgrad.compare.verdict.bounds import PRECISIONS, Allowance, Precision, stacked
from handgrad.compare.verdict.closeness import Local, closest
from handgrad.compare.verdict.differences import AFFECTED
from handgrad.compare.verdict.judgement import EndToEnd, Judgement, StepRun

BLOCK = 2**16  # numbers: so many are judged at once, as many as fit a processor's cache

Allowed = Callable[[str, slice], Allowance]  # what rounding explains in a tensor, of a part of the stacked runs


class Columns(NamedTuple):
    """How far floating tensors of several steps are apart end to end: columns of rows, each by tensor and step.

    The largest difference, where it is, what stands there on both sides, and whether the sides differ by more than
    rounding.
    """

    worst: list[Any]
    where: list[Any]
    by_hand: list[Any]
    torch: list[Any]
    differs: list[Any]


def judge_stack(
    labelled: Sequence[tuple[str, str, str]],
    steps: Sequence[int],
    dtypes: Sequence[str],
    run: StepRun,
    allowed: Allowed,
    end_to_end: EndToEnd,
    *,
    block: int = BLOCK,
) -> list[list[Judgement] | None]:
    """Judge several steps at once where rounding explains everything; None for a step that needs a closer look.

    `labelled` holds phase, name and equation of every tensor in dataflow order. In `run` each tensor is stacked along a
    first axis, the steps of one dtype after those of the other: (dtypes * steps, ...). `allowed` gives the allowance of
    a part of that axis. In `end_to_end` each is stacked over the steps, (steps, ...).
    """
    names = [name for _, name, _ in labelled]
    dimensions = {array.ndim for array in run.records.values()}
    precisions = {ndim: stacked([dtype for dtype in dtypes for _ in steps], ndim) for ndim in dimensions}
    largest = np.empty((len(names), len(steps)))  # rho, over the dtypes
    columns, done = Columns([], [], [], [], []), 0
    for group in _groups({name: run.records[name].size for name in names}, block):
        local = {name: Local(run.records[name], run.local[name]) for name in group}
        if len(group) == 1:
            times = _closest_alone(group[0], local[group[0]], dtypes, allowed, block)
        else:
            times = _closest(local, precisions, allowed)
        largest[done : done + len(group)] = times.reshape(-1, len(dtypes), len(steps)).max(axis=1)
        done += len(group)
        by_hand, torch = ({name: side[name] for name in group} for side in end_to_end)
        for column, part in zip(columns, columns_of(by_hand, torch), strict=True):
            column += part
    where = [*zip(*labelled, strict=True), [end_to_end[0][name].shape[1:] for name in names]]
    by_step = zip(*(zip(*column, strict=True) for column in columns), strict=True)
    return [
        _judged(step, where, times, Columns(*of_step)) if all(rho <= 1 for rho in times) else None
        for step, times, of_step in zip(steps, largest.T.tolist(), by_step, strict=True)
    ]


def _judged(step: int, where: Sequence[Sequence[object]], times: list[float], columns: Columns) -> list[Judgement]:
    """The rows of one step, column by column: there are many, and one by one they would take as long as the rest."""
    *measured, differs = columns
    rows = map(Row._make, zip(repeat(step), *where, *measured, times, repeat("bound"), repeat("OK")))
    return [*map(Judgement._make, zip(rows, repeat(None), differs, repeat(None), repeat(None), repeat(None)))]


def _groups(sizes: Mapping[str, int], block: int) -> Iterator[list[str]]:
    """The names in order, as many at a time as hold `block` numbers together; one alone may hold more."""
    group: list[str] = []
    total = 0
    for name, size in sizes.items():
        if group and total + size > block:
            yield group
            group, total = [], 0
        group.append(name)
        total += size
    yield group


def _laid(arrays: Collection[np.ndarray]) -> tuple[list[slice], np.ndarray]:
    """Where tensors lie end to end, and where each run of each begins, (tensors, runs)."""
    sizes = [array.size for array in arrays]
    ends = [*accumulate(sizes)]
    runs = len(next(iter(arrays)))
    begins = np.array([0, *ends[:-1]])[:, None] + np.arange(runs) * (np.array(sizes)[:, None] // runs)
    return [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)], begins


def _closest(local: Mapping[str, Local], precisions: Mapping[int, Precision], allowed: Allowed) -> np.ndarray:
    """How close tensors came in each run to what rounding explains, (tensors, runs)."""
    parts, begins = _laid([pair.recorded for pair in local.values()])
    ours, theirs = (_end_to_end(side) for side in zip(*local.values(), strict=True))
    difference, allowance = np.subtract(ours, theirs), np.empty(len(ours))
    np.abs(difference, out=difference)
    for part, (name, (recorded, _)) in zip(parts, local.items(), strict=True):
        bound = allowed(name, slice(None))
        if bound.is_exact:
            of_tensor = difference[part]
            of_tensor[of_tensor != 0] = np.inf
            allowance[part] = 1.0
        else:
            allowance[part].reshape(recorded.shape)[...] = bound.everywhere(precisions[recorded.ndim])
    ratio = np.divide(difference, allowance, out=allowance)
    rho = np.maximum.reduceat(ratio, begins.ravel())
    if np.isnan(rho).any():
        np.copyto(ratio, 0.0, where=difference == 0)  # nothing of nothing
        rho = np.maximum.reduceat(ratio, begins.ravel())
    return np.asarray(rho.reshape(begins.shape))


def _closest_alone(name: str, local: Local, dtypes: Sequence[str], allowed: Allowed, block: int) -> np.ndarray:
    """The same of one tensor, block by block, each of one dtype: numbers are faster than arrays to be broadcast."""
    recorded, reference = local
    runs = len(recorded) // len(dtypes)
    at_once = max(1, block * len(recorded) // recorded.size)
    rho = []
    for position, dtype in enumerate(dtypes):
        for start in range(0, runs, at_once):
            part = slice(position * runs + start, position * runs + min(start + at_once, runs))
            count = part.stop - part.start
            one = Local(recorded[part], reference[part])
            rho.append(closest(one, allowed(name, part), PRECISIONS[dtype], runs=count)[0])
    return np.concatenate(rho)


def columns_of(hand: Arrays, torch: Arrays) -> Columns:
    """How far floating tensors of several steps are apart end to end; in both, each is stacked over the steps.

    They differ by more than rounding above sqrt(u) of the tensor's scale: this only decides what counts as affected.
    """
    parts, begins = _laid(hand.values())
    ours, theirs = (_end_to_end([*side.values()]) for side in (hand, torch))
    difference = np.subtract(ours, theirs, dtype=np.float64)
    np.abs(difference, out=difference)
    places = _worst(difference, parts, len(begins[0]))
    worst = difference.take(places + begins)
    if not np.isfinite(worst).all():
        np.copyto(difference, 0.0, where=ours == theirs)  # both infinite, or both nowhere near
        places = _worst(difference, parts, len(begins[0]))
        worst = difference.take(places + begins)
    by_hand, by_torch = (side.take(places + begins) for side in (ours, theirs))
    differs = ~(worst <= AFFECTED[theirs.dtype] * np.abs(by_torch))
    if differs.any():  # what stands at the worst place is a lower bound of the scale, and enough as a rule
        scale = np.maximum.reduceat(np.abs(theirs, out=difference), begins.ravel()).reshape(begins.shape)
        differs = ~(worst <= AFFECTED[theirs.dtype] * scale)
    index = [_indices(flat, array.shape[1:]) for flat, array in zip(places, hand.values(), strict=True)]
    return Columns(worst.tolist(), index, by_hand.tolist(), by_torch.tolist(), differs.tolist())


def _end_to_end(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Tensors laid end to end."""
    return arrays[0].reshape(-1) if len(arrays) == 1 else np.concatenate([array.reshape(-1) for array in arrays])


def _worst(difference: np.ndarray, parts: Sequence[slice], steps: int) -> np.ndarray:
    """The flat position of the largest entry of each tensor at each step, (tensors, steps)."""
    return np.array([difference[part].reshape(steps, -1).argmax(axis=1) for part in parts])


def _indices(flat: np.ndarray, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The indices of flat positions in arrays of that shape, as plain integers."""
    if not shape:
        return [()] * len(flat)
    return [*zip(*(axis.tolist() for axis in np.unravel_index(flat, shape)), strict=True)]
