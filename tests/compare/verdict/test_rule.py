"""Rounding or fault: the bound decides where there is one, else two precisions and the second opinions."""

import numpy as np
import pytest

from handgrad.compare.verdict import bounds
from handgrad.compare.verdict.bounds import Allowance
from handgrad.compare.verdict.closeness import Local
from handgrad.compare.verdict.rule import Ladder, judge


def product(seed, shape=(6, 5, 7)):
    """W (m, k), A (k, n), b (m, 1) in float64, of values that float32 can hold: both runs have the same operands."""
    rng = np.random.default_rng(seed)
    m, k, n = shape
    arrays = rng.standard_normal((m, k)), rng.standard_normal((k, n)), rng.standard_normal((m, 1))
    return [array.astype(np.float32).astype(np.float64) for array in arrays]


def judged(wrong, seed=1, shape=(6, 5, 7), operands=None, known=True):
    """The verdict on Z = W A + b computed by `wrong` in both precisions."""
    W, A, b = operands or product(seed, shape)
    allowance = bounds.linear(W, A, b)
    runs = {}
    for dtype in ("float64", "float32"):
        runs[dtype] = Local(wrong(*(array.astype(dtype) for array in (W, A, b))), W @ A + b)
    allowances = dict.fromkeys(runs, allowance) if known else None
    return judge(runs, allowances, Ladder(*[lambda: 0.0] * 6))


RIGHT = {
    "as it is": lambda W, A, b: W @ A + b,
    "einsum": lambda W, A, b: np.einsum("ij,jk->ik", W, A) + b,
    "one by one": lambda W, A, b: sum((W[:, k : k + 1] * A[k] for k in range(len(A))), b),
    "backwards": lambda W, A, b: b + sum(W[:, k : k + 1] * A[k] for k in reversed(range(len(A)))),
}


@pytest.mark.parametrize("shape", [(6, 5, 7), (1, 1, 1), (3, 300, 2), (90, 3, 80)])
@pytest.mark.parametrize("right", RIGHT.values(), ids=RIGHT)
def test_differently_rounded_products_are_ok(right, shape):
    for seed in range(5):
        outcome = judged(right, seed, shape)
        assert outcome.verdict == "OK"
        assert outcome.rho < 1


WRONG = {
    "factor": lambda W, A, b: (W @ A + b) * (1 + 1e-6),
    "small factor": lambda W, A, b: (W @ A + b) * W.dtype.type(1 + 1e-9),
    "sign": lambda W, A, b: W @ A - b,
    "one entry": lambda W, A, b: (W @ A + b) * (1 + 1e-9 * (np.arange(A.shape[1]) == 3)),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_what_rounding_cannot_explain_and_more_digits_do_not_shrink_is_a_fault(wrong):
    outcome = judged(wrong)
    assert outcome.verdict == "FAULT"
    assert outcome.rho > 1
    assert outcome.basis == "bound"


def test_a_part_in_a_million_million_is_still_found():
    """As a FAULT where all entries share it; in single entries it may be lost digits."""
    assert judged(lambda W, A, b: (W @ A + b) * W.dtype.type(1 + 1e-12)).verdict == "FAULT"
    single = np.arange(7) == 3
    assert judged(lambda W, A, b: (W @ A + b) * (1 + 1e-12 * single).astype(W.dtype)).verdict == "WEAK"


def test_a_result_beside_a_float32_operand_is_weak_as_far_as_float32_rounds():
    W, A, b = product(1)
    allowances = {"float64": bounds.linear(W, A, b)}
    for off, verdict in ((1e-7, "WEAK"), (1e-4, "FAULT")):
        hand = (W @ A + b) * (1 + off * np.random.default_rng(0).choice([-1.0, 1.0], (6, 7)))
        outcome = judge({"float64": Local(hand, W @ A + b)}, allowances, beside_float32=True)
        assert outcome.verdict == verdict
        assert judge({"float64": Local(hand, W @ A + b)}, allowances).verdict == "FAULT"


def test_the_worst_entry_of_a_fault_is_shown():
    assert judged(WRONG["one entry"]).index[1] == 3


def test_an_arithmetic_that_loses_digits_is_weak_not_fault():
    """(W A + 1000 b) - 999 b is the same formula, with a cancellation that rounding of the formula does not explain."""
    outcome = judged(lambda W, A, b: (W @ A + 1000 * b) - 999 * b)
    assert outcome.verdict == "WEAK"
    assert outcome.rho > 1


def test_a_record_that_was_cast_to_float32_is_weak_not_fault():
    assert judged(lambda W, A, b: (W @ A + b).astype(np.float32).astype(W.dtype)).verdict == "WEAK"


def test_a_copy_that_was_cast_to_float32_is_weak_not_fault():
    Z = np.random.default_rng(3).standard_normal((4, 5))
    runs = {"float64": Local(Z.astype(np.float32).astype(float), Z)}
    runs["float32"] = Local(Z.astype(np.float32), Z.astype(np.float32).astype(float))
    assert judge(runs, dict.fromkeys(runs, bounds.activation(0.0))).verdict == "WEAK"


def test_what_overflows_on_one_side_only_is_not_finite():
    outcome = judged(lambda W, A, b: np.where(np.arange(A.shape[1]) == 2, np.inf, W @ A + b))
    assert (outcome.verdict, outcome.index[1]) == ("NONFINITE", 2)


def test_computing_in_float64_in_both_runs_is_no_fault():
    def inside(W, A, b):
        return W.astype(np.float64) @ A.astype(np.float64) + b

    for seed in range(20):
        assert judged(inside, seed).verdict == "OK"
        assert judged(inside, seed, known=False).verdict == "OK"


def test_subnormal_results_are_allowed_their_underflow():
    W, A, b = (array * 1e-23 for array in product(3))
    operands = [array.astype(np.float32).astype(np.float64) for array in (W, A, 0 * b)]
    with np.errstate(under="ignore"):
        assert judged(RIGHT["one by one"], operands=operands).verdict == "OK"


def test_an_exact_operation_allows_nothing_and_nothing_over_nothing_is_nothing():
    X = np.array([[1.0, 0.0]])
    same = judge({"float64": Local(X, X)}, {"float64": Allowance(0)})
    assert (same.verdict, same.rho) == ("OK", 0.0)
    other = judge({"float64": Local(np.nextafter(X, 2), X)}, {"float64": Allowance(0)})
    assert other.verdict != "OK"


LADDER = {  # error, spread, jitter, tremor, swing
    "rounding": (1e-9, 1.0, 1.0, 1.0, 1.0, "OK"),  # the float64 difference is far below that of float32
    "cancelling, computed in float64": (1e-6, 1.0, 1.0, 1.0, 0.0, "OK"),  # the spread of the reference covers it
    "a fault": (1e-3, 0.0, 1e-6, 1.0, 0.0, "FAULT"),  # no spread, and the difference stays when the parameters move
    "noise": (1e-3, 0.0, 0.9, 0.9, 1e-9, "WEAK"),  # the difference changes altogether
    "a large fault that float32 allows for": (0.5, 1e20, 0.9, 1e-6, 1e-9, "FAULT"),  # it is smooth nevertheless
    "a fault where float32 is noise": (1e-3, 0.0, 0.9, 1e-6, 1e-6, "FAULT"),  # it moves as the reference does
    "a cast where float32 is noise": (1e-3, 0.0, 0.9, 1e-6, 1e-9, "WEAK"),  # it stays, and the reference moves
    "nothing is known": (1e-3, 0.0, np.nan, np.nan, np.nan, "FAULT"),  # the derivation cannot be run again
    "allowed, and nothing is known": (0.5, 1e20, np.nan, np.nan, np.nan, "OK"),
}


@pytest.mark.parametrize(("error", "spread", "jitter", "tremor", "swing", "verdict"), LADDER.values(), ids=LADDER)
def test_without_an_allowance_the_stages_of_the_ladder_decide(error, spread, jitter, tremor, swing, verdict):
    rng = np.random.default_rng(2)
    reference = rng.standard_normal((4, 5))
    runs = {
        "float64": Local(reference + error * rng.standard_normal((4, 5)), reference),
        "float32": Local((reference * (1 + 1e-3 * (verdict == "OK"))).astype(np.float32), reference),
    }
    ladder = Ladder(lambda: spread, lambda: 0.0, lambda: jitter, lambda: tremor, lambda: swing, lambda: False)
    outcome = judge(runs, None, ladder)
    assert (outcome.verdict, outcome.basis, outcome.is_unstable) == (verdict, "ladder", False)
    assert (outcome.rho > 1) == (verdict != "OK")


@pytest.mark.parametrize(
    ("recorded", "verdict"), [(1 + 2.0**-8, "OK"), (1 + 2.0**-6, "FAULT"), (-1.0, "FAULT"), (0.0, "OK")]
)
def test_a_saturated_gradient_may_have_no_digits_but_neither_another_sign_nor_size(recorded, verdict):
    """What it is computed from is so large that the whole of it is less than one rounding."""
    reference = np.full((2, 2), 2.0**5)
    runs = {dtype: Local(np.full((2, 2), 2.0**5 * recorded, dtype), reference) for dtype in ("float64", "float32")}
    ladder = Ladder(lambda: 0.0, lambda: 1e20, lambda: 0.0, *[lambda: np.nan] * 2, lambda: False)
    outcome = judge(runs, None, ladder)
    assert outcome.verdict == verdict


@pytest.mark.parametrize("spread", [0.0, 1e20])
def test_what_rounding_changes_altogether_in_torch_as_well_is_unstable(spread):
    reference = np.full((2, 2), 2.0**-9)
    runs = {dtype: Local((reference / 2).astype(dtype), reference) for dtype in ("float64", "float32")}
    for swing, is_nothing in ((0.9, False), (1e-9, False), (0.9, True)):
        ladder = Ladder(lambda: spread, lambda: 0.0, *[lambda: 0.9] * 2, lambda s=swing: s, lambda n=is_nothing: n)
        outcome = judge(runs, None, ladder)
        unstable = swing == 0.9 and not is_nothing
        assert (outcome.verdict, outcome.is_unstable) == ("WEAK" if unstable or not spread else "OK", unstable)


def test_a_fault_that_float32_allows_for_is_so_many_times_what_changes_of_it():
    reference = np.full((2, 2), 2.0**-9)
    runs = {dtype: Local((reference / 2).astype(dtype), reference) for dtype in ("float64", "float32")}
    for is_nothing, verdict in ((False, "FAULT"), (True, "OK")):
        ladder = Ladder(lambda: 1e20, lambda: 0.0, *[lambda: 1e-6] * 3, lambda n=is_nothing: n)
        outcome = judge(runs, None, ladder)
        assert (outcome.verdict, outcome.is_told_by_moves) == (verdict, not is_nothing)
        assert is_nothing or outcome.rho == pytest.approx(1e6)


def test_the_later_stages_are_not_run_where_the_first_does_not_flag():
    def never():
        raise AssertionError

    reference = np.ones((2, 2))
    runs = {"float64": Local(reference, reference), "float32": Local(reference.astype(np.float32), reference)}
    assert judge(runs, None, Ladder(*[never] * 6)).verdict == "OK"


@pytest.mark.parametrize(("relative", "verdict"), [(1e-6, "WEAK"), (1e-2, "FAULT")])
def test_float32_alone_calls_no_fault_below_the_root_of_u(relative, verdict):
    W, A, b = product(1)
    hand = ((W @ A + b) * (1 + relative)).astype(np.float32)
    outcome = judge({"float32": Local(hand, W @ A + b)}, {"float32": bounds.linear(W, A, b)})
    assert outcome.verdict == verdict


def never():
    raise AssertionError("asked for evidence that nothing needs")


def ladder(**known):
    """Further evidence of which only some may be asked for."""
    names = ("spread", "cotangent", "jitter", "tremor", "swing", "is_nothing")
    return Ladder(*((lambda v=known[name]: v) if name in known else never for name in names))


@pytest.mark.parametrize(("relative", "verdict"), [(2.0**-40, "OK"), (2.0**-30, "WEAK"), (2.0**-20, "FAULT")])
def test_in_float64_alone_without_further_evidence_a_fault_is_beyond_the_root_of_u(relative, verdict):
    reference = np.ones((2, 2))
    assert judge({"float64": Local(reference * (1 + relative), reference)}, None).verdict == verdict


@pytest.mark.parametrize(
    ("relative", "spread", "verdict"), [(1e-4, 0.0, "OK"), (1e-3, 0.0, "FAULT"), (1e-3, 1e-3, "OK")]
)
def test_float32_alone_without_an_allowance_is_off_by_the_root_of_u_or_what_moves(relative, spread, verdict):
    reference = np.ones((2, 2))
    recorded = (reference * (1 + relative)).astype(np.float32)
    outcome = judge({"float32": Local(recorded, reference)}, None, ladder(spread=spread))
    assert (outcome.verdict, outcome.basis) == (verdict, "ladder")


def test_a_cast_record_needs_no_second_run_of_the_derivation():
    reference = np.random.default_rng(4).standard_normal((4, 5))
    runs = {"float64": Local(reference.astype(np.float32).astype(float), reference)}
    assert judge(runs, None, ladder(spread=0.0, cotangent=0.0)).verdict == "WEAK"


def test_the_opinion_that_answers_first_decides_and_the_others_are_not_asked():
    reference = np.ones((2, 2))
    runs = {"float64": Local(reference * 1.001, reference)}
    assert judge(runs, None, ladder(spread=0.0, cotangent=0.0, jitter=0.0)).verdict == "FAULT"
    nothing = ladder(spread=0.0, cotangent=0.0, jitter=1.0, is_nothing=True)
    assert judge(runs, None, nothing).verdict == "WEAK"


def test_without_an_allowance_too_what_is_finite_on_one_side_only_is_not_finite():
    reference = np.ones((2, 2))
    recorded = np.array([[1.0, 1.0], [np.nan, 1.0]])
    outcome = judge({"float64": Local(recorded, reference)}, None, ladder())
    assert (outcome.verdict, outcome.index, outcome.rho, outcome.basis) == ("NONFINITE", (1, 0), np.inf, "ladder")


def test_a_difference_that_overflows_between_finite_sides_is_judged():
    huge = np.full((2, 2), 1.5e308)
    runs = {"float64": Local(-huge, huge)}
    outcome = judge(runs, {"float64": bounds.activation(8.0)})
    assert (outcome.verdict, outcome.basis) == ("FAULT", "bound")


def test_what_overflows_on_both_sides_is_not_finite_at_that_entry():
    recorded = np.array([1.0, 2.0, np.inf])
    outcome = judge({"float64": Local(recorded, recorded)}, {"float64": bounds.activation(8.0)})
    assert (outcome.verdict, outcome.index, outcome.basis) == ("NONFINITE", (2,), "bound")


def test_beside_a_float32_operand_one_factor_is_no_fault_as_far_as_float32_rounds():
    W, A, b = product(1)
    runs = {"float64": Local((W @ A + b) * (1 + 1e-9), W @ A + b)}
    allowances = {"float64": bounds.linear(W, A, b)}
    assert judge(runs, allowances, beside_float32=True).verdict == "WEAK"
    assert judge(runs, allowances).verdict == "FAULT"


@pytest.mark.parametrize(("entries", "verdict"), [(3, "WEAK"), (4, "FAULT")])
def test_one_factor_of_a_few_entries_is_chance(entries, verdict):
    A = np.array([0.5, 0.25, 0.75, 0.3])[:entries]
    runs = {d: Local((A * (1 + 1e-12)).astype(d), A) for d in ("float64", "float32")}
    allowance = Allowance(1, terms=((4.0, A),))
    assert judge(runs, dict.fromkeys(runs, allowance)).verdict == verdict


def test_a_share_of_the_penalty_alone_is_a_factor_too():
    rng = np.random.default_rng(6)
    dZ, A, W = rng.standard_normal((3, 5)), rng.standard_normal((4, 5)), rng.standard_normal((3, 4))
    dW = dZ @ A.T + 0.3 * W
    allowance = bounds.weight_gradient(dZ, A, W, 0.3)
    coarse = Local(dW.astype("f4"), dW)
    for off, verdict in (
        (1e-12 * W, "FAULT"),
        (1e-12 * dZ @ A.T, "FAULT"),
        (1e-12 * rng.choice([-1, 1], W.shape), "WEAK"),
    ):
        runs = {"float64": Local(dW + off, dW), "float32": coarse}
        assert judge(runs, dict.fromkeys(runs, allowance)).verdict == verdict


def test_a_fault_is_shown_where_it_is_largest_among_what_did_not_shrink():
    """Not where it is most times what rounding explains: there the entry is next to nothing."""
    W, A, b = np.diag([1e6, 1.0]), np.eye(2), np.zeros((2, 1))
    off = np.array([[1.0, 0.0], [0.0, 1e-3]])
    outcome = judge({"float64": Local(W @ A + off, W @ A)}, {"float64": bounds.linear(W, A, b)})
    assert (outcome.verdict, outcome.index) == ("FAULT", (0, 0))
    assert outcome.rho > 1e-3 / (3 * 2 * 2.0**-53 * 1.01)


def test_rho_is_the_difference_in_units_of_what_is_allowed():
    reference = np.array([1.0, -8.0])
    coarse = (reference * (1 + 2.0**-20)).astype("f4")
    runs = {"float64": Local(reference * (1 + 2.0**-30), reference), "float32": Local(coarse, reference)}
    allowed = 2.0**-14.5 * (8 * 2.0**-20 + 8 * 2.0**-24)
    assert judge(runs, None).rho == pytest.approx(8 * 2.0**-30 / allowed)
    alone = judge({"float32": Local(coarse, reference)}, None, ladder(spread=1e-3))
    assert alone.rho == pytest.approx(8 * 2.0**-20 / 8e-3)
    whole = judge({"float32": Local(np.array([1, 2]), np.array([1.0, 2.0]))}, None, ladder())
    assert whole.verdict == "OK"  # whole numbers have no rounding to move them by


@pytest.mark.parametrize(("error", "asked"), [(2.0**-22, False), (2.0**-18, True)])
def test_a_difference_that_float32_allows_for_is_looked_at_again_where_it_is_suspicious(error, asked):
    reference = np.full((2, 2), 2.0**7)
    noise = np.array([[1.0, -1.0], [1.0, 1.0]])
    runs = {
        "float64": Local(reference * (1 + error * noise), reference),
        "float32": Local((reference * (1 + 0.25 * noise)).astype("f4"), reference),
    }
    evidence = ladder(is_nothing=False, tremor=0.0, swing=1.0) if asked else ladder()
    assert judge(runs, None, evidence).verdict == ("FAULT" if asked else "OK")
