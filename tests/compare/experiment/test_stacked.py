"""Many steps of the torch twin at once: each is what torch.nn computes by itself."""

import numpy as np
import pytest

from handgrad.compare.experiment.data import load
from handgrad.compare.experiment.sides import epoch_orders, in_torch, initial_parameters, training_in_torch
from handgrad.compare.experiment.stacked import StackedTwin, stacked
from handgrad.compare.names import is_updated, of_updated, of_velocity, velocity
from tests.compare.experiment.networks import DATA, N, experiment

LOADED = load(DATA)
RUNS = 3


def starts(settings):
    """Weights, velocities and a batch of several runs, along a first axis."""
    rng = np.random.default_rng(8)
    start = initial_parameters(settings)
    params = {name: rng.standard_normal((RUNS, *w.shape)).astype(settings.dtype) for name, w in start.items()}
    velocities = {velocity(name): rng.standard_normal(w.shape).astype(settings.dtype) for name, w in params.items()}
    batch = {"X": np.stack([LOADED.X] * RUNS), "Y": np.stack([LOADED.Y] * RUNS)}
    return params, velocities if settings.optimizer == "momentum" else {}, batch


def alone(settings, params):
    """What torch.nn computes in one step from these weights, at rest."""
    return next(training_in_torch(in_torch(settings, LOADED, params, epoch_orders(settings, N))))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("optimizer", ["momentum", "gradient-descent"])
@pytest.mark.parametrize("loss", ["binary-cross-entropy", "squared-error"])
def test_torch_started_from_given_weights_and_velocities_is_torch_nn(loss, optimizer, dtype):
    """A stack of steps, each from weights and velocities of its own, is what nn.Sequential and SGD compute."""
    settings = experiment(loss=loss, optimizer=optimizer, dtype=dtype, l2=0.3, batch_size=None, steps=1)
    params, velocities, batch = starts(settings)
    before = {name: array.copy() for name, array in {**params, **velocities, **batch}.items()}
    at_once = batch | StackedTwin(settings).step(params, velocities, batch, dtype)
    assert all(np.array_equal(array, before[name]) for name, array in {**params, **velocities, **batch}.items())
    for k in range(RUNS):
        own = alone(settings, {name: w[k] for name, w in params.items()})
        assert {*own} <= {*at_once}
        for name, array in own.items():
            expected = array
            if of_velocity(name):  # alone it starts at rest
                expected = array + settings.beta * velocities[name][k]
            elif is_updated(name) and velocities:
                expected = array - settings.learning_rate * settings.beta * velocities[velocity(of_updated(name))][k]
            assert at_once[name].dtype == dtype or name in ("X", "Y")
            np.testing.assert_allclose(at_once[name][k], expected, rtol=0, atol=64 * np.finfo(dtype).eps)


def test_without_memory_a_velocity_is_the_gradient():
    settings = experiment(beta=0.0, batch_size=None, steps=1)
    params, velocities, batch = starts(settings)
    at_once = StackedTwin(settings).step(params, velocities, batch)
    for name in params:
        np.testing.assert_array_equal(at_once[velocity(name)], at_once[f"d{name}"])


def test_weights_go_on_from_recorded_velocities_and_velocities_from_recorded_gradients():
    settings = experiment(batch_size=None, steps=1)
    params, velocities, batch = starts(settings)
    twin = StackedTwin(settings)
    own = twin.step(params, velocities, batch)
    wrong = {"dW2": 2 * own["dW2"], "vW1": 2 * own["vW1"]}
    local = twin.update(params, velocities, {**own, **wrong})
    np.testing.assert_allclose(local["vW2"], own["vW2"] + (1 - settings.beta) * own["dW2"])
    np.testing.assert_array_equal(local["vW1"], own["vW1"])
    np.testing.assert_allclose(local["W1_next"], own["W1_next"] - settings.learning_rate * own["vW1"])
    np.testing.assert_array_equal(local["W2_next"], own["W2_next"])


def test_beside_what_is_recorded_torch_goes_its_own_way():
    """Records that are wrong reach what is computed from them alone."""
    settings = experiment(depth=4, batch_size=None, steps=1)
    params, velocities, batch = starts(settings)
    twin = StackedTwin(settings)
    own = twin.step(params, velocities, batch)
    records = {**own, **batch}
    wrong = {name: 1.5 * own[name] for name in ("A1", "dZ3", "dW2", "vW2")}
    local, of_wrong = (twin.step(params, velocities, made) for made in (records, records | wrong))
    changed = {name for name, array in local.items() if not np.allclose(of_wrong[name], array, rtol=1e-3)}
    assert {"Z2", "dA2", "vW2", "W2_next"} <= changed
    assert not changed & {"A1", "Z1", "Z3", "A3", "J", "dZ3", "dW4", "vW1", "W1_next"}


def test_runs_are_stacked_along_a_first_axis_in_float64():
    runs = [{"J": np.array(1.0 + k), "W": np.full((2, 3), k, dtype="f4")} for k in range(3)]
    stack = stacked(runs)
    assert {name: (array.shape, array.dtype.name) for name, array in stack.items()} == {
        "J": ((3,), "float64"),
        "W": ((3, 2, 3), "float64"),
    }
    assert stack["J"].tolist() == [1.0, 2.0, 3.0]
    assert stack["W"][:, 1, 2].tolist() == [0.0, 1.0, 2.0]
