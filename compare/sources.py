"""The source of a derivation or a reference: the functions of the user's that it is made of, and which lines compute
which tensor, as far as reading them tells.
"""

from __future__ import annotations

import ast
import functools
import linecache
import re
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from types import FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from compare.report.details import Code

__all__ = ["Definition", "building", "by_hand", "definitions", "in_torch", "is_theirs", "read_on", "starts"]

PIECES, LINES = 12, 300  # so many functions and classes are kept, and so many lines of each
FOLLOWED = 4  # how many calls a result is followed through
Span = tuple[str, int, int]  # file, first and last line
At = set[Span]
OURS = tuple(str(Path(__file__).resolve().parent.parent / name) for name in ("compare", "torchref"))
LIBRARIES = tuple(sysconfig.get_paths()[key] for key in ("stdlib", "purelib", "platlib"))


def by_hand(
    function: Any, names: Mapping[str, str], made: Mapping[str, tuple[str, int]] = MappingProxyType({})
) -> tuple[Code, ...]:
    """The functions and classes of the user's that a derivation, an update or a trainer is made of, itself first.

    `names` are the tensors whose lines are sought, each with the name under which it is returned. `made` is where some
    of these were seen to be made, file and line; for the others the code is read.
    """

    def read(pieces: list[_Piece]) -> dict[str, At]:
        return {name: _assigning(returned, pieces) for name, returned in names.items()}

    if not made:
        return _remembered("by hand", function, [*names.items()], read)
    pieces = [*_pieces(function)]
    found = read(pieces)
    for name, returned in names.items():
        if returned in made:
            found[name] = _narrowed(_statement(*made[returned]), found[name])
    more = (_around(file, first) for at in found.values() for file, first, _ in at if not _is_in(file, first, pieces))
    pieces += {piece.first: piece for piece in more if piece is not None}.values()
    return _code("by hand", pieces, found)


def _is_in(file: str, line: int, pieces: Iterable[_Piece]) -> bool:
    return any(piece.file == file and piece.first <= line < piece.first + len(piece.lines) for piece in pieces)


def _around(file: str, line: int) -> _Piece | None:
    """The innermost function that a line stands in, or the line alone."""
    lines = linecache.getlines(file)
    inside = [n for n in definitions("".join(lines)) if starts(n) <= line <= (n.end_lineno or n.lineno)]
    if not inside:
        return _Piece("", file, line, (lines[line - 1].rstrip(),), ast.Module([], [])) if line <= len(lines) else None
    node = max(inside, key=starts)
    return _cut_out(node, getattr(node, "name", ""), file, lines)


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

    def read(pieces: list[_Piece]) -> dict[str, At]:
        return {name: _tapping(name, pieces, reads) for name in names}

    return _remembered("torch", function, [*names, *((name, *of) for name, of in reads.items())], read)


_READ: WeakKeyDictionary[Any, tuple[object, dict[str, object], tuple[Code, ...]]] = WeakKeyDictionary()


def _remembered(
    side: str, function: Any, asked: object, read: Callable[[list[_Piece]], Mapping[str, At]]
) -> tuple[Code, ...]:
    """What was read of a function before, if the same is asked again and none of its files has changed."""
    try:
        known = _READ.get(function)
    except TypeError:  # what cannot be a key is read every time
        pieces = [*_pieces(function)]
        return _code(side, pieces, read(pieces))
    if known is not None and known[0] == (side, asked) and all(_entry(f) is entry for f, entry in known[1].items()):
        return known[2]
    pieces = [*_pieces(function)]
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
    pieces = [*_pieces(function)]
    at: At = set()
    for piece in pieces[:1]:
        results = [node for node in piece.nodes if isinstance(node, ast.Return)]
        at = {_span(piece, node) for node in results} or {(piece.file, piece.first, piece.first)}
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


def _code(side: str, pieces: Iterable[_Piece], found: Mapping[str, At]) -> tuple[Code, ...]:
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


@dataclass(frozen=True)
class _Piece:
    """A function or class: its name, its file, its first line, its text, and its syntax tree with the file's lines."""

    name: str
    file: str
    first: int
    lines: tuple[str, ...]
    tree: ast.AST

    @property
    def nodes(self) -> list[ast.AST]:
        """Every node of the tree that can say where a tensor comes from."""
        return _telling(self.tree)


@functools.lru_cache(maxsize=64)
def _telling(tree: ast.AST) -> list[ast.AST]:
    telling = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Call, ast.Dict, ast.DictComp, ast.Return)
    return [node for node in ast.walk(tree) if isinstance(node, telling)]


def _within(piece: _Piece, at: At) -> tuple[int, ...]:
    inside = range(piece.first, piece.first + len(piece.lines))
    lines = {n for file, first, last in at if file == piece.file for n in range(first, last + 1)}
    return tuple(sorted(lines & {*inside}))


def _span(piece: _Piece, node: ast.expr | ast.stmt) -> Span:
    return piece.file, node.lineno, node.end_lineno or node.lineno


def _pieces(function: Any) -> Iterator[_Piece]:
    """What a function is made of: itself, then functions, classes and instances of the user's that it names."""
    waiting, seen = [_plain(function)], set[int]()
    while waiting and len(seen) < PIECES:
        thing = waiting.pop(0)
        if thing is None or id(thing) in seen:
            continue
        seen.add(id(thing))
        piece = _piece(thing)
        if piece is not None:
            yield piece
            waiting += [_plain(other) for other in _named(thing, piece.tree)]
        elif isinstance(thing, FunctionType):  # of ours, around one of theirs, as per_example and from_module make it
            waiting += [_plain(other) for value in _enclosed(thing).values() for other in _users(value)]


def _plain(thing: Any) -> FunctionType | type | None:
    """The function or class of the user's that stands behind a thing, without wrappers; None where there is none."""
    while True:
        if isinstance(thing, functools.partial):
            thing = thing.func
        elif isinstance(thing, MethodType):
            thing = thing.__func__
        elif hasattr(thing, "__wrapped__"):
            thing = thing.__wrapped__
        else:
            break
    if isinstance(thing, (FunctionType, type)):
        return thing
    return None if isinstance(thing, ModuleType) else type(thing)


def _piece(thing: FunctionType | type) -> _Piece | None:
    """Its text; None for what is not the user's or has no source."""
    function = next(iter(_functions(thing)), None)
    if function is None or not is_theirs(function.__code__.co_filename):
        return None
    file, line = function.__code__.co_filename, function.__code__.co_firstlineno
    linecache.checkcache(file)
    lines = linecache.getlines(file)
    node = next((n for n in definitions("".join(lines)) if _is_of(n, thing, line)), None)
    if node is None:
        return None
    return _cut_out(node, thing.__name__, file, lines)


def _cut_out(node: Definition, name: str, file: str, lines: list[str]) -> _Piece:
    """The piece of a file that a definition is, up to as many lines as are kept."""
    first, last = starts(node), min(node.end_lineno or node.lineno, starts(node) + LINES - 1)
    return _Piece(name, file, first, tuple(text.rstrip() for text in lines[first - 1 : last]), node)


def _functions(thing: FunctionType | type) -> list[FunctionType]:
    """The function itself, or those that a class defines."""
    members = (getattr(member, "__func__", member) for member in vars(thing).values())
    return [thing] if isinstance(thing, FunctionType) else [m for m in members if isinstance(m, FunctionType)]


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
    if isinstance(thing, type):
        return (
            isinstance(node, ast.ClassDef)
            and node.name == thing.__name__
            and node.lineno <= line <= (node.end_lineno or line)
        )
    return not isinstance(node, ast.ClassDef) and starts(node) == line


def starts(node: Definition) -> int:
    """The line that a definition starts on, decorators included."""
    decorators = [] if isinstance(node, ast.Lambda) else node.decorator_list
    return min((each.lineno for each in decorators), default=node.lineno)


def _named(thing: FunctionType | type, tree: ast.AST) -> Iterator[Any]:
    """What the code of a function or class names, of what its module and its closure define."""
    known: dict[str, Any] = {}
    for function in _functions(thing):
        known |= function.__globals__ | _enclosed(function)
    for name, attribute in _names_in(tree):
        owner = known.get(name)
        if not attribute:
            yield from _users(owner)
        elif isinstance(owner, ModuleType):
            yield from _users(vars(owner).get(attribute))


@functools.lru_cache(maxsize=64)
def _names_in(tree: ast.AST) -> dict[tuple[str, str], None]:
    """The names that code reads, and those of what it takes from a module, as ("np", "dot"); in their order."""
    found: dict[tuple[str, str], None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            found[node.id, ""] = None
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found[node.value.id, node.attr] = None
    return found


def _enclosed(function: FunctionType) -> dict[str, Any]:
    """What a function's closure holds, by name."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=False)
    return {name: cell.cell_contents for name, cell in cells if _is_filled(cell)}


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # assigned later
        return False


def _users(thing: Any) -> Iterator[Any]:
    """The thing, or the things that a list or mapping of them holds, such as layers."""
    if isinstance(thing, (list, tuple, dict)) and len(thing) <= PIECES:
        for item in thing.values() if isinstance(thing, dict) else thing:
            yield from _users(item)
    elif thing is not None and not isinstance(thing, ModuleType):
        yield thing


def _matches(node: ast.AST | None, name: str) -> bool:
    """Whether a constant or an f-string, such as f"dW{l}", may be a name."""
    if isinstance(node, ast.Constant):
        return bool(node.value == name)
    if not isinstance(node, ast.JoinedStr):
        return False
    parts = (re.escape(str(p.value)) if isinstance(p, ast.Constant) else r"\w+" for p in node.values)
    return re.fullmatch("".join(parts), name) is not None


def _tapping(name: str, pieces: Iterable[_Piece], reads: Mapping[str, Iterable[str]]) -> At:
    """The lines that tap a value, or those values that read what a gradient is of."""
    wanted = {name} if name in reads else {value for value, read in reads.items() if name[1:] in read}
    found: At = set()
    by_variable: At = set()  # as in a loop over names
    for position, piece in enumerate(pieces):
        for node in piece.nodes:
            if isinstance(node, ast.Call) and _called(node) == "tap" and node.args:
                found |= {_span(piece, node) for value in wanted if _matches(node.args[0], value)}
                by_variable |= {_span(piece, node)} if isinstance(node.args[0], ast.Name) else set()
            elif isinstance(node, ast.Return) and "J" in wanted and position == 0:
                found.add(_span(piece, node))
    return found or (by_variable if wanted else set())


def _called(call: ast.Call) -> str:
    """The name of what is called, without what it belongs to."""
    target = call.func
    return target.id if isinstance(target, ast.Name) else target.attr if isinstance(target, ast.Attribute) else ""


def _assigning(name: str, pieces: list[_Piece]) -> At:
    """The lines that compute a tensor which is returned under a name, or else under names that a variable holds."""
    for fits in (functools.partial(_under, name), _under_variables):
        found = [_computing(value, piece, pieces, FOLLOWED) for piece in pieces for value in fits(piece.tree)]
        if not found:
            found = [set(_assigned((kind, name), piece, pieces)) for piece in pieces for kind in ("name", "attribute")]
        if any(found):
            return set().union(*found)
    return set()


def _under(name: str, tree: ast.AST) -> list[ast.expr]:
    """The values that stand under a name, written out or as an f-string, in a dict."""
    constant, others = _all_keyed(tree)
    return [*constant.get(name, ()), *(value for key, value in others if _matches(key, name))]


def _under_variables(tree: ast.AST) -> list[ast.expr]:
    """The values that stand under names which a variable holds."""
    return [value for key, value in _all_keyed(tree)[1] if isinstance(key, ast.Name)]


Keyed = tuple[dict[object, list[ast.expr]], list[tuple[ast.AST, ast.expr]]]


@functools.lru_cache(maxsize=64)
def _all_keyed(tree: ast.AST) -> Keyed:
    """What stands in dicts under constants, by constant, and under other keys."""
    constant: dict[object, list[ast.expr]] = {}
    others: list[tuple[ast.AST, ast.expr]] = []
    for node in _telling(tree):
        for key, value in _keyed(node):
            if isinstance(key, ast.Constant):
                constant.setdefault(key.value, []).append(value)
            elif key is not None:
                others.append((key, value))
    return constant, others


def _keyed(node: ast.AST) -> Iterator[tuple[ast.AST | None, ast.expr]]:
    """Keys and values of a dict that is written out, built by dict(...), comprehended, or filled key by key."""
    if isinstance(node, ast.Dict):
        yield from zip(node.keys, node.values, strict=True)
    elif isinstance(node, ast.DictComp):
        yield node.key, node.value
    elif isinstance(node, ast.Call) and _called(node) == "dict":
        yield from ((ast.Constant(keyword.arg), keyword.value) for keyword in node.keywords)
    elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Subscript):
        yield node.target.slice, node.value
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Subscript):
                yield target.slice, node.value
            elif isinstance(target, ast.Tuple):
                pairs = _paired(target, node.value)
                yield from ((t.slice, value) for t, value, _ in pairs if isinstance(t, ast.Subscript))


def _paired(target: ast.Tuple, value: ast.expr) -> Iterator[tuple[ast.expr, ast.expr, int | None]]:
    """The targets of an unpacking, each with its value, or with the whole and its place in that."""
    for place, each in enumerate(target.elts):
        if isinstance(value, ast.Tuple) and len(value.elts) == len(target.elts):
            yield each, value.elts[place], None
        else:
            yield each, value, place


def _computing(
    value: ast.expr,
    piece: _Piece,
    pieces: list[_Piece],
    depth: int,
    place: int | None = None,
    statement: ast.stmt | None = None,
) -> At:
    """The lines that compute an expression: of a name its assignments, of a call to a function of theirs its result.

    `statement` is what assigns it, if anything does.
    """
    here = {_span(piece, value if statement is None else statement)}
    if depth == 0:
        return here
    if isinstance(value, ast.Name):
        return set(_assigned(("name", value.id), piece, pieces, depth)) or here
    if isinstance(value, ast.Attribute):
        everywhere = (_assigned(("attribute", value.attr), other, pieces, depth) for other in pieces)
        return {at for found in everywhere for at in found} or here
    if isinstance(value, ast.Call):
        callee = next((p for p in pieces if p.name == _called(value) and isinstance(p.tree, ast.FunctionDef)), None)
        if callee is not None and callee is not piece:
            found: At = set()
            for node in callee.nodes:
                if isinstance(node, ast.Return) and node.value is not None:
                    result = node.value
                    if place is not None and isinstance(result, ast.Tuple) and place < len(result.elts):
                        result = result.elts[place]
                    found |= _computing(result, callee, pieces, depth - 1)
            return found or here
    return here


Target = tuple[str, str]  # "name" or "attribute", and what it is called
Assigned = dict[Target, list[tuple[ast.expr | None, int | None, ast.stmt]]]


def _assigned(target: Target, piece: _Piece, pieces: list[_Piece], depth: int = FOLLOWED) -> Iterator[Span]:
    """The lines of a piece that assign to a target, or change it in place."""
    for value, place, statement in _assignments(piece.tree).get(target, ()):
        if value is None:
            yield _span(piece, statement)
        else:
            yield from _computing(value, piece, pieces, depth - 1, place, statement)


@functools.lru_cache(maxsize=64)
def _assignments(tree: ast.AST) -> Assigned:
    """What is assigned to each target: a value, its place in an unpacking, and the statement; no value where changed.

    What is only taken out of a dict, as params["W1"], computes nothing and is left out.
    """
    found: Assigned = {}
    for node in _telling(tree):
        if isinstance(node, ast.AugAssign):
            _note(found, node.target, None, None, node)
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            _note(found, node.target, node.value, None, node)
        for target in node.targets if isinstance(node, ast.Assign) else ():
            assert isinstance(node, ast.Assign)
            pairs = _paired(target, node.value) if isinstance(target, ast.Tuple) else ((target, node.value, None),)
            for each, value, place in pairs:
                if not (isinstance(value, ast.Subscript) and isinstance(value.slice, (ast.Constant, ast.JoinedStr))):
                    _note(found, each, value, place, node)
    return found


def _note(found: Assigned, target: ast.expr, value: ast.expr | None, place: int | None, statement: ast.stmt) -> None:
    """Note what is assigned to a name or an attribute, also into all or a part of it, as in dW[:] = ..."""
    if isinstance(target, ast.Subscript) and not isinstance(target.slice, (ast.Constant, ast.JoinedStr)):
        target = target.value
    if isinstance(target, ast.Name):
        found.setdefault(("name", target.id), []).append((value, place, statement))
    elif isinstance(target, ast.Attribute):
        found.setdefault(("attribute", target.attr), []).append((value, place, statement))


@functools.lru_cache(maxsize=256)
def is_theirs(filename: str) -> bool:
    """Whether a file is the user's: neither ours, nor of a library, nor made up by one."""
    if filename.startswith("<"):
        return filename.startswith(("<stdin", "<string", "<ipython"))
    return not str(Path(filename).resolve()).startswith(OURS + LIBRARIES)
