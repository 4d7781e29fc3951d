"""Cost and memory against size: exponents, and the curves as SVG."""

import gc
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from math import isqrt
from pathlib import Path
from statistics import median

import numpy as np
import torch

from handgrad.compare.experiment.data import load
from handgrad.compare.experiment.recording import recorded
from handgrad.compare.experiment.run import run
from handgrad.compare.verdict.differences import measured
from tests.benchmarks.speed_subjects import Fixture, fixture, parameters, step_in_torch, whole_run
from tests.benchmarks.timing import Target, interleaved, slope

__all__ = [
    "PARAMETERS",
    "STEPS",
    "Curve",
    "against_parameters",
    "against_size",
    "against_steps",
    "beyond",
    "exponent",
    "memory_target",
    "plot",
]

PARAMETERS = [10**3, 10**4, 10**5, 10**6, 10**7]
STEPS = [16, 64, 256, 1024]

Curve = tuple[list[int], dict[str, list[float]]]


def of_about(number: int, steps: int = 1) -> Fixture:
    """Three layers with about so many parameters, as wide inside as at the input, batches of 32."""
    width = max(2, isqrt(number // 2))
    return fixture((width, width, width, 10), 32, steps)


def against_parameters(sizes: Sequence[int], rounds: int) -> Curve:
    """Seconds of one judged step, and of one step of torch alone, by the number of parameters."""
    fixtures = [of_about(size) for size in sizes]
    found: dict[str, list[float]] = {"a judged step": [], "a training step in torch": []}
    for each in fixtures:
        acts = {"a judged step": whole_run(*each), "a training step in torch": step_in_torch(*each)}
        timed = interleaved(acts, rounds, least=0.0)
        for name, values in timed.items():
            found[name].append(float(median(values)))
        gc.collect()
    return [parameters(experiment) for experiment, _ in fixtures], found


def against_steps(steps: Sequence[int], rounds: int) -> Curve:
    """Seconds of a whole run of the notes' network by its number of steps."""
    runs = {str(number): whole_run(*fixture((30, 16, 1), 32, number, batches=4)) for number in steps}
    timed = interleaved(runs, rounds, least=0.0)
    return [*steps], {"a whole run": [float(median(timed[str(number)])) for number in steps]}


def against_size(sizes: Sequence[int], rounds: int) -> Curve:
    """Seconds of comparing two tensors by their size, and of assert_close on the same."""
    found: dict[str, list[float]] = {"handgrad.compare.verdict.differences": [], "torch.testing.assert_close": []}
    for size in sizes:
        hand = np.random.default_rng(0).standard_normal(size)
        other = np.nextafter(hand, 0)
        ours, theirs = torch.from_numpy(hand), torch.from_numpy(other)
        timed = interleaved(
            {
                "handgrad.compare.verdict.differences": lambda hand=hand, other=other: measured(hand, other),
                "torch.testing.assert_close": lambda a=ours, b=theirs: torch.testing.assert_close(a, b),
            },
            rounds,
        )
        for name, values in timed.items():
            found[name].append(float(median(values)))
    return [*sizes], found


def exponent(curve: Curve, name: str) -> float:
    """How the cost grows with the size: 1 is proportional."""
    return slope(curve[0], curve[1][name])


def beyond(curve: Curve, least: float) -> Curve:
    """The part of a curve from about that size on."""
    sizes, costs = curve
    kept = [i for i, size in enumerate(sizes) if size >= least / 2]
    return [sizes[i] for i in kept], {name: [values[i] for i in kept] for name, values in costs.items()}


def kept_per_step(few: int = 130, many: int = 390) -> tuple[float, int]:
    """By how much a further step raises the peak of a run, in bytes, and how many bytes one step records by hand.

    Both runs are longer than the window of steps that are judged at once.
    """
    experiment, source = fixture((40, 60, 1), 32, many, batches=4)
    data = load(source)
    step = next(recorded(replace(experiment, steps=1), data))
    held_by_step = sum(array.nbytes for side in step.sides.values() for array in side.records.values())
    peaks = []
    for number in (few, many):
        gc.collect()
        tracemalloc.start()
        try:
            report = run(replace(experiment, steps=number), data)
            gc.collect()
            held, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        peaks.append((peak, held, len(report.rows)))
        del report
    (less, less_held, _), (more, more_held, _) = peaks
    return ((more - less) - (more_held - less_held)) / (many - few), held_by_step


def memory_target() -> Target:
    """What a further step adds to the peak beyond its rows, as a share of what it records."""
    growth, of_step = kept_per_step()
    return Target(
        "memory that a further step adds beyond its rows, of what it records",
        5,
        100 * growth / of_step,
        "%",
        detail=f"{growth:.0f} of {of_step} bytes",
    )


def plot(curve: Curve, axis: str, title: str, file: Path) -> None:
    """A curve as SVG, both axes logarithmic."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    sizes, costs = curve
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for name, values in costs.items():
        axes.loglog(sizes, values, marker="o", label=f"{name}, exponent {slope(sizes, values):.2f}")
    axes.set(xlabel=axis, ylabel="seconds", title=title)
    axes.grid(True, which="major", alpha=0.3)
    axes.legend()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)
