"""The verdict on an updated tensor, by the spread of optimisers that get moved tensors."""

import numpy as np
import pytest

from handgrad.compare.facts.causes import Unknown
from handgrad.compare.facts.failures import NotFinite, NothingMoves
from handgrad.compare.names import Key
from handgrad.compare.verdict.updates import UpdateRun, judge_update, nothing_moved, unmoved

KEY = Key(2, "update", "W_next")
BEFORE, TORCH = np.array([[1.0, -2.0], [0.5, 4.0]]), np.array([[0.9, -2.1], [0.6, 4.2]])


def run(by_hand, dtype="float64", moved=0.0, before=BEFORE, torch=TORCH):
    """One run; `moved` is by how much the moved optimisers' results are off."""
    return UpdateRun(before.astype(dtype), by_hand.astype(dtype), torch, [torch + moved, torch - moved / 2])


def judged(by_hand, printed="float64", key=KEY, **settings):
    runs = {"float64": run(by_hand, **settings), "float32": run(by_hand, "float32", **settings)}
    return judge_update(key, runs if printed == "float64" else {printed: runs[printed]}, printed)


def test_rounding_is_ok_and_the_row_shows_where_the_printed_sides_differ_most():
    by_hand = TORCH * (1 + np.array([[0, 1e-16], [0, 3e-16]]))
    row, finding, differs, *_ = judged(by_hand)
    assert (row.verdict, finding, differs, row.rho_basis) == ("OK", None, False, "ladder")
    assert row.rho < 1
    assert (row.index, row.by_hand, row.torch) == ((1, 1), by_hand[1, 1], 4.2)
    assert row.max_abs_diff == by_hand[1, 1] - 4.2


@pytest.mark.parametrize("printed", ["float64", "float32"])
def test_an_entry_that_is_off_is_a_fault_at_that_entry(printed):
    by_hand = TORCH + np.array([[0, 0], [1e-2, 0]])
    judgement = judged(by_hand, printed)
    finding = judgement.finding
    assert (finding.where, finding.verdict, finding.cause) == (KEY, "FAULT", Unknown())
    assert finding.worst.index == (1, 0)
    assert (finding.worst.torch, finding.worst.before) == (0.6, 0.5)
    assert finding.worst.by_hand == pytest.approx(0.61)
    assert judgement.differs
    assert judgement.excerpt.name == "W_next"
    np.testing.assert_allclose(judgement.local.recorded, by_hand - BEFORE, rtol=1e-5)
    np.testing.assert_allclose(judgement.local.reference, TORCH - BEFORE)


def test_of_a_velocity_there_is_no_value_before():
    finding = judged(TORCH + 1, key=Key(1, "update", "vW")).finding
    assert finding.worst.before is None


@pytest.mark.parametrize(("moved", "verdict"), [(0.0, "FAULT"), (1e-3, "FAULT"), (1.0, "OK")])
def test_what_the_moved_optimisers_change_is_rounding_in_float64_too(moved, verdict):
    """2^-14.5 of the spread: it is measured at one rounding of float32, 2^29 of float64, and stays a fault if not."""
    by_hand = TORCH + 1e-5
    runs = {"float64": run(by_hand, moved=moved)}
    assert judge_update(KEY, runs, "float64").row.verdict == verdict


@pytest.mark.parametrize(("off", "verdict"), [(1e-8, "OK"), (1e-3, "FAULT")])
def test_in_float32_alone_the_change_may_be_off_by_the_root_of_u(off, verdict):
    assert judged(TORCH + off, "float32").row.verdict == verdict


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("printed", ["float64", "float32"])
def test_rho_is_the_difference_in_units_of_its_formula(seed, printed):
    rng = np.random.default_rng(seed)
    before, torch = (rng.standard_normal(3) * 10.0 ** rng.integers(-6, 6, 3) for _ in range(2))
    moved = 10.0 ** -rng.integers(3, 9) * torch
    by_hand = torch + rng.standard_normal(3) * 1e-9
    runs = {d: run(by_hand, d, moved=moved, before=before, torch=torch) for d in ("float64", "float32")}
    u64, u32 = 2.0**-53, 2.0**-24
    scale, spread = np.abs(before) + np.abs(torch), np.abs(moved)
    if printed == "float64":
        difference = np.abs(by_hand - torch)
        in_float32 = np.abs(by_hand.astype("f4").astype(float) - torch)
        floor = np.maximum(in_float32, spread) + u32 * scale
        allowed = np.maximum(2.0**-14.5 * floor, 8 * u64 * scale)
    else:
        before32 = before.astype("f4").astype(float)
        difference = np.abs(by_hand.astype("f4").astype(float) - torch)
        change = np.maximum(8 * spread, np.sqrt(u32) * np.abs(torch - before32))
        allowed = change + 8 * u32 * (np.abs(before32) + np.abs(torch))
    chosen = runs if printed == "float64" else {printed: runs[printed]}
    assert judge_update(KEY, chosen, printed).row.rho == pytest.approx((difference / allowed).max(), rel=1e-6)


def test_each_entry_is_judged_by_its_own_size():
    before, torch = np.array([1e6, 1e-6]), np.array([1e6 + 1, 2e-6])
    by_hand = torch + np.array([0, 1e-12])
    judgement = judged(by_hand + np.array([1e-10, 0]), before=before, torch=torch)  # more, and no more than rounding
    assert judgement.finding.worst.index == judgement.row.index == (1,)
    assert judgement.row.max_abs_diff > judgement.row.by_hand - judgement.row.torch > 0
    assert judged(torch + np.array([1e-10, 0]), before=before, torch=torch).finding is None


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_so_at_its_entry(value):
    by_hand = TORCH.copy()
    by_hand[0, 1] = value
    finding = judged(by_hand).finding
    assert (finding.verdict, finding.worst.index) == ("NONFINITE", (0, 1))
    assert isinstance(finding.cause, NotFinite)
    assert finding.cause.torch == -2.1


def test_a_scalar_and_an_update_that_changes_nothing():
    scalar = run(np.array(1.0), before=np.array(1.0), torch=np.array(1.0))
    row = judge_update(KEY, {"float64": scalar}, "float64").row
    assert (row.verdict, row.rho, row.index, row.shape) == ("OK", 0.0, (), ())


def test_the_parameters_that_no_step_changes():
    a, b = np.ones(2), np.zeros(2)
    assert unmoved([({"W": a, "b": a}, {"W": a, "b": b}), ({"W": a, "b": b}, {"W": a, "b": b})]) == ["W"]
    assert unmoved([({"W": a}, {})]) == []
    assert unmoved([]) == []


def test_where_nothing_moves_the_first_parameter_says_so():
    finding = nothing_moved("W", "use another rate")
    assert (finding.where, finding.verdict) == (Key(1, "update", "W_next"), "FAULT")
    assert finding.cause == NothingMoves("use another rate")
