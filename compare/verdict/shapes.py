"""Whether records can be compared at all: by their names, types and shapes, before any value is looked at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from handgrad.compare.errors import closest
from handgrad.compare.facts.causes import Cause
from handgrad.compare.facts.failures import NotComputed, UnknownName, WrongShape
from handgrad.compare.facts.remarks import OtherShape
from handgrad.compare.names import Key, of_gradient, spells_gradient
from handgrad.compare.results import Finding, Row
from handgrad.compare.thresholds import SAME_TENSOR
from handgrad.compare.trace import finest, is_real, not_real
from handgrad.compare.verdict.judgement import EndToEnd, Judgement
from handgrad.compare.verdict.rounding import Witness

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Fitted:
    """Records brought to the shapes that are due, where their sizes agree.

    `misshapen` holds, by name, what is wrong about a record that cannot be subtracted from an array of its shape.
    """

    records: dict[str, np.ndarray]
    misshapen: dict[str, WrongShape]
    notes: list[OtherShape]


def fitted(records: Mapping[str, np.ndarray], shapes: Mapping[str, Shape]) -> Fitted:
    """Bring each record to its shape: with a note if it can be subtracted from an array of that shape, else misshapen.

    d can be subtracted from p if np.broadcast_shapes(p.shape, d.shape) == p.shape and both have as many entries.
    """
    result = Fitted(dict(records), {}, [])
    for name, due in shapes.items():
        record = records.get(name)
        if record is None or record.shape == due or record.size != np.prod(due, dtype=int):
            continue
        is_transposed = record.ndim == 2 and record.shape == due[::-1] and 1 not in due
        result.records[name] = record.T if is_transposed else record.reshape(due)
        fits_without_growing = due[len(due) - record.ndim :] == record.shape  # of as many entries
        if not is_transposed and (name == "J" or fits_without_growing):
            result.notes.append(OtherShape(name, record.shape, due))
        else:
            result.misshapen[name] = WrongShape(record.shape, due)
    return result


def misfit_of_step(key: Key, equation: str, witnesses: Mapping[str, Witness], end_to_end: EndToEnd) -> Judgement | None:
    """The judgement on a record that cannot be compared with torch's, or None: `misfit`, and names that torch lacks."""
    by_hand, torch = end_to_end
    known = finest(witnesses).local
    records = {dtype: witness.records.get(key.name) for dtype, witness in witnesses.items()}
    if all(record is not None and is_real(record) for record in records.values()):
        if key.name not in known:
            return _judged(key, "FAULT", _unknown_name(key.name, by_hand, known), by_hand[key.name].shape, equation)
        return misfit(key, records, dict.fromkeys(records, known[key.name].shape), equation)
    due = torch[key.name].shape if key.name in torch else ()
    unknown = {n: array for n, array in by_hand.items() if n not in known}
    return misfit(key, records, dict.fromkeys(records, due), equation, _meant(key.name, unknown, torch))


def _meant(name: str, unknown: Mapping[str, np.ndarray], torch: Mapping[str, np.ndarray]) -> str:
    """What was most likely returned in a tensor's place under a name that torch lacks: by value, or else by name."""
    candidates = (
        *(other for other, array in unknown.items() if name in torch and alike(array, torch[name])),
        *(other for other in unknown if spells_gradient(other, of_gradient(name))),
        *get_close_matches(name, unknown, n=1),
    )
    return next(iter(candidates), "")


def alike(record: np.ndarray, tensor: np.ndarray) -> bool:
    """Whether a record may be taken for a tensor: in its shape, with nearly its values, which are not all zero."""
    if not is_real(record) or record.shape != tensor.shape or not record.size:
        return False
    scale = float(np.max(np.abs(tensor)))
    return bool(0 < scale < np.inf and np.all(np.abs(record - tensor) <= SAME_TENSOR * scale))


def misfit(
    key: Key,
    records: Mapping[str, np.ndarray | None],
    due: Mapping[str, Shape],
    equation: str = "",
    similar: str = "",
) -> Judgement | None:
    """The judgement on a record that is missing, no array of real numbers or of another shape; None for any other.

    `records` has it by dtype, `due` the shape that it must have by dtype; `similar` is a name that was returned and
    that nothing has.
    """
    missing = [dtype for dtype, record in records.items() if record is None]
    if missing:
        cause: Cause = NotComputed(similar, missing[0] if len(missing) < len(records) else "")
        return _judged(key, "MISSING", cause, next(iter(due.values())), equation)
    present = {dtype: record for dtype, record in records.items() if record is not None}
    for record in present.values():
        if not is_real(record):
            return _judged(key, "MISSING", not_real(record), record.shape, equation)
    wrong = {dtype: record.shape for dtype, record in present.items() if record.shape != due[dtype]}
    if not wrong:
        return None
    dtype, shape = next(iter(wrong.items()))
    cause = WrongShape(shape, due[dtype], dtype if len(wrong) < len(records) else "")
    return _judged(key, "FAULT", cause, shape, equation)


def _judged(key: Key, verdict: str, cause: Cause, shape: Shape, equation: str) -> Judgement:
    row = Row(*key, equation=equation, shape=shape, max_abs_diff=float("nan"), verdict=verdict)
    return Judgement(row, Finding(key, verdict, cause, equation=equation), differs=True)


def _unknown_name(name: str, by_hand: Iterable[str], known: Iterable[str]) -> UnknownName:
    """The nearest name that torch has, of those that are missing if one of them is near."""
    missing = [other for other in known if other not in by_hand]
    names = missing if get_close_matches(name, missing) else [*known]
    return UnknownName(closest(name, names), tuple(names))
