"""Measuring side by side: interleaved rounds in one process, medians of the ratios round by round."""

import gc
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import numpy as np
from tabulate import tabulate

__all__ = ["Target", "interleaved", "ratio", "seconds", "slope", "started", "table"]

SLACK = 1.1  # a target counts as missed by more than 10 %


@dataclass(frozen=True)
class Target:
    """A row of the table: what is measured, the figure it should reach, and what it did reach."""

    what: str
    limit: float
    measured: float
    unit: str = "x"
    at_least: bool = False
    detail: str = ""

    @property
    def verdict(self) -> str:
        """Met, missed by up to 10 %, which the noise of a machine may explain, or missed."""
        if np.isnan(self.measured):
            return "MISSED"
        short = self.limit / self.measured if self.at_least else self.measured / self.limit
        return "met" if short <= 1 else "just missed" if short <= SLACK else "MISSED"

    def shown(self) -> tuple[str, str, str, str, str]:
        """What, target, measured, verdict and what else is worth knowing, as text."""
        sign = ">=" if self.at_least else "<="
        return (
            self.what,
            f"{sign} {self.limit:g} {self.unit}",
            f"{self.measured:.3g} {self.unit}",
            self.verdict,
            self.detail,
        )


def table(targets: Sequence[Target]) -> str:
    """The targets beside what was measured."""
    headings = ("what", "target", "measured", "verdict", "")
    return tabulate([target.shown() for target in targets], headings, "github", disable_numparse=True)


def seconds(act: Callable[[], object], times: int = 1) -> float:
    """Seconds of one call, over so many in a row."""
    start = perf_counter()
    for _ in range(times):
        act()
    return (perf_counter() - start) / times


def interleaved(acts: Mapping[str, Callable[[], object]], rounds: int, least: float = 0.02) -> dict[str, np.ndarray]:
    """Seconds a call of each act, by round: every act in every round, each as often as `least` seconds ask for."""
    for act in acts.values():
        act()
    times = {name: max(1, int(least / seconds(act))) for name, act in acts.items()}
    timed: dict[str, list[float]] = {name: [] for name in acts}
    for _ in range(rounds):
        gc.collect()
        for name, act in acts.items():
            timed[name].append(seconds(act, times[name]))
    return {name: np.array(values) for name, values in timed.items()}


def ratio(timed: Mapping[str, np.ndarray], slow: str, fast: str) -> float:
    """How many times `fast` fits into `slow`: the median over the rounds."""
    return float(median(timed[slow] / timed[fast]))


def started(commands: Mapping[str, Sequence[str]], rounds: int, **settings: object) -> dict[str, np.ndarray]:
    """Seconds of each command from start to end, by round, every command in every round."""

    def run(command: Sequence[str]) -> None:
        done = subprocess.run(command, capture_output=True, **settings)  # type: ignore[call-overload]
        if done.returncode not in (0, 1, 2):
            raise RuntimeError(f"{command} exits {done.returncode}: {done.stderr[-500:]}")

    def acting(command: Sequence[str]) -> Callable[[], None]:
        return lambda: run([sys.executable, *command])

    return interleaved({name: acting(command) for name, command in commands.items()}, rounds, least=0.0)


def slope(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The exponent p of cost ~ size^p: the slope of a straight line through the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])
