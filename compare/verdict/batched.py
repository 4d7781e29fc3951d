"""Steps where rounding explains everything: judged at once and given their rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from handgrad.compare.results import Row
from handgrad.compare.trace import Arrays
from handgrad.compare.verdict.bounds import PRECISIONS, Allowance
from handgrad.compare.verdict.closeness import Local, closest, index_of
from handgrad.compare.verdict.differences import AFFECTED
from handgrad.compare.verdict.judgement import EndToEnd, Judgement

Allowed = Callable[[str, str], Allowance]  # what rounding explains in a tensor, of the stacked runs of a dtype
Label = tuple[str, str, str]  # phase, name and equation of a tensor


def judge_stack(
    labelled: Sequence[Label],
    steps: Sequence[int],
    parts: Mapping[str, slice],
    both: tuple[Arrays, Arrays],
    allowed: Allowed,
    end_to_end: EndToEnd,
) -> list[list[Judgement] | None]:
    """Judge several steps at once where rounding explains everything; None for a step that needs a closer look.

    `labelled` holds the tensors in dataflow order. `both` are the records and torch on them, each tensor stacked along
    a first axis, the steps of one dtype after those of the other: (dtypes * steps, ...), where `parts` says which are
    whose. In `end_to_end` each is stacked over the steps, (steps, ...).
    """

    def times(name: str) -> np.ndarray:
        """rho of each step, over the dtypes."""
        local = {dtype: Local(*(side[name][part] for side in both)) for dtype, part in parts.items()}
        rho = [closest(of, allowed(name, d), PRECISIONS[d], runs=len(steps))[0] for d, of in local.items()]
        return np.asarray(np.max(rho, axis=0))

    columns = (_rows(label, steps, times(label[1]), *(side[label[1]] for side in end_to_end)) for label in labelled)
    return [[*rows] if all(row.rho <= 1 for row, *_ in rows) else None for rows in zip(*columns, strict=True)]


def _rows(label: Label, steps: Sequence[int], rho: np.ndarray, hand: np.ndarray, torch: np.ndarray) -> list[Judgement]:
    """The rows of one tensor at every step; both sides are stacked over the steps."""
    phase, name, equation = label
    flat = [side.reshape(len(steps), -1) for side in (hand, torch)]
    apart = np.abs(np.subtract(*flat, dtype=np.float64))
    np.copyto(apart, 0.0, where=np.equal(*flat))  # both infinite
    worst = apart.argmax(axis=1)
    each = np.arange(len(steps)), worst
    index = [index_of(flat, hand.shape[1:]) for flat in worst.tolist()]
    differs = ~(apart[each] <= AFFECTED[torch.dtype] * np.abs(flat[1]).max(axis=1))
    columns = (apart[each], flat[0][each], flat[1][each], rho, differs)
    rows = zip(steps, index, *(column.tolist() for column in columns), strict=True)
    return [
        Judgement(
            Row(step, phase, name, equation, hand.shape[1:], gap, at, ours, theirs, times, "bound", "OK"), None, far
        )
        for step, at, gap, ours, theirs, times, far in rows
    ]
