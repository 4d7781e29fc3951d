"""What a side computed in one step: ordered records, frozen."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from handgrad.compare.names import PHASES, Key

__all__ = ["Trace", "extend", "frozen", "is_real", "step_trace"]

Trace = dict[Key, np.ndarray]
Phases = Iterator[tuple[int, str, Mapping[str, Any]]]


def frozen(value: Any) -> np.ndarray:
    """A read-only copy: whatever its owner does later, the record stays what it was.

    What is neither an array nor a number, a list for example, is recorded as the name of its type.
    """
    plain = type(value) is np.ndarray or isinstance(value, (np.generic, float, int))
    array = np.array(value) if plain else np.array(type(value).__name__, dtype=object)
    array.setflags(write=False)
    return array


def is_real(record: np.ndarray) -> bool:
    """Whether a record is an array of real numbers of at most 64 bits."""
    return record.dtype.kind in "biuf" and record.dtype.itemsize <= 8


def step_trace(phases: Phases, copy: Callable[[Any], np.ndarray] = frozen) -> Trace:
    """Draw one step, phase by phase, from a side that is training, copying each record; empty if it has ended."""
    trace: Trace = {}
    extend(trace, phases, copy)
    return trace


def extend(trace: Trace, phases: Phases, copy: Callable[[Any], np.ndarray] = frozen) -> None:
    """As step_trace, into a trace that keeps what was recorded before the side raised an exception."""
    for step, phase, values in phases:
        trace.update({Key(step, phase, str(name)): copy(value) for name, value in values.items()})
        if phase == PHASES[-1]:
            return
