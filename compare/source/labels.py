"""The source of the notes' network on both sides: equation labels name its lines."""

from __future__ import annotations

import importlib
import linecache
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from handgrad.compare.operations import equation_of, operation
from handgrad.compare.results import Code
from handgrad.compare.source.pieces import definitions, starts

__all__ = ["Labelled", "labelled", "network_code"]

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


def network_code(
    activations: tuple[str, ...], loss: str, optimizer: str, names: Iterable[str]
) -> tuple[Code, ...]:
    """The functions of both sides that compute the tensors named, with their lines.

    In torch a gradient is taken by autograd where its tensor is used: dW and db at F1, dZ at F2.
    """
    stamps = _stamps("manual"), _stamps("torchref")
    return _network_code(activations, loss, optimizer, tuple(names), *stamps)


@lru_cache(maxsize=64)
def _network_code(
    activations: tuple[str, ...], loss: str, optimizer: str, names: tuple[str, ...], *stamps: Stamps
) -> tuple[Code, ...]:
    """As above, as long as the modules of both sides have these stamps."""
    hand, torch = (_labels(package, stamp) for package, stamp in zip(("manual", "torchref"), stamps, strict=True))
    lines: dict[tuple[str, Labelled], dict[str, list[int]]] = {}
    for name in names:
        label = equation_of(name, depth=len(activations), loss=loss, optimizer=optimizer)
        by_hand = [hand.get(label), *_of_activation(activations, loss, name)]
        in_torch = [torch.get(_forward(label, loss))]
        for side, places in (("by hand", by_hand), ("torch", in_torch)):
            for place in places:
                if place is not None:
                    lines.setdefault((side, place), {}).setdefault(name, []).append(place.line)
    pieces: dict[tuple[str, str, int], Code] = {}
    for (side, place), of_tensors in lines.items():
        key = (side, place.file, place.first)
        known = pieces[key].tensors if key in pieces else {}
        tensors = {**known, **{name: tuple(at) for name, at in of_tensors.items()}}
        pieces[key] = Code(side, place.file, place.first, place.text, tensors)
    return tuple(pieces.values())


def _forward(label: str, loss: str) -> str:
    """The equation at which autograd takes the gradients of a label; a label of no gradient stands for itself."""
    return {"B1": operation("loss", loss).equations[0], "B2": "F1", "B3": "F1", "B4": "F1", "B5": "F2"}.get(
        label, label
    )


def _of_activation(activations: tuple[str, ...], loss: str, name: str) -> Iterator[Labelled | None]:
    """The value of an activation for A[l], its derivative for dZ[l] of a hidden layer."""
    found = re.fullmatch(r"(A|dZ)(\d+)", name)
    L = len(activations)
    if found is None or not 1 <= int(found[2]) <= L or name == f"d{operation('loss', loss).reads}{L}":
        return
    row = operation("activation", activations[int(found[2]) - 1])
    path = row.by_hand[0 if found[1] == "A" else 1]
    module, _, function = path.partition(":")
    module = f"handgrad.manual.{module}"
    yield _functions(_text(module), _file(module)).get(function)


def _stamps(package: str) -> Stamps:
    """When each module was changed last, and how long it is: what has the same stamps need not be read again."""
    return tuple(_stamp(_path(f"handgrad.{package}.{name}")) for name in MODULES)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:  # in an archive
        return 0, 0
    return found.st_mtime_ns, found.st_size


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
    found: dict[str, Labelled] = {}
    for name in MODULES:
        text = _text(f"handgrad.{package}.{name}")
        file, lines = f"{package}/{name}.py", text.splitlines()
        for number, line in enumerate(lines, start=1):
            at = re.search(r"\S.*# \(([A-Z]\d)\)", line)
            if at is None:
                continue
            node = next((n for n in definitions(text) if starts(n) <= number <= (n.end_lineno or number)), None)
            first, last = (number, number) if node is None else (starts(node), node.end_lineno or number)
            found[at[1]] = Labelled(file, number, first, "\n".join(lines[first - 1 : last]))
    return found


@lru_cache(maxsize=8)
def _functions(text: str, file: str) -> dict[str, Labelled]:
    """Every function of a module by name, with its last line, which is what it returns."""
    found = {}
    for node in definitions(text):
        if hasattr(node, "name"):
            first, last = starts(node), node.end_lineno or node.lineno
            found[node.name] = Labelled(file, last, first, "\n".join(text.splitlines()[first - 1 : last]))
    return found
