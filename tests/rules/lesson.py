"""What modules say of themselves, labels of equations, docstrings, __all__; and that the engine holds no maths."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from tests.rules.sources import Source, Violation

__all__ = ["definitions", "labels", "mistaken_labels", "network_maths", "offered", "silent_modules"]

LABEL = re.compile(r"\S.*# \(([A-Z]\d)\)")
PRODUCTS = {"matmul", "einsum", "tensordot"}


def network_maths(sources: Iterable[Source], excused: Sequence[str]) -> list[Violation]:
    """Products of matrices, but for those in files and folders that are excused."""
    return [
        source.at(node, "multiplies matrices")
        for source in sources
        if not source.path.startswith(tuple(excused))
        for node in ast.walk(source.tree)
        if (isinstance(node, (ast.BinOp, ast.AugAssign)) and isinstance(node.op, ast.MatMult))
        or (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in PRODUCTS)
    ]


def labels(sources: Iterable[Source]) -> dict[str, list[Violation]]:
    """The lines of code that bear a label, by label: # (B2)."""
    lines = defaultdict(list)
    for source in sources:
        for number, line in enumerate(source.text.splitlines(), start=1):
            for label in LABEL.findall(line):
                lines[label].append(Violation(source.path, number, line.strip()))
    return dict(lines)


def mistaken_labels(sources: Sequence[Source], due: Iterable[str]) -> list[Violation]:
    """Labels that are due and stand on no line or on several, that are not due, or not in their module's docstring."""
    docstrings = {source.path: ast.get_docstring(source.tree) or "" for source in sources}
    lines = labels(sources)
    folder = sources[0].path.split("/")[0]
    broken = [Violation(folder, 1, f"({label}) stands on no line") for label in {*due} - lines.keys()]
    for label, places in lines.items():
        tables = [re.findall(rf"^\s*{label}  ", docstrings[place.path], flags=re.MULTILINE) for place in places]
        if label not in due:
            broken += [place._replace(what=f"({label}) is no label of {folder}") for place in places]
        elif len(places) > 1:
            broken += [place._replace(what=f"({label}) stands on {len(places)} lines") for place in places]
        elif len(tables[0]) != 1:
            broken.append(places[0]._replace(what=f"({label}) stands {len(tables[0])} times in the module's docstring"))
    return broken


def definitions(source: Source) -> dict[str, ast.stmt]:
    """What stands at the top of a module, also under an if or a with, by name."""
    return {name: node for statement in source.tree.body for name, node in _defined(statement).items()}


def _defined(node: ast.stmt) -> dict[str, ast.stmt]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {node.name: node}
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return {alias.asname or alias.name.split(".")[0]: node for alias in node.names}
    if isinstance(node, (ast.If, ast.With, ast.Try)):
        return {name: inner for statement in node.body for name, inner in _defined(statement).items()}
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return {one.id: node for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)}
    return {}


def offered(source: Source) -> list[str] | None:
    """The names in __all__, or None where it is missing or no list of texts, nor [*TABLE], the keys of one."""
    defined = definitions(source)
    value = getattr(defined.get("__all__"), "value", None)
    items = value.elts if isinstance(value, ast.List) else [None]
    if len(items) == 1 and isinstance(items[0], ast.Starred) and isinstance(items[0].value, ast.Name):
        items = getattr(getattr(defined.get(items[0].value.id), "value", None), "keys", [None])
    texts = [item.value for item in items if isinstance(item, ast.Constant) and isinstance(item.value, str)]
    return texts if len(texts) == len(items) else None


def silent_modules(sources: Sequence[Source]) -> list[Violation]:
    """Modules without docstring; and, of those with an __all__, names that it misses or that are not there.

    Elsewhere a name without underscore is what a module offers; the two witnesses and handgrad say it in __all__, which
    may list modules.
    """
    modules = {source.module for source in sources}
    broken = []
    for source in sources:
        names, defined = offered(source), definitions(source)
        if not ast.get_docstring(source.tree):
            broken.append(Violation(source.path, 1, "has no docstring"))
        says = source.path.startswith(("manual/", "torchref/")) or source.path == "handgrad/__init__.py"
        if ("__all__" in defined) != says:
            broken.append(Violation(source.path, 1, "has no __all__" if says else "repeats its names in __all__"))
        elif says and names is None:
            broken.append(Violation(source.path, 1, "has an __all__ that is no list of texts"))
        public = {n for n, node in defined.items() if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and n[0] != "_"}
        missing = {name for name in names or () if name not in defined and f"{source.module}.{name}" not in modules}
        broken += [Violation(source.path, 1, f"__all__ has {name}, which is not defined") for name in sorted(missing)]
        unsaid = public - {*names} if names is not None else set()
        broken += [source.at(defined[n], f"{n} is public and not in __all__") for n in sorted(unsaid)]
    return broken
