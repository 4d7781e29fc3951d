"""Rounding or fault: the bound decides where there is one, else the reference's own rounding and what stays."""

import numpy as np
import pytest

from handgrad.compare.facts.remarks import OutOfRange
from handgrad.compare.verdict import bounds
from handgrad.compare.verdict.bounds import Allowance
from handgrad.compare.verdict.closeness import Local
from handgrad.compare.verdict.rule import judge, judge_by_bound
from tests.compare.verdict.witnesses import Told


def product(seed, shape=(6, 5, 7)):
    """W (m, k), A (k, n), b (m, 1) in float64, of values that float32 can hold: both runs have the same operands."""
    rng = np.random.default_rng(seed)
    m, k, n = shape
    arrays = rng.standard_normal((m, k)), rng.standard_normal((k, n)), rng.standard_normal((m, 1))
    return [array.astype(np.float32).astype(np.float64) for array in arrays]


def judged(wrong, seed=1, shape=(6, 5, 7), operands=None):
    """The verdict on Z = W A + b computed by `wrong` in both precisions."""
    W, A, b = operands or product(seed, shape)
    allowance = bounds.linear(W, A, b)
    runs = {}
    for dtype in ("float64", "float32"):
        runs[dtype] = Local(wrong(*(array.astype(dtype) for array in (W, A, b))), W @ A + b)
    return judge_by_bound(runs, dict.fromkeys(runs, allowance))


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
        outcome = judge_by_bound({"float64": Local(hand, W @ A + b)}, allowances, beside_float32=True)
        assert outcome.verdict == verdict
        assert judge_by_bound({"float64": Local(hand, W @ A + b)}, allowances).verdict == "FAULT"


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
    assert judge_by_bound(runs, dict.fromkeys(runs, bounds.activation(0.0))).verdict == "WEAK"


def test_what_overflows_on_one_side_only_is_not_finite():
    outcome = judged(lambda W, A, b: np.where(np.arange(A.shape[1]) == 2, np.inf, W @ A + b))
    assert (outcome.verdict, outcome.index[1]) == ("NONFINITE", 2)


def test_computing_in_float64_in_both_runs_is_no_fault():
    def inside(W, A, b):
        return W.astype(np.float64) @ A.astype(np.float64) + b

    for seed in range(20):
        assert judged(inside, seed).verdict == "OK"


def test_subnormal_results_are_allowed_their_underflow():
    W, A, b = (array * 1e-23 for array in product(3))
    operands = [array.astype(np.float32).astype(np.float64) for array in (W, A, 0 * b)]
    with np.errstate(under="ignore"):
        assert judged(RIGHT["one by one"], operands=operands).verdict == "OK"


def test_an_exact_operation_allows_nothing_and_nothing_over_nothing_is_nothing():
    X = np.array([[1.0, 0.0]])
    same = judge_by_bound({"float64": Local(X, X)}, {"float64": Allowance(0)})
    assert (same.verdict, same.rho) == ("OK", 0.0)
    other = judge_by_bound({"float64": Local(np.nextafter(X, 2), X)}, {"float64": Allowance(0)})
    assert other.verdict != "OK"


@pytest.mark.parametrize(("relative", "verdict"), [(1e-6, "WEAK"), (1e-2, "FAULT")])
def test_float32_alone_calls_no_fault_below_the_root_of_u(relative, verdict):
    W, A, b = product(1)
    hand = ((W @ A + b) * (1 + relative)).astype(np.float32)
    outcome = judge_by_bound({"float32": Local(hand, W @ A + b)}, {"float32": bounds.linear(W, A, b)})
    assert outcome.verdict == verdict


def test_a_difference_that_overflows_between_finite_sides_is_judged():
    huge = np.full((2, 2), 1.5e308)
    runs = {"float64": Local(-huge, huge)}
    outcome = judge_by_bound(runs, {"float64": bounds.activation(8.0)})
    assert (outcome.verdict, outcome.basis) == ("FAULT", "bound")


def test_what_overflows_on_both_sides_is_not_finite_at_that_entry():
    recorded = np.array([1.0, 2.0, np.inf])
    outcome = judge_by_bound({"float64": Local(recorded, recorded)}, {"float64": bounds.activation(8.0)})
    assert (outcome.verdict, outcome.index, outcome.basis) == ("NONFINITE", (2,), "bound")


def test_beside_a_float32_operand_one_factor_is_no_fault_as_far_as_float32_rounds():
    W, A, b = product(1)
    runs = {"float64": Local((W @ A + b) * (1 + 1e-9), W @ A + b)}
    allowances = {"float64": bounds.linear(W, A, b)}
    assert judge_by_bound(runs, allowances, beside_float32=True).verdict == "WEAK"
    assert judge_by_bound(runs, allowances).verdict == "FAULT"


@pytest.mark.parametrize(("entries", "verdict"), [(3, "WEAK"), (4, "FAULT")])
def test_one_factor_of_a_few_entries_is_chance(entries, verdict):
    A = np.array([0.5, 0.25, 0.75, 0.3])[:entries]
    runs = {d: Local((A * (1 + 1e-12)).astype(d), A) for d in ("float64", "float32")}
    allowance = Allowance(1, terms=((4.0, A),))
    assert judge_by_bound(runs, dict.fromkeys(runs, allowance)).verdict == verdict


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
        assert judge_by_bound(runs, dict.fromkeys(runs, allowance)).verdict == verdict


def test_a_fault_is_shown_where_it_is_largest_among_what_did_not_shrink():
    """Not where it is most times what rounding explains: there the entry is next to nothing."""
    W, A, b = np.diag([1e6, 1.0]), np.eye(2), np.zeros((2, 1))
    off = np.array([[1.0, 0.0], [0.0, 1e-3]])
    outcome = judge_by_bound({"float64": Local(W @ A + off, W @ A)}, {"float64": bounds.linear(W, A, b)})
    assert (outcome.verdict, outcome.index) == ("FAULT", (0, 0))
    assert outcome.rho > 1e-3 / (3 * 2 * 2.0**-53 * 1.01)


# --- where nothing is known of the operation: one precision after the other


G = np.random.default_rng(2).standard_normal((4, 5))
SIGNS = np.random.default_rng(3).choice([-1.0, 1.0], (4, 5))


def told(off=0.0, dtype="float64", **more):
    return Told({"A": (G + off).astype(dtype)}, {"A": G}, dtype, **more)


def elsewhere(size):
    rng = np.random.default_rng(4)
    return {0: [({"A": G + size * rng.standard_normal(G.shape)}, {"A": G + 1e-9 * i}) for i in range(3)]}


def test_what_the_screen_passes_asks_nothing():
    fine, coarse = told(8 * 2.0**-53), told(dtype="float32")
    outcome = judge("A", {"float64": fine, "float32": coarse})
    assert (outcome.verdict, outcome.basis) == ("OK", "screen")
    assert fine.asked == coarse.asked == []


def test_what_rounding_explains_asks_for_noise_alone():
    fine = told(1e-14 * SIGNS, roundings=1e4)
    outcome = judge("A", {"float64": fine})
    assert (outcome.verdict, outcome.basis) == ("OK", "noise")
    assert fine.asked == ["variance"]


def test_what_stays_is_a_fault_in_whichever_precision():
    assert judge("A", {"float64": told(1e-9 * SIGNS)}).verdict == "FAULT"
    alone = judge("A", {"float64": told(), "float32": told(1e-3 * SIGNS, "float32")})
    assert (alone.verdict, alone.dtype) == ("FAULT", "float32")
    assert judge("A", {"float32": told(1e-3 * SIGNS, "float32")}).verdict == "FAULT"


def test_float32_does_not_excuse_float64():
    """However wrong the derivation is in float32, what is allowed in float64 is the reference's rounding."""
    both = {"float64": told(1e-6 * SIGNS), "float32": told(1.0, "float32")}
    outcome = judge("A", both)
    assert (outcome.verdict, outcome.dtype) == ("FAULT", "float64")
    assert both["float32"].asked == []  # it is told already


def test_what_is_drawn_anew_in_float32_is_weak_there():
    fine, coarse = told(), told(0.1 * SIGNS, "float32", elsewhere=elsewhere(0.1))
    outcome = judge("A", {"float64": fine, "float32": coarse})
    assert (outcome.verdict, outcome.dtype) == ("WEAK", "float32")


def test_nan_in_float32_is_told_unless_torch_has_it_too():
    G32 = np.where(np.arange(5) == 3, np.nan, G).astype("f4")
    for finite, verdict in ((True, "NONFINITE"), (False, "OK")):
        coarse = Told({"A": G32}, {"A": G}, "float32", finite=finite)
        outcome = judge("A", {"float64": told(), "float32": coarse})
        assert outcome.verdict == verdict
        assert finite or outcome.why == OutOfRange()
    assert judge("A", {"float64": Told({"A": G * np.nan}, {"A": G})}).verdict == "NONFINITE"


def test_where_rounding_moves_the_reference_it_is_untold_unless_it_is_nothing():
    blind = {"roundings": 2.0**100, "elsewhere": elsewhere(1.0)}
    assert judge("A", {"float64": told(0.5 * SIGNS, **blind)}).verdict == "UNTOLD"
    assert judge("A", {"float64": told(0.5 * SIGNS, **blind, nothing=("A",))}).verdict == "OK"


def test_a_scalar_is_judged_as_well():
    J = Told({"J": np.array(1.5)}, {"J": np.array(1.0)})
    assert judge("J", {"float64": J}).verdict == "FAULT"
    assert judge("J", {"float64": J}).index == ()
