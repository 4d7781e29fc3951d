"""Exercises: a known mistake as a file to find it in, or one with blanks to fill in, and the key beside it."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from handgrad.compare.checks.files import CHECKS
from handgrad.compare.errors import InputError, nearest
from handgrad.compare.faults.catalogue import Fault, catalogue
from handgrad.compare.faults.planting import edited
from handgrad.compare.grading.key import GRADED
from handgrad.compare.names import of_gradient

BY_HAND = tuple(CHECKS[check].needs[0] for check in GRADED)
OF_THE_KEY = ("reference", "optimizer", "torch_initializer", "draw")


@dataclass(frozen=True)
class Exercise:
    """What is written: the task's file and its key."""

    task: str
    key: str


@cache
def exercises() -> Mapping[str, Fault]:
    """The known mistakes that a class can be handed: in code by hand, in one file that stands by itself."""
    alone = {name: fault for name, fault in catalogue().items() if not fault.is_of_network and _due(_source(fault))}
    return {name: fault for name, fault in alone.items() if _is_by_hand(fault)}


def _is_by_hand(fault: Fault) -> bool:
    """Whether a mistake is in what is handed out, which reads nothing of the key's."""
    right, wrong = _source(fault), edited(importlib.import_module(fault.module), fault.edits)
    text = _handed_out(wrong, "")
    nodes = [*ast.walk(ast.parse(text))]
    known = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)} | {*dir(builtins)}
    known |= {n.arg for n in nodes if isinstance(n, ast.arg)}
    known |= {n.name for n in nodes if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    known |= {name for n in nodes for name in _binds(n)}
    read = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    return text != _handed_out(right, "") and read <= known


def exercise(name: str | None, seed: int, level: str) -> Exercise:
    """The exercise of a known mistake, or of one that the seed draws; InputError for a name that is none."""
    known = exercises()
    if name is not None and name not in known:
        why = "is in several files, so it makes no exercise of one" if name in catalogue() else "is no known mistake"
        hint = nearest(name, known) or f"take one such as {next(iter(known))}"
        raise InputError(f"{name!r} {why}; {hint.strip()}, or leave the name out")
    drawn = [*known][int(np.random.default_rng(seed).integers(len(known)))]
    fault = known[name or drawn]
    return Exercise(TASKS[level](fault), _key(fault, seed))


def write_exercise(made: Exercise, output: str) -> str:
    """Write both files, never over any that exists; the name of the key's."""
    file = Path(output)
    if file.suffix != ".py":
        raise InputError(f"{output!r} is no name for a Python file; end it in .py")
    key = file.with_name(f"{file.stem}_key.py")
    for path in (file, key):
        if path.exists() or path.is_symlink():
            raise InputError(f"{path} exists and is left as it is; name a new file")
    try:
        for path, text in ((file, made.task), (key, made.key)):
            with path.open("x", encoding="utf-8") as opened:
                opened.write(text)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); name a file in an existing folder") from None
    return str(key)


def _source(fault: Fault) -> str:
    return inspect.getsource(importlib.import_module(fault.module))


def _due(source: str) -> str:
    """The name that is to be derived by hand, nothing where a submission cannot be graded on it."""
    return next((n.name for n in ast.parse(source).body if isinstance(n, ast.FunctionDef) and n.name in BY_HAND), "")


# --- the task


def _to_find(fault: Fault, hint: str = "") -> str:
    source = edited(importlib.import_module(fault.module), fault.edits)
    task = f"One thing is wrong. Find it, say why, and mend it.{hint}"
    return _handed_out(source, task)


def _told(fault: Fault) -> str:
    return _to_find(fault, f" The first tensor that is wrong is {fault.first}.")


def _to_fill(fault: Fault) -> str:
    """The right code, every gradient a blank."""
    source = _source(fault)
    lines = source.splitlines()
    (function,) = (n for n in ast.parse(source).body if getattr(n, "name", "") == _due(source))
    assigned = [n for n in ast.walk(function) if isinstance(n, ast.Assign) and _is_of_gradient(n)]
    if not assigned:
        raise InputError(f"{fault.name} is no mistake in gradients, so none can be left out; use --level find")
    for node in assigned:
        left = ", ".join(ast.unparse(target) for target in node.targets)
        indent = lines[node.lineno - 1][: node.col_offset]
        for number in range(node.lineno, node.end_lineno or node.lineno):
            lines[number] = ""
        lines[node.lineno - 1] = f"{indent}{left} = ...  # yours"
    return _handed_out("\n".join(lines), "Every gradient is left out: derive them, and write each where ... stands.")


def _is_of_gradient(node: ast.Assign) -> bool:
    """Whether one name is assigned, the gradient of something that begins with a letter of its own, such as dW1."""
    (target, *others) = node.targets
    name = target.id if isinstance(target, ast.Name) else ""
    return not others and of_gradient(name)[:1].isalpha()


def _handed_out(source: str, task: str) -> str:
    """What is derived by hand of a source, under the task; with what it imports, and without what is the key's."""
    tree = ast.parse(source)
    lines = source.splitlines()
    kept = [n for n in tree.body[1:] if getattr(n, "name", "") not in OF_THE_KEY]
    texts = ["\n".join(lines[n.lineno - 1 : n.end_lineno]) for n in kept]
    used = {n.id for part in kept for n in ast.walk(part) if isinstance(n, ast.Name)}
    imports = [t for t, n in zip(texts, kept, strict=True) if _is_import(n) and _binds(n) & used]
    code = [t for t, n in zip(texts, kept, strict=True) if not _is_import(n)]
    first = (ast.get_docstring(tree) or "").partition("\n")[0]
    head = f'"""{first}\n\n{task}\n"""\n'
    return "\n\n\n".join(filter(None, [f"{head}\n" + "\n".join(imports), *code])) + "\n"


def _is_import(node: ast.stmt) -> bool:
    return isinstance(node, (ast.Import, ast.ImportFrom))


def _binds(node: ast.AST) -> set[str]:
    """The names that an import binds."""
    return (
        {alias.asname or alias.name for alias in node.names}
        if isinstance(node, (ast.Import, ast.ImportFrom))
        else set()
    )


TASKS: dict[str, Callable[[Fault], str]] = {"told": _told, "find": _to_find, "fill": _to_fill}


# --- the key


def _key(fault: Fault, seed: int) -> str:
    """The right code with its reference, on data that the seed draws."""
    source = _source(fault).rstrip()
    lesson = (
        f"# {fault.name}: right is {fault.equation}, wrong is {fault.formula}\n# {' '.join(fault.lesson.split())}\n"
    )
    (check,) = (check for check in CHECKS.values() if check.needs[0] == _due(source))
    names = [need for need in check.needs[1:] if f"def {need}(" not in source and f"\n{need} =" not in source]
    drawn = f"drawn = draw(np.random.default_rng({seed}))\n" + "".join(f'{n} = drawn["{n}"]\n' for n in names)
    imports = "" if "import numpy as np" in source else "import numpy as np\n\n"
    return f"{lesson}{source}\n\n\n{imports}{drawn}"
