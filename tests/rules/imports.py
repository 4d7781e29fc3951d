"""Who imports whom: rooms import downwards, nothing imports in a circle, the two witnesses share nothing."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from tests.rules.sources import Source, Violation

__all__ = ["ROOMS", "WITNESSES", "Import", "circles", "imports", "not_independent", "room_of", "upward"]

ROOMS = (
    "handgrad",
    "cli",
    "grading",
    "notes",
    "faults",
    "experiment",
    "checks",
    "pipeline",
    "report",
    "source",
    "diagnosis",
    "verdict",
    "oracle",
    "sandbox",
    "ground",
    "facts",
    "torchref",
    "manual",
)
"""From the roof down: a room imports from those below it."""

WITNESSES = {"manual": "numpy", "torchref": "torch"}
"""The two sides, and the one library that each may use."""


class Import(NamedTuple):
    """A module of ours imports another, on a line."""

    importer: str
    imported: str
    where: Violation


def room_of(module: str) -> str:
    """The room that a module lies in; the files of compare/ itself are the ground."""
    parts = module.split(".")
    if parts[0] != "handgrad" or len(parts) == 1 or parts[1] not in ("compare", *WITNESSES):
        return parts[0]
    if parts[1] in WITNESSES:
        return parts[1]
    return parts[2] if len(parts) > 3 or ".".join(parts[2:]) in ROOMS else "ground"


def _named(node: ast.AST) -> Iterator[tuple[str, str]]:
    """(module, name) of what a node imports; the name is "" where a module itself is imported.

    Left out is the version, which any room may show: it stands in the one file that is always imported first.
    """
    if isinstance(node, ast.Import):
        yield from ((alias.name, "") for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        names = (alias.name for alias in node.names if alias.name != "__version__")
        yield from (("." * node.level + (node.module or ""), name) for name in names)
    elif isinstance(node, ast.Call) and node.args and "import_module" in ast.unparse(node.func):
        name = node.args[0]
        if isinstance(name, ast.Constant):
            yield str(name.value), ""


def imports(sources: Sequence[Source]) -> list[Import]:
    """All imports of our modules by each other: also in functions, for types alone, and by import_module("...")."""
    modules = {source.module for source in sources}
    edges = set()
    for source in sources:
        for node in ast.walk(source.tree):
            for module, name in _named(node):
                target = f"{module}.{name}" if f"{module}.{name}" in modules else module
                if target in modules and target != source.module:
                    edges.add(Import(source.module, target, source.at(node, f"imports {target}")))
    return sorted(edges, key=lambda edge: edge.where)


def upward(sources: Sequence[Source]) -> list[Violation]:
    """Imports from a room above, files in a room that the list does not have, and relative imports."""
    modules = {source.module: source for source in sources}
    unknown = [Violation(s.path, 1, f"no room {room_of(m)!r}") for m, s in modules.items() if room_of(m) not in ROOMS]
    broken = []
    for importer, imported, where in imports(sources):
        above, below = room_of(importer), room_of(imported)
        if above in ROOMS and below in ROOMS and ROOMS.index(below) < ROOMS.index(above):
            broken.append(where._replace(what=f"{above} {where.what}, which lies above it"))
    relative = [
        source.at(node, "imports relatively")
        for source in sources
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    return [*unknown, *broken, *relative]


def circles(sources: Sequence[Source]) -> list[Violation]:
    """Every import that lies on a circle."""
    edges = imports(sources)
    follows: dict[str, set[str]] = {}
    for edge in edges:
        follows.setdefault(edge.importer, set()).add(edge.imported)
    reached = {module: _reached(module, follows) for module in follows}
    broken = []
    for importer, imported, where in edges:
        if importer in reached.get(imported, ()):
            members = [module for module in reached[imported] if imported in reached.get(module, ())]
            broken.append(where._replace(what=f"{where.what}, in a circle of {len(members)} modules"))
    return broken


def _reached(start: str, follows: Mapping[str, Iterable[str]]) -> set[str]:
    """All modules that one imports, directly or not."""
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        for module in follows.get(waiting.pop(), ()):
            if module not in reached:
                reached.add(module)
                waiting.append(module)
    return reached


def not_independent(sources: Iterable[Source]) -> list[Violation]:
    """What a witness imports beside its library, itself and Python's own modules."""
    broken = []
    for source in sources:
        witness = room_of(source.module)
        if witness not in WITNESSES:
            continue
        for node in ast.walk(source.tree):
            for module, _ in _named(node):
                top, ours = module.split(".")[0], f"handgrad.{witness}"
                if not (
                    top == WITNESSES[witness] or top in sys.stdlib_module_names or f"{module}.".startswith(f"{ours}.")
                ):
                    broken.append(source.at(node, f"{witness} imports {module}"))
    return broken
