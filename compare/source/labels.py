"""The source of the notes' network on both sides: equation labels name its lines."""

from __future__ import annotations

import ast
import importlib
import linecache
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache

from handgrad.compare.names import gradient
from handgrad.compare.operations import equation_of, operation
from handgrad.compare.results import Code
from handgrad.compare.source.pieces import Definition, definitions, first_line

MODULES = ("activations", "losses", "network", "initializers", "optimizers", "batches", "training")
Stamp = tuple[int, int]


@dataclass(frozen=True)
class Labelled:
    """A labelled line, and the function that it stands in; the line itself where it stands in none."""

    file: str
    line: int
    first: int
    text: str


def labelled(package: str, label: str) -> Labelled | None:
    """Where an equation stands on one side, "manual" or "torchref"; None if no line has the label."""
    return _labels(package).get(label)


def network_code(activations: tuple[str, ...], loss: str, optimizer: str, names: Iterable[str]) -> tuple[Code, ...]:
    """The functions of both sides that compute the tensors named of a network of these operations, with their lines.

    In torch a gradient is taken by autograd where its tensor is used: dW and db at F1, dZ at F2.
    """
    by_hand, in_torch = _labels("manual"), _labels("torchref")
    functions = _activations(_stamp("manual", "activations"))
    used_at = {"B1": operation("loss", loss).equations[0], "B2": "F1", "B3": "F1", "B4": "F1", "B5": "F2"}
    by_activation = _by_activation(activations, loss)
    lines: dict[tuple[str, str, int, str], dict[str, tuple[int, ...]]] = {}  # of tensors, by the piece they stand in
    for name in names:
        label = equation_of(name, depth=len(activations), loss=loss, optimizer=optimizer)
        places = (
            ("by hand", by_hand.get(label)),
            ("by hand", functions.get(by_activation.get(name, ""))),
            ("torch", in_torch.get(used_at.get(label, label))),
        )
        for side, place in places:
            if place is not None:
                lines.setdefault((side, place.file, place.first, place.text), {})[name] = (place.line,)
    return tuple(Code(*piece, tensors) for piece, tensors in lines.items())


def _by_activation(activations: tuple[str, ...], loss: str) -> dict[str, str]:
    """The functions that compute A[l], an activation, and dZ[l] of a hidden layer, its derivative."""
    found = dict[str, str]()
    for l, name in enumerate(activations, start=1):
        halves = (half.partition(":")[2] for half in operation("activation", name).by_hand)
        found |= zip((f"A{l}", gradient(f"Z{l}")), halves, strict=False)  # not each has a derivative
    found.pop(gradient(f"{operation('loss', loss).reads}{len(activations)}"), None)  # which the loss has
    return found


@cache
def _path(package: str, module: str) -> str:
    """The file of a module of one side."""
    return importlib.import_module(f"handgrad.{package}.{module}").__file__ or ""


def _stamp(package: str, module: str) -> Stamp:
    """What changes when a module's file is edited: when that was, and its size."""
    now = os.stat(_path(package, module))  # noqa: PTH116  # fourteen times a report
    return now.st_mtime_ns, now.st_size


def _source(package: str, module: str) -> tuple[str, str]:
    """The text of a module of one side as it is now, and the name of its file."""
    path = _path(package, module)
    linecache.checkcache(path)
    return "".join(linecache.getlines(path)), f"{package}/{module}.py"


def _labels(package: str) -> dict[str, Labelled]:
    """Every label of a package that stands behind code, in its files as they are now."""
    return _labels_at(package, tuple(_stamp(package, module) for module in MODULES))


@lru_cache(maxsize=8)
def _labels_at(package: str, _: tuple[Stamp, ...]) -> dict[str, Labelled]:
    labels = (_labels_in(*_source(package, module)) for module in MODULES)
    return {label: place for places in labels for label, place in places.items()}


@lru_cache(maxsize=8)
def _activations(_: Stamp) -> dict[str, Labelled]:
    """Every function of manual/activations.py by name."""
    return _functions(*_source("manual", "activations"))


def _labels_in(text: str, file: str) -> dict[str, Labelled]:
    """Every label of a module that stands behind code."""
    places: dict[str, Labelled] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        label = re.search(r"\S.*# \(([A-Z]\d)\)", line)
        if label is not None:
            nodes = (node for node in definitions(text) if first_line(node) <= number <= (node.end_lineno or number))
            places[label[1]] = _labelled(next(nodes, None), text, file, number)
    return places


def _functions(text: str, file: str) -> dict[str, Labelled]:
    """Every function of a module by name, with its last line, which is what it returns."""
    named = ((node.name, node) for node in definitions(text) if not isinstance(node, ast.Lambda))
    return {name: _labelled(node, text, file, node.end_lineno or node.lineno) for name, node in named}


def _labelled(node: Definition | None, text: str, file: str, line: int) -> Labelled:
    """A line of a module with the definition that it stands in, or by itself."""
    first, last = (line, line) if node is None else (first_line(node), node.end_lineno or line)
    return Labelled(file, line, first, "\n".join(text.splitlines()[first - 1 : last]))
