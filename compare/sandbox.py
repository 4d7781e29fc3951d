"""Calling code that is not ours: on copies, leaving no trace, and keeping what went wrong instead of raising it."""

from __future__ import annotations

import linecache
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from itertools import accumulate, combinations
from pathlib import Path
from traceback import extract_tb
from typing import Any

import numpy as np
import torch

from handgrad.compare.errors import InputError, kind_of
from handgrad.compare.experiment.exceptions import quietly
from handgrad.compare.per_example import OfExamples
from handgrad.compare.source.pieces import is_theirs
from handgrad.compare.trace import frozen, is_real
from handgrad.compare.verdict.bounds import PRECISIONS

__all__ = [
    "CAUGHT",
    "Call",
    "Raised",
    "as_record",
    "call",
    "checked_arrays",
    "checked_precisions",
    "defaulting_to",
    "differing",
    "fresh",
    "in_precision",
    "located",
    "same",
    "undisturbed",
]

Arrays = dict[str, np.ndarray]
SMALL = 2**12  # up to so many numbers are compared as bytes, which copies them
EPSILON = {np.dtype(kind).itemsize: float(np.finfo(kind).eps) for kind in ("f2", "f4", "f8")}
CAUGHT = (Exception, SystemExit, GeneratorExit)  # all but what the person at the keyboard asks for


@dataclass(frozen=True)
class Raised:
    """An exception of the user's code: what it says, where, and the name that its line was about to assign."""

    what: str
    assigned: str


@dataclass(frozen=True)
class Call:
    """One call: what it returned by name, and what was wrong about how it did that.

    `instead` says what came back where a mapping was due, `mutated` which of the arrays handed over were changed,
    `aliased` which returned arrays share memory, `values_of` what a name stands for if it is no gradient.
    """

    records: Arrays = field(default_factory=dict)
    raised: Raised | None = None
    instead: str = ""
    mutated: tuple[str, ...] = ()
    aliased: tuple[tuple[str, str], ...] = ()
    values_of: Arrays = field(default_factory=dict)

    def read_for(self, values: Iterable[str]) -> Call:
        """The same for a reference that names these values, whatever letter they begin with."""
        named = {name: self.values_of[name] for name in values if name in self.values_of}
        return replace(self, records=self.records | named) if named else self


def call(function: Callable[..., Any], params: Mapping[str, np.ndarray], batch: Mapping[str, np.ndarray]) -> Call:
    """Call function(params, *batch) on copies and keep copies of what it returns, a mapping of names to arrays."""
    theirs = {name: array.copy() for name, array in params.items()}
    inputs = [array.copy() for array in batch.values()]
    handed = dict(zip([*params, *batch], [*theirs.values(), *inputs], strict=True))
    try:
        with quietly():
            returned = function(theirs, *inputs)
            items = [*returned.items()] if isinstance(returned, Mapping) else []
    except InputError:  # of ours, as from per_example
        raise
    except CAUGHT as error:  # whatever the user's code raises is a finding, not a crash
        return Call(raised=located(error))
    before = {**params, **batch}
    mutated = tuple(name for name, array in handed.items() if not same(before[name], array))
    if not isinstance(returned, Mapping):
        return Call(instead=kind_of(returned), mutated=mutated)
    arrays = {_text(name): value for name, value in items}
    kept = {name: value for name, value in arrays.items() if isinstance(value, np.ndarray) and value.size > 0}
    owners: dict[int, list[str]] = {}
    for name, value in kept.items():
        owners.setdefault(id(value if value.base is None else value.base), []).append(name)
    pairs = (pair for names in owners.values() for pair in combinations(names, 2))
    aliased = tuple((a, b) for a, b in pairs if np.shares_memory(kept[a], kept[b]))
    values_of = returned.values_of if isinstance(returned, OfExamples) else {}
    records, values_of = ({name: as_record(value) for name, value in of.items()} for of in (arrays, values_of))
    return Call(records, None, "", mutated, aliased, values_of)


def fresh(function: Any) -> Any:
    """A copy of a function or object, so that what it keeps does not reach the next run; itself where it has none."""
    try:
        return deepcopy(function)
    except Exception:  # a lock, a file, or its own __deepcopy__
        return function


def as_record(value: Any) -> np.ndarray:
    """A read-only copy of an array, a number or nested lists of numbers; anything else becomes the name of its type.

    Extended precision is rounded to float64, which is what it is compared with; numbers in another byte order are put
    into the machine's.
    """
    try:
        if isinstance(value, (list, tuple)):
            value = np.array(value)
        elif isinstance(value, torch.Tensor):
            value = value.numpy(force=True)
    except (ValueError, TypeError, RuntimeError):  # lists of different lengths or of tensors; bfloat16
        return frozen(value)
    if isinstance(value, np.longdouble) or (type(value) is np.ndarray and value.dtype == np.longdouble):
        value = value.astype(np.float64)
    elif type(value) is np.ndarray and not value.dtype.isnative:
        value = value.astype(value.dtype.newbyteorder("="))
    return frozen(value)


def differing(first: Arrays, second: Arrays) -> tuple[str, ...]:
    """The records in which two calls on the same input differ by more than another order of summation can explain.

    Where one call is in float32 and the other in float64, it is float32 in which the order matters.
    """
    both = [name for name in first if name in second and first[name].shape == second[name].shape]
    floating = [name for name in both if first[name].dtype.kind == second[name].dtype.kind == "f" and first[name].size]
    close = {name for name, is_close in zip(floating, _close(first, second, floating), strict=True) if is_close}
    rest = (name for name in dict.fromkeys([*first, *second]) if name not in close)
    return tuple(name for name in rest if name not in both or not same(first[name], second[name]))


def _close(first: Arrays, second: Arrays, names: Sequence[str]) -> list[bool]:
    """Whether floating arrays differ by no more than another order of summation can explain, laid end to end."""
    if not names:
        return []
    sides = [[side[name] for name in names] for side in (first, second)]
    starts = [*accumulate((array.size for array in sides[0][:-1]), initial=0)]
    bounds = [64 * max(EPSILON[a.itemsize], EPSILON[b.itemsize]) for a, b in zip(*sides, strict=True)]
    with np.errstate(all="ignore"):
        one, other = (np.concatenate([array.reshape(-1) for array in side], dtype=np.float64) for side in sides)
        apart, scale = (np.maximum.reduceat(np.abs(array), starts) for array in (one - other, one))
        close: list[bool] = (apart <= bounds * scale).tolist()
    return close


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays agree in shape and in every entry, nan being the same as nan."""
    if a.shape != b.shape:
        return False
    if a.size <= SMALL and a.dtype == b.dtype and a.tobytes() == b.tobytes():  # as a rule they are, and it is quicker
        return True
    if bool((a == b).all()):
        return True
    return a.dtype.kind in "fc" and b.dtype.kind in "fc" and np.array_equal(a, b, equal_nan=True)


def located(error: BaseException) -> Raised:
    """An exception with the user's own file and line, without frames of handgrad or of libraries."""
    theirs = [entry for entry in extract_tb(error.__traceback__) if is_theirs(entry.filename)]
    place, assigned = "", ""
    if isinstance(error, SyntaxError) and error.filename:
        place = f" in {Path(error.filename).name} line {error.lineno}"
    elif theirs:
        line = linecache.getline(theirs[-1].filename, theirs[-1].lineno or 0)
        place = f" in {Path(theirs[-1].filename).name} line {theirs[-1].lineno}"
        found = re.match(r"""\s*(?:\w+\[["'](\w+)["']\]|(\w+))\s*[-+*/@]?=[^=]""", line)
        assigned = (found[1] or found[2]) if found else ""
    what = error.msg if isinstance(error, SyntaxError) else _text(error)
    return Raised(" ".join(f"{type(error).__name__}{place}: {what}".split()), assigned)


def _text(anything: Any) -> str:
    """What it says of itself, if it does."""
    try:
        return str(anything)
    except Exception:  # its __str__ is the user's
        return f"<{type(anything).__name__}>"


@contextmanager
def defaulting_to(dtype: str) -> Iterator[None]:
    """While entered, torch makes new tensors, those inside optimisers too, in this dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Random states, thread counts, default dtypes and gradient mode are afterwards what they were before."""
    python, numpy, generator = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002  # the user's, to be put back
    dtype, threads, errors = torch.get_default_dtype(), torch.get_num_threads(), np.geterr()
    grad, deterministic = torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled()
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002  # as above
        torch.set_rng_state(generator)
        torch.set_default_dtype(dtype)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        np.seterr(**errors)
        torch.set_grad_enabled(grad)
        if torch.are_deterministic_algorithms_enabled() != deterministic:
            torch.use_deterministic_algorithms(deterministic)


def checked_precisions(precisions: Sequence[str]) -> tuple[str, ...]:
    """The precisions asked for, each once; InputError unless they are among float64 and float32."""
    is_one = isinstance(precisions, str) or not isinstance(precisions, Iterable)
    named: tuple[Any, ...] = (precisions,) if is_one else tuple(precisions)
    if not named or any(name not in tuple(PRECISIONS) for name in named):
        raise InputError(f"precisions is {named!r}; it may hold 'float64' and 'float32', so leave it out")
    return tuple(dict.fromkeys(named))


def checked_arrays(kind: str, values: Any, *, trained: bool) -> Arrays:
    """A mapping of names to arrays of real numbers; InputError, naming `kind`, for anything else.

    Those that are `trained` must be floating.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"{kind} is {kind_of(values)}; it must be a dict of names and arrays, like {{'W1': W1}}")
    arrays = {}
    for name, value in values.items():
        array = as_record(value)
        if not is_real(array):
            raise InputError(
                f"{kind}[{name!r}] is {kind_of(value) if array.dtype.kind == 'O' else array.dtype}; "
                "it must be an array of real numbers of at most 64 bits"
            )
        if trained and array.dtype.kind != "f":
            raise InputError(
                f"{kind}[{name!r}] holds {array.dtype}; what is trained must be floating, so write 1.0 for 1, "
                "and indices and masks belong in the batch"
            )
        if array.size == 0:
            raise InputError(f"{kind}[{name!r}] has shape {array.shape} and no entry; hand over at least one number")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError(f"{kind}[{name!r}] holds nan or infinity; start from finite numbers")
        arrays[str(name)] = array
    return arrays


@np.errstate(over="ignore", under="ignore")
def in_precision(arrays: Mapping[str, np.ndarray], dtype: str) -> Arrays:
    """Floating arrays in the dtype asked for, copied where they are of another, and the others as they are."""
    return {n: array.astype(dtype, copy=False) if array.dtype.kind == "f" else array for n, array in arrays.items()}
