"""handgrad beside what people use today, on the same mistakes and the same correct code, in one process.

    .venv/bin/python -m tests.benchmarks.scoreboard

The mistakes are the catalogue's in the notes' network and those of the verdict corpus; the correct code is the notes'
network in several roundings. Each tool is wired as a competent user would:

- assert_close and assert_allclose: every tensor of every step, by hand against torch, both sides from the same weights
  on the same batches; the first tensor that fails is the one named.
- twice torch's error: the same, in float32; torch's float64 on its own is what both errors are from.
- gradcheck: the hand-written backward in a torch.autograd.Function whose forward is the hand-written cost, on the
  first batch; the parameter whose Jacobian differs is the one named. It sees no update.
- handgrad: Experiment.run.

An exception counts as found, by any tool. "Best tolerance" is the one that separates mistakes from correct code best on
these very cases, which no user can know beforehand.
"""

from __future__ import annotations

import argparse
import re
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date
from importlib import import_module
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from tabulate import tabulate

from handgrad.compare.experiment.data import load
from handgrad.compare.experiment.run import Experiment, run
from handgrad.compare.experiment.sides import (
    by_hand,
    epoch_orders,
    in_torch,
    initial_parameters,
    training_by_hand,
    training_in_torch,
)
from handgrad.compare.faults.catalogue import Needs, catalogue
from handgrad.compare.faults.trial import expected_first, fixture
from handgrad.compare.names import of_gradient
from handgrad.compare.sandbox import quietly
from handgrad.manual.network import backward, cost, forward
from tests.benchmarks.lowprec_peers import twice_eager
from tests.benchmarks.networks import MISTAKES, VARIANTS, Case, editing, random_case, random_mistake
from tests.support import edited, network_of

GradcheckError = sys.modules["torch.autograd.gradcheck"].GradcheckError  # torch.autograd.gradcheck is the function
Steps = list[tuple[str, np.ndarray, np.ndarray]]
SWEEP = [10.0**k for k in range(-14, 0)]


@dataclass(frozen=True)
class Trial:
    """One run: how to plant what is planted, the experiment, its data, and what must be found first and why, if any."""

    plant: Callable[[], ExitStack]
    experiment: Experiment
    data: tuple[np.ndarray, np.ndarray]
    first: str = ""
    cause: str = ""
    in_gradients: bool = False


@dataclass
class Score:
    """What one tool said over all trials: of mistakes, whether found and named; of correct code, whether flagged."""

    found: list[bool] = field(default_factory=list)
    in_gradients: list[bool] = field(default_factory=list)
    culprit: list[bool] = field(default_factory=list)
    cause: list[bool] = field(default_factory=list)
    flagged: list[bool] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def trials(seed: int, rounds: int) -> Iterator[Trial]:
    """Catalogue entries, verdict mistakes, and correct variants, in random fixtures."""
    network = [fault for fault in catalogue().values() if fault.is_of_network]
    for index in range(rounds * len(network)):
        fault = network[index % len(network)]
        if fault.cause == "precision-loss":
            continue
        experiment, data = fixture(fault.needs, np.random.default_rng([seed, index]))
        first = expected_first(fault, experiment)
        gradient = bool(of_gradient(first))
        yield Trial(
            _entering(edited, import_module(fault.module), *fault.edits_for(experiment.batch_size)),
            experiment,
            data,
            first,
            fault.cause,
            gradient,
        )
    for index in range(4 * rounds * len(MISTAKES)):
        rng = np.random.default_rng([seed, index, 1])
        experiment, data = fixture(Needs(), rng)
        _, mistake = random_mistake(Case(experiment, *data, weight_scale=1.0), rng, ("structural", "subtle")[index % 2])
        yield Trial(
            _entering(editing, mistake.edits), experiment, data, mistake.equation, "", mistake.equation[0] == "B"
        )
    for index in range(6 * rounds * len(VARIANTS)):
        rng = np.random.default_rng([seed, index, 2])
        edits = [*VARIANTS.values()][index % len(VARIANTS)]
        if index % 2:
            experiment, data = fixture(Needs(), rng)
            yield Trial(_entering(editing, edits), experiment, data)
        else:
            case = random_case(rng, largest=5e3)
            yield Trial(_entering(case.running, edits), case.experiment, (case.X, case.y))


def _entering(manager, *arguments) -> Callable[[], ExitStack]:
    def enter() -> ExitStack:
        stack = ExitStack()
        stack.enter_context(manager(*arguments))
        return stack

    return enter


def both_sides(trial: Trial, dtype: str) -> Steps:
    """Every tensor of every step in order, by hand and in torch, each side on its own from the same weights."""
    experiment = Experiment(**{**trial.experiment.as_dict(), "dtype": dtype})
    data = load(trial.data)
    N = data.X.shape[1]
    start = initial_parameters(experiment)
    hand = training_by_hand(by_hand(experiment, data, start, epoch_orders(experiment, N)), ())
    twin = training_in_torch(in_torch(experiment, data, start, epoch_orders(experiment, N)))
    steps = zip(hand, twin, strict=True)
    return [(name, ours[name], value) for ours, theirs in steps for name, value in theirs.items()]


def by_comparing(compare: Callable[[Any, Any], None], dtype: str) -> Callable[[Trial], str | None]:
    """A comparer of two arrays that raises, with its defaults."""

    def run(trial: Trial) -> str | None:
        for name, ours, theirs in both_sides(trial, dtype):
            try:
                compare(ours, theirs)
            except AssertionError:
                return name
        return None

    return run


def assert_close(ours: np.ndarray, theirs: np.ndarray) -> None:
    """torch.testing.assert_close of arrays."""
    torch.testing.assert_close(torch.tensor(ours), torch.tensor(theirs))


def by_twice_eager(trial: Trial) -> str | None:
    """At most twice torch's own error in float32, and a floor."""
    pairs = zip(both_sides(trial, "float32"), both_sides(trial, "float64"), strict=True)
    sides = ((name, ours, theirs, exact) for (name, ours, theirs), (_, _, exact) in pairs)
    return next((name for name, *each in sides if twice_eager(*map(torch.tensor, each))), None)


def by_gradcheck(fast: bool, **tolerances: float) -> Callable[[Trial], str | None]:
    """torch.autograd.gradcheck on the hand-written backward as an autograd Function, with its defaults."""

    def run(trial: Trial) -> str | None:
        network, params = network_of(trial.experiment)
        names = [*params]
        data = load(trial.data)
        first = next(epoch_orders(trial.experiment, data.X.shape[1]))[: trial.experiment.batch_size]
        X, Y = data.X[:, first], data.Y[:, first]

        class Hand(torch.autograd.Function):
            @staticmethod
            def forward(ctx, *tensors):
                ctx.params = dict(zip(names, (tensor.detach().numpy().copy() for tensor in tensors), strict=True))
                ctx.cache = forward(network, ctx.params, X)
                return torch.tensor(cost(network, ctx.params, ctx.cache, Y)["J"])

            @staticmethod
            def backward(ctx, cotangent):
                gradients = backward(network, ctx.params, ctx.cache, X, Y)
                return tuple(cotangent * torch.tensor(np.array(gradients[f"d{name}"])) for name in names)

        tensors = [torch.tensor(params[name], dtype=torch.float64, requires_grad=True) for name in names]
        try:
            torch.autograd.gradcheck(Hand.apply, tensors, fast_mode=fast, **tolerances)
        except GradcheckError as error:
            found = re.search(r"with respect to input (\d+)", str(error))
            return f"d{names[int(found[1])]}" if found else "?"
        return None

    return run


def by_handgrad(trial: Trial) -> tuple[str, str, str] | None:
    """Experiment.run."""
    report = run(trial.experiment, trial.data)
    first = report.first
    return None if first is None else (first.where.name, first.equation, first.cause.code)


TOOLS: dict[str, Callable[[Trial], object]] = {
    "torch.testing.assert_close, float32": by_comparing(assert_close, "float32"),
    "torch.testing.assert_close, float64": by_comparing(assert_close, "float64"),
    "numpy.testing.assert_allclose, float64": by_comparing(np.testing.assert_allclose, "float64"),
    "twice torch's float32 error + floor": by_twice_eager,
    "torch.autograd.gradcheck": by_gradcheck(False),
    "torch.autograd.gradcheck, fast mode": by_gradcheck(True),
    "handgrad": by_handgrad,
}


def score(tool: Callable[[Trial], object], trial: Trial, into: Score) -> None:
    """Run one tool on one trial."""
    begun = perf_counter()
    with trial.plant(), quietly():
        try:
            said = tool(trial)
        except Exception:
            said = "?"
    into.seconds.append(perf_counter() - begun)
    if not trial.first:
        into.flagged.append(said is not None)
        return
    into.found.append(said is not None)
    if trial.in_gradients:
        into.in_gradients.append(said is not None)
    name, equation, cause = said if isinstance(said, tuple) else (said, _equation(said, trial), "")
    into.culprit.append(trial.first in (name, equation))
    if trial.cause:
        into.cause.append(cause == trial.cause)


def _equation(name: object, trial: Trial) -> str:
    from handgrad.compare.experiment.bounds import label_of

    return label_of(trial.experiment, name) if isinstance(name, str) and name != "?" else ""


class Sweep:
    """A comparer at every tolerance at once: per trial, each tensor's smallest tolerance that lets it pass."""

    def __init__(self, dtype: str, statistic: Callable[[np.ndarray, np.ndarray], float]) -> None:
        self.dtype, self.statistic = dtype, statistic
        self.seen: list[tuple[Trial, list[tuple[str, float]]]] = []

    def add(self, trial: Trial) -> None:
        """Compare one trial."""
        with trial.plant(), quietly():
            try:
                sides = both_sides(trial, self.dtype)
                found = [(n, np.inf if a.shape != b.shape else self.statistic(a, b)) for n, a, b in sides]
            except Exception:
                found = [("?", np.inf)]
        self.seen.append((trial, found))

    def best(self) -> tuple[float, Score]:
        """The tolerance that separates best, and what it gives."""
        scores = {tolerance: self._at(tolerance) for tolerance in SWEEP}
        tolerance = max(scores, key=lambda t: np.mean(scores[t].found) - np.mean(scores[t].flagged))
        return tolerance, scores[tolerance]

    def _at(self, tolerance: float) -> Score:
        into = Score()
        for trial, found in self.seen:
            name = next((name for name, needed in found if not needed <= tolerance), None)
            if not trial.first:
                into.flagged.append(name is not None)
                continue
            into.found.append(name is not None)
            if trial.in_gradients:
                into.in_gradients.append(name is not None)
            into.culprit.append(trial.first in (name, _equation(name, trial)))
        return into


def _absolute_and_relative(a: np.ndarray, b: np.ndarray) -> float:
    """The t for which |a - b| <= t + t |b| everywhere."""
    with np.errstate(all="ignore"):
        return float(np.max(np.abs(a.astype(float) - b) / (1 + np.abs(b)), initial=0.0))


def _relative(a: np.ndarray, b: np.ndarray) -> float:
    """The t for which |a - b| <= t |b| everywhere."""
    with np.errstate(all="ignore"):
        ratio = np.abs(a.astype(float) - b) / np.abs(b)
    return float(np.max(np.where(a == b, 0.0, ratio), initial=0.0))


def row(name: str, into: Score, memory: float | None) -> tuple[str, ...]:
    """One tool as a row of the table."""

    def share(said: list[bool]) -> str:
        return f"{100 * np.mean(said):.1f} %" if said else "none"

    return (
        name,
        share(into.found),
        share(into.in_gradients),
        share(into.flagged),
        share(into.culprit),
        share(into.cause) if "handgrad" in name else "none",
        f"{1000 * median(into.seconds):.0f} ms" if into.seconds else "",
        "" if memory is None else f"{memory:.0f} MiB",
    )


HEADINGS = (
    "tool",
    "mistakes found",
    "of those in gradients",
    "false alarms",
    "culprit named first",
    "cause named",
    "median time",
    "peak memory",
)


def memory_of(tool: str) -> float:
    """MiB that one check of a network 64-128-64-10, batch 128, takes over what is imported, in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.scoreboard", "--memory", tool]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _print_memory(tool: str) -> None:
    rng = np.random.default_rng(0)
    experiment = Experiment(layers=(64, 128, 64, 10), activations=("tanh", "relu", "sigmoid"), batch_size=128, steps=2)
    data = (rng.standard_normal((256, 64)), rng.integers(0, 2, (256, 10)).astype(float))
    small = Experiment(layers=(3, 2, 1), activations=("tanh", "sigmoid"), batch_size=4, steps=1)
    TOOLS[tool](Trial(_entering(_nothing), small, (rng.standard_normal((4, 3)), np.ones((4, 1)))))  # imports
    Path("/proc/self/clear_refs").write_text("5")  # the highest memory in use so far is forgotten
    before = _resident("VmRSS")
    TOOLS[tool](Trial(_entering(_nothing), experiment, data))
    print((_resident("VmHWM") - before) / 1024)


def _resident(field: str) -> int:
    """KiB of memory of this process, from Linux: VmRSS now, VmHWM at its highest."""
    return int(re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text())[1])


def main(argv: list[str] | None = None) -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**8))
    parser.add_argument("--rounds", type=int, default=2, help="fixtures for each mistake")
    parser.add_argument("--memory", choices=TOOLS, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.memory:
        _print_memory(arguments.memory)
        return 0
    print(f"seed {arguments.seed}", flush=True)
    scores = {name: Score() for name in TOOLS}
    sweeps = {
        "assert_close, float64, best tolerance": Sweep("float64", _absolute_and_relative),
        "assert_allclose, float64, best rtol": Sweep("float64", _relative),
    }
    loose: Mapping[float, Score] = {t: Score() for t in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)}
    every = [*trials(arguments.seed, arguments.rounds)]
    for trial in every:
        for name, tool in TOOLS.items():
            score(tool, trial, scores[name])
        for sweep in sweeps.values():
            sweep.add(trial)
        for tolerance, into in loose.items():
            score(by_gradcheck(True, atol=tolerance / 10, rtol=tolerance), trial, into)
    rows = [row(name, into, memory_of(name)) for name, into in scores.items() if name != "handgrad"]
    for name, sweep in sweeps.items():
        tolerance, into = sweep.best()
        rows.append(row(f"{name} ({tolerance:.0e})", into, None))
    tolerance, into = max(loose.items(), key=lambda item: np.mean(item[1].found) - np.mean(item[1].flagged))
    rows.append(row(f"gradcheck, fast mode, best tolerance ({tolerance:.0e})", into, None))
    rows.append(row("**handgrad**", scores["handgrad"], memory_of("handgrad")))
    wrong = sum(bool(trial.first) for trial in every)
    print(tabulate(rows, headers=HEADINGS, tablefmt="github", disable_numparse=True))
    print(
        f"\n{wrong} mistakes and {len(every) - wrong} correct runs; seed {arguments.seed}, {date.today()}, "
        f"torch {torch.__version__}, NumPy {np.__version__}, Python {sys.version.split()[0]}."
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
