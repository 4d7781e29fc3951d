"""The row that a judged tensor gets, and the entries that are shown of a wrong one."""

import numpy as np
import pytest

from handgrad.compare.names import Key
from handgrad.compare.verdict.judgement import excerpt, judgement_of
from handgrad.compare.verdict.rule import Outcome

KEY = Key(3, "forward", "Z1")
OUTCOME = Outcome("WEAK", 2.5, "bound", (0, 1))


def test_a_row_shows_the_end_to_end_difference_and_the_local_verdict():
    by_hand, torch = np.array([[1.0, 2.0], [3.0, 5.0]]), np.array([[1.0, 2.0], [3.5, 5.0]])
    row, _, differs, *_ = judgement_of(KEY, "F1", OUTCOME, ({"Z1": by_hand}, {"Z1": torch}))
    assert row == (3, "forward", "Z1", "F1", (2, 2), 0.5, (1, 0), 3.0, 3.5, 2.5, "bound", "WEAK")
    assert differs


@pytest.mark.parametrize(("dtype", "off", "expected"), [
    ("float64", 1e-9, False), ("float64", 1e-7, True), ("float32", 1e-4, False), ("float32", 1e-3, True),
])  # fmt: skip
def test_the_sides_differ_beyond_the_root_of_u_of_torchs_scale(dtype, off, expected):
    torch = np.array([100.0, 0.0], dtype)
    by_hand = torch + np.array([0.0, 100 * off], dtype)
    differs = judgement_of(KEY, "", OUTCOME, ({"Z1": by_hand}, {"Z1": torch})).differs
    assert differs == expected


@pytest.mark.parametrize(
    "torch",
    [{"Z1": np.zeros((3, 2))}, {}, {"Z1": np.full((2, 2), "no number")}],
    ids=["another size", "absent", "no numbers"],
)
def test_what_cannot_be_subtracted_has_no_difference_and_counts_as_one(torch):
    row, _, differs, *_ = judgement_of(KEY, "", OUTCOME, ({"Z1": np.zeros((2, 2))}, torch))
    assert np.isnan(row.max_abs_diff)
    assert (row.shape, row.index, row.by_hand, row.torch) == ((2, 2), None, None, None)
    assert (row.rho, row.rho_basis, row.verdict, differs) == (2.5, "bound", "WEAK", True)


@pytest.mark.parametrize(
    ("shape", "index", "first", "size"),
    [
        ((), (), (), (1, 1)),
        ((3,), (2,), (0,), (1, 3)),
        ((40,), (39,), (28,), (1, 12)),
        ((4, 5), (3, 4), (0, 0), (4, 5)),
        ((30, 40), (29, 0), (22, 0), (8, 12)),
        ((2, 3, 30, 4), (1, 2, 15, 3), (1, 2, 11, 0), (8, 4)),
    ],
    ids=str,
)
def test_an_excerpt_has_the_entry_that_it_is_about(shape, index, first, size):
    rng = np.random.default_rng(3)
    ours, theirs = rng.standard_normal(shape), rng.standard_normal(shape)
    found = excerpt(Key(2, "backward", "dT"), ours, theirs, index)
    assert found.start == first
    assert (len(found.by_hand), len(found.by_hand[0])) == size
    at = tuple(i - j for i, j in zip(index, first, strict=True))[-2:]
    row, column = (*(0,) * (2 - len(at)), *at)
    assert found.by_hand[row][column] == ours[index]
    assert found.torch[row][column] == theirs[index]
