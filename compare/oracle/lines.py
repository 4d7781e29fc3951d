"""Which line of the reference is at work: the one that calls torch, or whose step autograd differentiates."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from handgrad.compare.ownership import is_theirs

_A_LINE = re.compile(r'File "(.*)", line (\d+), in ')


class Place(NamedTuple):
    """A line of the reference, how often it has been come to, and the direction."""

    file: str
    line: int
    visit: int
    is_backward: bool


@dataclass
class Lines:
    """Where torch is called from, forward, or was for the step that is being differentiated."""

    last: tuple[str, int, bool] | None = None
    visits: Counter[tuple[str, int, bool]] = field(default_factory=Counter)

    def place(self) -> Place | None:
        """The line that is at work now; None where it cannot be told."""
        node = torch._C._current_autograd_node()
        found = _line_of_code() if node is None else _line_of_traceback(node)
        if found is None:
            return None
        here = (*found, node is not None)
        if here != self.last:
            self.last = here
            self.visits[here] += 1
        return Place(*found, self.visits[here], node is not None)


def _line_of_code() -> tuple[str, int] | None:
    """The innermost line that is the user's."""
    frame = inspect.currentframe()
    while frame is not None and not is_theirs(frame.f_code.co_filename):
        frame = frame.f_back
    return None if frame is None else (frame.f_code.co_filename, frame.f_lineno)


def _line_of_traceback(node: Any) -> tuple[str, int] | None:
    """The line whose step autograd differentiates, which it keeps where anomalies are looked for."""
    for text in reversed(node.metadata.get("traceback_", [])):
        found = _A_LINE.search(text)
        if found and is_theirs(found[1]):
            return found[1], int(found[2])
    return None
