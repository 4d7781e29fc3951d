"""The optimisers of the twin step as the notes' equations say, from velocities of zero."""

import pytest
import torch

from handgrad.torchref import optimizers

SHAPES = {"W1": (4, 3), "b1": (4, 1), "W2": (2, 5, 4)}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("beta", [0.25, 0.9])
def test_momentum_averages_gradients_and_moves_by_the_average(beta, dtype):
    torch.manual_seed(0)
    W = {name: torch.randn(shape, dtype=dtype) for name, shape in SHAPES.items()}
    before, V = {name: w.clone() for name, w in W.items()}, dict.fromkeys(W, 0.0)
    optimizer = optimizers.momentum.build(W, learning_rate=0.1, beta=beta)
    for _ in range(3):
        for name, w in W.items():
            w.grad = torch.randn_like(w)
            V[name] = beta * V[name] + (1 - beta) * w.grad
            before[name] = before[name] - 0.1 * V[name]
        optimizers.step(optimizer)
        torch.testing.assert_close(optimizers.state(optimizer, W), {f"v{name}": v for name, v in V.items()})
    torch.testing.assert_close(W, before)


def test_gradient_descent_moves_by_the_gradient_and_keeps_no_velocity():
    torch.manual_seed(1)
    W = {name: torch.randn(shape, dtype=torch.float64) for name, shape in SHAPES.items()}
    before = {name: w.clone() for name, w in W.items()}
    optimizer = optimizers.gradient_descent.build(W, learning_rate=0.1)
    for w in W.values():
        w.grad = torch.randn_like(w)
    optimizers.step(optimizer)
    for name, w in W.items():
        torch.testing.assert_close(w, before[name] - 0.1 * w.grad)
    assert optimizers.state(optimizer, W) == {}
