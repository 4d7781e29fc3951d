"""Every small edit of every labelled line of the hand-written side: a sign, an operand, a transpose, a factor."""

import ast
import copy
import inspect
import re
from collections.abc import Iterator
from types import ModuleType
from typing import NamedTuple

import handgrad.manual.losses
import handgrad.manual.network
import handgrad.manual.optimizers

__all__ = ["EQUIVALENT", "MODULES", "Mutant", "labelled_lines", "mutants"]

MODULES = (handgrad.manual.network, handgrad.manual.losses, handgrad.manual.optimizers)
ARRAYS = {"W", "A_prev", "b", "dZ", "Z", "A", "P", "Y", "derivatives", "losses", "dA", "derivative", "w", "V"}
SCALARS = {"l2", "learning_rate", "beta", "n", "penalty"}
EQUIVALENT = {
    "db = dZ.sum(axis=1, keepdims=2)": "2 is as true as True",
    "return np.maximum(Z, 0) - Z * Y + np.log1p(np.exp(-np.abs(-Z)))": "|-z| = |z|",
    "return (l2 / 2 * sum(((W * W).sum() for W in weights))).T": "a scalar is its own transpose",
    "return (losses.sum() / n + penalty).T": "a scalar is its own transpose",
    "return losses.T.sum() / n + penalty": "a sum does not depend on the orientation",
}
"""Mutants that no run can tell from the line they were made of, and why."""
SWAPS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.MatMult: ast.Mult}


class Mutant(NamedTuple):
    """A mutated line: its text, and the edit of its module that plants it."""

    text: str
    edit: tuple[str, str]


def labelled_lines(module: ModuleType) -> list[tuple[str, int]]:
    """Label and number of every labelled line of code of a module."""
    lines = inspect.getsource(module).splitlines()
    matches = ((re.search(r"\S.*# \(([A-Z]\d)\)", line), number) for number, line in enumerate(lines, start=1))
    return [(match[1], number) for match, number in matches if match]


def mutants(module: ModuleType, number: int) -> Iterator[Mutant]:
    """Every mutant of one line."""
    source = inspect.getsource(module)
    line = source.splitlines()[number - 1]
    tree = ast.parse(source)
    statement, readable = _statement_at(tree, number), _names_before(tree, number)
    seen = {ast.unparse(statement)}
    for position, node in enumerate(ast.walk(statement)):
        for replacement in _replacements(node, readable, whole=node is statement.value):
            mutated = copy.deepcopy(statement)
            _Replace([*ast.walk(mutated)][position], replacement).visit(mutated)
            text = ast.unparse(mutated)
            if text not in seen:
                seen.add(text)
                yield Mutant(text, (line, line[: len(line) - len(line.lstrip())] + text))


def _statement_at(tree: ast.Module, line: int) -> ast.stmt:
    return next(n for n in ast.walk(tree) if isinstance(n, ast.stmt) and n.lineno == n.end_lineno == line)


def _names_before(tree: ast.Module, line: int) -> set[str]:
    """The arguments and local variables that a line can read."""
    function = next(f for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) and f.lineno < line <= f.end_lineno)
    names = {argument.arg for argument in [*function.args.args, *function.args.kwonlyargs]}
    stored = (n for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
    return names | {n.id for n in stored if n.lineno < line}


def _replacements(node: ast.AST, readable: set[str], *, whole: bool) -> Iterator[ast.expr]:
    """What may stand in a node's place; more where it is the whole right side."""
    if isinstance(node, ast.BinOp):
        if type(node.op) in SWAPS:
            yield ast.BinOp(node.left, SWAPS[type(node.op)](), node.right)
        yield node.left
        yield node.right
    if isinstance(node, ast.UnaryOp):
        yield node.operand
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield ast.Constant(node.value + 1)
    if isinstance(node, ast.Attribute) and node.attr == "T":
        yield node.value
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in ARRAYS | SCALARS:
        alike = ARRAYS if node.id in ARRAYS else SCALARS
        yield ast.UnaryOp(ast.USub(), node)
        yield from (ast.Name(other, ast.Load()) for other in sorted(readable & alike))
        if node.id in ARRAYS:
            yield ast.Attribute(node, "T", ast.Load())
    if whole:
        yield ast.UnaryOp(ast.USub(), node)
        yield ast.BinOp(ast.Constant(2), ast.Mult(), node)
        yield ast.BinOp(node, ast.Mult(), ast.Constant(1.000001))
        yield ast.Attribute(node, "T", ast.Load())


class _Replace(ast.NodeTransformer):
    """Puts a replacement where one node stands."""

    def __init__(self, node: ast.AST, replacement: ast.expr) -> None:
        self.node, self.replacement = node, replacement

    def visit(self, node: ast.AST) -> ast.AST:
        return copy.deepcopy(self.replacement) if node is self.node else self.generic_visit(node)
