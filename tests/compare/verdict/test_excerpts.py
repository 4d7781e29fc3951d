"""The entries that are shown of a wrong tensor."""

import numpy as np
import pytest

from handgrad.compare.names import Key
from handgrad.compare.verdict.excerpts import excerpt


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
