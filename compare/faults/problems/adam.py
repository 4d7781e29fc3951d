"""Adam by hand, with L2 in the gradient, against torch.optim.Adam."""

import numpy as np
import torch


def update(params, grads, state):
    """One step."""
    state = state or {"t": 0, "m": {n: np.zeros_like(w) for n, w in params.items()}, "s": {}}
    t, new = state["t"] + 1, {}
    for name, w in params.items():
        g = grads[f"d{name}"] + 0.01 * w
        m = 0.9 * state["m"][name] + 0.1 * g
        s = 0.99 * state["s"].get(name, 0.0) + 0.01 * g * g
        state["m"][name], state["s"][name] = m, s
        new[name] = w - 0.05 * (m / (1 - 0.9**t)) / (np.sqrt(s / (1 - 0.99**t)) + 1e-8)
    return new, {**state, "t": t}


def optimizer(tensors):
    """torch's."""
    return torch.optim.Adam(tensors, lr=0.05, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.01)


def draw(rng):
    """Random sizes and values."""
    return {"params": {"W": rng.standard_normal((rng.integers(3, 6), 4)), "b": rng.standard_normal((5, 1))}}
