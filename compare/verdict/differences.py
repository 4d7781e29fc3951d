"""How far two arrays are apart end to end: one pass in blocks, in memory that does not grow with them.

What is measured is what a row of a report shows: the largest absolute difference, where it is first, what stands there
on both sides, and the scale of torch's side. Differences are taken in float64. -0.0
equals 0.0, an infinity equals itself, and nan equals nothing: its difference is nan, which counts as the largest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate, repeat
from math import isfinite
from operator import add
from typing import NamedTuple

import numpy as np

from handgrad.compare.thresholds import SAME_SUM, UNIT_ROUNDOFF
from handgrad.compare.trace import Arrays, is_real, same

# Share of torch's scale by its dtype, sqrt(u): two sides that are further apart end to end differ because of a mistake.
AFFECTED = {np.dtype(dtype): u**0.5 for dtype, u in UNIT_ROUNDOFF.items()}

BLOCK = 2**17  # numbers at a time: their difference, and copies of strided or byte-swapped ones, take 3.1 MiB
FLOAT64 = {np.dtype(np.float64)}
EPSILON = {np.dtype(kind).itemsize: float(np.finfo(kind).eps) for kind in ("f2", "f4", "f8")}

Array = np.ndarray
Pair = tuple[Array, Array]


class Measured(NamedTuple):
    """How far one tensor by hand is from torch's.

    `position` is the flat position of the first largest difference, `by_hand` and `torch` stand there; all three are
    None where there is no entry. `scale` is max |torch|.
    """

    max_abs_diff: float
    position: int | None
    by_hand: float | None
    torch: float | None
    scale: float


def measured(hand: Array, torch: Array, *, block: int = BLOCK) -> Measured:
    """Measure two arrays of equal shape and of any real dtypes, strides and byte orders, `block` numbers at a time.

    Up to 1/32 of a block are cheaper all at once. Raises ValueError for shapes that differ.
    """
    if hand.shape != torch.shape:
        raise ValueError(f"by hand the shape is {hand.shape}, in torch {torch.shape}; they must be equal")
    if hand.size > block // 32:
        return _by_blocks(hand, torch, block)
    if not hand.size:
        return Measured(0.0, None, None, None, 0.0)
    return _at_once(hand, torch) or _by_blocks(hand, torch, block)


@np.errstate(all="ignore")  # half as dear as entering it
def _at_once(hand: Array, torch: Array) -> Measured | None:
    """Arrays that have an entry, not block by block; None where a difference is not finite."""
    difference = np.abs(np.subtract(hand, torch, dtype=np.float64))
    position = difference.argmax()
    worst = difference.item(position)
    if not worst < np.inf:
        return None
    scales = np.abs(torch, dtype=np.float64)
    scale = scales.item(scales.argmax())
    return Measured(worst, int(position), float(hand.item(position)), _plain(torch, position), scale)


@np.errstate(all="ignore")
def measured_all(pairs: Sequence[Pair], *, block: int = BLOCK) -> list[Measured]:
    """Measure many pairs of arrays: small ones of float64 laid end to end and reduced segment by segment.

    They are halved until what lies end to end is at most 1/4 of a block.
    """
    sizes = [hand.size for hand, torch in pairs if hand.shape == torch.shape]
    ends = [*accumulate(sizes)]
    if len(pairs) > 1 and ends and ends[-1] > block // 4:
        half = len(pairs) // 2
        return measured_all(pairs[:half], block=block) + measured_all(pairs[half:], block=block)
    together = _end_to_end(pairs) if ends and 0 not in sizes and len(sizes) == len(pairs) else None
    if together is None:
        return [measured(*pair, block=block) for pair in pairs]
    ours, theirs = together
    difference = np.subtract(ours, theirs)
    np.abs(difference, out=difference)
    starts = [0, *ends[:-1]]
    positions = [int(difference[start:end].argmax()) for start, end in zip(starts, ends, strict=True)]
    first = [*map(add, starts, positions)]
    worst = difference.take(first).tolist()
    if not isfinite(sum(worst)):
        return [measured(*pair, block=block) for pair in pairs]
    by_hand, by_torch = together.take(first, axis=1).tolist()
    scales = np.maximum.reduceat(np.abs(theirs, out=difference), starts).tolist()
    rows = zip(worst, positions, by_hand, by_torch, scales, strict=True)
    return [*map(tuple.__new__, repeat(Measured), rows)]  # Measured._make without a Python frame for each


def measured_by_name(names: Iterable[str], by_hand: Arrays, torch: Arrays) -> dict[str, Measured]:
    """How far the two sides are apart, by name, where both have real numbers in the same shape and any at all."""
    both = {name: (by_hand[name], torch[name]) for name in names if name in by_hand and name in torch}
    pairs = {n: (a, b) for n, (a, b) in both.items() if a.shape == b.shape and is_real(a) and is_real(b) and a.size}
    return dict(zip(pairs, measured_all([*pairs.values()]), strict=True))


def _end_to_end(pairs: Sequence[Pair]) -> Array | None:
    """All that is by hand, and all that is in torch, in a row each; None unless it is float64 lying in C order."""
    hand, torch = zip(*pairs, strict=True)
    if {array.dtype for array in hand + torch} != FLOAT64:
        return None
    try:
        return np.frombuffer(b"".join(hand + torch)).reshape(2, -1)  # joining bytes takes half as long as concatenate
    except TypeError:  # strided
        return None


def _by_blocks(hand: Array, torch: Array, block: int) -> Measured:
    """Block after block; as long as all blocks were equal, a comparison is tried before the difference is taken."""
    gap, equal = np.empty(min(hand.size, block)), np.empty(min(hand.size, block), dtype=bool)
    worst, position, scale, start = 0.0, 0, 0.0, 0
    identical = True
    with np.errstate(all="ignore"):
        for ours, theirs in _blocks(hand, torch, block):
            size = ours.size
            scale = _larger(scale, max(float(theirs.max()), -float(theirs.min())))
            identical = identical and bool(np.equal(ours, theirs, out=equal[:size]).all())
            if not identical:
                difference = np.subtract(ours, theirs, out=gap[:size], dtype=np.float64)
                largest = max(float(difference.max()), -float(difference.min()))
                if not largest < np.inf:
                    np.copyto(difference, 0.0, where=np.equal(ours, theirs, out=equal[:size]))  # both infinite
                    largest = float(np.abs(difference, out=difference).max())
                if _larger(worst, largest) is not worst:
                    worst, position = largest, start + int(np.abs(difference, out=difference).argmax())
            start += size
    return Measured(worst, position, float(hand.item(position)), _plain(torch, position), scale)


def _blocks(hand: Array, torch: Array, block: int) -> np.nditer:
    """Both sides flat, in C order, a block at a time in native byte order; copied only where they do not lie so."""
    dtypes = [np.dtype("u1") if side.dtype == bool else side.dtype.newbyteorder("=") for side in (hand, torch)]
    return np.nditer(
        (hand, torch),
        flags=["external_loop", "buffered"],
        op_flags=[["readonly"], ["readonly"]],
        op_dtypes=dtypes,
        order="C",
        buffersize=block,
    )


def _larger(a: float, b: float) -> float:
    """The larger of two numbers, the first if they are equal; nan counts as the largest."""
    return a if a >= b or a != a else b


def _plain(torch: Array, position: int) -> float:
    """The entry at a flat position as plain Python has it: whole numbers as they are, truth as 0.0 or 1.0."""
    value: float = torch.item(position)
    return float(value) if torch.dtype.kind == "b" else value


def differing(first: Arrays, second: Arrays) -> tuple[str, ...]:
    """The names of records in which two calls on the same input differ by more than another order of summation.

    Where one call is in float32 and the other in float64, it is float32 in which the order matters.
    """
    both = [name for name in first if name in second and first[name].shape == second[name].shape]
    floating = [name for name in both if first[name].dtype.kind == second[name].dtype.kind == "f" and first[name].size]
    close = {name for name, is_close in zip(floating, _close(first, second, floating), strict=True) if is_close}
    rest = (name for name in dict.fromkeys([*first, *second]) if name not in close)
    return tuple(name for name in rest if name not in both or not same(first[name], second[name]))


def _close(first: Arrays, second: Arrays, names: Sequence[str]) -> list[bool]:
    """For each name, whether another order of summation explains the difference; the arrays are laid end to end."""
    if not names:
        return []
    sides = [[side[name] for name in names] for side in (first, second)]
    starts = [*accumulate((array.size for array in sides[0][:-1]), initial=0)]
    bounds = [SAME_SUM * max(EPSILON[a.itemsize], EPSILON[b.itemsize]) for a, b in zip(*sides, strict=True)]
    with np.errstate(all="ignore"):
        one, other = (np.concatenate([array.reshape(-1) for array in side], dtype=np.float64) for side in sides)
        difference, scale = (np.maximum.reduceat(np.abs(array), starts) for array in (one - other, one))
        close: list[bool] = (difference <= bounds * scale).tolist()
    return close
