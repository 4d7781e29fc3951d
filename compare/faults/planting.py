"""Planting a mistake: in a private copy of the hand-written package, so that what is installed stays as it is."""

import builtins
import importlib
import inspect
from collections.abc import Sequence
from functools import lru_cache
from types import MappingProxyType, ModuleType
from typing import Any

import handgrad.manual
from handgrad.compare.errors import InputError
from handgrad.compare.operations import Modules

PACKAGE = "handgrad.manual"

_compiled = lru_cache(maxsize=64)(compile)  # most modules stay the same from one mistake to the next


def file_of(module: str) -> str:
    """The file of a module of ours, such as manual/losses.py."""
    return f"{module.removeprefix('handgrad.').replace('.', '/')}.py"


def edited(module: ModuleType, edits: Sequence[tuple[str, str]]) -> str:
    """The source of a module with pieces of it replaced; InputError unless each piece stands there exactly once."""
    source = inspect.getsource(module)
    for right, wrong in edits:
        if source.count(right) != 1:
            raise InputError(
                f"{right!r} stands {source.count(right)} times in {file_of(module.__name__)}, where a known mistake "
                "changes it; it must stand there once, so put back what was edited"
            )
        source = source.replace(right, wrong)
    return source


def planted(module: str, edits: Sequence[tuple[str, str]]) -> Modules:
    """A copy of every module of the hand-written package, with edits in the one named, such as handgrad.manual.losses.

    The copies import each other and not what is installed. InputError as `edited` raises it.
    """
    copies = _Copies(module, edited(importlib.import_module(module), edits))
    return MappingProxyType({name: copies.made_of(f"{PACKAGE}.{name}") for name in handgrad.manual.__all__})


class _Copies:
    """Modules of the hand-written package made anew, one of them from another source."""

    def __init__(self, module: str, source: str) -> None:
        self.sources = {module: source}
        self.made: dict[str, ModuleType] = {}
        self.builtins = vars(builtins) | {"__import__": self._import}

    def made_of(self, name: str) -> ModuleType:
        """The copy of a module, made when it is first asked for."""
        if name not in self.made:
            installed = importlib.import_module(name)
            copy = self.made[name] = ModuleType(name)
            vars(copy).update(__builtins__=self.builtins, __file__=installed.__file__, __package__=PACKAGE)
            source = self.sources.get(name) or inspect.getsource(installed)
            exec(_compiled(source, inspect.getsourcefile(installed) or name, "exec"), vars(copy))
            if name != PACKAGE:
                setattr(self.made_of(PACKAGE), name.removeprefix(f"{PACKAGE}."), copy)
        return self.made[name]

    def _import(self, name: str, scope: Any = None, local: Any = None, wanted: Any = (), level: int = 0) -> ModuleType:
        """What `import` does in a copy: a module of the package is a copy too, any other is the module itself."""
        if not f"{name}.".startswith(f"{PACKAGE}."):
            return builtins.__import__(name, scope, local, wanted, level)
        for part in wanted or ():
            if name == PACKAGE and part in handgrad.manual.__all__:
                self.made_of(f"{name}.{part}")
        copy = self.made_of(name)
        if wanted:
            return copy
        top = ModuleType("handgrad")
        vars(top)["manual"] = self.made_of(PACKAGE)
        return top
