"""Gradient descent with momentum by hand, heavy ball with weight decay, against torch.optim.SGD."""

import torch


def update(params, grads, state):
    """One step."""
    state, new = state or {}, {}
    for name, w in params.items():
        g = grads[f"d{name}"] + 0.02 * w
        v = 0.8 * state.get(name, 0.0) + g
        state[name] = v
        new[name] = w - 0.1 * v
    return new, state


def optimizer(tensors):
    """torch's."""
    return torch.optim.SGD(tensors, lr=0.1, momentum=0.8, weight_decay=0.02)


def draw(rng):
    """Random sizes and values."""
    return {"params": {"W": rng.standard_normal((rng.integers(3, 6), 4)), "b": rng.standard_normal((5, 1))}}
