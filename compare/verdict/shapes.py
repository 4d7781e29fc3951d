"""Whether a gradient fits its parameter: what may be subtracted from it without broadcasting, and what may not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from handgrad.compare.failures import WrongShape
from handgrad.compare.remarks import OtherShape

__all__ = ["Fitted", "fitted"]

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
        if not is_transposed and (name == "J" or _fits_without_growing(record.shape, due)):
            result.notes.append(OtherShape(name, record.shape, due))
        else:
            result.misshapen[name] = WrongShape(record.shape, due)
    return result


def _fits_without_growing(shape: Shape, due: Shape) -> bool:
    """Whether an array of one shape can be subtracted from one of another without making it larger."""
    try:
        return np.broadcast_shapes(due, shape) == due
    except ValueError:
        return False
