"""What an exception of the hand-written side says: which equation raised it, and what had been computed by then."""

from __future__ import annotations

import linecache
import re
import warnings
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from types import FrameType

import numpy as np

from handgrad.compare.names import PHASES, Key
from handgrad.compare.equations import EQUATIONS
from handgrad.compare.report import Finding
from handgrad.compare.trace import Trace, frozen

__all__ = ["interrupted", "quietly", "raised", "unending"]

# The variables of `manual` that hold the selected batch; the dictionaries in which its functions collect what they
# return, with the phase of each and its record names.
_SELECTED = {"X_batch": "X", "Y_batch": "Y"}
_COLLECTED = {
    "cache": ("forward", "{}"),
    "costs": ("loss", "{}"),
    "gradients": ("backward", "{}"),
    "moved": ("update", "{}"),
    "updated": ("update", "{}_next"),
}


def interrupted(step: int, error: BaseException) -> Trace:
    """What the hand-written side had computed in the functions that an exception left, read from its traceback.

    A tensor of the wrong shape often raises only where it is used next; this is how its own equation gets the blame.
    """
    trace: Trace = {}
    for frame, _ in _frames_by_hand(error):
        for variable, name in _SELECTED.items():
            if variable in frame.f_locals:
                trace[Key(step, "forward", name)] = frozen(frame.f_locals[variable])
        for variable, (phase, pattern) in _COLLECTED.items():
            if variable in frame.f_code.co_varnames[frame.f_code.co_argcount + frame.f_code.co_kwonlyargcount :]:
                collected = frame.f_locals.get(variable)
                for name, value in collected.items() if isinstance(collected, dict) else ():
                    trace[Key(step, phase, pattern.format(name))] = frozen(value)
    return trace


def unending(step: int) -> Finding:
    """A step of the hand-written side for which there is no batch."""
    text = f"it takes step {step}, for which there is no batch; end with the last one, in batches.py or training.py"
    return Finding(step, "forward", "X", "O2", "FAULT", "unknown", text)


@contextmanager
def quietly() -> Iterator[None]:
    """Without the warnings of NumPy and Python: what overflows or loses its imaginary part shows in the values."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _frames_by_hand(error: BaseException) -> list[tuple[FrameType, int]]:
    """The frames of an exception that lie in `manual`, outermost first, each with the line it had come to."""
    entries = list(walk_tb(error.__traceback__))
    return [(frame, line) for frame, line in entries if Path(frame.f_code.co_filename).parent.name == "manual"]


def raised(step: int, complete: Set[str], error: BaseException) -> Finding:
    """An exception of the hand-written side, against the equation on whose line it was raised.

    On a line without a label, in the function that raised it, that is the equation of the closest line above which is
    no head of a loop.
    """
    phase = next((phase for phase in PHASES if phase not in complete), PHASES[-1])
    label, place = "", ""
    frames = _frames_by_hand(error)
    for frame, line_number in frames:
        path = Path(frame.f_code.co_filename)
        first = frame.f_code.co_firstlineno if frame is frames[-1][0] else line_number
        lines = [linecache.getline(str(path), number) for number in range(line_number, first - 1, -1)]
        labels = [
            re.search(r"# \(([A-Z]\d)\)", lines[0]),
            *(re.search(r"[^:\s]\s*# \(([A-Z]\d)\)", line) for line in lines[1:]),
        ]
        label = next((found[1] for found in labels if found), label)
        place = f"manual/{path.name} line {line_number}"
    name = EQUATIONS.get(label, phase).partition(" = ")[0]
    what = " ".join(f"{type(error).__name__}{f' in {place}' if place else ''}: {error}".split())
    return Finding(step, phase, name, label, "FAULT", "exception", what)
