"""Tasks of a benchmark on all cores, each on one thread."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

import torch

__all__ = ["in_order", "on_one_thread"]

Result = TypeVar("Result")


def in_order(tasks: Iterable[Callable[[], Result]]) -> Iterator[Result]:
    """What every task gives, in order, as soon as it is known."""
    with ProcessPoolExecutor(max_workers=os.cpu_count(), initializer=on_one_thread) as pool:
        for future in [pool.submit(task) for task in tasks]:
            yield future.result()


def on_one_thread() -> None:
    """Let torch compute in one thread, and without warnings."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
