"""Which line of the reference is at work: the one that calls torch, or whose step autograd differentiates."""

from __future__ import annotations

import inspect
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from handgrad.compare.ownership import is_theirs


class Place(NamedTuple):
    """A line of the reference, how often it has been come to, and the direction."""

    file: str
    line: int
    visit: int
    is_backward: bool = False


class _Call(NamedTuple):
    """A call of torch: its line, its place in the compiled code, and what is called."""

    file: str
    line: int
    instruction: int
    kind: str


@dataclass
class Lines:
    """Where torch is called from, forward, or was for the step that is being differentiated.

    A line is come to again from another one, or where it calls again what it called first, as a loop in one line does.
    """

    last: _Call | None = None
    first: _Call | None = None
    visits: Counter[tuple[str, int]] = field(default_factory=Counter)
    differentiated: dict[int, Place] = field(default_factory=dict)  # by the number that autograd gives a step

    def place(self, kind: str) -> Place | None:
        """The line that is at work now, with a kind of operation; None where it cannot be told."""
        node = torch._C._current_autograd_node()
        if node is not None:
            done = self.differentiated.get(node._sequence_nr())
            return done and done._replace(is_backward=True)
        call = _call(kind)
        if call is None:
            return None
        if self.last is None or call[:2] != self.last[:2] or call == self.first:
            self.first = call
            self.visits[call[:2]] += 1
        self.last = call
        place = Place(call.file, call.line, self.visits[call[:2]])
        self.differentiated.setdefault(torch._C._autograd._get_sequence_nr() - 1, place)  # of the step just begun
        return place


def _call(kind: str) -> _Call | None:
    """The innermost call that is in the user's code."""
    frame = inspect.currentframe()
    while frame is not None and not is_theirs(frame.f_code.co_filename):
        frame = frame.f_back
    return None if frame is None else _Call(frame.f_code.co_filename, frame.f_lineno, frame.f_lasti, kind)
