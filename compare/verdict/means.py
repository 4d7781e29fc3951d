"""Whether gradients of intermediates lack the 1/n of the mean, which those of parameters have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from handgrad.compare.errors import InputError
from handgrad.compare.names import gradient
from handgrad.compare.oracle.reference import Reference, run_on_records
from handgrad.compare.oracle.replay import Replay
from handgrad.compare.thresholds import MEAN_IS_KEPT, MEAN_TIMES, RIGHT_END_TO_END
from handgrad.compare.trace import Arrays, is_real
from handgrad.compare.verdict.conventions import Divided
from handgrad.compare.verdict.judgement import Judgement


def gradients_of_taps(end_to_end: Replay) -> set[str]:
    """The names of the gradients of tapped values, without those of parameters and inputs."""
    return {*map(gradient, end_to_end.values)} & end_to_end.gradients.keys()


def mean_left_out(
    judged: Sequence[Judgement], records: Arrays, end_to_end: Replay, params: Arrays, batch: Arrays
) -> Divided | None:
    """The size by which all recorded gradients of taps are too large, and which gradients; None if no size fits.

    The gradients of inputs may be too large by it as well, as a layer's backward returns them, or not. Where there is a
    mistake besides, one gradient of a tap that is too large, and one of a parameter that is right, are enough.
    """
    of_taps, of_inputs = gradients_of_taps(end_to_end), {*map(gradient, batch)}
    recorded = (of_taps | of_inputs) & records.keys() & end_to_end.gradients.keys()
    if not recorded or not any(judgement.finding for judgement in judged):
        return None
    fitting = list[Divided]()
    for size in _sizes(end_to_end, batch):
        larger = {name for name in recorded if _is_times(records[name], end_to_end.gradients[name], size)}
        if larger & of_taps:
            fitting.append(Divided(size, frozenset(larger)))
        if larger & of_taps and recorded - larger <= of_inputs:
            return fitting[-1]
    if not fitting or not _right_end_to_end(records, end_to_end, {*map(gradient, params)}):
        return None
    return replace(fitting[0], larger=fitting[0].larger | (recorded & of_taps))


def _sizes(end_to_end: Replay, batch: Arrays) -> list[int]:
    """What a mean may divide by: axes of the batch, whole arrays of it but the first, and what J is computed from."""
    sizes = {n for array in batch.values() for n in array.shape} | {array.size for array in [*batch.values()][1:]}
    sizes |= {end_to_end.values[name].size for name in end_to_end.reads["J"] if name in end_to_end.values}
    return sorted(sizes - {1})


def is_better(
    read: Sequence[Judgement], judged: Sequence[Judgement], records: Arrays, end_to_end: Replay, params: Arrays
) -> bool:
    """Whether less is left to find where records are `read` in a convention than where they are `judged` as they are.

    Where as much is left, gradients of parameters alone, most of which are right, are the likelier mistake.
    """
    gradients = {*map(gradient, params)}
    left = {judgement.row.name for judgement in read if judgement.finding is not None}
    agree = [not judgement.differs for judgement in read if judgement.row.name in gradients]
    if not left:
        return all(agree)
    before = sum(judgement.finding is not None for judgement in judged)
    right = _right_end_to_end(records, end_to_end, gradients)
    is_likelier = left <= gradients and 2 * len(right) >= len(agree)
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
                J_of_twice = run_on_records(reference, params, twice, {}).values["J"]
            except InputError:  # an axis that may not be longer
                continue
            if abs(J_of_twice - J) <= MEAN_IS_KEPT * abs(J_of_twice):
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
