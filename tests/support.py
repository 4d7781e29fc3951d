"""Helpers that several tests share: small data, networks with their parameters, and planted faults."""

import ast
import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import numpy as np

from compare.experiment import Experiment
from compare.operations import operation
from compare.runners import initial_parameters
from manual.network import Activation, Network

ROOT = Path(__file__).resolve().parent.parent


def small_data(n_x: int, K: int, N: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """X (N, n_x) and labels y (N, K), both values present."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((N, n_x))
    return X, (X[:, :K] + rng.standard_normal((N, K)) > 0).astype(float)


def network_of(experiment: Experiment) -> tuple[Network, dict[str, np.ndarray]]:
    """The hand-written network of an experiment and its initial parameters."""
    loss = operation("loss", experiment.loss)
    activations = tuple(Activation(*operation("activation", name).hands()) for name in experiment.activations)
    return Network(activations, loss.hands()[0], loss.reads, experiment.l2), initial_parameters(experiment)


@contextmanager
def planted(function: Callable[..., object], wrong: Callable[..., object]) -> Iterator[None]:
    """While entered, `function` does what `wrong` does, wherever it has been imported to."""
    assert isinstance(function, FunctionType)
    assert isinstance(wrong, FunctionType)
    assert not wrong.__code__.co_freevars, "a planted function may not be a closure"
    with _code(function, wrong.__code__):
        yield


@contextmanager
def rewritten(module: ModuleType, source: str | ast.Module) -> Iterator[None]:
    """While entered, every function of `module` runs the code that `source` gives it."""
    path = inspect.getsourcefile(module)
    assert path is not None
    namespace: dict[str, object] = {"__name__": module.__name__}
    exec(compile(source, path, "exec"), namespace)
    functions = {
        name: f for name, f in vars(module).items() if isinstance(f, FunctionType) and f.__module__ == module.__name__
    }
    before = {name: f.__code__ for name, f in functions.items()}
    try:
        for name, function in functions.items():
            changed = namespace[name]
            assert isinstance(changed, FunctionType)
            function.__code__ = changed.__code__
        yield
    finally:
        for name, function in functions.items():
            function.__code__ = before[name]


@contextmanager
def edited(module: ModuleType, *pairs: tuple[str, str]) -> Iterator[None]:
    """While entered, `module` runs with pieces of its source replaced; each must stand there exactly once."""
    source = inspect.getsource(module)
    for old, new in pairs:
        assert source.count(old) == 1, f"{old!r} stands {source.count(old)} times in {module.__name__}"
        source = source.replace(old, new)
    with rewritten(module, source):
        yield


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
