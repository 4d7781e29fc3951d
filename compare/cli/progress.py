"""What is running, said on a terminal while it takes long, and where it was stopped."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from traceback import FrameSummary, extract_stack
from typing import TypeVar

from handgrad.compare.ownership import is_theirs

T = TypeVar("T")
PATIENCE, INTERVAL = 2.0, 0.5  # seconds: until the line is shown, and until it is shown anew


@contextmanager
def shown(patience: float = PATIENCE, interval: float = INTERVAL) -> Iterator[None]:
    """A line on standard error, if that is a terminal, of what has been running for so many seconds and more."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield
        return
    done = threading.Event()
    line = threading.Thread(target=_keep_shown, args=(threading.get_ident(), done, patience, interval), daemon=True)
    line.start()
    try:
        yield
    finally:
        done.set()
        line.join()


def _keep_shown(thread: int, done: threading.Event, patience: float, interval: float) -> None:
    """Show the line until it is done, and then remove it."""
    start, width, wait = time.monotonic(), 0, patience
    while not done.wait(wait):
        frame = sys._current_frames().get(thread)
        text = f"handgrad: {time.monotonic() - start:.0f} s{place_of(extract_stack(frame) if frame else ())}"[:79]
        width, wait = max(width, len(text)), interval
        print(f"\r{text.ljust(width)}", end="", file=sys.stderr, flush=True)
    if width:
        print(f"\r{' ' * width}\r", end="", file=sys.stderr, flush=True)


def place_of(frames: Iterable[FrameSummary]) -> str:
    """Which function of the user's is running, as the end of a sentence; nothing where none is."""
    theirs = [frame for frame in frames if is_theirs(frame.filename)]
    if not theirs or theirs[-1].name == "<module>":
        return ""
    return f" in {theirs[-1].name}, {os.path.basename(theirs[-1].filename)} line {theirs[-1].lineno}"  # noqa: PTH119


def bar(items: Iterable[T], total: int, unit: str) -> Iterable[T]:
    """So many items with a bar on standard error, if that is a terminal; as they are in a pipe."""
    try:
        from tqdm import tqdm
    except ImportError:  # it comes with the extra `report`
        return items
    wrapped: Iterable[T] = tqdm(items, total=total, unit=unit, leave=False, disable=None)
    return wrapped
