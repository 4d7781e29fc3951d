import numpy as np
import pytest

from handgrad.compare.experiment.run import Experiment
from handgrad.manual.network import backward, cost, forward, linear
from tests.support import network_of, small_data

SETTINGS = {
    "cross-entropy, tanh": {"layers": (3, 5, 4, 2), "activations": ("tanh", "tanh", "sigmoid")},
    "cross-entropy, relu, l2": {"layers": (3, 6, 1), "activations": ("relu", "sigmoid"), "l2": 0.3},
    "logistic regression": {"layers": (4, 1), "activations": ("sigmoid",)},
    "squared error, identity": {
        "layers": (3, 5, 2),
        "activations": ("sigmoid", "identity"),
        "loss": "squared-error",
        "l2": 0.1,
    },
    "squared error, sigmoid": {
        "layers": (2, 4, 3, 2),
        "activations": ("tanh", "relu", "sigmoid"),
        "loss": "squared-error",
    },
}


def case(settings, seed):
    experiment = Experiment(**settings, bias_scale=0.7, seed=seed)
    network, params = network_of(experiment)
    X, y = small_data(experiment.layers[0], experiment.layers[-1], 7, seed)
    return network, params, X.T, y.T


def cost_with(network, params, X, Y, moved):
    """J where the tensors named in `moved` are displaced by the arrays there, whatever they are."""
    at = lambda name, value: value + moved.get(name, 0.0)  # noqa: E731  # a one-line formula
    params = {name: at(name, value) for name, value in params.items()}
    A, cache = X, {}
    for l, g in enumerate(network.activations, start=1):
        Z = cache[f"Z{l}"] = at(f"Z{l}", linear(params[f"W{l}"], A, params[f"b{l}"]))
        A = cache[f"A{l}"] = at(f"A{l}", g.value(Z))
    return cost(network, params, cache, Y)["J"]


@pytest.mark.parametrize("seed", [11, 12])
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_every_gradient_equals_central_differences(settings, seed):
    network, params, X, Y = case(settings, seed)
    gradients = backward(network, params, forward(network, params, X), X, Y)
    h = 1e-5
    for name, gradient in gradients.items():
        numeric = np.empty_like(gradient)
        for index in np.ndindex(gradient.shape):
            e = np.zeros_like(gradient)
            e[index] = h
            numeric[index] = (
                cost_with(network, params, X, Y, {name[1:]: e}) - cost_with(network, params, X, Y, {name[1:]: -e})
            ) / (2 * h)
        np.testing.assert_allclose(gradient, numeric, rtol=1e-6, atol=1e-9, err_msg=name)


def test_backward_names_every_gradient_in_the_order_it_is_found():
    network, params, X, Y = case(SETTINGS["cross-entropy, tanh"], 1)
    gradients = backward(network, params, forward(network, params, X), X, Y)
    assert [*gradients] == ["dZ3", "dW3", "db3", "dA2", "dZ2", "dW2", "db2", "dA1", "dZ1", "dW1", "db1"]


def test_backward_changes_nothing():
    network, params, X, Y = case(SETTINGS["cross-entropy, relu, l2"], 1)
    before = {name: value.copy() for name, value in params.items()}
    cache = forward(network, params, X)
    for array in (X, Y, *params.values(), *cache.values()):
        array.flags.writeable = False
    first = backward(network, params, cache, X, Y)
    second = backward(network, params, cache, X, Y)
    for name, gradient in first.items():
        np.testing.assert_array_equal(gradient, second[name])
    for name, value in before.items():
        np.testing.assert_array_equal(params[name], value)


def test_the_callers_batch_stays_writable():
    network, params, X, _ = case(SETTINGS["logistic regression"], 1)
    forward(network, params, X)
    X[0, 0] = 5.0


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_float32_stays_float32(settings):
    experiment = Experiment(**settings, dtype="float32")
    network, params = network_of(experiment)
    X, y = small_data(experiment.layers[0], experiment.layers[-1], 6, 5)
    X, Y = X.T.astype(np.float32), y.T.astype(np.float32)
    cache = forward(network, params, X)
    values = {**cache, **cost(network, params, cache, Y), **backward(network, params, cache, X, Y)}
    assert {name: value.dtype.name for name, value in values.items()} == dict.fromkeys(values, "float32")
