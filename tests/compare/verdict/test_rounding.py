"""What rounding may do to a tensor: the screen, the deviation, and how far a record is from both."""

import numpy as np
import pytest

from handgrad.compare.verdict.closeness import Local
from handgrad.compare.verdict.rounding import (
    Flagged,
    Outcome,
    deviation,
    largest,
    largest_around,
    moderated,
    screened,
    size,
    worse,
)
from tests.compare.verdict.witnesses import Told

U = 2.0**-53
RNG = np.random.default_rng(5)


@pytest.mark.parametrize(("off", "is_ok"), [(31.0, True), (33.0, False)])
def test_the_screen_passes_so_many_roundings_of_the_largest(off, is_ok):
    reference = np.array([1.0, 0.5, 0.25])
    recorded = reference + np.array([0, off * U, 0])
    outcome = screened(Local(recorded, reference), largest_around(reference), "float64", 32.0)
    assert (outcome is not None) == is_ok
    if outcome is not None:
        assert (outcome.verdict, outcome.basis, outcome.index) == ("OK", "screen", (1,))
        assert outcome.rho == pytest.approx(off / 32)


def test_the_screen_goes_by_row_and_column():
    """A row of small numbers beside large ones is no place for the roundings of these."""
    reference = np.array([[1.0, 1.0], [1e-9, 1e-9]])
    off = np.array([[0.0, 0.0], [0.0, 16 * U]])
    assert screened(Local(reference + off, reference), largest_around(reference), "float64", 32.0) is None
    assert screened(Local(reference + off[::-1], reference), largest_around(reference), "float64", 32.0) is not None
    row = reference.ravel()[None]
    assert screened(Local(row + off.ravel(), row), largest_around(row), "float64", 32.0) is not None
    vector = reference.ravel()
    assert screened(Local(vector + off.ravel(), vector), largest_around(vector), "float64", 32.0) is not None
    cube = np.stack([reference, reference])
    assert screened(Local(cube + off, cube), largest_around(cube), "float64", 32.0) is None


def test_nothing_but_subnormal_numbers_passes_the_screen():
    assert screened(Local(np.full(3, 5e-324), np.zeros(3)), np.zeros(3), "float64", 32.0) is not None
    assert screened(Local(np.array(1.0), np.array(1.0)), np.ones(()), "float64", 32.0).index == ()


def test_a_float32_record_is_screened_against_the_float64_one():
    fine = RNG.standard_normal((3, 4))
    for off, is_ok in ((0.0, True), (1e-4, False), (np.inf, False)):
        both = Local((fine * (1 + off)).astype("f4"), fine)
        assert (screened(both, abs(fine), "float32", 64.0) is not None) == is_ok


def test_the_deviation_is_that_of_the_runs_and_a_rounding_of_its_own():
    g = np.array([2.0, -4.0])
    s = deviation(g, np.array([3.0, 0.0]), U, "float64")
    np.testing.assert_allclose(s, [np.hypot(3, 0.6) * U, 1.2 * U], rtol=1e-12)
    np.testing.assert_allclose(deviation(g, np.array([3.0, 0.0]), 2.0**-24, "float32") / 2.0**-24, s / U, rtol=1e-6)
    np.testing.assert_allclose(deviation(g, None, U, "float64"), 16 * U)  # noise runs failed
    assert (deviation(np.zeros(2), np.zeros(2), U, "float64") > 0).all()


def test_few_runs_are_moderated_by_row_and_column():
    spread = np.array([[2.0, 0.0], [0.0, 0.0]])
    np.testing.assert_allclose(moderated(spread), spread)
    squares = np.array([[1.0, 3.0], [3.0, 1.0]])
    np.testing.assert_allclose(np.square(moderated(np.sqrt(squares))), [[1.5, 2.5], [2.5, 1.5]])
    np.testing.assert_allclose(moderated(1e200 * np.sqrt(squares)), 1e200 * moderated(np.sqrt(squares)))
    np.testing.assert_array_equal(moderated(np.zeros((2, 3))), 0)
    assert moderated(RNG.random((2, 3, 4))).shape == (2, 3, 4)
    np.testing.assert_array_equal(moderated(np.array([1.0, 3.0])), [1.0, 3.0])


def told(off, g, **more):
    return Told({"A": g + off}, {"A": g}, **more)


def flagged(off, g, **more):
    witness = told(off, g, **more)
    return Flagged.of("A", witness, witness.beside("A"))


def test_what_sticks_out_in_one_entry_and_along_the_whole():
    g = RNG.standard_normal((20, 30))
    one = flagged(np.where(np.arange(30) == 3, 100 * 0.3 * U * abs(g), 0), g)
    assert one.largest == pytest.approx(100, rel=0.6)
    assert {*np.nonzero(one.stands_out)[1]} == {3}
    everywhere = flagged(10 * U * g, g)  # less than 48 deviations in each entry
    assert everywhere.largest < 48 < everywhere.rho * 32
    assert everywhere.stands_out.all()
    assert flagged(2 * U * g, g).rho < 1  # one constant may be rounded


def test_another_precision_has_other_deviations():
    suspect = flagged(1e-6 * np.ones(4), np.ones(4), roundings=1.0)
    assert suspect.rho > 1e5
    assert suspect.at(2.0**-24).largest < 20


def test_a_scalar_keeps_its_shape_in_the_outcome():
    suspect = flagged(np.array(1e-3), np.array(2.0))
    assert suspect.outcome("FAULT").index == ()
    assert flagged(np.array([0, 1e-3]), np.array([2.0, 1.0])).outcome("WEAK").index == (1,)


SHOWN = {  # entries of the reference, how far each is off, and the entry that is shown: rounding moves large ones more
    "the largest where rounding allows as much": ([1.0, 1.0, 1.0], [1e-6, 3e-6, 2e-6], (1,)),
    "not one that is large beside the others and less beyond": ([1e9, 1.0, 1.0], [1e-2, 3e-6, 1e-6], (1,)),
    "of those that are about as far beyond the largest": ([2.0, 1.0, 1.0], [4e-6, 3e-6, 1e-6], (0,)),
}


@pytest.mark.parametrize(("g", "off", "at"), SHOWN.values(), ids=SHOWN)
def test_the_entry_shown_is_furthest_off_of_those_furthest_beyond_rounding(g, off, at):
    assert flagged(np.array(off), np.array(g), roundings=1.0).outcome("FAULT").index == at


def test_the_worse_outcome_counts_and_of_two_right_ones_the_closer():
    ok, close = Outcome("OK", 0.1, "noise", ()), Outcome("OK", 0.9, "noise", ())
    weak, fault = Outcome("WEAK", 2.0, "noise", ()), Outcome("FAULT", 1.5, "noise", ())
    assert worse(ok, close) is close
    assert worse(weak, close) is weak
    assert worse(weak, fault) is fault
    assert worse(Outcome("UNTOLD", 0.1, "noise", ()), weak).verdict == "UNTOLD"


def test_sizes_neither_overflow_nor_underflow():
    assert size(np.array([3e200, 4e200])) == pytest.approx(5e200)
    assert size(np.array([3e-200, 4e-200])) == pytest.approx(5e-200)
    assert size(np.zeros(3)) == 0.0 == largest(np.empty(0))
    assert largest(np.array([np.nan, -2.0])) == 2.0


def test_in_float64_the_largest_around_an_entry_does_not_excuse_a_good_part_of_it():
    for unit, dtype, is_ok in ((2.0**-53, "float64", False), (2.0**-24, "float32", True)):
        reference = np.array([1.0, 2.0**8 * unit])
        both = Local(reference + np.array([0, 8 * unit]), reference)
        assert (screened(both, largest_around(reference), dtype, 32.0) is not None) == is_ok
