"""Which lines of a user's code compute a tensor, as far as reading them tells."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterable, Iterator, Mapping

from handgrad.compare.source.pieces import Piece, Span, span, telling

__all__ = ["At", "assigning", "tapping"]

FOLLOWED = 4  # how many calls a result is followed through
At = set[Span]


def _matches(node: ast.AST | None, name: str) -> bool:
    """Whether a constant or an f-string, such as f"dW{l}", may be a name."""
    if isinstance(node, ast.Constant):
        return bool(node.value == name)
    if not isinstance(node, ast.JoinedStr):
        return False
    parts = (re.escape(str(p.value)) if isinstance(p, ast.Constant) else r"\w+" for p in node.values)
    return re.fullmatch("".join(parts), name) is not None


def tapping(name: str, pieces: Iterable[Piece], reads: Mapping[str, Iterable[str]]) -> At:
    """The lines that tap a value, or those values that read what a gradient is of."""
    wanted = {name} if name in reads else {value for value, read in reads.items() if name[1:] in read}
    found: At = set()
    by_variable: At = set()  # as in a loop over names
    for position, piece in enumerate(pieces):
        for node in telling(piece.tree):
            if isinstance(node, ast.Call) and _called(node) == "tap" and node.args:
                found |= {span(piece, node) for value in wanted if _matches(node.args[0], value)}
                by_variable |= {span(piece, node)} if isinstance(node.args[0], ast.Name) else set()
            elif isinstance(node, ast.Return) and "J" in wanted and position == 0:
                found.add(span(piece, node))
    return found or (by_variable if wanted else set())


def _called(call: ast.Call) -> str:
    """The name of what is called, without what it belongs to."""
    target = call.func
    return target.id if isinstance(target, ast.Name) else target.attr if isinstance(target, ast.Attribute) else ""


def assigning(name: str, pieces: list[Piece]) -> At:
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
    for node in telling(tree):
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
    piece: Piece,
    pieces: list[Piece],
    depth: int,
    place: int | None = None,
    statement: ast.stmt | None = None,
) -> At:
    """The lines that compute an expression: of a name its assignments, of a call to a function of theirs its result.

    `statement` is what assigns it, if anything does.
    """
    here = {span(piece, value if statement is None else statement)}
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
            for node in telling(callee.tree):
                if isinstance(node, ast.Return) and node.value is not None:
                    result = node.value
                    if place is not None and isinstance(result, ast.Tuple) and place < len(result.elts):
                        result = result.elts[place]
                    found |= _computing(result, callee, pieces, depth - 1)
            return found or here
    return here


Target = tuple[str, str]  # "name" or "attribute", and what it is called


Assigned = dict[Target, list[tuple[ast.expr | None, int | None, ast.stmt]]]


def _assigned(target: Target, piece: Piece, pieces: list[Piece], depth: int = FOLLOWED) -> Iterator[Span]:
    """The lines of a piece that assign to a target, or change it in place."""
    for value, place, statement in _assignments(piece.tree).get(target, ()):
        if value is None:
            yield span(piece, statement)
        else:
            yield from _computing(value, piece, pieces, depth - 1, place, statement)


@functools.lru_cache(maxsize=64)
def _assignments(tree: ast.AST) -> Assigned:
    """What is assigned to each target: a value, its place in an unpacking, and the statement; no value where changed.

    What is only taken out of a dict, as params["W1"], computes nothing and is left out.
    """
    found: Assigned = {}
    for node in telling(tree):
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
