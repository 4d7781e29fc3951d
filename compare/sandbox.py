"""Calling code that is not ours: on copies, leaving no trace, and keeping what went wrong instead of raising it."""

from __future__ import annotations

import linecache
import random
import re
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from itertools import combinations
from traceback import FrameSummary, extract_tb
from typing import Any

import numpy as np
import torch

from handgrad.compare.autograd import Starts
from handgrad.compare.errors import InputError, kind_of
from handgrad.compare.facts.failures import NotReal, Raised
from handgrad.compare.mapping import as_mapping
from handgrad.compare.ownership import is_theirs, named
from handgrad.compare.per_example import OfExamples
from handgrad.compare.trace import Arrays, frozen, same

CAUGHT = (Exception, SystemExit, GeneratorExit)  # all but what the person at the keyboard asks for
ANOTHER_SEED = 6_283_185  # that nobody seeds with


class Remote(Exception):
    """An exception of code that is called in another process, as it was told here."""

    def __init__(self, raised: Raised) -> None:
        """`raised` has its type and message, and the file and line there."""
        super().__init__(str(raised))
        self.raised = raised


@contextmanager
def quietly() -> Iterator[None]:
    """Without the warnings of NumPy and Python: what overflows or loses its imaginary part shows in the values."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@dataclass(frozen=True)
class Call:
    """One call: what it returned by name, and what was wrong about how it did that.

    `raised` is the exception that ended it, `assigned` the name that its line was about to assign. `instead` says what
    came back where a mapping was due, `mutated` which of the arrays handed over were changed, `aliased` which returned
    arrays share memory, `values_of` what a name stands for if it is no gradient, `upstream` how it comes that the
    upstream gradient of an autograd.Function is 1.
    """

    records: dict[str, np.ndarray] = field(default_factory=dict)
    raised: Raised | None = None
    assigned: str = ""
    instead: str = ""
    mutated: tuple[str, ...] = ()
    aliased: tuple[tuple[str, str], ...] = ()
    values_of: dict[str, np.ndarray] = field(default_factory=dict)
    upstream: str = ""

    @property
    def is_usable(self) -> bool:
        """Whether it returned a mapping."""
        return self.raised is None and not self.instead

    def without(self, names: Collection[str]) -> Call:
        """The same as if these names had not been returned."""
        kept = {name: record for name, record in self.records.items() if name not in names}
        aliased = tuple(pair for pair in self.aliased if kept.keys() >= {*pair})
        return replace(self, records=kept, aliased=aliased) if len(kept) < len(self.records) else self

    def read_for(self, values: Iterable[str]) -> Call:
        """The same for a reference that names these values, whatever letter they begin with."""
        named = {name: self.values_of[name] for name in values if name in self.values_of}
        return replace(self, records=self.records | named) if named else self


def call(function: Callable[..., Any], params: Arrays, batch: Arrays) -> Call:
    """Call function(params, *batch) on copies and keep copies of what it returns, a mapping of names to arrays."""
    theirs = {name: array.copy() for name, array in params.items()}
    inputs = [array.copy() for array in batch.values()]
    handed = dict(zip([*params, *batch], [*theirs.values(), *inputs], strict=True))
    try:
        with quietly(), Starts() as starts:
            returned = as_mapping(function(theirs, *inputs))
            items = [*returned.items()] if isinstance(returned, Mapping) else []
    except InputError:  # of ours, as from per_example
        raise
    except CAUGHT as error:  # whatever the user's code raises is a finding, not a crash
        return Call(raised=located(error), assigned=assigned_at(error))
    before = {**params, **batch}
    mutated = tuple(name for name, array in handed.items() if not same(before[name], array))
    if not isinstance(returned, Mapping):
        return Call(instead=kind_of(returned), mutated=mutated)
    arrays = {_text(name): value for name, value in items}
    values_of = returned.values_of if isinstance(returned, OfExamples) else {}
    records, values_of = ({name: as_record(value) for name, value in of.items()} for of in (arrays, values_of))
    return Call(records, mutated=mutated, aliased=_aliased(arrays), values_of=values_of, upstream=starts.upstream)


def overflows(function: Callable[..., Any], params: Arrays, batch: Arrays) -> bool:
    """Whether a function overflows, or divides by 0, on its way, as NumPy tells."""
    theirs = {name: array.copy() for name, array in params.items()}
    try:
        with quietly(), np.errstate(over="raise", divide="raise", invalid="raise"):
            function(theirs, *(array.copy() for array in batch.values()))
    except FloatingPointError:
        return True
    except CAUGHT:  # it was called before, and what it raised is told
        return False
    return False


def _aliased(arrays: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Which arrays share memory, two by two."""
    kept = {name: value for name, value in arrays.items() if isinstance(value, np.ndarray) and value.size > 0}
    owners: dict[int, list[str]] = {}
    for name, value in kept.items():
        owners.setdefault(id(value if value.base is None else value.base), []).append(name)
    if len(owners) == len(kept):  # as a rule
        return ()
    pairs = (pair for names in owners.values() for pair in combinations(names, 2))
    return tuple((a, b) for a, b in pairs if np.shares_memory(kept[a], kept[b]))


def fresh(function: Any) -> Any:
    """A copy of a function or object, so that what it keeps does not reach the next run; itself where it has none."""
    try:
        return deepcopy(function)
    except Exception:  # a lock, a file, or its own __deepcopy__
        return function


def as_record(value: Any) -> np.ndarray:
    """A read-only copy of an array, a number or nested lists of numbers; anything else is recorded as what it is.

    Extended precision is rounded to float64, which is what it is compared with; numbers in another byte order are put
    into the machine's; floating formats that NumPy lacks, bfloat16 for example, go into float32, which holds them.
    """
    try:
        if isinstance(value, (list, tuple)):
            value = np.array(value)
        elif isinstance(value, torch.Tensor):
            value = _numpy(value)
        elif type(value) is not np.ndarray and isinstance(value, np.ndarray) and _is_plain_inside(value):
            value = np.asarray(value)
    except (ValueError, TypeError, RuntimeError):  # lists of different lengths or of tensors; a tensor without values
        return frozen(_unreadable(value) if isinstance(value, torch.Tensor) else value)
    if isinstance(value, np.longdouble) or (type(value) is np.ndarray and value.dtype.char == "g"):
        value = value.astype(np.float64)
    elif type(value) is np.ndarray and not value.dtype.isnative:
        value = value.astype(value.dtype.newbyteorder("="))
    return frozen(value)


def _is_plain_inside(array: np.ndarray) -> bool:
    """Whether a matrix, a file or a masked array without masked entries: numpy.ma is imported for others alone."""
    return isinstance(array, (np.matrix, np.memmap)) or (np.ma.isMaskedArray(array) and not np.ma.is_masked(array))


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    """The values of a tensor on any device, whether it requires grad or not."""
    is_short = tensor.is_floating_point() and tensor.dtype not in (torch.float16, torch.float32, torch.float64)
    return (tensor.float() if is_short else tensor).numpy(force=True)


def _unreadable(tensor: torch.Tensor) -> NotReal:
    """What is wrong about a tensor that NumPy cannot hold, and what to return instead."""
    dense = tensor.layout is torch.strided
    kind = f"a tensor on the device {tensor.device}" if dense else f"a tensor of layout {tensor.layout}"
    return NotReal(kind, f"it as .detach(){'' if dense else '.to_dense()'}.cpu().numpy()")


def located(error: BaseException) -> Raised:
    """An exception with the user's own file and line, without frames of handgrad or of libraries."""
    if isinstance(error, Remote):
        return error.raised
    name = type(error).__name__
    if isinstance(error, SyntaxError) and error.filename:
        return Raised(name, _line(error.msg), named(error.filename), error.lineno or 0)
    frames = _their_frames(error)
    if not frames:
        return Raised(name, _line(error))
    return Raised(name, _line(error), named(frames[-1].filename), frames[-1].lineno or 0)


def assigned_at(error: BaseException) -> str:
    """The name that the user's line was about to assign when it raised, or nothing."""
    frames = _their_frames(error)
    if isinstance(error, SyntaxError) or not (frames or isinstance(error, Remote)):
        return ""
    at = (
        (error.raised.file, error.raised.line)
        if isinstance(error, Remote)
        else (frames[-1].filename, frames[-1].lineno)
    )
    line = linecache.getline(at[0], at[1] or 0)
    match = re.match(r"""\s*(?:\w+\[["'](\w+)["']\]|(\w+))\s*[-+*/@]?=[^=]""", line)
    return (match[1] or match[2]) if match else ""


def _their_frames(error: BaseException) -> list[FrameSummary]:
    """The frames of an exception that are in code of the user's."""
    return [frame for frame in extract_tb(error.__traceback__) if is_theirs(frame.filename)]


def _line(anything: Any) -> str:
    """What it says of itself, in one line."""
    return " ".join(_text(anything).split())


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


def gpus_of(values: Iterable[Any]) -> tuple[int, ...]:
    """The GPUs that tensors among values are on, by number."""
    return tuple(dict.fromkeys(t.get_device() for t in values if isinstance(t, torch.Tensor) and t.is_cuda))


@contextmanager
def drawing_others(gpus: Sequence[int]) -> Iterator[None]:
    """While entered, torch's generators, on the CPU and on these GPUs, draw other numbers than before and after."""
    with torch.random.fork_rng(gpus):
        for generator in (torch.default_generator, *(torch.cuda.default_generators[gpu] for gpu in gpus)):
            generator.manual_seed(ANOTHER_SEED)
        yield


def states_of(gpus: Sequence[int]) -> list[torch.Tensor]:
    """The states of torch's generators, on the CPU and on these GPUs."""
    return [torch.get_rng_state(), *map(torch.cuda.get_rng_state, gpus)]


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
