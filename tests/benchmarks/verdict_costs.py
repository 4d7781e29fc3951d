"""What the verdict costs in time, in units of one torch training step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import count, islice
from statistics import median
from types import ModuleType
from typing import Any

import numpy as np
import torch

from handgrad import check_gradients, mlp
from handgrad.compare.experiment import judging
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
from tests.benchmarks.networks import Case, random_case
from tests.benchmarks.timing import seconds

__all__ = ["extra_costs", "step_costs"]


def extra_costs(seed: int, networks: int = 7, rounds: int = 7, steps: int = 64) -> dict[str, list[float]]:
    """What the verdict costs, in units of one torch training step (forward, backward, update), for some networks.

    "registry" is the verdict itself: allowances, comparison and rows, once both sides have run and torch was replayed.
    "all in" is a whole run beside training both sides in one precision, torch restarted from the weights by hand at
    every step, and taking largest differences. "generic" is check_gradients beside one call of the derivation and one
    torch forward and backward. Random networks of the corpus up to 64 wide on up to 64 examples, one thread; medians of
    interleaved rounds.
    """
    torch.set_num_threads(1)
    rng = np.random.default_rng([seed, 3])
    cases = (random_case(rng) for _ in count())
    narrow = islice(
        (case for case in cases if max(*case.experiment.layers, case.experiment.batch_size or 0) <= 64), networks
    )
    costs: dict[str, list[float]] = {"registry": [], "all in": [], "generic": []}
    for case in narrow:
        n = case.experiment.batch_size
        many = Experiment(**{**case.experiment.as_dict(), "batch_size": None, "steps": steps})
        with case.running():
            middle = step_costs(replace(case, experiment=many, X=case.X[:n], y=case.y[:n]), rounds, steps)
        costs["registry"].append(middle["verdict"] / middle["step"])
        costs["all in"].append((middle["full"] - middle["plain"]) / middle["step"])
        costs["generic"].append((middle["generic"] - middle["derive"]) / middle["step"])
    return costs


def step_costs(case: Case, rounds: int, steps: int) -> dict[str, float]:
    """Seconds a step of: torch alone, both sides and their differences, the whole run, and the generic check.

    What takes a few milliseconds at most is timed ten times in a row: the first call after another act is slower.
    """
    e, n, data = case.experiment, len(case.X), load((case.X, case.y))
    params = initial_parameters(e)
    reference = mlp(e.layers, e.activations, e.loss, l2=e.l2)
    leaves = {name: torch.tensor(value, requires_grad=True) for name, value in params.items()}
    optimizer = torch.optim.SGD(leaves.values(), lr=e.learning_rate, momentum=e.beta)
    tensors = torch.tensor(data.X), torch.tensor(data.Y)
    derivation = case.derivation()

    def step() -> None:
        optimizer.zero_grad()
        reference(leaves, *tensors).backward()
        optimizer.step()

    def plain() -> None:
        hand = training_by_hand(by_hand(e, data, params, epoch_orders(e, n)), ())
        twin = training_in_torch(in_torch(e, data, params, epoch_orders(e, n)))
        for ours, theirs in zip(hand, twin, strict=True):
            for name, value in theirs.items():
                np.max(np.abs(ours[name] - value))

    def derive() -> None:
        derivation(params, data.X, data.Y)
        reference(leaves, *tensors).backward()

    def generic() -> None:
        check_gradients(derivation, reference, params, (data.X, data.Y))

    timed: dict[str, list[float]] = {name: [] for name in ("step", "plain", "verdict", "full", "derive", "generic")}
    with np.errstate(all="ignore"), _stopwatch(judging, "allowances", "judge_stack") as spent:
        for _ in range(rounds):
            timed["step"].append(seconds(step, 10))
            timed["plain"].append(seconds(plain) / steps)
            spent.clear()
            timed["full"].append(seconds(lambda: run(e, data)) / steps)
            timed["verdict"].append(sum(spent) / steps)
            timed["derive"].append(seconds(derive, 10))
            timed["generic"].append(seconds(generic, 10))
    return {name: median(values) for name, values in timed.items()}


@contextmanager
def _stopwatch(module: ModuleType, *names: str) -> Iterator[list[float]]:
    """While entered, the seconds that these functions of a module take are appended to the list."""
    spent: list[float] = []
    before = {name: getattr(module, name) for name in names}

    def timed(function: Callable[..., Any], *args: Any) -> Any:
        start = time.perf_counter()
        result = function(*args)
        spent.append(time.perf_counter() - start)
        return result

    try:
        for name, function in before.items():
            setattr(module, name, partial(timed, function))
        yield spent
    finally:
        for name, function in before.items():
            setattr(module, name, function)
