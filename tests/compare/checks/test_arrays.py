"""What a report hands out of the run that was just made, at every step."""

import numpy as np
import pytest

from handgrad import InputError, check_training, check_updates
from tests.compare.checks import optimizers
from tests.compare.checks.optimizers import in_place
from tests.compare.checks.trainers import BATCHES, PARAMS, VELOCITIES, gradients, reference, sgd, trainer

GRADIENTS = ("A1", "dW1", "db1", "dW2", "db2")


def test_a_report_hands_out_both_sides_of_every_tensor_at_every_step():
    report = check_training(trainer("nominal size", GRADIENTS + VELOCITIES), reference, sgd, PARAMS, BATCHES)
    assert report.first.where[::2] == (3, "db2")
    by_hand, in_torch = report.tensor("db2")
    np.testing.assert_allclose(by_hand, 3 / 5 * in_torch)
    for name in (*GRADIENTS, *VELOCITIES, *(f"{parameter}_next" for parameter in PARAMS)):
        for step in (1, 2):
            np.testing.assert_allclose(*report.tensor(name, step))
    (X, Y), p = BATCHES[1], {name: report.tensor(f"{name}_next", 1)[0] for name in PARAMS}
    np.testing.assert_allclose(report.tensor("dW1", 2)[0], gradients(p, X, Y)["dW1"])
    with pytest.raises(InputError, match="step 7"):
        report.tensor("dW1", 7)


def test_a_report_hands_out_both_sides_from_the_start_that_shows_the_finding():
    start = optimizers.PARAMS
    report = check_updates(in_place(1.01), optimizers.sgd(), start)
    by_hand, in_torch = (side - start["W1"] for side in report.tensor("W1_next"))
    np.testing.assert_allclose(by_hand, 1.01 * in_torch, rtol=1e-6)
    tiny = [{f"d{name}": np.full(w.shape, 1e-14) for name, w in start.items()}] * 5
    from_zero = check_updates(in_place(1.01), optimizers.sgd(), start, gradients=tiny).tensor("W1_next")
    np.testing.assert_allclose(from_zero[0], np.full((3, 4), -1.01e-15))
    right = check_updates(in_place(1.0), optimizers.sgd(), start).tensor("W1_next", 2)
    np.testing.assert_allclose(*right)
    assert abs(right[0] - start["W1"]).max() < 1e4, "from the start that was handed over"
