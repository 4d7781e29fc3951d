"""Which known mistakes a fixture cannot reveal, found by planting each in it, and the smallest change that would."""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any

import numpy as np

from handgrad.compare.errors import InputError
from handgrad.compare.experiment.data import Data, load
from handgrad.compare.experiment.run import differs
from handgrad.compare.experiment.settings import Experiment
from handgrad.compare.faults import Fault
from handgrad.compare.faults.network import NETWORK
from handgrad.compare.faults.planting import edited, planted

__all__ = ["Audit", "Hidden", "audit", "render"]

Fixture = tuple[Experiment, Data]


@dataclass(frozen=True)
class Hidden:
    """A mistake that a fixture cannot reveal, and the smallest change of the fixture that would; empty if none does."""

    fault: Fault
    remedy: str


@dataclass(frozen=True)
class Audit:
    """What planting the catalogue in a fixture gave: mistakes found, hidden, and in functions that it never calls.

    `lost` are those whose place in manual/ was edited, so that they cannot be planted.
    """

    found: tuple[Fault, ...]
    hidden: tuple[Hidden, ...]
    idle: dict[str, tuple[Fault, ...]]
    lost: tuple[Fault, ...] = ()


def audit(
    experiment: Experiment, source: Any, progress: Callable[[tuple[Fault, ...]], Iterable[Fault]] = iter
) -> Audit:
    """Plant every mistake of the notes' network in a fixture; `progress` may wrap the entries on their way."""
    data = load(source)
    called = _called(experiment, data)
    lost = tuple(fault for fault in NETWORK if not _can_be_planted(fault, experiment))
    known = [fault for fault in NETWORK if fault not in lost]
    at = {fault.name: _function(fault) for fault in known}
    idle: dict[str, tuple[Fault, ...]] = {}
    for fault in known:
        if at[fault.name] not in called:
            idle[at[fault.name]] = (*idle.get(at[fault.name], ()), fault)
    found, hidden = [], []
    for fault in progress(tuple(fault for fault in known if at[fault.name] in called)):
        if _reveals((experiment, data), fault):
            found.append(fault)
            continue
        hidden.append(Hidden(fault, _remedy((experiment, data), fault)))
    return Audit(tuple(found), tuple(hidden), idle, lost)


def _can_be_planted(fault: Fault, experiment: Experiment) -> bool:
    """Whether the code that a mistake changes is still there."""
    try:
        edited(importlib.import_module(fault.module), fault.edits_for(experiment.batch_size))
    except InputError:
        return False
    return True


def _reveals(fixture: Fixture, fault: Fault) -> bool:
    """Whether the check of this fixture finds something once the mistake is planted."""
    experiment, data = fixture
    with planted(fault.module, fault.edits_for(experiment.batch_size)):
        return differs(experiment, (data.X.T, data.Y.T), strict=fault.cause == "precision-loss")


def _remedy(fixture: Fixture, fault: Fault) -> str:
    """The first change, by size, with which the mistake is found."""
    experiment, data = fixture
    for told, values, changed in _changes(experiment, data):
        if changed is data and all(getattr(experiment, name) == value for name, value in values.items()):
            continue
        try:
            if _reveals((replace(experiment, **values), changed), fault):
                return told
        except InputError:  # that change does not suit this data
            continue
    return ""


def _changes(experiment: Experiment, data: Data) -> Iterator[tuple[str, dict[str, Any], Data]]:
    """Changes of a fixture in one thing: the words for it, the new settings, and the data."""
    N, n_x, outputs = data.X.shape[1], experiment.layers[0], data.Y.shape[0]
    rng = np.random.default_rng(0)
    depth, last = experiment.depth, experiment.activations[-1]
    size = next((b for b in range(max(4, N // 12), N) if N % b), max(2, N // 2))
    yield "--steps 2", {"steps": 2}, data
    yield "--batch-size 2", {"batch_size": min(2, N)}, data
    yield f"--batch-size {size}", {"batch_size": size}, data
    yield "--l2 0.1", {"l2": 0.1}, data
    yield "--optimizer momentum", {"optimizer": "momentum"}, data
    yield "--beta 0.9", {"beta": 0.9}, data
    yield "--learning-rate 0.1", {"learning_rate": 0.1}, data
    yield "--bias-scale 0.1", {"bias_scale": 0.1}, data
    yield f"--batch-size {size} over two whole epochs", {"batch_size": size, "steps": None, "epochs": 2}, data
    for name in ("tanh", "relu", "sigmoid"):
        layers = experiment.layers if depth > 1 else (n_x, 7, outputs)
        activations = (*(name,) * max(depth - 1, 1), last)
        yield f"{name} in a hidden layer", {"layers": layers, "activations": activations}, data
    for pair in (("tanh", "relu"), ("sigmoid", "tanh")):
        two = {"layers": (n_x, 7, 5, outputs), "activations": (*pair, last)}
        yield f"two hidden layers, {' and '.join(pair)}", two, data
    wide, square = ((rng.random((n, N)) < 0.5).astype(float) for n in (3, n_x))
    yield "several outputs", {"layers": (*experiment.layers[:-1], 3)}, replace(data, Y=wide)
    yield "equal widths", {"layers": (n_x,) * len(experiment.layers)}, replace(data, Y=square)
    yield "widths that all differ", {"layers": (n_x, *range(n_x + 1, n_x + depth), outputs)}, data
    relu = (*("relu",) * (depth - 1), last)
    zeros = data.X.copy()
    zeros[:, ::2] = 0.0
    told = "ReLU and examples whose z is exactly 0 (biases and inputs of 0)"
    yield told, {"bias_scale": 0.0, "activations": relu}, replace(data, X=zeros)
    yield "saturated units (ReLU, inputs times 1000)", {"activations": relu}, replace(data, X=1000 * data.X)


def _called(experiment: Experiment, data: Data) -> set[str]:
    """The functions of manual/ that the fixture calls, as module.function."""
    found: set[str] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            found.add(f"{frame.f_globals.get('__name__', '')}.{frame.f_code.co_name}")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        replace(experiment, steps=1).run((data.X.T, data.Y.T))
    finally:
        sys.setprofile(before if callable(before) else None)  # C profilers are no functions
    return {name for name in found if name.startswith("handgrad.manual.")}


def _function(fault: Fault) -> str:
    """The function of manual/ that a mistake is in, as module.function."""
    module = importlib.import_module(fault.module)
    source = inspect.getsource(module)
    line = source[: source.index(fault.edits[0][0])].count("\n") + 1
    functions = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef))
    (name,) = (f.name for f in functions if f.lineno <= line <= (f.end_lineno or f.lineno))
    return f"{fault.module}.{name}"


def render(result: Audit) -> str:
    """The audit as text: what is hidden by the change that would show it, then the code that was not called."""
    total = len(result.found) + len(result.hidden)
    parts = []
    by_remedy: dict[str, list[Fault]] = {}
    for each in result.hidden:
        by_remedy.setdefault(each.remedy, []).append(each.fault)
    for remedy, faults in sorted(by_remedy.items(), key=lambda item: (not item[0], -len(item[1]))):
        head = f"With {remedy} it would reveal:" if remedy else "No single change reveals:"
        parts.append("\n".join([head, *(f"  {fault.name:<42} {fault.formula}" for fault in faults)]))
    if result.idle:
        inside = ", ".join(f"{name.rpartition('.')[2]} ({len(faults)})" for name, faults in result.idle.items())
        parts.append(f"Not called by this fixture, with the number of known mistakes in each: {inside}.")
    if result.lost:
        names = ", ".join(fault.name for fault in result.lost)
        parts.append(f"Not tried, because manual/ was edited where they are: {names}.")
    parts.append(f"This fixture reveals {len(result.found)} of {total} known mistakes in the code that it runs.")
    return "\n\n".join(parts) + "\n"
