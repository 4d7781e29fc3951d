"""Copies of what a side computed, and the precision that they tell of."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from handgrad.compare.facts.failures import NotReal
from handgrad.compare.trace import (
    digits_of,
    frozen,
    in_precision,
    is_float32,
    is_none,
    is_real,
    not_real,
    real,
    rounds_to_float32,
    same,
)

RNG = np.random.default_rng(7)


def test_a_copy_stays_what_it_was_and_cannot_be_written():
    array = np.ones(3)
    copy = frozen(array)
    array[:] = 7
    assert copy.tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="read-only"):
        copy[0] = 2


@pytest.mark.parametrize("number", [1.5, 2, True, np.float32(3), np.int8(4)])
def test_a_number_is_an_array_without_axes(number):
    copy = frozen(number)
    assert (copy.shape, copy.item()) == ((), number)
    assert is_real(copy)


class Sub(np.ndarray):
    """An array of another type: what * and @ mean for it is not known."""


OTHERS = {
    "a list": ([1.0], "a list"),
    "None": (None, "None"),
    "text": ("W", "a str"),
    "complex": (np.ones(1) * 1j, "an array of dtype complex128"),
    "texts": (np.array(["W"]), "an array of dtype <U1"),
    "objects": (np.array([None]), "an array of dtype object"),
    "long double": (np.ones(1, np.longdouble), f"an array of dtype {np.dtype(np.longdouble)}"),
    "a subclass": (np.ones(1).view(Sub), "a Sub"),
}


@pytest.mark.parametrize(("value", "words"), OTHERS.values(), ids=OTHERS)
def test_what_holds_no_real_numbers_is_recorded_as_what_it_is(value, words):
    record = frozen(value)
    assert not is_real(record)
    assert not_real(record) == NotReal(words)
    assert is_none(record) == (value is None)
    assert real({"W": record}) == {}


def test_real_arrays_are_those_of_real_numbers_in_float64():
    arrays = real({"a": np.ones(2, "f4"), "b": np.ones(2, bool), "c": np.ones(2, "i4"), "d": np.ones(2) * 1j})
    assert {*arrays} == {"a", "b", "c"}
    assert all(array.dtype == np.float64 for array in arrays.values())


def test_floating_arrays_change_their_precision_and_no_others():
    X, y = np.array([1e300, 1.5]), np.arange(2)
    cast = in_precision({"X": X, "y": y}, "float32")
    assert cast["X"].dtype == np.float32
    assert cast["X"].tolist() == [np.inf, 1.5]
    assert cast["y"] is y
    assert in_precision({"X": X}, "float64")["X"] is X


SAME = {
    "equal": ([1.0, 2.0], [1.0, 2.0], True),
    "nan": ([np.nan, 1.0], [np.nan, 1.0], True),
    "nan elsewhere": ([np.nan, 1.0], [1.0, np.nan], False),
    "zeros of both signs": ([0.0], [-0.0], True),
    "another shape": ([[1.0]], [1.0], False),
    "another number": ([1.0], [1.0 + 2**-52], False),
    "whole": ([1], [1.0], True),
    "texts": (["a"], ["a"], True),
    "complex nan": ([1j * np.nan], [1j * np.nan], True),
    "large": (np.ones(5000), np.ones(5000), True),
    "large and one is off": (np.ones(5000), np.r_[np.ones(4999), 2], False),
}


@pytest.mark.parametrize(("a", "b", "expected"), SAME.values(), ids=SAME)
def test_the_same_is_so_in_shape_and_every_entry(a, b, expected):
    assert same(np.array(a), np.array(b)) == expected


@given(st.lists(st.floats(width=32), min_size=1, max_size=5))
def test_what_float32_holds_is_told(values):
    array = np.array(values)
    assert is_float32(array)
    finite = array[np.isfinite(array) & (array != 0)]
    assert not finite.size or not is_float32(finite * (1 + 2.0**-40))


PRECISIONS = {
    "computed in float32": ([RNG.standard_normal(50).astype("f4").astype(float)], True),
    "computed in float64": ([RNG.standard_normal(50)], False),
    "one of two": ([RNG.standard_normal(50).astype("f4").astype(float), RNG.standard_normal(5)], False),
    "whole numbers": ([np.arange(50.0)], False),
    "simple fractions": ([np.arange(50.0) / 8], False),
    "whole numbers beside them": ([np.arange(5.0), RNG.standard_normal(50).astype("f4").astype(float)], True),
    "zeros": ([np.zeros(50)], False),
    "zeros beside them": ([np.zeros(500), RNG.standard_normal(9).astype("f4").astype(float)], True),
    "overflown": (
        [np.full(500, np.nan), np.full(500, np.inf), RNG.standard_normal(9).astype("f4").astype(float)],
        True,
    ),
    "overflown in float64": ([np.full(500, np.nan), RNG.standard_normal(9)], False),
    "nothing finite": ([np.full(50, np.nan)], False),
    "texts are left out": ([np.array(["a"]), RNG.standard_normal(50).astype("f4").astype(float)], True),
    "no entries": ([np.zeros((0, 3))], False),
    "nothing": ([], False),
}


@pytest.mark.parametrize(("records", "expected"), PRECISIONS.values(), ids=PRECISIONS)
def test_float32_is_told_by_the_last_digits_that_it_has(records, expected):
    assert rounds_to_float32(records) == expected


@pytest.mark.parametrize(("dtype", "unit"), [("bfloat16", 2.0**-8), ("float16", 2.0**-11), ("float32", 2.0**-24)])
def test_the_format_is_told_by_the_digits_that_are_used(dtype, unit):
    drawn = torch.tensor(RNG.standard_normal((5, 9)))
    assert digits_of(drawn.to(getattr(torch, dtype)).double().numpy()) == unit


@pytest.mark.parametrize("array", [RNG.standard_normal(40), np.arange(9.0), np.zeros(3), np.zeros(0), [np.nan, 1 / 3]])
def test_full_digits_and_none_are_of_no_format(array):
    assert digits_of(np.asarray(array)) == 0.0
