"""A run of the notes' network, from its settings and data to a report."""

import pickle

import numpy as np
import pytest

from handgrad import Experiment
from handgrad.compare.errors import InputError
from tests.support import small_data


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


def test_an_experiment_is_picklable_and_equal_to_its_copy():
    experiment = Experiment(layers=[3, np.int64(4), 1])
    assert pickle.loads(pickle.dumps(experiment)) == experiment
