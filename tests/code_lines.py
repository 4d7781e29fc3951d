"""How large the package is: `python -m tests.code_lines` prints its lines of code, by room and in total.

A line counts if something other than a comment stands on it and it is no part of a docstring, after `ruff format`, so
that packing lines closer makes no difference. Data that the program reads is listed apart.
"""

from __future__ import annotations

import ast
import io
import shutil
import subprocess
import sys
import tempfile
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.repository import ROOT
from tests.rules.sources import FOLDERS

__all__ = ["Size", "code_lines", "data_of", "formatted", "sizes_of", "table"]

DATA = {".toml", ".json", ".html", ".css"}
NOTHING = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


class Size(NamedTuple):
    """How many files, lines of code, and lines in all."""

    files: int = 0
    code: int = 0
    lines: int = 0

    def plus(self, other: Size) -> Size:
        """Both together."""
        return Size(*(one + another for one, another in zip(self, other, strict=True)))


def code_lines(text: str) -> int:
    """The lines of a Python text that hold code: no blank ones, no comments, no docstrings."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    held = {line for t in tokens if t.type not in NOTHING for line in range(t.start[0], t.end[0] + 1)}
    return len(held - {*_docstring_lines(ast.parse(text))})


def _docstring_lines(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and type(first.value.value) is str:
                yield from range(first.lineno, (first.end_lineno or first.lineno) + 1)


def formatted(root: Path, copy: Path) -> Path:
    """A copy of the package's Python files, in the format that `ruff format` gives them."""
    for folder in FOLDERS:
        for file in sorted((root / folder).rglob("*.py")):
            target = copy / file.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
    command = [
        sys.executable,
        "-m",
        "ruff",
        "format",
        "--quiet",
        "--no-cache",
        "--config",
        str(ROOT / "pyproject.toml"),
    ]
    subprocess.run([*command, str(copy)], check=True)
    return copy


def sizes_of(root: Path) -> dict[str, Size]:
    """The size of every room, by its folder, in the order of the folders."""
    sizes: dict[str, Size] = {}
    for folder in FOLDERS:
        for file in sorted((root / folder).rglob("*.py")):
            text = file.read_text(encoding="utf-8")
            room = "/".join(file.relative_to(root).parts[:-1][:2])
            sizes[room] = sizes.get(room, Size()).plus(Size(1, code_lines(text), len(text.splitlines())))
    return sizes


def data_of(root: Path) -> dict[str, int]:
    """The lines of every file of data, by its path."""
    files = (file for folder in FOLDERS for file in sorted((root / folder).rglob("*")) if file.suffix in DATA)
    return {file.relative_to(root).as_posix(): len(file.read_text(encoding="utf-8").splitlines()) for file in files}


def table(sizes: dict[str, Size], data: dict[str, int]) -> str:
    """Both as text: a room in a line, their total, then a file of data in a line."""
    total = Size()
    for size in sizes.values():
        total = total.plus(size)
    rooms = [("room", *Size._fields), *((room, *size) for room, size in sizes.items()), ("total", *total)]
    files = [("data", "", "", "lines"), *((path, "", "", lines) for path, lines in data.items())]
    files.append(("total", len(data), "", sum(data.values())))
    blocks = ["\n".join(f"{a:<40}{b:>7}{c:>7}{d:>7}" for a, b, c, d in block) for block in (rooms, files)]
    return "\n\n".join(blocks) + "\n"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout.write(table(sizes_of(formatted(ROOT, Path(folder))), data_of(ROOT)))
