"""Which line of the user's code made an array, or changed it last: seen by running the code once more under a trace."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np

from handgrad.compare.ownership import is_theirs
from handgrad.compare.sandbox import CAUGHT, quietly

EVENTS = 20_000  # lines: so many are watched
NUMBERS = 10**5  # in an array: so many are watched for a change
ITEMS = 100  # in a list: so many are looked at
At = tuple[str, int]  # file and line


class _Watch:
    """A trace function that notes, line by line, which arrays are new and which have changed."""

    def __init__(self) -> None:
        """Nothing was seen yet."""
        self.made: dict[int, At] = {}
        self.sums: dict[int, int] = {}
        self.kept: list[np.ndarray] = []  # so that no two arrays ever have the same identity
        self.events = 0

    def called(self, frame: FrameType, event: str, arg: Any) -> Any:
        """The trace function of every call; arguments that were made for it count as made on the caller's line."""
        if not is_theirs(frame.f_code.co_filename) or self.events > EVENTS:
            return None
        caller = frame.f_back
        at = (caller.f_code.co_filename, caller.f_lineno) if caller and is_theirs(caller.f_code.co_filename) else None
        self._note(at, frame.f_locals)
        last = [frame.f_lineno]

        def local(frame: FrameType, event: str, arg: Any) -> Any:
            self.events += 1
            if self.events > EVENTS:
                return None
            if event in ("line", "return"):
                self._note((frame.f_code.co_filename, last[0]), frame.f_locals)
                last[0] = frame.f_lineno
            if event == "return":
                self._note((frame.f_code.co_filename, last[0]), {"": arg})
            return local

        return local

    def _note(self, at: At | None, values: Mapping[str, Any]) -> None:
        for array in _arrays(values.values()):
            key = id(array)
            total = zlib.crc32(array.tobytes()) if array.size <= NUMBERS else 0
            self.events += array.nbytes >> 16  # reading 64 KiB takes about as long as a line
            if self.sums.get(key) != total and at is not None:
                self.made[key] = at
            if key not in self.sums:
                self.kept.append(array)
            self.sums[key] = total


def _arrays(values: Iterable[Any], depth: int = 2) -> Iterator[np.ndarray]:
    """The arrays among some values, and those that lists, mappings and objects among them hold."""
    for value in values:
        if type(value) is np.ndarray:
            if value.dtype != object:
                yield value
        elif depth:
            yield from _arrays(_parts(value), depth - 1)


def _parts(value: Any) -> Sequence[Any]:
    """What a mapping, a list, or an object of a class of the user's holds."""
    if isinstance(value, dict):
        return [*value.values()]
    if isinstance(value, (list, tuple)):
        return value if len(value) <= ITEMS else ()
    of_library = type(value).__module__.split(".")[0] in ("builtins", "numpy", "torch")  # as a module, a function
    if of_library or isinstance(value, type) or not hasattr(value, "__dict__"):
        return ()
    return [*vars(value).values()]


@contextmanager
def _without_leftovers() -> Iterator[None]:
    """np.empty and np.empty_like fill with nan meanwhile, in the whole process.

    They hand out memory with what an earlier run left in it, often the very values that the code then writes. With nan
    there, the line that writes them is seen to change the array.
    """
    functions = {name: getattr(np, name) for name in ("empty", "empty_like")}
    try:
        vars(np).update({name: _filling_with_nan(function) for name, function in functions.items()})
        yield
    finally:
        vars(np).update(functions)


def _filling_with_nan(function: Callable[..., Any]) -> Callable[..., Any]:
    def filled(*args: Any, **kwargs: Any) -> Any:
        array = function(*args, **kwargs)
        if type(array) is np.ndarray and array.dtype.kind in "fc":
            array.fill(np.nan)
        return array

    return filled


def seen(function: Callable[[], Any]) -> dict[str, At]:
    """Where each array in the mapping that a call returns was made or changed last, by name, as far as it was seen.

    Nothing where the code raises.
    """
    watch, before = _Watch(), sys.gettrace()
    with quietly(), _without_leftovers():
        sys.settrace(watch.called)
        try:
            returned = function()
            items = returned.items() if isinstance(returned, Mapping) else ()
            arrays = {str(name): value for name, value in items if type(value) is np.ndarray}
        except CAUGHT:
            return {}
        finally:
            sys.settrace(before)
    places = {name: watch.made.get(id(value)) for name, value in arrays.items()}
    if watch.events > EVENTS:  # what changed unwatched would be placed wrongly
        return {}
    return {name: at for name, at in places.items() if at is not None}
