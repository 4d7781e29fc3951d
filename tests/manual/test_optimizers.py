from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from handgrad.manual import optimizers
from handgrad.torchref import optimizers as twins
from handgrad.torchref.exchange import load, parameters

RATES = [0.5, 0.1, 0.02] * 4  # a rate that changes at every step tells V from V times the rate


def both_sides(steps, beta, dtype="float64", seed=0):
    """Momentum by hand and in torch over `steps` steps with the same gradients and a changing rate."""
    rng = np.random.default_rng(seed)
    params = {"W1": rng.standard_normal((3, 4)).astype(dtype), "b1": rng.standard_normal((3, 1)).astype(dtype)}
    model = nn.Sequential(nn.Linear(4, 3, dtype=getattr(torch, dtype)))
    load(model, params)
    named = parameters(model)
    sgd = twins.momentum.build(named, learning_rate=RATES[0], beta=beta)
    velocities = optimizers.zero_velocities(params)
    for step in range(steps):
        gradients = {f"d{name}": rng.standard_normal(w.shape).astype(dtype) for name, w in params.items()}
        params, velocities = optimizers.momentum(params, gradients, velocities, learning_rate=RATES[step], beta=beta)
        for name, parameter in named.items():
            parameter.grad = torch.tensor(gradients[f"d{name}"]).reshape(parameter.shape)
        sgd.param_groups[0]["lr"] = RATES[step]
        twins.step(sgd)
    return params, velocities, named, twins.state(sgd, named)


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_momentum_equals_torch_over_twelve_steps_with_a_changing_rate(dtype, beta):
    params, velocities, named, torch_velocities = both_sides(12, beta, dtype, seed=4)
    assert len(RATES) >= 10
    tolerance = 20 * np.finfo(dtype).eps
    for name, parameter in named.items():
        np.testing.assert_allclose(params[name], parameter.detach().numpy().reshape(params[name].shape), atol=tolerance)
        V = torch_velocities[f"v{name}"].detach().numpy()
        np.testing.assert_allclose(velocities[f"v{name}"], V.reshape(params[name].shape), atol=tolerance)


def test_torch_without_the_zero_buffer_is_not_the_notes_momentum():
    """The trap that handgrad.torchref.optimizers.momentum avoids: SGD starts its buffer with the undamped gradient."""
    beta, g = 0.9, torch.tensor([1.0])
    w = nn.Parameter(torch.tensor([0.0]))
    w.grad = g.clone()
    torch.optim.SGD([w], lr=1.0, momentum=beta, dampening=beta).step()
    assert float(w.detach()) == -1.0  # the notes: V = (1 - beta) g = 0.1
    moved, _ = optimizers.momentum(
        {"w": np.array([0.0])}, {"dw": g.numpy()}, {"vw": np.array([0.0])}, learning_rate=1.0, beta=beta
    )
    assert moved["w"][0] == pytest.approx(-0.1)


def test_gradient_descent_steps_against_the_gradient():
    moved, state = optimizers.gradient_descent(
        {"W1": np.array([[1.0]])}, {"dW1": np.array([[4.0]])}, optimizers.no_state({}), learning_rate=0.25
    )
    assert moved == {"W1": np.array([[0.0]])}
    assert state == {}


@pytest.mark.parametrize(
    "optimizer", [optimizers.gradient_descent, partial(optimizers.momentum, beta=0.9)], ids=["descent", "momentum"]
)
def test_an_update_changes_none_of_its_arguments(optimizer):
    arguments = [{"W": np.ones((2, 2))}, {"dW": np.ones((2, 2))}, {"vW": np.ones((2, 2))}]
    for argument in arguments:
        for array in argument.values():
            array.flags.writeable = False
    moved, _ = optimizer(*arguments, learning_rate=0.1)
    assert not np.shares_memory(moved["W"], arguments[0]["W"])
