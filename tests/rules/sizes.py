"""How large files, functions and rooms may be."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Mapping

from tests.rules.imports import room_of
from tests.rules.sources import Source, Violation, functions

__all__ = ["crowded_rooms", "long_files", "long_functions", "many_parameters"]

FILE, FUNCTION = 400, 60  # lines, docstrings included
PARAMETERS, ROOM = 8, 14  # of a function without self; modules in a room without its __init__


def long_files(sources: Iterable[Source]) -> list[Violation]:
    """Files of more than 400 lines."""
    sizes = ((source.path, len(source.text.splitlines())) for source in sources)
    return [Violation(path, FILE + 1, f"{lines} lines; at most {FILE}") for path, lines in sizes if lines > FILE]


def long_functions(sources: Iterable[Source]) -> list[Violation]:
    """Functions of more than 60 lines, their docstrings included."""
    return [
        source.at(function, f"{function.name} has {lines} lines; at most {FUNCTION}")
        for source in sources
        for function in functions(source)
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > FUNCTION
    ]


def many_parameters(sources: Iterable[Source], excused: Mapping[str, str]) -> list[Violation]:
    """Functions of more than 8 parameters, but for those excused; and excuses that nothing needs.

    An excuse is a reason under the function's name, `path::name`.
    """
    broken, used = [], set()
    for source in sources:
        for function in functions(source):
            count = _parameters(function.args)
            if count <= PARAMETERS:
                continue
            key = f"{source.path}::{function.name}"
            used.add(key)
            if key not in excused:
                broken.append(
                    source.at(function, f"{function.name} has {count} parameters; at most {PARAMETERS} ({key})")
                )
    idle = [Violation(key.split("::")[0], 1, f"{key} needs no excuse any more") for key in excused.keys() - used]
    return broken + idle


def _parameters(arguments: ast.arguments) -> int:
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    starred = [one for one in (arguments.vararg, arguments.kwarg) if one is not None]
    return len([one for one in (*named, *starred) if one.arg not in ("self", "cls")])


def crowded_rooms(sources: Iterable[Source]) -> list[Violation]:
    """Rooms of more than 14 modules, not counting folders inside a room."""
    modules = [source.module for source in sources if not source.is_package]
    counts = Counter(room_of(module) for module in modules if module.count(".") <= 3)
    return [
        Violation(f"compare/{room}", 1, f"{count} modules in one room; at most {ROOM}")
        for room, count in counts.items()
        if count > ROOM
    ]
