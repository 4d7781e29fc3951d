import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from handgrad.compare.errors import InputError
from handgrad.compare.experiment.settings import Experiment
from tests.support import small_data

BAD = {
    "no layers": ({"layers": ()}, "layers is ()"),
    "one layer": ({"layers": (3,)}, "input and an output width"),
    "zero width": ({"layers": (30, 0, 1)}, "layers[1] is 0"),
    "negative width": ({"layers": (30, -4, 1)}, "layers[1] is -4"),
    "fractional width": ({"layers": (30, 2.5, 1)}, "layers[1] is 2.5"),
    "layers a string": ({"layers": "30"}, "must be a sequence"),
    "unknown activation": ({"activations": ("tahn", "sigmoid")}, "did you mean 'tanh'"),
    "too few activations": ({"layers": (30, 4, 4, 1)}, "2 names for 3 layers"),
    "cross-entropy without sigmoid": ({"activations": ("tanh", "tanh")}, "needs sigmoid"),
    "unknown loss": ({"loss": "cross-entropy"}, "did you mean 'binary-cross-entropy'"),
    "unknown initializer": ({"initializer": "xavier"}, "known are lecun"),
    "unknown distribution": ({"distribution": "gauss"}, "known are normal, uniform"),
    "unknown optimizer": ({"optimizer": "momentun"}, "did you mean 'momentum'"),
    "unknown dtype": ({"dtype": "float16"}, "known are float64, float32"),
    "rate 0": ({"learning_rate": 0}, "must be above 0"),
    "rate nan": ({"learning_rate": float("nan")}, "must be finite"),
    "rate a word": ({"learning_rate": "fast"}, "must be a number"),
    "beta 1": ({"beta": 1}, "from 0 to below 1"),
    "beta negative": ({"beta": -0.1}, "from 0 to below 1"),
    "l2 negative": ({"l2": -1}, "at least 0"),
    "batch 0": ({"batch_size": 0}, "at least 1"),
    "batch fractional": ({"batch_size": 1.5}, "whole number"),
    "epochs 0": ({"epochs": 0}, "at least 1"),
    "steps 0": ({"steps": 0}, "at least 1"),
    "seed negative": ({"seed": -1}, "at least 0"),
    "bias scale infinite": ({"bias_scale": float("inf")}, "must be finite"),
}


@pytest.mark.parametrize(("fields", "words"), BAD.values(), ids=BAD)
def test_bad_fields_are_one_sentence_and_a_value_error(fields, words):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the words are checked below
        Experiment(**fields)
    message = str(caught.value)
    assert isinstance(caught.value, InputError)
    assert words in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("fields", "data", "words"),
    [
        ({}, small_data(4, 1, 20, 1), "start layers with 4"),
        ({}, small_data(30, 2, 40, 1), "end layers with 2"),
        ({}, small_data(30, 1, 20, 1), "at most 20"),
        ({"batch_size": 2}, (np.ones((4, 30)), np.array([0, 1, 2, 1])), "y is 2 at row 3, column 1"),
        ({"batch_size": 2}, (np.ones((4, 30)), np.array([0, 1, -0.5, 1])), "y is -0.5 at row 3, column 1"),
    ],
    ids=["inputs", "outputs", "batch", "label above 1", "label below 0"],
)
def test_data_that_does_not_fit_is_refused(fields, data, words):
    with pytest.raises(InputError, match=words):
        Experiment(**fields).run(data)


def test_squared_error_takes_any_label():
    experiment = Experiment(
        layers=(3, 2, 1), activations=("tanh", "identity"), loss="squared-error", batch_size=2, epochs=1
    )
    X, y = small_data(3, 1, 5, 1)
    assert experiment.run((X, 100 * y - 7)).ok


def test_an_experiment_is_frozen_hashable_and_picklable():
    experiment = Experiment(layers=[3, np.int64(4), 1], learning_rate=np.float64(0.5))
    assert experiment.layers == (3, 4, 1)
    assert type(experiment.layers[1]) is int
    assert type(experiment.learning_rate) is float
    assert pickle.loads(pickle.dumps(experiment)) == experiment
    assert len({experiment, Experiment(layers=(3, 4, 1), learning_rate=0.5)}) == 1
    with pytest.raises(FrozenInstanceError):
        experiment.seed = 1


def test_steps_overrides_epochs():
    data = small_data(30, 1, 40, 1)
    for steps in (1, 2, 5):
        report = Experiment(steps=steps).run(data)
        assert {row.step for row in report.rows} == set(range(1, steps + 1))


def test_a_float64_rate_does_not_lift_a_float32_run():
    report = Experiment(dtype="float32", learning_rate=np.float64(0.1), beta=np.float64(0.9), steps=2).run(
        small_data(30, 1, 40, 1)
    )
    assert report.ok, str(report)
