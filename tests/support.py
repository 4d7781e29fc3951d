"""Helpers that several tests share: small data, networks with their parameters, and planted faults."""

import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from handgrad.compare.diagnosis.ranking import Diagnosis
from handgrad.compare.experiment.run import Experiment
from handgrad.compare.experiment.sides import hand_network, initial_parameters
from handgrad.compare.facts.causes import Unknown
from handgrad.compare.faults import planting
from handgrad.manual.network import Network

ROOT = Path(__file__).resolve().parent.parent
NO_CAUSES = {
    "diagnosis_of": lambda scene, most, budget: Diagnosis((Unknown(),)),
    "first_cause": lambda scene: Unknown(),
}
"""Of handgrad.compare.pipeline.judged where no cause is sought: a verdict does not depend on its name."""


def small_data(n_x: int, K: int, N: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """X (N, n_x) and labels y (N, K), both values present."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((N, n_x))
    return X, (X[:, :K] + rng.standard_normal((N, K)) > 0).astype(float)


def network_of(experiment: Experiment) -> tuple[Network, dict[str, np.ndarray]]:
    """The hand-written network of an experiment and its initial parameters."""
    return hand_network(experiment), initial_parameters(experiment)


@contextmanager
def planted(function: Callable[..., object], wrong: Callable[..., object]) -> Iterator[None]:
    """While entered, `function` does what `wrong` does, wherever it has been imported to."""
    assert isinstance(function, FunctionType)
    assert isinstance(wrong, FunctionType)
    assert not wrong.__code__.co_freevars, "a planted function may not be a closure"
    with _code(function, wrong.__code__):
        yield


@contextmanager
def edited(module: ModuleType, *pairs: tuple[str, str]) -> Iterator[None]:
    """While entered, `module` runs with pieces of its source replaced; each must stand there exactly once."""
    with rewritten(module, planting.edited(module, pairs)):
        yield


@contextmanager
def rewritten(module: ModuleType, source: Any) -> Iterator[None]:
    """While entered, every function of `module` runs the code that `source`, a text or a syntax tree, gives it.

    It is as if its file had been edited: whoever imported a function of it before runs the new code too.
    """
    path = inspect.getsourcefile(module)
    assert path is not None
    namespace: dict[str, object] = {"__name__": module.__name__}
    exec(compile(source, path, "exec"), namespace)
    own = {
        name: f for name, f in vars(module).items() if isinstance(f, FunctionType) and f.__module__ == module.__name__
    }
    before = {name: f.__code__ for name, f in own.items()}
    try:
        for name, function in own.items():
            changed = namespace[name]
            assert isinstance(changed, FunctionType)
            function.__code__ = changed.__code__
        yield
    finally:
        for name, function in own.items():
            function.__code__ = before[name]


@contextmanager
def _code(function: FunctionType, code: CodeType) -> Iterator[None]:
    before = function.__code__
    function.__code__ = code
    try:
        yield
    finally:
        function.__code__ = before


def parsed(text: str) -> dict[str, object]:
    """JSON as a dictionary, refusing the numbers that JSON does not have."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    content = json.loads(text, parse_constant=refuse)
    assert isinstance(content, dict)
    return content
