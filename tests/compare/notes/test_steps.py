"""The evidence on batches, updates that come too early, and momentum."""

import pytest

from handgrad.compare.notes.steps import batches, oscillation, updated_too_early


def test_an_epoch_has_as_many_updates_as_batches():
    assert [(figure.by_hand, figure.torch) for figure in batches().figures] == [(1, 1), (569, 569), (18, 18)]


def test_an_update_that_comes_too_early_is_off_by_the_rate():
    fast, slow = updated_too_early().figures
    off = [abs(figure.by_hand - figure.torch) for figure in (fast, slow)]
    assert off[0] == pytest.approx(100 * off[1], rel=1e-3)


def test_momentum_oscillates_less():
    evidence = oscillation()
    descent, momentum = evidence.figures
    assert (descent.name, momentum.name) == ("gradient descent", "momentum")
    assert descent.by_hand == descent.torch == 200
    assert momentum.by_hand == momentum.torch < 50
    assert [len(curve.y) for curve in evidence.plots[0].lines] == [61, 61]
