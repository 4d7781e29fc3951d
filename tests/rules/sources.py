"""Every Python file, read and parsed once, and how a rule says where it is broken."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

__all__ = ["FOLDERS", "Source", "Violation", "functions", "of_folders", "one", "parsed"]

FOLDERS = ("handgrad", "manual", "torchref", "compare")  # the package, as it lies in the repository


class Violation(NamedTuple):
    """A rule is broken: in which file, on which line, and what stands there."""

    path: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}"


class Source(NamedTuple):
    """A file: its path from the root with slashes, its text and its syntax tree."""

    path: str
    text: str
    tree: ast.Module

    @property
    def module(self) -> str:
        """The name that it is imported by: compare/names.py is handgrad.compare.names."""
        parts = self.path.removesuffix(".py").split("/")
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        return f"handgrad.{name}" if parts[0] in FOLDERS[1:] else name

    @property
    def is_package(self) -> bool:
        """Whether it is the __init__ of a folder."""
        return self.path.endswith("/__init__.py")

    def at(self, node: ast.AST, what: str) -> Violation:
        """What stands at a node of this file."""
        return Violation(self.path, getattr(node, "lineno", 1), what)


def parsed(path: str, text: str) -> Source:
    """A file of that path and text; `path` decides on its name and room."""
    return Source(path, text, ast.parse(text, path))


@cache
def of_folders(root: Path, *folders: str) -> tuple[Source, ...]:
    """All Python files below some folders of a repository, in the order of their paths."""
    files = (file for folder in folders for file in sorted((root / folder).rglob("*.py")))
    return tuple(parsed(file.relative_to(root).as_posix(), file.read_text(encoding="utf-8")) for file in files)


def one(sources: Iterable[Source], module: str) -> Source:
    """The source of a module."""
    return next(source for source in sources if source.module == module)


def functions(source: Source) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method of a file, inner ones too."""
    return (node for node in ast.walk(source.tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))
