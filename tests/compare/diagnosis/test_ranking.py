"""A cause is named only where it explains the tensor to within rounding; what nothing explains is unknown."""

from dataclasses import replace

import numpy as np
import pytest

from handgrad.compare.diagnosis.edits.hypotheses import MOST_TIER
from handgrad.compare.diagnosis.ranking import diagnose, explained, first_cause, of_families, searched
from handgrad.compare.diagnosis.scene import MOST_RECORDED, Scene
from handgrad.compare.diagnosis.search import Budget
from handgrad.compare.facts.causes import Scaled, Unknown, factor_of, fitted_of
from handgrad.compare.facts.operands import Accumulated, UpdatedOperand
from handgrad.compare.facts.updates import Transposed

RNG = np.random.default_rng(11)
R = RNG.standard_normal((4, 4))
W = RNG.standard_normal((3, 4))
SIZES = {"n": 6, "K": 3}


def of(recorded, reference=R):
    """The causes of a tensor beside its reference."""
    return diagnose(Scene("T", recorded, reference, numbers=SIZES))


@pytest.mark.parametrize("amount", [1.0, 1e-3, 1e-6])
def test_random_wrong_answers_are_unknown(amount):
    for seed in range(200):
        rng = np.random.default_rng(seed)
        reference, noise = rng.standard_normal((5, 5)), rng.standard_normal((5, 5))
        assert of(reference + amount * noise, reference) == (Unknown(),), seed


@pytest.mark.parametrize("recorded", [3 * R, -R, R.T])
def test_the_families_say_what_they_say_of_another_draw_as_well(recorded):
    first, *_ = of(recorded)
    assert first in of_families(Scene("T", recorded, R, numbers=SIZES))
    assert first not in of_families(Scene("T", recorded + 0.1 * np.eye(4), R, numbers=SIZES))


def test_the_families_say_nothing_of_what_is_not_finite():
    assert of_families(Scene("T", R + np.inf, R)) == ()


@pytest.mark.parametrize("size", [1, 2])
def test_a_named_factor_needs_one_entry_and_any_other_two(size):
    reference = RNG.standard_normal(size)
    assert explained(6 * reference, reference) == Scaled(6.0)
    expected = Unknown() if size == 1 else Scaled(pytest.approx(1.7))
    assert explained(1.7 * reference, reference) == expected


def test_entries_that_are_copies_of_each_other_are_one():
    assert explained(np.full(5, 1.7), np.ones(5)) == Unknown()


def test_one_entry_of_float32_has_too_few_bits():
    assert explained(np.float32([6.0]), np.ones(1), "float32") == Unknown()
    reference = RNG.standard_normal(2)
    assert explained((6 * reference).astype("f4"), reference, "float32") == Scaled(6.0)


def test_any_difference_of_one_entry_is_some_multiple_of_a_parameter():
    def scene(n):
        b, due = RNG.standard_normal(n), RNG.standard_normal(n)
        return Scene("db", due + 0.03 * b, due, tensors={"b": b}, parameters=frozenset("b"))

    assert diagnose(scene(1)) == (Unknown(),)
    (cause,) = diagnose(scene(2))
    assert (cause.code, fitted_of(cause)) == ("regularisation", pytest.approx(0.03))


def test_a_factor_with_one_entry_off_is_unknown():
    wrong = 6 * R
    wrong[1, 2] *= 1 + 1e-4
    assert of(wrong) == (Unknown(),)


def test_a_hypothesis_that_explains_only_a_part_is_not_accepted():
    """Twice the reference explains most of it, and the rest is more than rounding."""
    assert of(2 * R + 1e-9 * RNG.standard_normal(R.shape)) == (Unknown(),)


@pytest.mark.parametrize("side", ["by hand", "in torch"])
def test_what_is_not_finite_is_unknown_however_few_entries_differ(side):
    infinite = np.where(np.eye(4) > 0, np.inf, R)
    recorded, reference = (infinite, R) if side == "by hand" else (R, infinite)
    assert of(recorded, reference) == (Unknown(),)
    assert explained(recorded, reference) == Unknown()


def test_the_first_cause_is_the_first_of_all_where_none_is_fitted():
    wrong = R.copy()
    wrong[1, 2] += 1.0
    for recorded in (6 * R, R.T, R[::-1], 0 * R, wrong):
        scene = Scene("T", recorded, R, numbers=SIZES)
        assert first_cause(scene) == diagnose(scene)[0]


def test_the_two_tensors_alone_show_a_factor_and_an_arrangement():
    assert explained(R.T.astype(np.float32), R, "float32") == Transposed()
    assert factor_of(explained(1.7 * R, R)) == pytest.approx(1.7)


def test_a_hypothesis_that_cannot_be_evaluated_explains_nothing():
    """The reference refuses every operand that is exchanged; the tensor is 6 times too large all the same."""

    def replay(replaced):
        raise ValueError("out of the range of the logarithm")

    scene = Scene("A", 1.7 * R, R, tensors={"Z": R, "A": 1.7 * R}, reads={"A": frozenset("Z")}, replay=replay)
    assert [factor_of(cause) for cause in diagnose(scene)] == [pytest.approx(1.7)]


def test_a_cause_without_a_fitted_number_goes_before_one_with():
    """What is kept from the step before may be a multiple of W as well; that says less."""
    before = 0.3 * W
    scene = Scene("dW", R[:3] + before, R[:3], tensors={"W": W}, parameters=frozenset("W"), previous={"dW": before})
    assert diagnose(scene) == (Accumulated("dW"),)
    assert first_cause(scene).code == "regularisation"  # it is asked first


def test_the_exact_cause_of_one_code_goes_before_the_fitted():
    """W read after an update at the rate of this step, and after one at any rate: both are `updated-weights`."""
    dZ, X, dW = RNG.standard_normal((3, 6)), RNG.standard_normal((4, 6)), RNG.standard_normal((3, 4))
    after = W - 0.1 * dW
    scene = Scene(
        "dX",
        after.T @ dZ,
        W.T @ dZ,
        tensors={"W": W, "X": X, "dZ": dZ, "dW": dW, "W_next": after},
        parameters=frozenset("W"),
        reads={"Z": frozenset("WX")},
        replay=lambda replaced: {"dX": replaced.get("W", W).T @ dZ},
        updated={"W": after},
    )
    assert diagnose(scene) == (UpdatedOperand("W"),)


def test_of_large_tensors_no_graph_is_recorded():
    def graph(_):
        pytest.fail("it keeps every step")

    large = np.zeros(MOST_RECORDED + 1)
    scene = Scene("A", R, R + W.T @ W, tensors={"A": R, "X": large}, graph=graph)
    assert searched(scene, MOST_TIER, Budget()) == ()
    with pytest.raises(pytest.fail.Exception):
        searched(replace(scene, tensors={"A": R, "X": large[:9]}), MOST_TIER, Budget())
