"""Bits are the digits of the difference that a hypothesis explains; copies and what is right count nothing."""

import pytest
import torch

from handgrad.compare.diagnosis.bits import ENOUGH_BITS, MOST_BITS, Observed, multiple, price

REFERENCE = torch.tensor([1.0, -2.0, 3.5, 0.25], dtype=torch.float64)


def observed(recorded, dtype="float64"):
    return Observed(torch.as_tensor(recorded, dtype=torch.float64), REFERENCE, dtype)


def test_an_exact_prediction_has_nearly_all_bits_of_each_wrong_entry():
    wrong = observed(REFERENCE * torch.tensor([1.5, 1.0, 2.25, 1.0]))
    assert 1.8 * MOST_BITS < wrong.bits(wrong.recorded) <= 2 * MOST_BITS


def test_a_prediction_that_halves_the_difference_has_one_bit_an_entry():
    wrong = observed(REFERENCE * torch.tensor([1.5, 1.0, 2.25, 1.0]))
    assert wrong.bits((wrong.recorded + REFERENCE) / 2) == pytest.approx(2.0)


def test_the_reference_itself_and_what_is_worse_have_none():
    wrong = observed(REFERENCE * 1.5)
    assert wrong.bits(REFERENCE) == 0
    assert wrong.bits(REFERENCE * 0.5) == 0


def test_where_nothing_is_wrong_there_is_no_evidence():
    assert observed(REFERENCE).bits(REFERENCE) == 0
    assert observed(REFERENCE * (1 + 1e-16)).bits(REFERENCE) == 0


def test_equal_entries_are_one_coincidence():
    one, four = Observed(torch.ones(1) * 7.0, torch.zeros(1)), Observed(torch.ones(4) * 7.0, torch.zeros(4))
    assert one.bits(one.recorded.double()) == pytest.approx(four.bits(four.recorded.double()))


def test_of_equal_entries_the_least_explained_counts():
    predicted, reference = torch.full((2,), 4.0, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    recorded = torch.tensor([4.0, 8.0], dtype=torch.float64)
    assert Observed(recorded, reference).bits(predicted) == pytest.approx(1.0)


def test_fewer_digits_are_less_evidence():
    recorded = REFERENCE * 1.5
    assert observed(recorded, "float32").bits(recorded) < 0.6 * observed(recorded).bits(recorded)


def test_below_the_noise_of_an_entry_there_is_no_evidence():
    recorded = REFERENCE * 1.5
    noisy = Observed(recorded, REFERENCE, noise=1e-6)
    assert noisy.bits(recorded) < 0.6 * observed(recorded).bits(recorded)
    assert noisy.is_explained_by(recorded + 0.9e-6)
    assert not noisy.is_explained_by(recorded + 1.1e-6)
    assert Observed(recorded, REFERENCE, noise=2.0).bits(recorded) == 0


def test_entries_that_are_equal_to_within_the_noise_are_one_coincidence():
    recorded = torch.full((4,), 7.0, dtype=torch.float64) + 1e-7 * torch.arange(4)
    one, four = (Observed(r, torch.zeros_like(r), noise=1e-6) for r in (recorded[:1], recorded))
    assert four.bits(recorded) == pytest.approx(one.bits(recorded[:1]))


def test_each_entry_has_a_noise_of_its_own():
    recorded, noise = REFERENCE * 1.5, torch.tensor([1e-6, 1e-3, 1e-6, 1e-6])
    noisy = Observed(recorded, REFERENCE, noise=noise)
    assert noisy.is_explained_by(recorded + 0.9 * noise)
    assert not noisy.is_explained_by(recorded + 0.9e-3)
    assert noisy.bits(recorded) < Observed(recorded, REFERENCE, noise=1e-6).bits(recorded)


@pytest.mark.parametrize("predicted", [REFERENCE[:3] * 1.5, 7.0, torch.zeros(0), REFERENCE * torch.nan])
def test_what_has_another_shape_or_is_not_finite_explains_nothing(predicted):
    assert not observed(REFERENCE * 1.5).is_explained_by(predicted)


def test_explains_to_within_rounding():
    wrong = observed(REFERENCE * 1.5)
    assert wrong.is_explained_by(REFERENCE * 1.5 * (1 + 2.0**-51))
    assert not wrong.is_explained_by(REFERENCE * 1.5 * (1 + 1e-6))


def test_a_difference_as_small_as_rounding_is_not_explained_by_the_reference():
    wrong = observed(REFERENCE * (1 + 2.0**-48))
    assert not wrong.is_explained_by(REFERENCE)
    assert wrong.is_nearly(REFERENCE)
    assert not wrong.is_nearly(REFERENCE[:2])


def test_another_form_of_the_formula_gives_the_reference():
    wrong = observed(REFERENCE * 1.5)
    assert wrong.is_same(REFERENCE * (1 + 2.0**-50))
    assert not wrong.is_same(REFERENCE * 1.01)
    assert not wrong.is_same(REFERENCE[:2])


def test_an_empty_tensor_has_no_size():
    empty = Observed(torch.zeros(0), torch.zeros(0))
    assert (empty.largest, empty.rounding, empty.limit) == (0.0, 0.0, 0.0)
    assert empty.is_same(torch.zeros(0))


def test_a_hypothesis_pays_for_its_tier_its_like_and_its_fitted_number():
    assert price(0, 1, False) == 1
    assert price(3, 1, False) == price(0, 1, False) + 3
    assert price(3, 1024, False) == price(3, 1, False) + 10
    assert price(3, 1024, True) == price(3, 1024, False) + MOST_BITS
    assert price(1, 0, False) == price(1, 1, False)


def test_one_entry_pays_for_a_named_formula_and_not_for_a_fitted_number():
    assert MOST_BITS - price(2, 1000, False) > ENOUGH_BITS
    assert MOST_BITS - price(6, 10, True) < ENOUGH_BITS


def test_the_multiple_that_comes_nearest_does_not_overflow():
    assert multiple(3e200 * REFERENCE, 1e200 * REFERENCE) == pytest.approx(3.0)
    assert multiple(REFERENCE, REFERENCE + 1e-9) == pytest.approx(1.0)
