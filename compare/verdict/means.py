"""Whether gradients of intermediates lack the 1/n of the mean, which those of parameters have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from handgrad.compare.errors import InputError
from handgrad.compare.names import gradient
from handgrad.compare.oracle.reference import Reference, run_on_records
from handgrad.compare.oracle.replay import Replay
from handgrad.compare.thresholds import MEAN_IS_KEPT, MEAN_TIMES, RIGHT_END_TO_END
from handgrad.compare.trace import Arrays, is_real
from handgrad.compare.verdict.conventions import Divided
from handgrad.compare.verdict.judgement import Judgement

__all__ = ["gradients_of_taps", "is_better", "is_mean", "mean_left_out"]


def gradients_of_taps(end_to_end: Replay) -> set[str]:
    """The names of the gradients of tapped values, those of leaves left out."""
    return {*map(gradient, end_to_end.values)} & end_to_end.gradients.keys()


def mean_left_out(
    judged: Sequence[Judgement], records: Arrays, end_to_end: Replay, params: Arrays, batch: Arrays
) -> Divided | None:
    """The size by which all recorded gradients of taps are too large, and which gradients; None if no size fits.

    It is that of an axis of the batch, or of all of an array of the batch but its first, or of what J is computed from.
    The gradients of inputs may have it, as a layer's backward returns them, or not. Where there is a mistake besides,
    one gradient of a tap that is larger, and one of a parameter that is right, have to do.
    """
    of_taps, of_inputs = gradients_of_taps(end_to_end), {*map(gradient, batch)}
    between = (of_taps | of_inputs) & records.keys() & end_to_end.gradients.keys()
    if not between or not any(judgement.finding for judgement in judged):
        return None
    sizes = {n for array in batch.values() for n in array.shape} | {array.size for array in [*batch.values()][1:]}
    sizes |= {end_to_end.values[name].size for name in end_to_end.reads["J"] if name in end_to_end.values}
    by_size = {
        size: {name for name in between if _is_times(records[name], end_to_end.gradients[name], size)}
        for size in sorted(sizes - {1})
    }
    fitting = {size: larger for size, larger in by_size.items() if larger & of_taps}
    whole = next(((size, larger) for size, larger in fitting.items() if between - larger <= of_inputs), None)
    if whole is None and _right_end_to_end(records, end_to_end, {*map(gradient, params)}):
        whole = next(((size, larger | (between & of_taps)) for size, larger in fitting.items()), None)
    return None if whole is None else Divided(whole[0], frozenset(whole[1]))


def is_better(
    read: Sequence[Judgement], judged: Sequence[Judgement], records: Arrays, end_to_end: Replay, params: Arrays
) -> bool:
    """Whether less is left to find if records are read in a convention: nothing, or a parameter's gradient alone."""
    gradients = {*map(gradient, params)}
    left = [judgement.row.name for judgement in read if judgement.finding is not None]
    agree = [not judgement.differs for judgement in read if judgement.row.name in gradients]
    if not left:
        return all(agree)
    before = sum(judgement.finding is not None for judgement in judged)
    right = _right_end_to_end(records, end_to_end, gradients)
    is_likelier = {*left} <= gradients and 2 * len(right) >= len(agree)
    return (len(left), not is_likelier) < (before, True)


def is_mean(reference: Reference, params: Arrays, batch: Arrays, J: np.ndarray, size: int) -> bool:
    """Whether J is a mean over an axis of the batch that divides a size: it is the same of every example twice."""
    for n in {n for array in batch.values() for n in array.shape if n > 1 and size % n == 0}:
        for side in (0, -1):  # in rows or in columns, where both are of this size
            axes = {name: [axis for axis, m in enumerate(array.shape) if m == n] for name, array in batch.items()}
            twice = {
                name: np.concatenate([array, array], axis=axes[name][side]) if axes[name] else array
                for name, array in batch.items()
            }
            try:
                again = run_on_records(reference, params, twice, {}).values["J"]
            except InputError:  # an axis that may not be longer
                continue
            if abs(again - J) <= MEAN_IS_KEPT * abs(again):
                return True
    return False


def _right_end_to_end(records: Arrays, end_to_end: Replay, names: set[str]) -> list[str]:
    """Those of some gradients that are torch's to within 1 %."""
    both = names & records.keys() & end_to_end.gradients.keys()
    return [name for name in both if _is_times(records[name], end_to_end.gradients[name], 1, within=RIGHT_END_TO_END)]


def _is_times(record: np.ndarray, reference: np.ndarray, factor: float, within: float = MEAN_TIMES) -> bool:
    """Whether a record is a factor times torch's, about; what it is exactly is judged after the division."""
    if not is_real(record) or record.shape != reference.shape or not np.isfinite(record).all():
        return False
    return bool(np.max(np.abs(record / factor - reference)) <= within * np.max(np.abs(reference)))
