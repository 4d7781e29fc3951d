"""What an exception of the hand-written side says: which equation raised it, and what had been computed by then."""

from __future__ import annotations

import linecache
import re
from collections.abc import Collection
from inspect import getargvalues
from pathlib import Path
from traceback import walk_tb
from types import FrameType

import numpy as np

from handgrad.compare.facts.failures import Raised
from handgrad.compare.sandbox import located
from handgrad.compare.trace import frozen


def located_by_hand(error: BaseException) -> tuple[Raised, str]:
    """An exception with its place in `manual`, and the label of the equation on whose line it was raised.

    On a line without a label, in the function that raised it, that is the equation of the closest line above which is
    no head of a loop.
    """
    label, frames = "", _frames_by_hand(error)
    for frame, number in frames:
        first = frame.f_code.co_firstlineno if frame is frames[-1][0] else number
        lines = [linecache.getline(frame.f_code.co_filename, at) for at in range(number, first - 1, -1)]
        matches = [
            re.search(r"# \(([A-Z]\d)\)", lines[0]),
            *(re.search(r"[^:\s]\s*# \(([A-Z]\d)\)", line) for line in lines[1:]),
        ]
        label = next((match[1] for match in matches if match), label)
    return located(error), label


def recorded_before(error: BaseException, due: Collection[str]) -> dict[str, np.ndarray]:
    """The tensors of these names in mappings that the functions which an exception left were filling.

    A tensor of the wrong shape often raises only where it is used next; this is how its own equation gets the blame.
    """
    frames = [frame for frame, _ in _frames_by_hand(error)]
    handed = {id(frame.f_locals.get(name)) for frame in frames for name in getargvalues(frame).args}
    records: dict[str, np.ndarray] = {}
    for value in (value for frame in frames for value in frame.f_locals.values()):
        if isinstance(value, dict) and id(value) not in handed:
            records |= {name: frozen(array) for name, array in value.items() if name in due}
    return records


def _frames_by_hand(error: BaseException) -> list[tuple[FrameType, int]]:
    """The frames of an exception that lie in `manual`, outermost first, each with the line it had come to."""
    entries = list(walk_tb(error.__traceback__))
    return [(frame, line) for frame, line in entries if Path(frame.f_code.co_filename).parent.name == "manual"]
