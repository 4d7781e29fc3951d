from itertools import islice

import numpy as np
import pytest
import torch

from handgrad.manual import batches
from handgrad.torchref import batches as twins


@pytest.mark.parametrize(("N", "size", "lengths"), [(11, 4, [4, 4, 3]), (8, 4, [4, 4]), (3, 1, [1, 1, 1]), (5, 5, [5])])
def test_batches_cover_every_example_once_and_the_last_may_be_short(N, size, lengths):
    order = np.random.default_rng(1).permutation(N)
    cut = list(batches.split(order, size))
    assert [len(batch) for batch in cut] == lengths
    np.testing.assert_array_equal(np.concatenate(cut), order)
    for by_hand, twin in zip(cut, twins.split(torch.tensor(order), size), strict=True):
        np.testing.assert_array_equal(by_hand, twin.numpy())


def test_every_epoch_is_reshuffled_from_one_seed():
    first, second = islice(batches.orders(20, np.random.default_rng(3)), 2)
    again = next(batches.orders(20, np.random.default_rng(3)))
    assert sorted(first) == sorted(second) == list(range(20))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, again)


def test_full_batch_and_stochastic():
    assert [list(batch) for batch in batches.full_batch(3, 2)] == [[0, 1, 2], [0, 1, 2]]
    assert [list(batch) for batch in batches.stochastic([np.array([2, 0, 1])])] == [[2], [0], [1]]
