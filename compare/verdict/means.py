"""The convention that gradients of intermediates lack the 1/n of the mean, which those of parameters have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from handgrad.compare.errors import InputError
from handgrad.compare.oracle.reference import Evidence, Reference, run_reference
from handgrad.compare.oracle.replay import Replay
from handgrad.compare.trace import is_real
from handgrad.compare.verdict.steps import Judgement

__all__ = ["LEFT_OUT", "divided_by", "gradients_of_taps", "is_mean", "mean_left_out", "right_end_to_end"]

Arrays = Mapping[str, np.ndarray]
LEFT_OUT = (
    "Convention: the gradients of intermediates lack the 1/{} of the mean, which those of parameters have; "
    "they are shown divided by it."
)


def mean_left_out(
    judged: Sequence[Judgement], records: Arrays, end_to_end: Replay, params: Arrays, batch: Arrays
) -> tuple[int, set[str]] | None:
    """The size by which all recorded gradients of taps are too large, and which gradients; None if no size fits.

    It is that of an axis of the batch, or of all of an array of the batch but its first, or of what J is computed from.
    The gradients of inputs may have it, as a layer's backward returns them, or not. Where there is a mistake besides,
    one gradient of a tap that is larger, and one of a parameter that is right, have to do.
    """
    of_taps, of_inputs = gradients_of_taps(end_to_end), {f"d{name}" for name in batch}
    between = (of_taps | of_inputs) & records.keys() & end_to_end.gradients.keys()
    if not between or not any(judgement.finding for judgement in judged):
        return None
    sizes = {n for array in batch.values() for n in array.shape} | {array.size for array in [*batch.values()][1:]}
    sizes |= {end_to_end.values[name].size for name in end_to_end.reads["J"] if name in end_to_end.values}
    by_size = {
        size: {name for name in between if _is_times(records[name], end_to_end.gradients[name], size)}
        for size in sorted(sizes - {1})
    }
    found = {size: larger for size, larger in by_size.items() if larger & of_taps}
    whole = next(((size, larger) for size, larger in found.items() if between - larger <= of_inputs), None)
    if whole is None and right_end_to_end(records, end_to_end, {f"d{name}" for name in params}):
        return next(((size, larger | (between & of_taps)) for size, larger in found.items()), None)
    return whole


def right_end_to_end(records: Arrays, end_to_end: Replay, names: set[str]) -> list[str]:
    """Those of some gradients that are torch's to within 1 %."""
    both = names & records.keys() & end_to_end.gradients.keys()
    return [name for name in both if _is_times(records[name], end_to_end.gradients[name], 1, within=1e-2)]


def is_mean(reference: Reference, params: Arrays, batch: Arrays, end_to_end: Replay, size: int) -> bool:
    """Whether J is a mean over an axis of the batch that divides a size: it is the same of every example twice."""
    for n in {n for array in batch.values() for n in array.shape if n > 1 and size % n == 0}:
        for side in (0, -1):  # in rows or in columns, where both are of this size
            axes = {name: [axis for axis, m in enumerate(array.shape) if m == n] for name, array in batch.items()}
            twice = {
                name: np.concatenate([array, array], axis=axes[name][side]) if axes[name] else array
                for name, array in batch.items()
            }
            try:
                J = run_reference(reference, params, twice, {}, "float64").values["J"]
            except InputError:  # an axis that may not be longer
                continue
            if abs(J - end_to_end.values["J"]) <= 1e-4 * abs(J):
                return True
    return False


def _is_times(record: np.ndarray, reference: np.ndarray, factor: float, within: float = 1e-3) -> bool:
    """Whether a record is a factor times torch's, about; what it is exactly is judged after the division."""
    if not is_real(record) or record.shape != reference.shape or not np.isfinite(record).all():
        return False
    return bool(np.max(np.abs(record / factor - reference)) <= within * np.max(np.abs(reference)))


def divided_by(evidence: Mapping[str, Evidence], factor: float, larger: set[str]) -> dict[str, Evidence]:
    """The same with the larger gradients divided by the factor, in float64 so that none is rounded again."""

    def divided(records: Arrays) -> Arrays:
        return {n: a.astype(np.float64) / factor if n in larger and is_real(a) else a for n, a in records.items()}

    found = {}
    for dtype, each in evidence.items():
        derive = each.derive
        again = None if derive is None else (lambda moved, derive=derive: divided(derive(moved)))
        found[dtype] = replace(each, records=divided(each.records), derive=again)
    return found


def gradients_of_taps(end_to_end: Replay) -> set[str]:
    """The names of the gradients of tapped values, those of leaves left out."""
    return {f"d{name}" for name in end_to_end.values} & end_to_end.gradients.keys()
