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
Keyed = tuple[dict[object, list[ast.expr]], list[tuple[ast.AST, ast.expr]]]
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
            if isinstance(node, ast.Call) and _callee(node) == "tap" and node.args:
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


def _callee(call: ast.Call) -> str:
    """The name of what is called, without what it belongs to."""
    target = call.func
    return target.id if isinstance(target, ast.Name) else target.attr if isinstance(target, ast.Attribute) else ""


def computing(name: str, pieces: list[Piece]) -> Spans:
    """The lines that compute a tensor which is returned under a name, or else under names that a variable holds."""
    for values_in in (functools.partial(_under, name), _under_variables):
        lines = [_lines(_Value(value), piece, pieces) for piece in pieces for value in values_in(piece.tree)]
        if not lines:
            targets = [("name", name), ("attribute", name)]
            lines = [_assigning(target, piece, pieces, CALLS) for piece in pieces for target in targets]
        if any(lines):
            return set().union(*lines)
    return set()


# --- dicts


def _under(name: str, tree: ast.AST) -> list[ast.expr]:
    """The values that stand under a name, written out or as an f-string, in a dict."""
    by_constant, others = _dicts(tree)
    return [*by_constant.get(name, ()), *(value for key, value in others if _may_be(key, name))]


def _under_variables(tree: ast.AST) -> list[ast.expr]:
    """The values that stand under names which a variable holds."""
    return [value for key, value in _dicts(tree)[1] if isinstance(key, ast.Name)]


@functools.lru_cache(maxsize=64)
def _dicts(tree: ast.AST) -> Keyed:
    """What stands in dicts under constants, by constant, and under other keys."""
    by_constant: dict[object, list[ast.expr]] = {}
    others: list[tuple[ast.AST, ast.expr]] = []
    for node in statements_of(tree):
        for key, value in _items(node):
            if isinstance(key, ast.Constant):
                by_constant.setdefault(key.value, []).append(value)
            elif key is not None:
                others.append((key, value))
    return by_constant, others


def _items(node: ast.AST) -> Iterator[tuple[ast.AST | None, ast.expr]]:
    """Keys and values of a dict that is written out, built by dict(...), comprehended, or filled key by key."""
    if isinstance(node, ast.Dict):
        yield from zip(node.keys, node.values, strict=True)
    elif isinstance(node, ast.DictComp):
        yield node.key, node.value
    elif isinstance(node, ast.Call) and _callee(node) == "dict":
        yield from ((ast.Constant(keyword.arg), keyword.value) for keyword in node.keywords)
    elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Subscript):
        yield node.target.slice, node.value
    elif isinstance(node, ast.Assign):
        pairs = (pair for target in node.targets for pair in _unpacked(target, node.value))
        yield from ((target.slice, value) for target, value, _ in pairs if isinstance(target, ast.Subscript))


def _unpacked(target: ast.expr, value: ast.expr) -> Iterator[tuple[ast.expr, ast.expr, int | None]]:
    """The targets of an assignment, each with its value, or with the whole of an unpacking and its place in that."""
    if not isinstance(target, ast.Tuple):
        yield target, value, None
        return
    values = value.elts if isinstance(value, ast.Tuple) else []
    for place, element in enumerate(target.elts):
        if len(values) == len(target.elts):
            yield element, values[place], None
        else:
            yield element, value, place


# --- values


def _lines(value: _Value, piece: Piece, pieces: list[Piece], depth: int = CALLS) -> Spans:
    """The lines that compute a value: of a name its assignments, of a call to a function of theirs its result."""
    expression = value.expression
    own = {span(piece, node) for node in [value.statement or expression] if node is not None}
    if depth == 0:
        return own
    if isinstance(expression, ast.Name):
        return _assigning(("name", expression.id), piece, pieces, depth) or own
    if isinstance(expression, ast.Attribute):
        target = ("attribute", expression.attr)
        return set().union(*(_assigning(target, other, pieces, depth) for other in pieces)) or own
    if isinstance(expression, ast.Call):
        functions = (other for other in pieces if isinstance(other.tree, ast.FunctionDef))
        callee = next((other for other in functions if other.name == _callee(expression)), None)
        if callee is not None and callee is not piece:
            results = (_Value(result) for result in _results(callee.tree, value.place))
            return set().union(*(_lines(result, callee, pieces, depth - 1) for result in results)) or own
    return own


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
        if isinstance(node, ast.AugAssign):
            _add(values, node.target, _Value(None, None, node))
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            _add(values, node.target, _Value(node.value, None, node))
        elif isinstance(node, ast.Assign):
            for target, value, place in (pair for whole in node.targets for pair in _unpacked(whole, node.value)):
                if not (isinstance(value, ast.Subscript) and _is_key(value.slice)):
                    _add(values, target, _Value(value, place, node))
    return values


def _is_key(node: ast.expr) -> bool:
    return isinstance(node, (ast.Constant, ast.JoinedStr))


def _add(values: dict[Target, list[_Value]], target: ast.expr, value: _Value) -> None:
    """Add what is assigned to a name or an attribute, also into all or a part of it, as in dW[:] = ..."""
    if isinstance(target, ast.Subscript) and not _is_key(target.slice):
        target = target.value
    if isinstance(target, ast.Name):
        values.setdefault(("name", target.id), []).append(value)
    elif isinstance(target, ast.Attribute):
        values.setdefault(("attribute", target.attr), []).append(value)
