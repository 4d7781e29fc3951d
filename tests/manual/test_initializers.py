from math import sqrt

import numpy as np
import pytest
import torch

from handgrad.compare.operations import names, operation
from handgrad.manual import initializers

SHAPE = (120, 250)  # (n_out, n_in): distinct, so that a swapped fan shows
EXPECTED = {
    "lecun": sqrt(1 / 250),
    "notes-xavier": sqrt(1 / 250),
    "he": sqrt(2 / 250),
    "glorot": sqrt(2 / 370),
    "notes-he": sqrt(2 / 370),
    "small": 0.01,
    "zeros": 0.0,
}


@pytest.mark.parametrize("name", names("initializer"))
def test_standard_deviation_is_the_formula_and_torch_draws_with_it(name):
    row = operation("initializer", name)
    (standard_deviation,) = row.hands()
    assert standard_deviation(*SHAPE) == pytest.approx(EXPECTED[name], rel=1e-15)
    torch.manual_seed(5)
    weight = torch.empty(SHAPE, dtype=torch.float64)
    row.twin()(weight)
    spread = 5 / sqrt(2 * weight.numel())  # five standard errors of a sample's spread; the formulas are 17 % apart
    assert float(weight.std(correction=0)) == pytest.approx(EXPECTED[name], rel=spread)


@pytest.mark.parametrize("distribution", ["normal", "uniform"])
@pytest.mark.parametrize("name", names("initializer"))
def test_a_draw_is_the_unit_draw_times_the_standard_deviation(name, distribution):
    (standard_deviation,) = operation("initializer", name).hands()
    drawn = initializers.draw(standard_deviation, SHAPE, np.random.default_rng(6), distribution)
    unit = initializers.draw(lambda n_out, n_in: 1.0, SHAPE, np.random.default_rng(6), distribution)
    assert drawn.shape == SHAPE
    np.testing.assert_array_equal(drawn, unit * EXPECTED[name])
    assert unit.std() == pytest.approx(1.0, rel=0.02)
    assert abs(unit.mean()) < 0.03
    assert (np.abs(unit).max() <= sqrt(3)) == (distribution == "uniform")


def test_equal_weights_never_separate_and_small_random_ones_do():
    """I6: after training, the rows of W1 still agree for `zeros` without random biases, and differ for `small`."""
    from handgrad.compare.experiment.data import load
    from handgrad.compare.experiment.run import Experiment
    from handgrad.compare.experiment.sides import by_hand, epoch_orders, initial_parameters
    from tests.support import small_data

    data = load(small_data(3, 1, 10, seed=7))

    def spread(initializer):
        experiment = Experiment(
            layers=(3, 4, 1), initializer=initializer, bias_scale=0.0, batch_size=None, learning_rate=1.0, epochs=200
        )
        steps = by_hand(experiment, data, initial_parameters(experiment), epoch_orders(experiment, 10))
        W1 = [values["W1_next"] for _, phase, values in steps if phase == "update"][-1]
        return np.ptp(W1, axis=0).max()

    assert spread("zeros") == 0.0
    assert spread("small") > 0.01
