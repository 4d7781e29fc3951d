import numpy as np
import pytest
import torch

from handgrad.manual import losses
from handgrad.torchref import losses as twins


@pytest.mark.parametrize("scale", [1.0, 1e4], ids=["ordinary", "saturated"])
def test_binary_cross_entropy_equals_torch(scale):
    rng = np.random.default_rng(3)
    Z, Y = scale * rng.standard_normal((3, 8)), rng.uniform(size=(3, 8))
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        by_hand = losses.binary_cross_entropy(Z, Y)
    np.testing.assert_allclose(by_hand, twins.binary_cross_entropy(torch.tensor(Z), torch.tensor(Y)), rtol=1e-13)


def test_binary_cross_entropy_is_the_corrected_formula_of_the_notes():
    Y, P = np.array([[0.0, 1.0]]), np.array([[0.9, 0.25]])
    Z = np.log(P / (1 - P))
    np.testing.assert_allclose(losses.binary_cross_entropy(Z, Y), -(Y * np.log(P) + (1 - Y) * np.log(1 - P)))


def test_j_sums_over_outputs_and_averages_over_examples():
    three_outputs_four_examples = np.ones((3, 4))
    assert losses.mean_loss(three_outputs_four_examples) == 3.0
    assert losses.mean_loss(three_outputs_four_examples, 0.5) == 3.5


def test_squared_error_is_half_the_square():
    assert losses.squared_error(np.array([[5.0]]), np.array([[2.0]])) == 4.5


def test_weight_decay_is_half_l2_times_the_squared_norm():
    weights = [np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]])]
    assert losses.weight_decay(weights, 0.1) == pytest.approx(0.05 * 30)
    assert float(twins.weight_decay([torch.tensor(W) for W in weights], 0.1)) == pytest.approx(0.05 * 30)


def test_the_gradient_divides_by_the_number_of_examples_not_of_outputs():
    np.testing.assert_array_equal(losses.mean_loss_gradient(np.ones((3, 4))), np.full((3, 4), 0.25))
