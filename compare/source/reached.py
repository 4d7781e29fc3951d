"""What the code of a derivation reaches beside its arguments: numbers kept elsewhere, the reference, and autograd."""

from __future__ import annotations

import ast
import dis
import functools
import linecache
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch

from handgrad.compare.facts.remarks import NoDerivation, Note
from handgrad.compare.ownership import OURS, is_theirs
from handgrad.compare.source.assignments import unpacked
from handgrad.compare.source.pieces import closure_of, functions_of, piece_around, statements_of

MOST = 1000  # things that are looked at
ITEMS = 64  # in a container that is looked into
ENDS = (ModuleType, np.ndarray, torch.Tensor, np.ufunc, BuiltinFunctionType, str, int, float)  # lead nowhere
ENGINES = ("autograd", "jax")  # libraries that differentiate


def keeps_numbers(things: Iterable[Any]) -> bool:
    """Whether what a function reads may hold numbers from elsewhere than its arguments: arrays, or what it keeps."""
    return any(isinstance(thing, (np.ndarray, torch.Tensor)) or hasattr(thing, "cache_info") for thing in things)


def shortcuts(things: Sequence[Any], reference: Any, optimizer: Any = None) -> tuple[Note, ...]:
    """Notes on a derivation that reads the reference, autograd or torch's optimiser, or takes numerical differences."""
    own = any(isinstance(thing, type) and issubclass(thing, torch.autograd.Function) for thing in things)
    functions = [thing for thing in things if isinstance(thing, FunctionType)]
    names = set[str]().union(*map(_names, _codes(functions)))
    is_torchs = not own and ("backward" in names or names >= {"autograd", "grad"} or names >= {"func", "grad"})
    engines = any(str(getattr(thing, "__module__", "")).partition(".")[0] in ENGINES for thing in things)
    outside, has_torch = [*chain.from_iterable(map(_outside, functions))], any(thing is torch for thing in things)
    steps = any(thing is optimizer or _is_optimizer(thing) for thing in outside) or (has_torch and "optim" in names)
    codes = _codes(function for thing in things for function in functions_of(thing))
    found = {
        "reference": reference is not None and any(thing is reference for thing in outside),
        "autograd": engines or (is_torchs and has_torch),
        "optimizer": optimizer is not None and steps,
        "differences": any(_takes_differences(code) for code in codes),
    }
    return tuple(NoDerivation(by) for by, holds in found.items() if holds)


def _is_optimizer(thing: Any) -> bool:
    """Whether something is a class of torch's optimisers."""
    return isinstance(thing, type) and issubclass(thing, torch.optim.Optimizer)


def _codes(functions: Iterable[FunctionType]) -> Iterator[CodeType]:
    """The code of those functions that are the user's."""
    return (function.__code__ for function in functions if is_theirs(function.__code__.co_filename))


def reached(function: Any) -> list[Any]:
    """What a function, and what is the user's and it names, reads from outside its arguments, itself first."""
    waiting, seen = deque([function]), dict[int, Any]()
    while waiting and len(seen) < MOST:
        thing = waiting.popleft()
        if id(thing) not in seen:
            seen[id(thing)] = thing  # which keeps it, so that no other has its id
            if not isinstance(thing, ENDS):
                waiting += _behind(thing)
    return [*seen.values()]


def _behind(thing: Any) -> Iterator[Any]:
    """What one thing leads to."""
    match thing:
        case functools.partial():
            yield from (thing.func, *thing.args, *thing.keywords.values())
        case MethodType():
            yield from (thing.__self__, thing.__func__)
        case FunctionType():
            yield from _outside(thing)
        case type():
            methods = {name: value for name, value in vars(thing).items() if name != "__init__"}
            yield from (value for value in methods.values() if isinstance(value, FunctionType))
        case dict() | list() | tuple() if len(thing) <= ITEMS:
            yield from thing.values() if isinstance(thing, dict) else thing
        case _ if _is_of_theirs(type(thing)):
            yield from (type(thing), *getattr(thing, "__dict__", {}).values())
    yield from [wrapped] if (wrapped := getattr(thing, "__wrapped__", None)) is not None else []


def _outside(function: FunctionType) -> Iterator[Any]:
    """What a function of the user's names of its closure and its module; what one of ours wraps."""
    file = function.__code__.co_filename
    if is_theirs(file) or file.startswith(OURS):
        yield from closure_of(function).values()
    if is_theirs(file):
        module = function.__globals__
        yield from (module[name] for name in _globals(function.__code__) if name in module)


def _is_of_theirs(kind: type) -> bool:
    """Whether a class is the user's, whose objects keep what they like."""
    functions = (value for value in vars(kind).values() if isinstance(value, FunctionType))
    return any(is_theirs(function.__code__.co_filename) for function in functions)


@functools.lru_cache(maxsize=256)
def _names(code: CodeType) -> frozenset[str]:
    """The names of globals and attributes in code, that of functions inside it included."""
    return frozenset(code.co_names).union(*map(_names, _inside(code)))


@functools.lru_cache(maxsize=256)
def _globals(code: CodeType) -> frozenset[str]:
    """The names of globals alone: the mean of x.mean() is none."""
    own = (step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"))
    return frozenset(own).union(*map(_globals, _inside(code)))


def _inside(code: CodeType) -> Iterator[CodeType]:
    """The code of functions that are made in code."""
    return (constant for constant in code.co_consts if isinstance(constant, CodeType))


@functools.lru_cache(maxsize=256)
def _takes_differences(code: CodeType) -> bool:
    """Whether code divides the difference of two calls of a function of its own, or of what two such calls gave."""
    linecache.checkcache(code.co_filename)
    piece = piece_around(code.co_filename, code.co_firstlineno)
    tree = ast.Module([], []) if piece is None else piece.tree
    made: dict[str, set[str]] = {}
    statements = (node for node in statements_of(tree) if isinstance(node, ast.Assign))
    assigned = (item for node in statements for whole in node.targets for item in unpacked(whole, node.value))
    for target, value, place in assigned:
        if place is None:  # the whole value, not one of those that a call returns
            made.setdefault(ast.unparse(target), set()).update(_called(value))

    def differs(node: ast.AST) -> bool:
        if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Sub):
            return False
        ours, theirs = (_called(side) | made.get(ast.unparse(side), set()) for side in (node.left, node.right))
        return bool(ours & theirs) and ast.unparse(node.left) != ast.unparse(node.right)

    quotients = (node for node in ast.walk(tree) if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div))
    return any(differs(node) for quotient in quotients for node in ast.walk(quotient.left))


def _called(node: ast.expr) -> set[str]:
    """The function that is called, where it has a plain name: no method, and nothing of a library's."""
    return {node.func.id} if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else set()
