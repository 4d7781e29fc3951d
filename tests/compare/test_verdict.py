import numpy as np
import pytest

from compare.trace import Key
from compare.verdict import judge_step

KEY = Key(1, "backward", "dW1")


def judge(hand, reference):
    sides = ({} if side is None else {KEY: side} for side in (hand, reference))
    (judgement,) = judge_step(*sides, {"dW1": "B2"})
    return judgement


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_rounding_passes_and_a_small_fault_does_not(dtype):
    reference = np.random.default_rng(1).standard_normal((6, 5)).astype(dtype)
    unit = np.finfo(dtype).eps
    assert judge(reference * (1 + 4 * unit).astype(dtype), reference).row.verdict == "OK"
    assert judge(reference * dtype_of(dtype, 1.001), reference).row.verdict == "FAULT"


def dtype_of(dtype, value):
    return np.dtype(dtype).type(value)


def test_the_row_holds_the_worst_entry_of_both_sides():
    reference = np.zeros((2, 3))
    hand = reference.copy()
    hand[1, 2] = 0.5
    row = judge(hand, reference).row
    assert (row.index, row.by_hand, row.torch, row.max_abs_diff) == ((1, 2), 0.5, 0.0, 0.5)


@pytest.mark.parametrize(
    ("hand", "reference", "verdict", "cause"),
    [
        (None, np.ones((2, 2)), "MISSING", "missing"),
        (np.ones((2, 2)), None, "MISSING", "unknown-name"),
        (np.ones((2, 1)), np.ones((2,)), "FAULT", "shape"),
        (np.ones((2, 2)), np.ones((2, 2), np.float32), "FAULT", "precision-loss"),
        (np.full((2, 2), np.nan), np.ones((2, 2)), "NONFINITE", "not-finite"),
        (np.full((2, 2), np.nan), np.full((2, 2), np.nan), "NONFINITE", "not-finite"),
        (np.full((2, 2), np.inf), np.full((2, 2), -np.inf), "NONFINITE", "not-finite"),
        (np.full((2, 2), np.inf), np.full((2, 2), np.inf), "OK", ""),
        (np.zeros((2, 2)), -np.zeros((2, 2)), "OK", ""),
        (np.full((2, 2), 1e-300), np.zeros((2, 2)), "FAULT", "unknown"),
    ],
    ids=[
        "missing",
        "extra",
        "shape",
        "dtype",
        "nan",
        "nan on both",
        "infinities",
        "same infinity",
        "-0.0",
        "tiny for 0",
    ],
)
def test_structure_comes_before_values(hand, reference, verdict, cause):
    judgement = judge(hand, reference)
    assert (judgement.row.verdict, judgement.cause) == (verdict, cause)
    assert bool(judgement.explanation) == (verdict != "OK")


def test_a_nan_is_shown_wherever_it_stands():
    hand, reference = np.zeros((2, 3)), np.zeros((2, 3))
    hand[0, 1], hand[1, 2] = np.nan, 7.0
    assert judge(hand, reference).row.index == (0, 1)


def test_a_bias_gradient_that_cancels_is_measured_by_what_it_sums():
    dZ = np.array([[1.0, -1.0 + 1e-9]])
    trace = {Key(1, "backward", "dZ1"): dZ, Key(1, "backward", "db1"): np.array([[1e-9]])}
    other = {**trace, Key(1, "backward", "db1"): np.array([[1e-9 + 4e-16]])}
    verdicts = [judgement.row.verdict for judgement in judge_step(trace, other, {"dZ1": "B5", "db1": "B3"})]
    assert verdicts == ["OK", "OK"]
