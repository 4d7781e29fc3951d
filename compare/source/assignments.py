"""Which lines of a user's code compute a tensor, as far as reading them tells."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from handgrad.compare.names import of_gradient
from handgrad.compare.source.pieces import Piece, Span, span, statements_of

CALLS = 4  # deep: how far a result is followed through functions
Spans = set[Span]
Target = tuple[str, str]  # "name" or "attribute", and what it is called


class _Value(NamedTuple):
    """What is assigned: an expression, none where a value is changed in place; its place in an unpacking, if any.

    `statement` is what assigns it; none where it stands in a dict or is returned.
    """

    expression: ast.expr | None
    place: int | None = None
    statement: ast.stmt | None = None


def tapping(name: str, pieces: Iterable[Piece], reads: Mapping[str, Iterable[str]]) -> Spans:
    """The lines that tap a value, or those values that read what a gradient is of."""
    tensor = of_gradient(name)
    values = {name} if name in reads else {value for value, operands in reads.items() if tensor in operands}
    taps: Spans = set()
    taps_in_loops: Spans = set()  # over names
    for position, piece in enumerate(pieces):
        for node in statements_of(piece.tree):
            if isinstance(node, ast.Call) and callee(node) == "tap" and node.args:
                taps |= {span(piece, node) for value in values if _may_be(node.args[0], value)}
                taps_in_loops |= {span(piece, node)} if isinstance(node.args[0], ast.Name) else set()
            elif isinstance(node, ast.Return) and "J" in values and position == 0:
                taps.add(span(piece, node))
    return taps or (taps_in_loops if values else set())


def _may_be(node: ast.AST | None, name: str) -> bool:
    """Whether a constant or an f-string, such as f"dW{l}", may be a name."""
    if isinstance(node, ast.Constant):
        return bool(node.value == name)
    if not isinstance(node, ast.JoinedStr):
        return False
    parts = (re.escape(str(part.value)) if isinstance(part, ast.Constant) else r"\w+" for part in node.values)
    return re.fullmatch("".join(parts), name) is not None


def callee(call: ast.Call) -> str:
    """The name of what is called, without what it belongs to."""
    target = call.func
    return target.id if isinstance(target, ast.Name) else target.attr if isinstance(target, ast.Attribute) else ""


def computing(name: str, pieces: list[Piece]) -> Spans:
    """The lines that compute a tensor which is returned under a name, or else under names that a variable holds."""
    items = [(key, _Value(value), piece) for piece in pieces for key, value in _dicts(piece.tree)]
    under_name = [item for item in items if _may_be(item[0], name)]
    under_variables = [item for item in items if isinstance(item[0], ast.Name)]
    for returned in (under_name, under_variables):
        lines = [_lines(value, piece, pieces) for _, value, piece in returned]
        if not lines:
            lines = [_assigning((kind, name), p, pieces, CALLS) for p in pieces for kind in ("name", "attribute")]
        if any(lines):
            return set().union(*lines)
    return set()


# --- dicts


@functools.lru_cache(maxsize=64)
def _dicts(tree: ast.AST) -> list[tuple[ast.AST | None, ast.expr]]:
    """What stands in dicts, each with its key."""
    return [item for node in statements_of(tree) for item in _items(node)]


def _items(node: ast.AST) -> Iterator[tuple[ast.AST | None, ast.expr]]:
    """Keys and values of a dict that is written out, built by dict(...), comprehended, or filled key by key."""
    if isinstance(node, ast.Dict):
        yield from zip(node.keys, node.values, strict=True)
    elif isinstance(node, ast.DictComp):
        yield node.key, node.value
    elif isinstance(node, ast.Call) and callee(node) == "dict":
        yield from ((ast.Constant(keyword.arg), keyword.value) for keyword in node.keywords)
    elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Subscript):
        yield node.target.slice, node.value
    elif isinstance(node, ast.Assign):
        pairs = (pair for target in node.targets for pair in unpacked(target, node.value))
        yield from ((target.slice, value) for target, value, _ in pairs if isinstance(target, ast.Subscript))


def unpacked(target: ast.expr, value: ast.expr) -> list[tuple[ast.expr, ast.expr, int | None]]:
    """The targets of an assignment, each with its value, or with the whole of an unpacking and its place in that."""
    if not isinstance(target, ast.Tuple):
        return [(target, value, None)]
    if isinstance(value, ast.Tuple) and len(value.elts) == len(target.elts):
        return [(*pair, None) for pair in zip(target.elts, value.elts, strict=True)]
    return [(element, value, place) for place, element in enumerate(target.elts)]


# --- values


def _lines(value: _Value, piece: Piece, pieces: list[Piece], depth: int = CALLS) -> Spans:
    """The lines that compute a value: of a name its assignments, of a call to a function of theirs its result."""
    own = {span(piece, node) for node in [value.statement or value.expression] if node is not None}
    lines: list[Spans] = []
    match value.expression if depth else None:
        case ast.Name(id=name):
            lines = [_assigning(("name", name), piece, pieces, depth)]
        case ast.Attribute(attr=name):
            lines = [_assigning(("attribute", name), other, pieces, depth) for other in pieces]
        case ast.Call() as call:
            functions = (other for other in pieces if isinstance(other.tree, ast.FunctionDef))
            called = next((other for other in functions if other.name == callee(call)), piece)
            results = _results(called.tree, value.place) if called is not piece else ()
            lines = [_lines(_Value(result), called, pieces, depth - 1) for result in results]
    return set().union(*lines) or own


def _results(function: ast.AST, place: int | None) -> Iterator[ast.expr]:
    """What a function returns; of a tuple what stands at a place."""
    for node in statements_of(function):
        if isinstance(node, ast.Return) and node.value is not None:
            elements = node.value.elts if isinstance(node.value, ast.Tuple) else []
            yield elements[place] if place is not None and place < len(elements) else node.value


def _assigning(target: Target, piece: Piece, pieces: list[Piece], depth: int) -> Spans:
    """The lines of a piece that assign to a target, or change it in place."""
    values = _assignments(piece.tree).get(target, ())
    return set().union(*(_lines(value, piece, pieces, depth - 1) for value in values))


@functools.lru_cache(maxsize=64)
def _assignments(tree: ast.AST) -> dict[Target, list[_Value]]:
    """What is assigned to each target.

    What is only taken out of a dict, as params["W1"], computes nothing and is left out.
    """
    values: dict[Target, list[_Value]] = {}
    for node in statements_of(tree):
        for target, value in _assigned(node):
            if isinstance(target, ast.Subscript) and not _is_key(target.slice):  # a part of it, as in dW[:] = ...
                target = target.value
            match target:
                case ast.Name(id=name):
                    values.setdefault(("name", name), []).append(value)
                case ast.Attribute(attr=name):
                    values.setdefault(("attribute", name), []).append(value)
    return values


def _assigned(node: ast.AST) -> Iterator[tuple[ast.expr, _Value]]:
    """The targets of a statement with what it assigns to each."""
    if isinstance(node, ast.AugAssign):
        yield node.target, _Value(None, None, node)
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        yield node.target, _Value(node.value, None, node)
    elif isinstance(node, ast.Assign):
        for target, value, place in (item for whole in node.targets for item in unpacked(whole, node.value)):
            if not (isinstance(value, ast.Subscript) and _is_key(value.slice)):
                yield target, _Value(value, place, node)


def _is_key(node: ast.expr) -> bool:
    return isinstance(node, (ast.Constant, ast.JoinedStr))
