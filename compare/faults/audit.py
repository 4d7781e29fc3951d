"""Which known mistakes a run would not show, found by planting each in it, and the smallest change that would."""

import importlib
import inspect
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any, NamedTuple

import numpy as np

from handgrad.compare.errors import InputError
from handgrad.compare.experiment.data import Data, load
from handgrad.compare.experiment.run import Experiment, differs, run
from handgrad.compare.facts.blind_spots import CONDITIONS
from handgrad.compare.faults.catalogue import NETWORK, Fault, catalogue
from handgrad.compare.faults.planting import edited, planted

Progress = Callable[[tuple[Fault, ...]], Iterable[Fault]]


HIDING = ("no-weight-decay", "no-momentum", "no-memory", "rate-one", "zero-biases")
"""Conditions whose change of a setting is tried, from small to large."""


class Hidden(NamedTuple):
    """A mistake that a run does not show, and the smallest change of the run that would; empty if none does."""

    fault: Fault
    remedy: str


@dataclass(frozen=True)
class Audit:
    """What planting the catalogue in a run gave: the mistakes that it shows, and those that it does not.

    `idle` are the mistakes in functions that the run never calls, by function; `lost` those whose place in manual/ was
    edited, so that they cannot be planted.
    """

    shown: tuple[Fault, ...]
    hidden: tuple[Hidden, ...]
    idle: dict[str, tuple[Fault, ...]]
    lost: tuple[Fault, ...] = ()


def audit(experiment: Experiment, source: Any, progress: Progress = iter) -> Audit:
    """Plant every mistake of the notes' network in a run; `progress` may wrap the entries on their way."""
    data = load(source)
    called = _called(experiment, data)
    functions = {fault: _function(fault) for fault in catalogue().values() if fault.is_of_network}
    tried = progress(tuple(fault for fault, function in functions.items() if function in called))
    remedies = {fault: _remedy(fault, experiment, data) for fault in tried}
    shown = tuple(fault for fault, remedy in remedies.items() if remedy is None)
    hidden = tuple(Hidden(fault, remedy) for fault, remedy in remedies.items() if remedy is not None)
    idle = {function: tuple(f for f in functions if functions[f] == function) for function in functions.values()}
    lost = idle.pop("", ())
    return Audit(shown, hidden, {name: idle[name] for name in idle if name not in called}, lost)


def _shows(fault: Fault, experiment: Experiment, data: Data) -> bool:
    """Whether the check of this run fails once the mistake is planted."""
    hand = planted(fault.module, fault.edits_for(experiment.batch_size))
    return differs(experiment, data, strict=fault.cause == "precision-loss", hand=hand)


def _remedy(fault: Fault, experiment: Experiment, data: Data) -> str | None:
    """The first change, from small to large, with which the mistake shows; None where it shows as it is."""
    if _shows(fault, experiment, data):
        return None
    for words, settings, changed in _changes(experiment, data):
        if changed is data and settings.items() <= vars(experiment).items():
            continue
        try:
            if _shows(fault, replace(experiment, **settings), changed):
                return words
        except InputError:  # that change does not suit this data
            continue
    return ""


Change = tuple[str, dict[str, Any], Data]
"""A change of a run in one thing: the words for it, the new settings, and the data."""


def _changes(experiment: Experiment, data: Data) -> Iterator[Change]:
    """Every change that may show a mistake, from small to large."""
    N = data.X.shape[1]
    size = next((b for b in range(max(4, N // 12), N) if N % b), max(2, N // 2))
    known = [
        CONDITIONS[code].change for code in ("no-weight-decay", "no-momentum", "no-memory", "rate-one", "zero-biases")
    ]
    steps = [("steps", 2), ("batch_size", min(2, N)), ("batch_size", size)]
    for name, value in (*steps, *(change for change in known if change)):
        yield f"--{name.replace('_', '-')} {value}", {name: value}, data
    yield f"--batch-size {size} over two whole epochs", {"batch_size": size, "steps": None, "epochs": 2}, data
    yield from _changes_of_layers(experiment, data)
    relu = (*("relu",) * (experiment.depth - 1), experiment.activations[-1])
    zeros = np.where(np.arange(N) % 2, data.X, 0.0)
    words = "ReLU and examples whose z is exactly 0 (biases and inputs of 0)"
    yield words, {"bias_scale": 0.0, "activations": relu}, replace(data, X=zeros)
    yield "saturated units (ReLU, inputs times 1000)", {"activations": relu}, replace(data, X=1000 * data.X)


def _changes_of_layers(experiment: Experiment, data: Data) -> Iterator[Change]:
    """Other activations, and other widths with labels to suit them."""
    (n_x, N), outputs = data.X.shape, data.Y.shape[0]
    depth, last = experiment.depth, experiment.activations[-1]
    layers = experiment.layers if depth > 1 else (n_x, 7, outputs)
    for name in ("tanh", "relu", "sigmoid"):
        hidden = (name,) * (len(layers) - 2)
        yield f"{name} in a hidden layer", {"layers": layers, "activations": (*hidden, last)}, data
    for pair in (("tanh", "relu"), ("sigmoid", "tanh")):
        two = {"layers": (n_x, 7, 5, outputs), "activations": (*pair, last)}
        yield f"two hidden layers, {' and '.join(pair)}", two, data
    rng = np.random.default_rng(0)
    wide, square = ((rng.random((n, N)) < 0.5).astype(float) for n in (3, n_x))
    yield "several outputs", {"layers": (*experiment.layers[:-1], 3)}, replace(data, Y=wide)
    yield "equal widths", {"layers": (n_x,) * len(experiment.layers)}, replace(data, Y=square)
    yield "widths that all differ", {"layers": (n_x, *range(n_x + 1, n_x + depth), outputs)}, data


def _called(experiment: Experiment, data: Data) -> set[str]:
    """The functions of manual/ that a run calls, each with its module: handgrad.manual.network.forward."""
    names: set[str] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            names.add(f"{frame.f_globals.get('__name__', '')}.{frame.f_code.co_name}")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        run(replace(experiment, steps=1), data)
    finally:
        sys.setprofile(before if callable(before) else None)  # C profilers are no functions
    return {name for name in names if name.startswith(NETWORK)}


def _function(fault: Fault) -> str:
    """The function of manual/ that a mistake is in, with its module; "" where the code that it changes was edited."""
    module = importlib.import_module(fault.module)
    try:
        edited(module, fault.edits)
    except InputError:
        return ""
    own = (f for _, f in inspect.getmembers(module, inspect.isfunction) if f.__module__ == fault.module)
    return next(f"{fault.module}.{f.__name__}" for f in own if fault.edits[0][0] in inspect.getsource(f))


def render(result: Audit) -> str:
    """The audit as text: what is hidden under the change that would show it, then the code that was not called."""
    parts = []
    counts = Counter(remedy for _, remedy in result.hidden)
    for remedy in sorted(counts, key=lambda remedy: (not remedy, -counts[remedy])):
        head = f"With {remedy} it would show:" if remedy else "No single change shows:"
        lines = (f"  {fault.name:<42} {fault.formula}" for fault, own in result.hidden if own == remedy)
        parts.append("\n".join((head, *lines)))
    if result.idle:
        functions = ", ".join(f"{name.rpartition('.')[2]} ({len(faults)})" for name, faults in result.idle.items())
        parts.append(f"This run does not call (with the number of known mistakes in each): {functions}.")
    if result.lost:
        lost = ", ".join(fault.name for fault in result.lost)
        parts.append(f"Not tried, because manual/ was edited where they are: {lost}.")
    total = len(result.shown) + len(result.hidden)
    parts.append(f"This run shows {len(result.shown)} of {total} known mistakes in the code that it calls.")
    return "\n\n".join(parts) + "\n"
