"""Rows of a table of targets: what is measured, its measure, what is wanted, and whether that is met."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from tabulate import tabulate

__all__ = [
    "Target", "at_least", "at_most", "bounded", "cost", "none", "share", "table_of", "upper_bound", "within_runs",
]  # fmt: skip

Target = tuple[str, str, str, bool]  # what is measured, its measure, what is wanted, and whether that is met


def cost(title: str, times: list[float], target: float) -> Target:
    shown = f"{median(times):.1f}x ({min(times):.1f} to {max(times):.1f})"
    return title, shown, f"<= {target:g}x", median(times) <= target


def at_most(title: str, part: int, whole: int, target: float) -> Target:
    return title, share(part, whole), f"<= {100 * target:g} %", whole > 0 and part <= target * whole


def none(title: str, part: int, whole: int) -> Target:
    return title, share(part, whole), "0", whole > 0 and part == 0


def at_least(title: str, part: int, whole: int, target: float) -> Target:
    return title, share(part, whole), f">= {100 * target:g} %", whole > 0 and part >= target * whole


def share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({100 * part / whole:.2f} %)" if whole else "none run"


def within_runs(title: str, numbers: Sequence[int], most: tuple[int, int]) -> Target:
    shown, target = (f"{by_hand} + {in_torch}" for by_hand, in_torch in (numbers, most))
    return title, shown, f"<= {target}", all(n <= m for n, m in zip(numbers, most, strict=True))


def upper_bound(number: int, of: int) -> float:
    """The share that is exceeded with 5 %, after so many among `of`: by the Poisson distribution."""
    low, high = 0.0, number + 20.0 * (number + 1) ** 0.5
    while high - low > 1e-9 * high:
        mean = (low + high) / 2
        term = probability = math.exp(-mean)
        for k in range(1, number + 1):
            term *= mean / k
            probability += term
        low, high = (mean, high) if probability > 0.05 else (low, mean)
    return high / of


def bounded(title: str, part: int, whole: int, target: float) -> Target:
    """A share that is to be below a target with 95 %."""
    bound = upper_bound(part, whole)
    return title, f"{part} of {whole}, below {100 * bound:.3f} % (95 %)", f"<= {100 * target:g} %", bound <= target


def table_of(rows: Sequence[Target]) -> str:
    """The rows as a table, each met or missed."""
    shown = [(*row[:3], "met" if row[3] else "MISSED") for row in rows]
    return tabulate(shown, headers=["", "measured", "target", ""])
