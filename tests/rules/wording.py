"""What code may not read out of text: the grammar of tensor names, and sentences; and what tests may not turn."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from tests.rules.sources import Source, Violation

__all__ = ["grammar_of_names", "parsed_sentences", "turned_constants"]

GRAMMAR = ("compare/names.py",)
FREE = ("manual/", "torchref/", "compare/faults/problems/")  # they are not the engine: they name their own tensors
MARKS = {"startswith": "dv", "removeprefix": "dv", "endswith": ("_next",), "removesuffix": ("_next",)}
READING = {
    "startswith",
    "endswith",
    "removeprefix",
    "removesuffix",
    "partition",
    "rpartition",
    "split",
    "index",
    "find",
}
SEARCHING = {"search", "match", "fullmatch", "findall", "finditer", "sub", "split"}
CONSTANT = re.compile(r"_?[A-Z][A-Z0-9_]*")
SAID = {"cause", "note", "finding", "fact", "blind_spot", "spot", "remark", "circumstance"}


def grammar_of_names(sources: Iterable[Source]) -> list[Violation]:
    """Places outside compare/names.py that take dT, vT or T_next apart, or put them together."""
    return [
        source.at(node, f"{ast.unparse(node)} belongs in {GRAMMAR[0]}")
        for source in sources
        if source.path not in GRAMMAR and not source.path.startswith(FREE)
        for node in ast.walk(source.tree)
        if _takes_apart(node) or _puts_together(node)
    ]


def _takes_apart(node: ast.AST) -> bool:
    """name[1:], name[0] == "d", name[:1] in "dv", name.startswith("d"), name.removesuffix("_next") and the like."""
    if isinstance(node, ast.Subscript):
        return isinstance(node.slice, ast.Slice) and ast.unparse(node.slice) == "1:" and _is_name(node.value)
    if isinstance(node, ast.Compare) and isinstance(node.left, ast.Subscript):
        return ast.unparse(node.left.slice) in ("0", ":1") and bool({*_texts(node.comparators)} & {"d", "v", "dv"})
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MARKS:
        return bool({*_texts(node.args)} & {*MARKS[node.func.attr]})
    return False


def _is_name(node: ast.AST) -> bool:
    text = ast.unparse(node)
    return text in ("name", "tensor", "key") or text.endswith((".name", ".tensor", "_name"))


def _texts(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """The texts among some nodes, and those in tuples and the like."""
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, (ast.Tuple, ast.Set, ast.List)):
            yield from _texts(node.elts)


def _puts_together(node: ast.AST) -> bool:
    """f"d{name}", f"v{name}" and f"{name}_next", and nothing else in them."""
    if not isinstance(node, ast.JoinedStr) or len(node.values) != 2:
        return False
    first, last = node.values
    return (isinstance(first, ast.Constant) and first.value in ("d", "v")) or (
        isinstance(last, ast.Constant) and last.value == "_next"
    )


def parsed_sentences(sources: Iterable[Source]) -> list[Violation]:
    """Places that read something out of a sentence that a fact made."""
    return [
        source.at(node, f"{ast.unparse(node)[:80]} reads a sentence")
        for source in sources
        for node in ast.walk(source.tree)
        if _reads(node)
    ]


def _reads(node: ast.AST) -> bool:
    """x.explanation; text.split("; "); str(note).startswith(...); re.search(..., str(cause)); "..." in str(note)."""
    if isinstance(node, ast.Attribute):
        return node.attr == "explanation"
    if isinstance(node, ast.Compare):
        return isinstance(node.ops[0], (ast.In, ast.NotIn)) and any(map(_is_sentence, node.comparators))
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    method, of = node.func.attr, node.func.value
    if method in ("split", "partition", "rpartition") and "; " in _texts(node.args):
        return True
    searches = method in SEARCHING and (ast.unparse(of) == "re" or ast.unparse(of).isupper())
    return (method in READING and _is_sentence(of)) or (searches and any(map(_is_sentence, node.args)))


def _is_sentence(node: ast.AST) -> bool:
    """str(cause), str(finding.cause), str(note): a fact made into text."""
    return (
        isinstance(node, ast.Call)
        and ast.unparse(node.func) == "str"
        and len(node.args) == 1
        and ast.unparse(node.args[0]).split(".")[-1] in SAID
    )


def turned_constants(sources: Iterable[Source]) -> list[Violation]:
    """Tests that set a constant of the engine: monkeypatch.setattr(module, "UPPER", ...)."""
    broken = []
    for source in sources:
        ours = tuple(f"{name}." for name in _ours(source.tree))
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "setattr":
                first, *others = node.args
                path = ".".join(_texts([first])) or f"{ast.unparse(first)}.{''.join(_texts(others[:1]))}"
                if path.startswith(("handgrad.", *ours)) and CONSTANT.fullmatch(path.split(".")[-1]):
                    broken.append(source.at(node, f"sets {path}: hand it in as an argument"))
    return broken


def _ours(tree: ast.Module) -> Iterator[str]:
    """The names under which a file has imported something of ours."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("handgrad"):
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (a.asname or "handgrad" for a in node.names if a.name.startswith("handgrad"))
