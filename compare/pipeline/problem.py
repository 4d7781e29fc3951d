"""The arguments of a check, looked through once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from handgrad.compare.errors import InputError, kind_of
from handgrad.compare.oracle.reference import Reference, input_names
from handgrad.compare.sandbox import as_record
from handgrad.compare.thresholds import FLOAT32_MAX, NORMALISED
from handgrad.compare.trace import frozen, is_real
from handgrad.compare.verdict.bounds import PRECISIONS

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Problem:
    """A reference with the params and the batch that it is run on, by name, and the precisions, the printed one first.

    `usual` are the shapes that a batch has where it is not a short one.
    """

    reference: Reference
    params: Arrays
    batch: Arrays
    precisions: tuple[str, ...]
    usual: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def printed(self) -> str:
        """The precision whose values are shown."""
        return self.precisions[0]

    def on(self, batch: Mapping[str, np.ndarray]) -> Problem:
        """The same on another batch."""
        return replace(self, batch=dict(batch))


def problem_of(reference: Any, params: Mapping[str, Any], batch: Sequence[Any], precisions: tuple[str, ...]) -> Problem:
    """The problem that arguments describe; InputError for arguments that cannot be used."""
    if not callable(reference):
        raise InputError(f"reference is {kind_of(reference)}; it must be a function that returns J")
    if not isinstance(batch, (tuple, list)):
        raise InputError(f"batch is {kind_of(batch)}; it must be a tuple of arrays, like (X, Y)")
    arrays = checked_arrays("params", params, trained=True)
    inputs = checked_arrays("batch", dict(zip(input_names(reference, len(batch)), batch, strict=True)), trained=False)
    if "float32" in precisions:
        _check_range("params", arrays)
        _check_range("batch", inputs)
    if arrays.keys() & inputs.keys():
        both = sorted(arrays.keys() & inputs.keys())[0]
        raise InputError(f"{both!r} names a parameter and an input of the reference; rename one of them")
    return Problem(reference, arrays, inputs, precisions, {name: array.shape for name, array in inputs.items()})


def checked_precisions(precisions: Sequence[str]) -> tuple[str, ...]:
    """The precisions asked for, each once; InputError unless they are among float64 and float32."""
    is_one = isinstance(precisions, str) or not isinstance(precisions, Iterable)
    named: tuple[Any, ...] = (precisions,) if is_one else tuple(precisions)
    if not named or any(name not in tuple(PRECISIONS) for name in named):
        raise InputError(f"precisions is {named!r}; it may hold 'float64' and 'float32', so leave it out")
    return tuple(dict.fromkeys(named))


def checked_arrays(kind: str, values: Any, *, trained: bool) -> Arrays:
    """A mapping of names to arrays of real numbers; InputError, naming `kind`, for anything else.

    Those that are `trained` must be floating, and there must be one. Numbers of 16 bits and fewer, which float32 holds
    as they are, become float32. Inputs in float32 that are normalised there are normalised in float64.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"{kind} is {kind_of(values)}; it must be a dict of names and arrays, like {{'W1': W1}}")
    if trained and not values:
        raise InputError(f"{kind} is empty; hand over at least one parameter, like {{'W1': W1}}")
    arrays = {}
    for name, value in values.items():
        array = as_record(value)
        if isinstance(value, np.matrix):
            raise InputError(
                f"{kind}[{name!r}] is a matrix, whose * is another than an array's; hand over an array, np.asarray of "
                "it, and multiply by @"
            )
        if not is_real(array):
            raise InputError(
                f"{kind}[{name!r}] is {kind_of(value) if array.dtype.kind == 'O' else array.dtype}; "
                f"it must be an array of real numbers of at most 64 bits{_instead(array)}"
            )
        if array.dtype.kind == "f" and array.dtype.itemsize < 4:
            array = frozen(array.astype(np.float32))
        if trained and array.dtype.kind != "f":
            raise InputError(
                f"{kind}[{name!r}] holds {array.dtype}; what is trained must be floating, so write 1.0 for 1, "
                "and indices and masks belong in the batch"
            )
        if array.size == 0:
            raise InputError(f"{kind}[{name!r}] has shape {array.shape} and no entry; hand over at least one number")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError(f"{kind}[{name!r}] holds nan or infinity; start from finite numbers")
        arrays[str(name)] = array if trained or array.dtype.char != "f" else _normalised(array)
    return arrays


def _normalised(array: np.ndarray) -> np.ndarray:
    """In float64, where its sums or lengths along an axis are 1 in float32: a derivation may rely on probabilities."""
    for axis in (axis for axis, size in enumerate(array.shape) if size > 1):
        for power in (1, 2):
            totals = (array.astype(np.float64) ** power).sum(axis, keepdims=True)
            if 0 < np.max(np.abs(totals - 1)) <= NORMALISED:
                array = frozen(array / totals ** (1 / power))
    return array


def _instead(array: np.ndarray) -> str:
    """What to write where an array holds no real numbers that NumPy knows: bfloat16 is such a format."""
    if array.dtype.kind == "c":
        return ", so hand over its .real and .imag"
    if array.dtype.kind == "V" and array.dtype.names is None:
        return ", so write .astype(np.float32), which holds what shorter formats hold"
    return ""


def _check_range(kind: str, arrays: Arrays) -> None:
    """Raise InputError for values that float32 cannot hold."""
    for name, array in arrays.items():
        if array.dtype.char == "d" and max(array.max(), -array.min()) > FLOAT32_MAX:
            raise InputError(
                f"{kind}[{name!r}] holds {np.max(np.abs(array)):g}; float32 holds no more than {FLOAT32_MAX:g}, so "
                "rescale it, or check with precisions=('float64',)"
            )
