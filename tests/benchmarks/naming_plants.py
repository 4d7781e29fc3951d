"""Mistakes that nobody wrote: random edits of a derivation's syntax tree, random wrong answers, and pairs of slips."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

import numpy as np

from tests.corpus.planted import Mistake, Operation

__all__ = ["ANSWERS", "answered", "assigned", "edited", "pairs"]

Array = np.ndarray

# --- random edits

SWAPS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
EXCHANGED = {"sum": "mean", "mean": "sum", "max": "min"}
LEFT_OUT = ("exp", "log", "sqrt", "tanh", "abs", "maximum")


def edited(source: str, rng: np.random.Generator) -> tuple[str, str]:
    """A source with one edit in a random place, and the edit: what stood there, and what stands there now."""
    tree = ast.parse(source)
    places = [(place, [*_replacements(place, _names(tree, place))]) for place in _expressions(tree)]
    usable = [each for each in places if each[1]]
    place, possible = usable[int(rng.integers(len(usable)))]
    replacement = possible[int(rng.integers(len(possible)))]
    what = f"{ast.unparse(place)} -> {ast.unparse(replacement)}"
    return ast.unparse(_Replaced(place, replacement).visit(tree)), what


def _expressions(tree: ast.Module) -> Iterator[ast.expr]:
    """Every part of every formula; what is returned is none."""
    for statement in ast.walk(tree):
        if isinstance(statement, (ast.Assign, ast.AugAssign, ast.Expr)) and not _unpacks(statement):
            yield from (node for node in ast.walk(statement.value) if isinstance(node, ast.expr))


def _unpacks(statement: ast.Assign | ast.AugAssign | ast.Expr) -> bool:
    """Whether a statement takes parameters, shapes and what was kept apart."""
    nodes = ast.walk(statement.value)
    return any(isinstance(node, ast.Name) and node.id in ("params", "kept", "taken") for node in nodes)


def _names(tree: ast.Module, place: ast.expr) -> list[str]:
    """The variables that a line before has assigned."""
    names = (node for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
    return sorted({node.id for node in names if node.lineno < place.lineno})


def _replacements(place: ast.expr, names: list[str]) -> Iterator[ast.expr]:
    """What may stand in a place: another operator, operand or number, or a part of what stands there."""
    match place:
        case ast.BinOp(left, op, right):
            if type(op) in SWAPS:
                yield ast.BinOp(left, SWAPS[type(op)](), right)
            yield from (left, right)
        case ast.UnaryOp(ast.USub(), operand):
            yield operand
        case ast.Constant(value) if isinstance(value, (int, float)) and not isinstance(value, bool):
            yield from (ast.Constant(other) for other in (value + 1, 2 * value, value / 2, 0) if other != value)
        case ast.Attribute(value, "T"):
            yield value
        case ast.Call(ast.Attribute(of, name), arguments, keywords) if name in EXCHANGED:
            yield ast.Call(ast.Attribute(of, EXCHANGED[name], ast.Load()), arguments, keywords)
        case ast.Call(ast.Attribute(ast.Name("np"), name), [argument, *_]) if name in LEFT_OUT:
            yield argument
        case ast.Name(name, ast.Load()) if name in names:
            others = [other for other in names if other != name]
            yield from (ast.Name(other, ast.Load()) for other in others)


class _Replaced(ast.NodeTransformer):
    """Puts a replacement where one node stands."""

    def __init__(self, node: ast.expr, replacement: ast.expr) -> None:
        self.node, self.replacement = node, copy.deepcopy(replacement)

    def visit(self, node: ast.AST) -> Any:
        return self.replacement if node is self.node else self.generic_visit(node)


# --- random wrong answers


def _values(rng: np.random.Generator, right: Array) -> Callable[[Array], Array]:
    drawn = rng.standard_normal(right.shape)
    return lambda v: drawn


def _factors(rng: np.random.Generator, right: Array) -> Callable[[Array], Array]:
    drawn = rng.uniform(0.5, 1.5, right.shape)
    return lambda v: v * drawn


def _small_factors(rng: np.random.Generator, right: Array) -> Callable[[Array], Array]:
    drawn = 1 + 10 ** rng.uniform(-7, -2) * rng.standard_normal(right.shape)
    return lambda v: v * drawn


def _added(rng: np.random.Generator, right: Array) -> Callable[[Array], Array]:
    drawn = 10 ** rng.uniform(-5, 0) * np.abs(right).max() * rng.standard_normal(right.shape)
    return lambda v: v + drawn


def _mixed(rng: np.random.Generator, right: Array) -> Callable[[Array], Array]:
    drawn = rng.standard_normal((right.size, right.size))
    return lambda v: (drawn @ v.ravel()).reshape(v.shape)


def _elsewhere(rng: np.random.Generator, right: Array) -> Callable[[Array], Array]:
    order, signs = rng.permutation(right.size), rng.choice([-1.0, 1.0], right.shape)
    return lambda v: v.ravel()[order].reshape(v.shape) * signs


def _bent(rng: np.random.Generator, right: Array) -> Callable[[Array], Array]:
    a, b, c = rng.uniform(0.5, 2.0, 3) / max(np.abs(right).max(), 1e-9), rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9)
    return lambda v: np.sin(a[0] * v) + b * (a[1] * v) ** 2 + c * np.cos(a[2] * v)


def _saturated(rng: np.random.Generator, right: Array) -> Callable[[Array], Array]:
    a, b, c = rng.uniform(0.3, 3.0, 3)
    scale = max(np.abs(right).max(), 1e-9)  # far out nothing but the last term would be left, which is a factor
    return lambda v: np.tanh(a * v / scale + b) * np.exp(-c * (v / scale) ** 2) + 0.1 * v / scale


ANSWERS: dict[str, tuple[int, Callable[[np.random.Generator, Array], Callable[[Array], Array]]]] = {
    # kind: the fewest entries; of fewer, one of the names of the engine may be true
    "random values": (1, _values),
    "random factors": (3, _factors),
    "small random factors": (3, _small_factors),
    "noise added": (3, _added),
    "entries mixed": (3, _mixed),
    "entries elsewhere, some turned": (9, _elsewhere),
    "sine and square": (1, _bent),
    "tanh and bell": (1, _saturated),
}


def answered(source: str, name: str) -> str:
    """A source in which a variable, once it is computed, becomes what a function `wrong` makes of it."""
    tree = ast.parse(source)
    (function,) = (node for node in tree.body if isinstance(node, ast.FunctionDef))
    last = max(i for i, statement in enumerate(function.body) if name in _changed(statement))
    function.body[last + 1 : last + 1] = ast.parse(f"{name} = wrong({name})").body
    return ast.unparse(tree)


def assigned(source: str) -> set[str]:
    """The variables of the function that a source defines."""
    (function,) = (node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef))
    return {name for statement in function.body for name in _assigned(statement)}


def _assigned(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.FunctionDef):
        return set()
    stored = (node for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
    return {node.id for node in stored}


def _changed(statement: ast.stmt) -> set[str]:
    """The variables that a statement assigns or, as np.add.at does, may write to."""
    written = ast.walk(statement) if isinstance(statement, ast.Expr) else ()
    return _assigned(statement) | {node.id for node in written if isinstance(node, ast.Name)}


# --- two at once


def pairs(operation: Operation) -> list[tuple[Mistake, Mistake]]:
    """Any two slips of an operation that can be made together."""

    def both(one: Mistake, other: Mistake) -> bool:
        try:
            other.planted(one.planted(operation.derivation))
        except ValueError:
            return False
        return True

    return [pair for pair in combinations(operation.mistakes, 2) if both(*pair)]
