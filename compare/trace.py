"""Copies of what a side computed, and what can be said of a copy by itself."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import numpy as np

from handgrad.compare.errors import kind_of
from handgrad.compare.facts.failures import NotReal
from handgrad.compare.thresholds import FORMATS, LAST_BITS, LAST_BITS_USED

Arrays = Mapping[str, np.ndarray]
Side = TypeVar("Side")
SMALL = 2**12  # numbers: up to so many are compared as bytes, which copies them


def frozen(value: Any) -> np.ndarray:
    """A read-only copy: whatever its owner does later, the record stays what it was.

    What is neither an array nor a number, a list for example, is recorded as what is wrong about it.
    """
    if type(value) is np.ndarray or isinstance(value, (np.generic, float, int)):
        array = np.array(value)
    else:
        array = np.array(value if isinstance(value, NotReal) else NotReal(kind_of(value)), dtype=object)
    array.setflags(write=False)
    return array


def finest(sides: Mapping[str, Side]) -> Side:
    """What the finest precision has, of what there is by precision."""
    return sides["float64"] if "float64" in sides else next(iter(sides.values()))


def is_real(record: np.ndarray) -> bool:
    """Whether a record is an array of real numbers of at most 64 bits."""
    return record.dtype.kind in "biuf" and record.dtype.itemsize <= 8


def is_none(record: np.ndarray) -> bool:
    """Whether a record is None: what the other side calls not computed."""
    return record.dtype.kind == "O" and record.shape == () and record.item() == NotReal("None")


def not_real(record: np.ndarray) -> NotReal:
    """What is wrong about a record that is no array of real numbers: a list, None, or an array of some dtype."""
    known = record.item() if record.dtype == object and record.shape == () else None
    return known if isinstance(known, NotReal) else NotReal(f"an array of dtype {record.dtype}")


def real(arrays: Arrays) -> dict[str, np.ndarray]:
    """The arrays of real numbers, in float64."""
    return {name: np.asarray(array, dtype=np.float64) for name, array in arrays.items() if is_real(array)}


@np.errstate(over="ignore", under="ignore")
def in_precision(arrays: Arrays, dtype: str) -> dict[str, np.ndarray]:
    """Floating arrays in the dtype asked for, copied where they are of another, and the others as they are."""
    return {n: array.astype(dtype, copy=False) if array.dtype.kind == "f" else array for n, array in arrays.items()}


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays agree in shape and in every entry, nan being the same as nan."""
    if a.shape != b.shape:
        return False
    if a.size <= SMALL and a.dtype == b.dtype and a.tobytes() == b.tobytes():  # as a rule they are, and it is quicker
        return True
    equal = a == b
    has_nan = a.dtype.kind in "fc" and b.dtype.kind in "fc"
    return bool(equal.all()) or (has_nan and bool((equal | ((a != a) & (b != b))).all()))  # nan alone


def is_float32(recorded: np.ndarray) -> bool:
    """Whether every value of a float64 array is one that float32 can hold, infinity and nan among them."""
    with np.errstate(all="ignore"):
        return bool(np.array_equal(recorded.astype(np.float32).astype(np.float64), recorded, equal_nan=True))


def digits_of(recorded: np.ndarray) -> float:
    """The unit roundoff of the coarsest of FORMATS whose numbers the entries are, the last bits in use; 0.0 of none."""
    mantissas = np.frexp(recorded[recorded != 0])[0] if np.isfinite(recorded).all() else np.empty(0)
    last = {unit: mantissas / unit % (LAST_BITS + 1) for unit in sorted(FORMATS.values(), reverse=True)}
    held = (
        unit
        for unit, bits in last.items()
        if bits.size and (bits % 1 == 0).all() and np.mean(bits != 0) > LAST_BITS_USED
    )
    return next(held, 0.0)


def rounds_to_float32(records: Iterable[np.ndarray]) -> bool:
    """Whether float64 arrays are those of a computation in float32; what is not real is left out.

    All of them hold what float32 can, and as a rule the last digits of that are used: whole numbers and simple
    fractions, which float32 holds exactly, do without them. What is no finite number tells nothing.
    """
    arrays = [array for array in records if is_real(array) and array.size]
    if not all(map(is_float32, arrays)):
        return False
    bits = [array[np.isfinite(array)].astype(np.float32).view(np.uint32) for array in arrays]
    used = np.concatenate([b[b << 1 != 0] for b in bits]) if bits else np.empty(0, np.uint32)  # but for zeros
    return bool(used.size and np.mean(used & LAST_BITS != 0) > LAST_BITS_USED)
