"""Whether a gradient fits its parameter: what may be subtracted from it without broadcasting, and what may not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["Fitted", "fitted", "shape_hint"]

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Fitted:
    """Records brought to the shapes that they should have, where their sizes agree.

    `misshapen` says what is wrong about a gradient that cannot be subtracted from its parameter, by name.
    """

    records: dict[str, np.ndarray]
    misshapen: dict[str, str]
    notes: list[str]


def fitted(records: Mapping[str, np.ndarray], shapes: Mapping[str, Shape]) -> Fitted:
    """Bring each record to its shape: a note if it can be subtracted from an array of that shape, else misshapen.

    d can be subtracted from p if np.broadcast_shapes(p.shape, d.shape) == p.shape and both have as many entries.
    """
    found = Fitted(dict(records), {}, [])
    for name, expected in shapes.items():
        record = records.get(name)
        if record is None or record.shape == expected or record.size != np.prod(expected, dtype=int):
            continue
        turned = record.ndim == 2 and record.shape == expected[::-1] and 1 not in expected
        found.records[name] = record.T if turned else record.reshape(expected)
        if not turned and (_broadcast(expected, record.shape) == expected or name == "J"):
            found.notes.append(f"{name} has shape {record.shape} where {expected} is due; it has the same entries.")
        else:
            found.misshapen[name] = (
                f"its shape is {record.shape}, it must be {expected}{shape_hint(record.shape, expected)}"
            )
    return found


def shape_hint(got: Shape, expected: Shape) -> str:
    """What a wrong shape looks like, or nothing."""
    both = _broadcast(expected, got)
    if len(got) == 2 and got == expected[::-1]:
        return ", it looks transposed"
    if len(expected) == len(got) + 1 and expected == (*got, 1):
        return ", it lost its last axis" + _subtracted(both, expected)
    if len(expected) == 2 and 1 in expected and len(got) == 2 and got[0] == got[1] == max(expected):
        return f", it looks broadcast to {got}"
    return _subtracted(both, expected)


def _subtracted(both: Shape | None, expected: Shape) -> str:
    if both is None or both == expected:
        return ""
    return f", and subtracting it would give {both} by broadcasting"


def _broadcast(a: Shape, b: Shape) -> Shape | None:
    try:
        return np.broadcast_shapes(a, b)
    except ValueError:
        return None
