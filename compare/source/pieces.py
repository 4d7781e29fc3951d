"""The functions and classes of the user's that a function is made of, cut out of their files."""

from __future__ import annotations

import ast
import functools
import linecache
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import FunctionType, MethodType, ModuleType
from typing import Any

from handgrad.compare.ownership import is_theirs

PIECES = 12  # functions and classes: so many are kept
LINES = 300  # of each
Span = tuple[str, int, int]  # file, first and last line


@dataclass(frozen=True)
class Piece:
    """A function or class: its name, its file, its first line, its text, and its syntax tree with the file's lines."""

    name: str
    file: str
    first: int
    lines: tuple[str, ...]
    tree: ast.AST


@functools.lru_cache(maxsize=64)
def statements_of(tree: ast.AST) -> list[ast.AST]:
    """The nodes of a tree that can say where a tensor comes from."""
    kinds = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Call, ast.Dict, ast.DictComp, ast.Return)
    return [node for node in ast.walk(tree) if isinstance(node, kinds)]


def span(piece: Piece, node: ast.expr | ast.stmt) -> Span:
    """Where a node of a piece stands."""
    return piece.file, node.lineno, node.end_lineno or node.lineno


def pieces_of(function: Any) -> Iterator[Piece]:
    """What a function is made of: itself, then functions, classes and instances of the user's that it names."""
    queue, visited = [_unwrapped(function)], set[int]()
    while queue and len(visited) < PIECES:
        thing = queue.pop(0)
        if thing is None or id(thing) in visited:
            continue
        visited.add(id(thing))
        piece = piece_of(thing)
        if piece is not None:
            yield piece
            queue += [_unwrapped(other) for other in _referenced(thing, piece.tree)]
        elif isinstance(thing, FunctionType):  # of ours, around one of theirs, as per_example and from_module make it
            queue += [_unwrapped(other) for value in closure_of(thing).values() for other in _members(value)]


def _unwrapped(thing: Any) -> FunctionType | type | None:
    """The function or class of the user's that stands behind a thing, without wrappers; None where there is none."""
    while True:
        match thing:
            case functools.partial(func=inner) | MethodType(__func__=inner) | object(__wrapped__=inner):
                thing = inner
            case FunctionType() | type():
                return thing
            case _:
                return None if isinstance(thing, ModuleType) else type(thing)


def piece_of(thing: Any) -> Piece | None:
    """The text of a function or class; None for what is neither, not the user's, or has no source."""
    function = next(functions_of(thing), None)
    if function is None or not is_theirs(function.__code__.co_filename):
        return None
    file, line = function.__code__.co_filename, function.__code__.co_firstlineno
    linecache.checkcache(file)
    lines = linecache.getlines(file)
    node = next((n for n in definitions("".join(lines)) if _is_of(n, thing, line)), None)
    return None if node is None else _cut_out(node, thing.__name__, file, lines)


def _cut_out(node: Definition, name: str, file: str, lines: list[str]) -> Piece:
    """The piece of a file that a definition is, up to as many lines as are kept."""
    first, last = first_line(node), min(node.end_lineno or node.lineno, first_line(node) + LINES - 1)
    return Piece(name, file, first, tuple(text.rstrip() for text in lines[first - 1 : last]), node)


def functions_of(thing: Any) -> Iterator[FunctionType]:
    """The function itself, or those that a class defines."""
    members = vars(thing).values() if isinstance(thing, type) else [thing]
    return (f for member in members if isinstance(f := getattr(member, "__func__", member), FunctionType))


Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda


@functools.lru_cache(maxsize=32)
def definitions(text: str) -> list[Definition]:
    """Every function, class and lambda of a file."""
    try:
        return [node for node in ast.walk(ast.parse(text)) if isinstance(node, Definition)]
    except (SyntaxError, ValueError):
        return []


def _is_of(node: Definition, thing: FunctionType | type, line: int) -> bool:
    """Whether a definition is of a function that starts on a line, or of a class that holds it."""
    if isinstance(node, ast.ClassDef):
        holds_line = node.lineno <= line <= (node.end_lineno or line)
        return isinstance(thing, type) and node.name == thing.__name__ and holds_line
    return not isinstance(thing, type) and first_line(node) == line


def first_line(node: Definition) -> int:
    """The line that a definition starts on, decorators included."""
    decorators = [] if isinstance(node, ast.Lambda) else node.decorator_list
    return min((decorator.lineno for decorator in decorators), default=node.lineno)


def _referenced(thing: FunctionType | type, tree: ast.AST) -> Iterator[Any]:
    """What the code of a function or class names, of what its module and its closure define."""
    functions = [*functions_of(thing)]
    closed = {name: value for function in functions for name, value in closure_of(function).items()}
    for name, attribute in _names_in(tree):
        owner = closed.get(name, functions[0].__globals__.get(name))  # of which a class has one
        if not attribute:
            yield from _members(owner)
        elif isinstance(owner, ModuleType):
            yield from _members(vars(owner).get(attribute))


@functools.lru_cache(maxsize=64)
def _names_in(tree: ast.AST) -> dict[tuple[str, str], None]:
    """The names that code reads, and those of what it takes from a module, as ("np", "dot"); in their order."""
    names: dict[tuple[str, str], None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            names[node.id, ""] = None
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            names[node.value.id, node.attr] = None
    return names


def closure_of(function: FunctionType) -> dict[str, Any]:
    """What a function's closure holds, by name."""
    held: dict[str, Any] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        with suppress(ValueError):  # it is assigned later
            held[name] = cell.cell_contents
    return held


def _members(thing: Any, depth: int = 3) -> Iterator[Any]:
    """The thing, or the things that a list or mapping of them holds, such as layers; in so many lists at most."""
    if isinstance(thing, (list, tuple, dict)) and len(thing) <= PIECES and depth:
        for item in thing.values() if isinstance(thing, dict) else thing:
            yield from _members(item, depth - 1)
    elif thing is not None and not isinstance(thing, ModuleType):
        yield thing


def piece_around(file: str, line: int) -> Piece | None:
    """The innermost function that a line stands in, or the line alone."""
    lines = linecache.getlines(file)
    inside = [n for n in definitions("".join(lines)) if first_line(n) <= line <= (n.end_lineno or n.lineno)]
    if not inside:
        return Piece("", file, line, (lines[line - 1].rstrip(),), ast.Module([], [])) if line <= len(lines) else None
    node = max(inside, key=first_line)
    return _cut_out(node, getattr(node, "name", ""), file, lines)
