"""The source of a derivation or a reference, with the lines that compute each tensor."""

from __future__ import annotations

import ast
import functools
import linecache
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from textwrap import dedent
from types import MappingProxyType
from typing import Any
from weakref import WeakKeyDictionary

from handgrad.compare.report.details import Code
from handgrad.compare.source.assignments import At, assigning, tapping
from handgrad.compare.source.pieces import Piece, Span, around, pieces_of, span, telling

__all__ = ["building", "by_hand", "in_torch", "read_on"]


def by_hand(
    function: Any, names: Mapping[str, str], made: Mapping[str, tuple[str, int]] = MappingProxyType({})
) -> tuple[Code, ...]:
    """The functions and classes of the user's that a derivation, an update or a trainer is made of, itself first.

    `names` are the tensors whose lines are sought, each with the name under which it is returned. `made` is where some
    of these were seen to be made, file and line; for the others the code is read.
    """

    def read(pieces: list[Piece]) -> dict[str, At]:
        return {name: assigning(returned, pieces) for name, returned in names.items()}

    if not made:
        return _remembered("by hand", function, [*names.items()], read)
    pieces = [*pieces_of(function)]
    found = read(pieces)
    for name, returned in names.items():
        if returned in made:
            found[name] = _narrowed(_statement(*made[returned]), found[name])
    more = (around(file, first) for at in found.values() for file, first, _ in at if not _is_in(file, first, pieces))
    pieces += {piece.first: piece for piece in more if piece is not None}.values()
    return _code("by hand", pieces, found)


def _is_in(file: str, line: int, pieces: Iterable[Piece]) -> bool:
    return any(piece.file == file and piece.first <= line < piece.first + len(piece.lines) for piece in pieces)


@functools.lru_cache(maxsize=32)
def _simple(text: str) -> list[ast.stmt]:
    """The statements of a file that hold no others."""
    try:
        return [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.stmt) and not hasattr(n, "body")]
    except (SyntaxError, ValueError):
        return []


def _statement(file: str, line: int) -> Span:
    """The lines of the statement that a line belongs to."""
    text = "".join(linecache.getlines(file))
    spans = ((n.lineno, n.end_lineno or n.lineno) for n in _simple(text))
    return (file, *next((span for span in spans if span[0] <= line <= span[1]), (line, line)))


def _narrowed(statement: Span, read: At) -> At:
    """A statement, or the part of it that reading the code tells: a dict that is returned may take many lines."""
    file, first, last = statement
    inside = {at for at in read if at[0] == file and first <= at[1] and at[2] <= last}
    return inside if inside and last > first else {statement}


def in_torch(function: Any, names: Iterable[str], reads: Mapping[str, Iterable[str]]) -> tuple[Code, ...]:
    """The functions and classes of the user's that a reference is made of, itself first.

    A value is computed where it is tapped, and so is the gradient of what it reads: there autograd takes it. `reads`
    names what each value reads.
    """

    def read(pieces: list[Piece]) -> dict[str, At]:
        return {name: tapping(name, pieces, reads) for name in names}

    return _remembered("torch", function, [*names, *((name, *of) for name, of in reads.items())], read)


_READ: WeakKeyDictionary[Any, tuple[object, dict[str, object], tuple[Code, ...]]] = WeakKeyDictionary()


def _remembered(
    side: str, function: Any, asked: object, read: Callable[[list[Piece]], Mapping[str, At]]
) -> tuple[Code, ...]:
    """What was read of a function before, if the same is asked again and none of its files has changed."""
    try:
        known = _READ.get(function)
    except TypeError:  # what cannot be a key is read every time
        pieces = [*pieces_of(function)]
        return _code(side, pieces, read(pieces))
    if known is not None and known[0] == (side, asked) and all(_entry(f) is entry for f, entry in known[1].items()):
        return known[2]
    pieces = [*pieces_of(function)]
    found = _code(side, pieces, read(pieces))
    _READ[function] = ((side, asked), {piece.file: _entry(piece.file) for piece in pieces}, found)
    return found


def _entry(file: str) -> object:
    """What linecache holds of a file, read anew if that has changed."""
    linecache.checkcache(file)
    linecache.getlines(file)
    return linecache.cache.get(file)


def building(function: Any, names: Iterable[str]) -> tuple[Code, ...]:
    """The functions of the user's that build torch's optimiser, whose result computes the updated tensors named."""
    pieces = [*pieces_of(function)]
    at: At = set()
    for piece in pieces[:1]:
        results = [node for node in telling(piece.tree) if isinstance(node, ast.Return)]
        at = {span(piece, node) for node in results} or {(piece.file, piece.first, piece.first)}
    return _code("torch", pieces, dict.fromkeys(names, at))


def read_on(code: Code, lines: Iterable[int]) -> dict[str, int]:
    """The names that lines of a piece of code read, each with the last line before them that assigns it.

    For an argument of the function that is the line of its def, for what comes from elsewhere 0.
    """
    try:
        tree = ast.parse(dedent(code.text))
    except SyntaxError:  # a lambda among arguments, or a text that is cut
        return {}
    found: dict[str, int] = {}
    shift = code.first - 1
    simple = [node for node in ast.walk(tree) if isinstance(node, ast.stmt) and not hasattr(node, "body")]
    for line in sorted(lines):
        here = [node for node in simple if node.lineno + shift <= line <= (node.end_lineno or node.lineno) + shift]
        names = [n for node in here for n in ast.walk(node) if isinstance(n, ast.Name)]
        found |= dict.fromkeys((n.id for n in names if isinstance(n.ctx, ast.Load) and n.id not in found), 0)
        for function in (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)):
            if function.lineno + shift < line <= (function.end_lineno or 0) + shift:
                given = {argument.arg for argument in ast.walk(function.args) if isinstance(argument, ast.arg)}
                found |= dict.fromkeys((given - {"self"}) & found.keys(), function.lineno + shift)
        for node in simple:
            if node.lineno + shift < line and node not in here:
                stored = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
                found |= dict.fromkeys(stored & found.keys(), node.lineno + shift)
    return found


def _code(side: str, pieces: Iterable[Piece], found: Mapping[str, At]) -> tuple[Code, ...]:
    return tuple(
        Code(
            side,
            Path(piece.file).name,
            piece.first,
            "\n".join(piece.lines),
            {name: lines for name, at in found.items() if (lines := _within(piece, at))},
        )
        for piece in pieces
    )


def _within(piece: Piece, at: At) -> tuple[int, ...]:
    inside = range(piece.first, piece.first + len(piece.lines))
    lines = {n for file, first, last in at if file == piece.file for n in range(first, last + 1)}
    return tuple(sorted(lines & {*inside}))
