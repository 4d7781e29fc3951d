"""The source of the notes' network on both sides: equation labels name its lines."""

from __future__ import annotations

import ast
import importlib
import linecache
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from handgrad.compare.names import gradient, layered
from handgrad.compare.operations import equation_of, operation
from handgrad.compare.results import Code
from handgrad.compare.source.pieces import Definition, definitions, first_line

MODULES = ("activations", "losses", "network", "initializers", "optimizers", "batches", "training")
Stamps = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Labelled:
    """A labelled line, and the function that it stands in; the line itself where it stands in none."""

    file: str
    line: int
    first: int
    text: str


def labelled(package: str, label: str) -> Labelled | None:
    """Where an equation stands on one side, "manual" or "torchref"; None if no line has the label."""
    return _labels(package, _stamps(package)).get(label)


def network_code(activations: tuple[str, ...], loss: str, optimizer: str, names: Iterable[str]) -> tuple[Code, ...]:
    """The functions of both sides that compute the tensors named of a network of these operations, with their lines.

    In torch a gradient is taken by autograd where its tensor is used: dW and db at F1, dZ at F2.
    """
    return _network_code(activations, loss, optimizer, tuple(names), (_stamps("manual"), _stamps("torchref")))


@lru_cache(maxsize=64)
def _network_code(
    activations: tuple[str, ...], loss: str, optimizer: str, names: tuple[str, ...], stamps: tuple[Stamps, Stamps]
) -> tuple[Code, ...]:
    """As above, as long as the modules of both sides have these stamps."""
    by_hand, in_torch = _labels("manual", stamps[0]), _labels("torchref", stamps[1])
    lines: dict[tuple[str, Labelled], dict[str, tuple[int, ...]]] = {}
    for name in names:
        label = equation_of(name, depth=len(activations), loss=loss, optimizer=optimizer)
        places = (
            ("by hand", by_hand.get(label)),
            ("by hand", _of_activation(activations, loss, name)),
            ("torch", in_torch.get(_used_at(label, loss))),
        )
        for side, place in places:
            if place is not None:
                of_tensors = lines.setdefault((side, place), {})
                of_tensors[name] = (*of_tensors.get(name, ()), place.line)
    pieces: dict[tuple[str, str, int], Code] = {}
    for (side, place), of_tensors in lines.items():
        key = (side, place.file, place.first)
        known = pieces[key].tensors if key in pieces else {}
        pieces[key] = Code(side, place.file, place.first, place.text, {**known, **of_tensors})
    return tuple(pieces.values())


def _used_at(label: str, loss: str) -> str:
    """The equation at which autograd takes the gradients of a label; a label of no gradient stands for itself."""
    at = {"B1": operation("loss", loss).equations[0], "B2": "F1", "B3": "F1", "B4": "F1", "B5": "F2"}
    return at.get(label, label)


def _of_activation(activations: tuple[str, ...], loss: str, name: str) -> Labelled | None:
    """The value of an activation for A[l], its derivative for dZ[l] of a hidden layer."""
    stem, layer = layered(name)
    if layer is None or not 1 <= layer <= len(activations) or stem not in ("A", gradient("Z")):
        return None
    if name == gradient(f"{operation('loss', loss).reads}{len(activations)}"):
        return None
    row = operation("activation", activations[layer - 1])
    module, _, function = row.by_hand[0 if stem == "A" else 1].partition(":")
    path = f"handgrad.manual.{module}"
    return _functions(_text(path), _file(path)).get(function)


def _stamps(package: str) -> Stamps:
    """When each module was changed last, and how long it is: what has the same stamps need not be read again."""
    return tuple(_stamp(_path(f"handgrad.{package}.{name}")) for name in MODULES)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:  # in an archive
        return 0, 0
    return status.st_mtime_ns, status.st_size


@cache
def _path(module: str) -> Path:
    return Path(importlib.import_module(module).__file__ or "")


def _text(module: str) -> str:
    path = str(_path(module))
    linecache.checkcache(path)
    return "".join(linecache.getlines(path))


def _file(module: str) -> str:
    return f"{module.removeprefix('handgrad.').replace('.', '/')}.py"


@lru_cache(maxsize=8)
def _labels(package: str, stamps: Stamps) -> dict[str, Labelled]:
    """Every label of a package that stands behind code, as long as its modules have these stamps."""
    places: dict[str, Labelled] = {}
    for module in (f"handgrad.{package}.{name}" for name in MODULES):
        text = _text(module)
        for number, line in enumerate(text.splitlines(), start=1):
            label = re.search(r"\S.*# \(([A-Z]\d)\)", line)
            if label is not None:
                nodes = (n for n in definitions(text) if first_line(n) <= number <= (n.end_lineno or number))
                places[label[1]] = _labelled(next(nodes, None), text, _file(module), number)
    return places


@lru_cache(maxsize=8)
def _functions(text: str, file: str) -> dict[str, Labelled]:
    """Every function of a module by name, with its last line, which is what it returns."""
    named = ((node.name, node) for node in definitions(text) if not isinstance(node, ast.Lambda))
    return {name: _labelled(node, text, file, node.end_lineno or node.lineno) for name, node in named}


def _labelled(node: Definition | None, text: str, file: str, line: int) -> Labelled:
    """A line of a module with the definition that it stands in, or by itself."""
    first, last = (line, line) if node is None else (first_line(node), node.end_lineno or line)
    return Labelled(file, line, first, "\n".join(text.splitlines()[first - 1 : last]))
