"""Rounding or fault: the bound decides where there is one, else the reference's own rounding and what stays."""

import numpy as np
import pytest

from handgrad.compare.facts.remarks import OutOfRange
from handgrad.compare.verdict import bounds
from handgrad.compare.verdict.bounds import Allowance
from handgrad.compare.verdict.closeness import Local
from handgrad.compare.verdict.rule import judge, unexplained
from tests.compare.verdict.witnesses import Told


def product(seed, shape=(6, 5, 7)):
    """W (m, k), A (k, n), b (m, 1) in float64, of values that float32 can hold: both runs have the same operands."""
    rng = np.random.default_rng(seed)
    m, k, n = shape
    arrays = rng.standard_normal((m, k)), rng.standard_normal((k, n)), rng.standard_normal((m, 1))
    return [array.astype(np.float32).astype(np.float64) for array in arrays]


def judged(wrong, seed=1, shape=(6, 5, 7), operands=None, allowance=bounds.linear):
    """The verdict on Z = W A + b computed by `wrong` in both precisions, and where its operands have moved."""
    W, A, b = operands or product(seed, shape)
    rng = np.random.default_rng(seed)
    steps = [[1 + 2.0**-20 * rng.uniform(-1, 1, each.shape) for each in (W, A, b)] for _ in range(3)]

    def local(dtype, by):
        W32, A32, b32 = ((each * step).astype(dtype) for each, step in zip((W, A, b), by, strict=True))
        return Local(wrong(W32, A32, b32), W32.astype(float) @ A32.astype(float) + b32)

    told = {}
    for dtype in ("float64", "float32"):
        here, *there = (local(dtype, by) for by in ([1.0, 1.0, 1.0], *steps))
        elsewhere = {0: [({"Z": each.recorded}, {"Z": each.reference}) for each in there]}
        known = {"Z": allowance(W, A, b)}
        told[dtype] = Told({"Z": here.recorded}, {"Z": here.reference}, dtype, allowances=known, elsewhere=elsewhere)
    return judge("Z", told)


def by_bound(local, allowance, dtype="float64", **more):
    """The verdict on a tensor in one precision whose operation has an allowance."""
    told = Told({"A": local.recorded}, {"A": local.reference}, dtype, allowances={"A": allowance}, **more)
    return judge("A", {dtype: told})


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
def test_what_rounding_cannot_explain_and_stays_is_a_fault(wrong):
    outcome = judged(wrong)
    assert (outcome.verdict, outcome.basis, outcome.dtype) == ("FAULT", "bound", "float64")
    assert outcome.rho > 1


def test_a_part_in_a_million_million_is_still_found_in_all_entries_or_one():
    assert judged(lambda W, A, b: (W @ A + b) * W.dtype.type(1 + 1e-12)).verdict == "FAULT"
    single = np.arange(7) == 3
    assert judged(lambda W, A, b: (W @ A + b) * (1 + 1e-12 * single).astype(W.dtype)).verdict == "FAULT"


def test_the_worst_entry_of_a_fault_is_shown():
    assert judged(WRONG["one entry"]).index[1] == 3


@pytest.mark.parametrize(("times", "verdict"), [(1e3, "OK"), (1e9, "WEAK")])
def test_an_arithmetic_that_loses_digits_is_no_fault(times, verdict):
    """(W A + t b) - (t - 1) b is the same formula, with a cancellation that its rounding does not explain."""
    outcome = judged(lambda W, A, b: (W @ A + W.dtype.type(times) * b) - W.dtype.type(times - 1) * b)
    assert outcome.verdict == verdict
    assert outcome.rho > 1


def test_a_record_that_was_cast_to_float32_is_weak_not_fault():
    assert judged(lambda W, A, b: (W @ A + b).astype(np.float32).astype(W.dtype)).verdict == "WEAK"


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
    same = by_bound(Local(X, X), Allowance(0))
    assert (same.verdict, same.rho) == ("OK", 0.0)
    assert by_bound(Local(np.nextafter(X, 2), X), Allowance(0)).verdict == "FAULT"


def test_a_difference_that_overflows_between_finite_sides_is_judged():
    huge = np.full((2, 2), 1.5e308)
    outcome = by_bound(Local(-huge, huge), bounds.elementwise(8.0))
    assert (outcome.verdict, outcome.basis) == ("FAULT", "bound")


def test_what_overflows_on_both_sides_is_not_finite_at_that_entry():
    recorded = np.array([1.0, 2.0, np.inf])
    outcome = by_bound(Local(recorded, recorded), bounds.elementwise(8.0))
    assert (outcome.verdict, outcome.index) == ("NONFINITE", (2,))


def test_a_fault_is_shown_where_it_is_largest_among_what_sticks_out():
    """Not where it is most times what rounding explains: there the entry is next to nothing."""
    A = np.array([[1e6, 1.0], [1.0, 1.0]])
    off = np.array([[1.0, 0.0], [0.0, 0.0]]) + 3e-6
    outcome = by_bound(Local(A + off, A), Allowance(1, 4.0 * np.abs(A)))
    assert (outcome.verdict, outcome.index) == ("FAULT", (0, 0))


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
    assert fine.asked == ["spread"]


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


def test_where_float32_is_near_float64_it_is_not_replayed():
    class Dear(Told):
        def beside(self, name):
            raise AssertionError("a replay in float32 is not needed")

    record = np.random.default_rng(8).standard_normal((3, 4))
    near = {"T": record.astype("f4")}
    both = {"float64": Told({"T": record}, {"T": record}), "float32": Dear(near, {}, "float32")}
    assert judge("T", both).verdict == "OK"


def test_beside_float64_what_float32_does_not_hold_is_no_reason_to_say_nothing():
    coarse = told(0.5 * abs(G) * SIGNS, "float32", roundings=2.0**40, elsewhere=elsewhere(0.5))
    assert judge("A", {"float32": coarse}).verdict == "UNTOLD"
    assert judge("A", {"float64": told(), "float32": coarse}).verdict == "OK"


def test_float32_is_judged_where_float64_is_weak():
    fine, coarse = told(1e-10 * SIGNS, elsewhere=elsewhere(1e-10)), told(10 * SIGNS, "float32")
    assert judge("A", {"float64": fine}).verdict == "WEAK"
    outcome = judge("A", {"float64": fine, "float32": coarse})
    assert (outcome.verdict, outcome.dtype) == ("FAULT", "float32")


@pytest.mark.parametrize(("roundings", "asked"), [(16, []), (200, ["spread"]), (1e6, [])])
def test_what_is_left_unexplained_is_measured_near_what_rounding_explains_alone(roundings, asked):
    both = told(roundings * 2.0**-53 * SIGNS)
    left = unexplained("A", both)
    assert (left <= 1, np.isinf(left)) == (roundings == 16, roundings == 1e6)
    assert both.asked == asked
