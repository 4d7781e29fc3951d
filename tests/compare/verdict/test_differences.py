"""How far two arrays are apart against a naive account of it, statistic by statistic."""

import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from handgrad.compare.trace import frozen
from handgrad.compare.verdict.differences import Measured, differing, measured

FLOATS = ("f2", "f4", "f8", ">f2", ">f4", ">f8")
DTYPES = (*FLOATS, "?", "i1", "u1", "i4", "u4", "i8", "u8", ">i2", ">i8", ">u4")
SPECIAL = (0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324, -5e-324, 2.3e-308, 1e308, -1e308, 1.0, np.nextafter(1.0, 2))
WHOLE = (0, 1, -1, 2**53 + 1, -(2**63), 2**63 - 1, 2**64 - 1)
LAYOUTS = ("plain", "transposed", "stepped", "reversed", "sliced", "broadcast")


def naive(hand: np.ndarray, torch: np.ndarray) -> Measured:
    """What the rows of a report have always held, each statistic written down by itself."""
    ours, theirs = (np.array(side, dtype=np.float64).ravel() for side in (hand, torch))
    with np.errstate(all="ignore"):
        difference = np.abs(ours - theirs)
        difference[ours == theirs] = 0.0
    position = int(np.argmax(difference))
    by_torch = theirs[position].item() if torch.dtype.kind in "bf" else int(torch.ravel()[position])
    return Measured(
        max_abs_diff=float(difference[position]),
        position=position,
        by_hand=float(ours[position]),
        torch=by_torch,
        scale=float(np.max(np.abs(theirs))),
    )


def same(some: Measured, other: Measured) -> bool:
    """Whether two measurements are the same to the last bit and in their types, nan being itself."""
    return repr(some) == repr(other)


@st.composite
def laid_out(draw, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """An array of that shape with the entries that go wrong, somewhere in a larger one."""
    layout = draw(st.sampled_from(LAYOUTS))
    values = np.array(draw(st.lists(st.sampled_from(entries(dtype)), min_size=3, max_size=7)), dtype=dtype)
    every = np.random.default_rng(draw(st.integers(0, 2**16))).choice(values, shape).astype(dtype)
    if layout == "transposed":
        return np.array(every.T, order="C", copy=True).T
    if layout == "broadcast" and every.ndim:
        return np.broadcast_to(every[:1], shape)
    larger = np.zeros([2 * n + 1 for n in shape], dtype)
    steps = {"stepped": slice(None, -1, 2), "reversed": slice(-2, None, -2), "sliced": slice(1, None, 2)}
    if layout not in steps or not every.ndim:
        return every
    place = larger[(steps[layout],) * every.ndim]
    place[...] = every
    return place


def entries(dtype: str) -> list[float | int | bool]:
    """Values that a dtype can hold, ordinary and special ones."""
    kind = np.dtype(dtype).kind
    if kind == "b":
        return [False, True]
    if kind == "f":
        with np.errstate(all="ignore"):
            return [*np.array(SPECIAL).astype(dtype).tolist(), 0.1, -2.5]
    limits = np.iinfo(dtype)
    return [n for n in (*WHOLE, limits.min, limits.max) if limits.min <= n <= limits.max]


sizes = st.one_of(
    st.sampled_from([(), (1,), (7,), (8,), (9,), (16,), (25,)]),
    st.lists(st.integers(1, 6), min_size=2, max_size=3).map(tuple),
)


@st.composite
def pairs(draw, dtypes: tuple[str, ...] = DTYPES) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays of one shape; now and then the second is the first, or nearly."""
    shape = draw(sizes)
    hand = draw(laid_out(shape, draw(st.sampled_from(dtypes))))
    how = draw(st.sampled_from(["another", "another", "equal", "a little off"]))
    if how == "another":
        return hand, draw(laid_out(shape, draw(st.sampled_from(dtypes))))
    torch = np.array(hand)
    if how == "a little off" and torch.dtype.kind == "f":
        with np.errstate(all="ignore"):
            torch.flat[draw(st.integers(0, torch.size - 1))] *= 1.5
    return hand, torch


@settings(max_examples=300)
@given(pair=pairs())
@example(pair=(np.array([np.nan, 1.0]), np.array([np.nan, 1.0])))
@example(pair=(np.array([-0.0] * 9), np.array([0.0] * 9)))
@example(pair=(np.array([1e308] * 9), np.array([-1e308] * 9)))
def test_every_statistic_is_that_of_the_naive_reference(pair):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert same(measured(*pair), naive(*pair))


@pytest.mark.parametrize("at", [0, -1])
@pytest.mark.parametrize("value", [1e-300, 5e-324, np.nan, np.inf], ids=str)
def test_one_entry_is_found(at, value):
    hand, torch = np.zeros(9), np.zeros(9)
    hand[at] = value
    assert measured(hand, torch).position == range(9)[at]
    assert same(measured(hand, torch), naive(hand, torch))


def test_the_first_of_equal_differences_is_shown():
    hand = np.zeros(32)
    hand[[11, 13, 24]] = [-1, 1, 1]
    assert measured(hand, np.zeros_like(hand)).position == 11


def test_nan_in_the_same_place_is_reported_and_infinity_is_itself():
    both = np.array([1.0, np.inf, np.nan])
    one = measured(both, both.copy())
    assert np.isnan(one.max_abs_diff)
    assert one.position == 2
    one = measured(both[:2], both[:2].copy())
    assert (one.max_abs_diff, one.scale) == (0.0, np.inf)


ANSWERS = {
    "the same": (np.arange(6.0), np.arange(6.0), True),
    "another order of summation": (np.full(3, 0.1) * 3, np.array([0.1 + 0.1 + 0.1] * 3), True),
    "a millionth": (np.ones(3), np.ones(3) * (1 + 1e-6), False),
    "float32 rounds more": (np.ones(3), (np.ones(3) * (1 + 1e-6)).astype("f4"), True),
    "float16 rounds still more": (np.ones(3), (np.ones(3) * (1 + 1e-2)).astype("f2"), True),
    "nan is itself": (np.array([np.nan, 1]), np.array([np.nan, 1]), True),
    "nan is no number": (np.array([np.nan, 1]), np.array([0.0, 1]), False),
    "infinity is itself": (np.array([np.inf]), np.array([np.inf]), True),
    "another shape": (np.ones((2, 1)), np.ones((1, 2)), False),
    "whole numbers": (np.arange(3), np.arange(3), True),
    "other whole numbers": (np.arange(3), np.arange(1, 4), False),
    "texts": (np.array("list", dtype=object), np.array("list", dtype=object), True),
    "no entries": (np.zeros((0, 2)), np.zeros((0, 2)), True),
    "beside large ones": (np.array([1e9, 1.0]), np.array([1e9, 1.0 + 1e-7]), True),
}


@pytest.mark.parametrize(("first", "second", "is_same"), ANSWERS.values(), ids=ANSWERS)
def test_two_calls_differ_by_more_than_another_order_of_summation(first, second, is_same):
    assert differing({"J": frozen(first)}, {"J": frozen(second)}) == (() if is_same else ("J",))


def test_a_record_that_one_call_lacks_differs():
    one = {"J": np.ones(()), "dW": np.ones(2)}
    assert differing(one, {"J": np.ones(()), "db": np.ones(1)}) == ("dW", "db")
    assert differing({}, {}) == ()
