import numpy as np
import pytest

from handgrad.compare.experiment.blind_spots import of_arrays
from handgrad.compare.experiment.settings import Experiment
from tests.support import small_data

REVEALING = {
    "layers": (5, 4, 3, 2),
    "activations": ("tanh", "sigmoid", "sigmoid"),
    "l2": 0.5,
    "batch_size": 4,
    "epochs": 2,
}


def test_a_revealing_experiment_has_only_what_both_sides_are_handed():
    (left,) = Experiment(**REVEALING).run(small_data(5, 2, 11, 1)).blind_spots
    assert left.startswith("mistakes in initialisers or the order of examples")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"batch_size": 1}, "batches of 1"),
        ({"steps": 1}, "one step"),
        ({"steps": 2}, "short last batch"),
        ({"batch_size": 11}, "short last batch"),
        ({"layers": (5, 2), "activations": ("sigmoid",)}, "no hidden layer"),
        ({"optimizer": "gradient-descent"}, "momentum"),
        ({"beta": 0.0}, "memory of momentum"),
        ({"beta": 0.5}, "beta swapped"),
        ({"learning_rate": 1.0}, "doubled rate"),
        ({"l2": 0.0}, "weight decay"),
        ({"layers": (5, 3, 3, 2)}, "square"),
        ({"bias_scale": 0.0, "steps": 1}, "unused bias"),
        ({"activations": ("identity", "identity", "sigmoid")}, "derivative of an activation"),
        ({"activations": ("relu", "tanh", "sigmoid")}, "ReLU' at exactly 0"),
    ],
)
def test_each_property_that_hides_mistakes_is_said(change, words):
    spots = Experiment(**{**REVEALING, **change}).run(small_data(5, 2, 11, 1)).blind_spots
    assert any(words in spot for spot in spots), spots


def test_one_output_and_equal_labels_are_said():
    X, y = small_data(5, 1, 11, 1)
    spots = Experiment(**{**REVEALING, "layers": (5, 4, 3, 1)}).run((X, 0 * y)).blind_spots
    assert any("one output" in spot for spot in spots)
    assert any("labels are equal" in spot for spot in spots)


@pytest.mark.parametrize(
    ("N", "batch_size", "words"),
    [
        (1, 1, "batches of 1; use data with several examples"),
        (2, 1, "batches of 1; use --batch-size 2"),
        (50, 1, "batches of 1; use --batch-size 32"),
        (2, 2, "no step has one; use more examples"),
        (3, 3, "no step has one; run a whole epoch with a --batch-size that does not divide 3"),
    ],
)
def test_the_advice_can_be_followed(N, batch_size, words):
    spots = Experiment(**{**REVEALING, "batch_size": batch_size, "epochs": 1}).run(small_data(5, 2, N, 1)).blind_spots
    assert any(words in spot for spot in spots), spots


@pytest.mark.parametrize(("size", "is_said"), [(0.04, True), (0.06, False)])
def test_small_parameters_hide_the_derivative_of_an_activation(size, is_said):
    spots = of_arrays({"W": np.array([[size, -0.01, 0.02]])}, [np.arange(6.0).reshape(3, 2)])
    assert any("all parameters are below 0.05" in spot for spot in spots) == is_said, spots
