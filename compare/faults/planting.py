"""Planting an entry of the catalogue: in manual/ for the time of a check, or in a copy of a small problem."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FunctionType, ModuleType
from typing import Any

from handgrad.compare.errors import InputError

__all__ = ["edited", "planted", "rewritten"]


def edited(module: ModuleType, edits: Sequence[tuple[str, str]]) -> str:
    """The source of a module with pieces replaced; InputError, a ValueError, unless each stands there exactly once."""
    source = inspect.getsource(module)
    for right, wrong in edits:
        if source.count(right) != 1:
            file = f"{module.__name__.removeprefix('handgrad.').replace('.', '/')}.py"
            raise InputError(
                f"{right!r} stands {source.count(right)} times in {file}, where a known mistake changes it; "
                "it must stand there once, so put back what was edited"
            )
        source = source.replace(right, wrong)
    return source


@contextmanager
def planted(module: str, edits: Sequence[tuple[str, str]]) -> Iterator[None]:
    """While entered, a module of the hand-written side runs with pieces of its source replaced."""
    target = importlib.import_module(module)
    with rewritten(target, edited(target, edits)):
        yield


@contextmanager
def rewritten(module: ModuleType, source: Any) -> Iterator[None]:
    """While entered, every function of `module` runs the code that `source`, a text or a syntax tree, gives it."""
    path = inspect.getsourcefile(module)
    assert path is not None
    namespace: dict[str, object] = {"__name__": module.__name__}
    exec(compile(source, path, "exec"), namespace)
    own = {
        name: f for name, f in vars(module).items() if isinstance(f, FunctionType) and f.__module__ == module.__name__
    }
    before = {name: f.__code__ for name, f in own.items()}
    try:
        for name, function in own.items():
            changed = namespace[name]
            assert isinstance(changed, FunctionType)
            function.__code__ = changed.__code__
        yield
    finally:
        for name, function in own.items():
            function.__code__ = before[name]
