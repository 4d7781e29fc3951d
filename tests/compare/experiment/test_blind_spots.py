"""What the settings and data of a run of the notes' network hide."""

from math import ceil

import pytest

from handgrad.compare.experiment.blind_spots import blind_spots
from handgrad.compare.experiment.data import load
from handgrad.compare.experiment.run import run
from handgrad.compare.experiment.settings import Settings
from tests.support import small_data

REVEALING = {
    "layers": (5, 4, 3, 2),
    "activations": ("tanh", "sigmoid", "sigmoid"),
    "l2": 0.5,
    "batch_size": 4,
    "epochs": 2,
}
ALWAYS = "same-start-and-order"  # both sides are handed the same


def spots_of(settings, data):
    """The blind spots by code of the steps that the settings ask for."""
    N = len(data[0])
    steps = settings.steps or settings.epochs * ceil(N / (settings.batch_size or N))
    return {spot.code: spot for spot in blind_spots(settings, load(data), steps)}


def test_a_revealing_experiment_has_only_what_both_sides_are_handed():
    assert [*spots_of(Settings(**REVEALING), small_data(5, 2, 11, 1))] == [ALWAYS]


HIDING = {
    "batches-of-one": {"batch_size": 1},
    "one-step": {"steps": 1},
    "no-short-batch": {"steps": 2},
    "no-hidden-layer": {"layers": (5, 2), "activations": ("sigmoid",)},
    "no-momentum": {"optimizer": "gradient-descent"},
    "no-memory": {"beta": 0.0},
    "beta-one-half": {"beta": 0.5},
    "rate-one": {"learning_rate": 1.0},
    "no-weight-decay": {"l2": 0.0},
    "square-weights": {"layers": (5, 3, 3, 2)},
    "zero-biases": {"bias_scale": 0.0, "steps": 1},
    "linear-layers": {"activations": ("identity", "identity", "sigmoid")},
    "kink-of-relu": {"activations": ("relu", "tanh", "sigmoid")},
}


@pytest.mark.parametrize(("code", "change"), HIDING.items(), ids=HIDING)
def test_each_property_that_hides_mistakes_is_named(code, change):
    assert code in spots_of(Settings(**{**REVEALING, **change}), small_data(5, 2, 11, 1))


def test_one_batch_of_all_is_no_short_one():
    assert "no-short-batch" in spots_of(Settings(**{**REVEALING, "batch_size": 11}), small_data(5, 2, 11, 1))


def test_under_squared_error_the_last_activation_has_a_derivative_too():
    linear = {"activations": ("identity", "identity", "tanh"), "loss": "squared-error"}
    assert "linear-layers" not in spots_of(Settings(**{**REVEALING, **linear}), small_data(5, 2, 11, 1))


def test_one_output_and_equal_labels_are_named():
    X, y = small_data(5, 1, 11, 1)
    spots = spots_of(Settings(**{**REVEALING, "layers": (5, 4, 3, 1)}), (X, 0 * y))
    assert {"one-output", "equal-labels"} <= spots.keys()


REMEDIES = {
    "one example": (1, 1, "batches-of-one", "use data with several examples"),
    "two in batches of one": (2, 1, "batches-of-one", "use --batch-size 2"),
    "many in batches of one": (50, 1, "batches-of-one", "use --batch-size 32"),
    "two in one batch": (2, 2, "no-short-batch", "use more examples"),
    "three in one batch": (3, 3, "no-short-batch", "run a whole epoch with a --batch-size that does not divide 3"),
}


@pytest.mark.parametrize(("N", "batch_size", "code", "remedy"), REMEDIES.values(), ids=REMEDIES)
def test_the_advice_can_be_followed(N, batch_size, code, remedy):
    settings = Settings(**{**REVEALING, "batch_size": batch_size, "epochs": 1})
    assert spots_of(settings, small_data(5, 2, N, 1))[code].remedy == remedy


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_each_side_on_its_own_has_one_precision(dtype):
    def codes(**changed):
        settings = Settings(**{**REVEALING, "dtype": dtype, **changed})
        return {spot.code: spot.remedy for spot in run(settings, small_data(5, 2, 11, 1)).blind_spots}

    assert "one-precision" not in codes()
    assert codes(free_running=True)["one-precision"] == "run without --free-running"
