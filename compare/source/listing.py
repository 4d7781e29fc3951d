"""The source of a derivation or a reference, with the lines that compute each tensor."""

from __future__ import annotations

import ast
import functools
import linecache
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from textwrap import dedent
from types import MappingProxyType
from typing import Any
from weakref import WeakKeyDictionary

from handgrad.compare.ownership import named
from handgrad.compare.results import Code
from handgrad.compare.source.assignments import Spans, callee, computing, tapping
from handgrad.compare.source.pieces import Piece, Span, piece_around, pieces_of, span, statements_of


def by_hand(
    function: Any, names: Mapping[str, str], made: Mapping[str, tuple[str, int]] = MappingProxyType({})
) -> tuple[Code, ...]:
    """The functions and classes of the user's that a derivation, an update or a trainer is made of, itself first.

    `names` are the tensors whose lines are sought, each with the name under which it is returned. `made` is where some
    of these were seen to be made, file and line; for the others the code is read.
    """

    def read(pieces: list[Piece]) -> dict[str, Spans]:
        return {name: computing(returned, pieces) for name, returned in names.items()}

    if not made:
        return _remembered("by hand", function, [*names.items()], read)
    pieces = [*pieces_of(function)]
    spans = read(pieces)
    for name, returned in names.items():
        if returned in made:
            spans[name] = _narrowed(statement(*made[returned]), spans[name])
    places = {(file, line, line) for lines in spans.values() for file, line, _ in lines}
    elsewhere = sorted(place[:2] for place in places if not any(_within(piece, {place}) for piece in pieces))
    more = (piece_around(*at) for at in elsewhere)
    pieces += {(piece.file, piece.first): piece for piece in more if piece is not None}.values()
    return _code("by hand", pieces, spans)


def statement(file: str, line: int) -> Span:
    """The lines of the statement that a line belongs to."""
    text = "".join(linecache.getlines(file))
    lines = ((node.lineno, node.end_lineno or node.lineno) for node in _simple_statements(text))
    return (file, *next(((first, last) for first, last in lines if first <= line <= last), (line, line)))


def assigned(file: str, line: int) -> list[str]:
    """The names that the statement which a line belongs to assigns; none of one that taps."""
    text = "".join(linecache.getlines(file))
    node = next((n for n in _simple_statements(text) if n.lineno <= line <= (n.end_lineno or n.lineno)), ast.Pass())
    if any(isinstance(each, ast.Call) and callee(each) == "tap" for each in ast.walk(node)):
        return []
    targets = getattr(node, "targets", [getattr(node, "target", ast.Pass())])
    return _names(targets, ast.Store)


@functools.lru_cache(maxsize=32)
def _simple_statements(text: str) -> list[ast.stmt]:
    """The statements of a file that hold no others."""
    try:
        return [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.stmt) and not hasattr(node, "body")]
    except (SyntaxError, ValueError):
        return []


def _narrowed(statement: Span, spans: Spans) -> Spans:
    """A statement, or the part of it that reading the code tells: a dict that is returned may take many lines."""
    file, first, last = statement
    inside = {at for at in spans if at[0] == file and first <= at[1] and at[2] <= last}
    return inside if inside and last > first else {statement}


def in_torch(function: Any, names: Iterable[str], reads: Mapping[str, Iterable[str]]) -> tuple[Code, ...]:
    """The functions and classes of the user's that a reference is made of, itself first.

    A value is computed where it is tapped, and so is the gradient of what it reads: there autograd takes it. `reads`
    names what each value reads.
    """

    def read(pieces: list[Piece]) -> dict[str, Spans]:
        return {name: tapping(name, pieces, reads) for name in names}

    return _remembered("torch", function, [*names, *((name, *of) for name, of in reads.items())], read)


def building(function: Any, names: Iterable[str]) -> tuple[Code, ...]:
    """The functions of the user's that build torch's optimiser, whose result computes the updated tensors named."""
    pieces = [*pieces_of(function)]
    returned = {span(p, node) for p in pieces[:1] for node in statements_of(p.tree) if isinstance(node, ast.Return)}
    spans = returned or {(piece.file, piece.first, piece.first) for piece in pieces[:1]}
    return _code("torch", pieces, dict.fromkeys(names, spans))


# --- what was read before

_READ: WeakKeyDictionary[Any, tuple[object, dict[str, object], tuple[Code, ...]]] = WeakKeyDictionary()


def _remembered(
    side: str, function: Any, question: object, read: Callable[[list[Piece]], Mapping[str, Spans]]
) -> tuple[Code, ...]:
    """What was read of a function before, if the same is asked again and none of its files has changed."""
    with suppress(KeyError, TypeError):  # what cannot be a key is read every time
        asked, entries, code = _READ[function]
        if asked == (side, question) and all(_entry(file) is entry for file, entry in entries.items()):
            return code
    pieces = [*pieces_of(function)]
    code = _code(side, pieces, read(pieces))
    with suppress(TypeError):
        _READ[function] = ((side, question), {piece.file: _entry(piece.file) for piece in pieces}, code)
    return code


def _entry(file: str) -> object:
    """What linecache holds of a file, read anew if that has changed."""
    linecache.checkcache(file)
    linecache.getlines(file)
    return linecache.cache.get(file)


def _code(side: str, pieces: Iterable[Piece], spans: Mapping[str, Spans]) -> tuple[Code, ...]:
    return tuple(
        Code(
            side,
            named(piece.file),
            piece.first,
            "\n".join(piece.lines),
            {name: lines for name, at in spans.items() if (lines := _within(piece, at))},
        )
        for piece in pieces
    )


def _within(piece: Piece, spans: Spans) -> tuple[int, ...]:
    lines = {n for file, first, last in spans if file == piece.file for n in range(first, last + 1)}
    return tuple(sorted(lines & {*range(piece.first, piece.first + len(piece.lines))}))


# --- what lines read


def read_on(code: Code, lines: Iterable[int]) -> dict[str, int]:
    """The names that lines of a piece of code read, each with the last line before them that assigns it.

    What they fill, as dW in dW[l] += x, they do not read. For an argument of the function that is the line of its def,
    for what comes from elsewhere 0.
    """
    text = "\n" * (code.first - 1) + dedent(code.text)  # so that lines have their numbers in the file
    try:
        functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    except (SyntaxError, ValueError):  # a lambda among arguments, or a text that is cut
        return {}
    sources: dict[str, int] = {}
    for line in sorted(lines):
        own = [node for node in _simple_statements(text) if node.lineno <= line <= (node.end_lineno or node.lineno)]
        sources |= dict.fromkeys((name for name in _read(own, lines) if name not in sources), 0)
        for function in functions:
            if function.lineno < line <= (function.end_lineno or 0):
                arguments = {node.arg for node in ast.walk(function.args) if isinstance(node, ast.arg)} - {"self"}
                sources |= dict.fromkeys(arguments & sources.keys(), function.lineno)
        for node in _simple_statements(text):
            if node.lineno < line and node not in own:
                sources |= dict.fromkeys({*_names([node], ast.Store)} & sources.keys(), node.lineno)
    return sources


def _read(statements: Iterable[ast.stmt], lines: Iterable[int]) -> list[str]:
    """The names that lines of statements read."""
    nodes = [node for top in statements for node in ast.walk(top)]
    targets = (getattr(node, "targets", [getattr(node, "target", None)]) for node in nodes)
    filled = {id(_container(target)) for several in targets for target in several}
    names = (node for node in nodes if isinstance(node, ast.Name) and id(node) not in filled)
    return [node.id for node in names if isinstance(node.ctx, ast.Load) and node.lineno in {*lines}]


def _container(target: ast.AST | None) -> ast.AST | None:
    """What an assignment to an entry fills: cache in cache["dW"][l], and any other target itself."""
    while isinstance(target, (ast.Subscript, ast.Starred)):
        target = target.value
    return target


def _names(nodes: Iterable[ast.AST], context: type[ast.expr_context]) -> list[str]:
    """The names that statements read or assign, in their order; those of a comprehension are its own."""
    inside = [node for top in nodes for node in ast.walk(top)]
    own = {id(name) for node in inside if isinstance(node, ast.comprehension) for name in ast.walk(node.target)}
    names = (node for node in inside if isinstance(node, ast.Name) and id(node) not in own)
    return [node.id for node in names if isinstance(node.ctx, context)]
