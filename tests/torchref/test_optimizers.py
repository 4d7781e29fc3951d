"""One step by SGD's own function against the optimiser itself."""

import pytest
import torch

from handgrad.torchref import optimizers

SHAPES = {"W1": (4, 3), "b1": (4, 1), "W2": (2, 5, 4)}


def drawn(prefix: str, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": torch.randn(shape, dtype=dtype) for name, shape in SHAPES.items()}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("beta", [0.0, 0.9])
@pytest.mark.parametrize("kept", [True, False], ids=["momentum", "descent"])
def test_one_step_is_the_step_of_the_optimiser_and_changes_nothing(kept, beta, dtype):
    torch.manual_seed(0)
    W, g, V = drawn("", dtype), drawn("d", dtype), drawn("v", dtype) if kept else {}
    V = dict(reversed(V.items()))
    before = [tensor.clone() for of in (W, g, V) for tensor in of.values()]
    found = optimizers.one_step(W, g, V, learning_rate=0.1, beta=beta)

    leaves = {name: tensor.clone() for name, tensor in W.items()}
    build = optimizers.momentum if kept else optimizers.gradient_descent
    optimizer = build(leaves, learning_rate=0.1, beta=beta)
    for name, leaf in leaves.items():
        leaf.grad = g[f"d{name}"]
        if kept:
            optimizer.state[leaf]["momentum_buffer"].copy_(V[f"v{name}"])
    optimizers.step(optimizer)
    expected = optimizers.velocities(optimizer, leaves) | {f"{name}_next": leaf for name, leaf in leaves.items()}

    assert [*found] == [*expected]
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    after = [tensor for of in (W, g, V) for tensor in of.values()]
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))
