"""Every labelled line of the hand-written side, broken in every small way, is found and named by its own label.

A mutant changes one node of one labelled line: a sign, an operand, a transpose, a factor. The command runs on it with
flags that reach the line; it must exit 1, and its first finding must carry the label of the mutated line.
"""

import ast
import copy
import inspect
import re
from collections.abc import Iterator

import numpy as np
import pytest

import handgrad.manual.losses
import handgrad.manual.network
import handgrad.manual.optimizers
from handgrad.compare.cli.commands import main
from tests.support import parsed, rewritten, small_data

MODULES = (handgrad.manual.network, handgrad.manual.losses, handgrad.manual.optimizers)
COMMON = ["--activations", "tanh,tanh,sigmoid", "--l2", "0.3", "--bias-scale", "0.5", "--seed", "5", "--format", "json"]
FIXTURES = {
    "distinct sizes": (3, 2, ["--layers", "3,7,5,2", "--batch-size", "4", "--epochs", "2"]),
    "square": (4, 4, ["--layers", "4,4,4,4", "--batch-size", "4", "--epochs", "2"]),
}
REACHED_BY = {"L3": ["--loss", "squared-error"], "U1": ["--optimizer", "gradient-descent"]}
ARRAYS = {"W", "A_prev", "b", "dZ", "Z", "A", "Y", "losses", "dA", "derivative", "w", "V"}
SCALARS = {"l2", "learning_rate", "beta", "n", "penalty"}
# Mutants that no run can tell from the line they were made of, and why.
EQUIVALENT = {
    "db = dZ.sum(axis=1, keepdims=2)": "2 is as true as True",
    "return np.maximum(Z, 0) - Z * Y + np.log1p(np.exp(-np.abs(-Z)))": "|-z| = |z|",
    "return (l2 / 2 * sum(((W * W).sum() for W in weights))).T": "a scalar is its own transpose",
    "return (losses.sum() / n + penalty).T": "a scalar is its own transpose",
    "return losses.T.sum() / n + penalty": "a sum does not depend on the orientation",
}
SWAPS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.MatMult: ast.Mult}


def labelled_lines(module):
    """Label and line number of every labelled code line of a module."""
    lines = inspect.getsource(module).splitlines()
    found = ((re.search(r"\S.*# \(([A-Z]\d)\)", line), number) for number, line in enumerate(lines, start=1))
    return [(match[1], number) for match, number in found if match]


def statement_at(tree, line):
    return next(n for n in ast.walk(tree) if isinstance(n, ast.stmt) and n.lineno == n.end_lineno == line)


def names_before(tree, line):
    """The arguments and local variables that a line can read."""
    function = next(f for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) and f.lineno < line <= f.end_lineno)
    names = {argument.arg for argument in [*function.args.args, *function.args.kwonlyargs]}
    stored = (n for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
    return names | {n.id for n in stored if n.lineno < line}


def mutants(module, line) -> Iterator[tuple[str, ast.Module]]:
    """Every mutant of one line: the mutated line as text, and the syntax tree of the whole module."""
    tree = ast.parse(inspect.getsource(module))
    statement, readable = statement_at(tree, line), names_before(tree, line)
    seen = {ast.unparse(statement)}
    for position, node in enumerate(ast.walk(statement)):
        for replacement in changed(node, readable, whole=node is statement.value):
            mutated = copy.deepcopy(tree)
            target = statement_at(mutated, line)
            Replace([*ast.walk(target)][position], replacement).visit(target)
            text = ast.unparse(target)
            if text not in seen:
                seen.add(text)
                yield text, ast.fix_missing_locations(mutated)


def changed(node, readable, *, whole) -> Iterator[ast.expr]:
    """What may stand in a node's place: expressions that differ by a sign, an operand, a transpose or a factor."""
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
        yield ast.UnaryOp(ast.USub(), node)
        yield from (
            ast.Name(other, ast.Load()) for other in sorted(readable & (ARRAYS if node.id in ARRAYS else SCALARS))
        )
        if node.id in ARRAYS:
            yield ast.Attribute(node, "T", ast.Load())
    if whole:
        yield ast.UnaryOp(ast.USub(), node)
        yield ast.BinOp(ast.Constant(2), ast.Mult(), node)
        yield ast.BinOp(node, ast.Mult(), ast.Constant(1.000001))
        yield ast.Attribute(node, "T", ast.Load())


class Replace(ast.NodeTransformer):
    """Puts a replacement where one node stands."""

    def __init__(self, node, replacement):
        self.node, self.replacement = node, replacement

    def visit(self, node):
        return copy.deepcopy(self.replacement) if node is self.node else self.generic_visit(node)


def cases():
    for module in MODULES:
        for label, line in labelled_lines(module):
            for fixture in FIXTURES:
                yield pytest.param(module, label, line, fixture, id=f"{label}-{fixture}")


@pytest.mark.parametrize(("module", "label", "line", "fixture"), [*cases()])
def test_every_mutant_of_a_labelled_line_is_found_under_its_label(module, label, line, fixture, tmp_path, capsys):
    n_x, K, flags = FIXTURES[fixture]
    X, y = small_data(n_x, K, 11, seed=4)
    np.savez(tmp_path / "data.npz", X=X, y=y)
    argv = ["check", "--data", str(tmp_path / "data.npz"), *flags, *COMMON, *REACHED_BY.get(label, [])]
    assert main(argv) == 0
    capsys.readouterr()
    survivors, misnamed, tried = [], {}, 0
    for text, tree in mutants(module, line):
        tried += 1
        with rewritten(module, tree):
            code = main(argv)
        report = parsed(capsys.readouterr().out)
        if code == 0:
            survivors.append(text)
        elif (code, report["findings"][0]["equation"]) != (1, label):
            misnamed[text] = report["findings"][0]
    assert tried >= 5
    assert not misnamed
    assert [text for text in survivors if text not in EQUIVALENT] == []
