"""Optimisers by hand, each with its torch twin."""

import numpy as np
import torch

__all__ = [
    "PARAMS",
    "RIGHT",
    "RNG",
    "adam",
    "heavy_ball",
    "in_place",
    "momentum",
    "nadam",
    "nesterov",
    "notes",
    "per_parameter",
    "scaled",
    "sgd",
]

RNG = np.random.default_rng(4)
PARAMS = {"W1": RNG.standard_normal((3, 4)), "b1": RNG.standard_normal((3, 1)), "W2": RNG.standard_normal((3, 4))}


def adam(lr=1e-3, b1=0.9, b2=0.999, eps=1e-8, decay=0.0, decoupled=False, inside=False, corrected=True):
    def update(params, grads, state):
        t = 1 if state is None else state["t"] + 1
        new, kept = {}, {"t": t}
        for name, w in params.items():
            m, s = (0.0, 0.0) if state is None else state[name]
            g = grads[f"d{name}"] + (0.0 if decoupled else decay * w)
            m, s = b1 * m + (1 - b1) * g, b2 * s + (1 - b2) * g * g
            mhat, shat = (m / (1 - b1**t), s / (1 - b2**t)) if corrected else (m, s)
            root = np.sqrt(shat + eps) if inside else np.sqrt(shat) + eps
            new[name] = w * (1 - lr * decay if decoupled else 1) - lr * mhat / root
            kept[name] = (m, s)
        return new, kept

    return update


def momentum(step, lr=0.1, mu=0.9):
    """`step` gives velocity and direction from (mu, velocity, gradient)."""

    def update(params, grads, state):
        state = state or {f"v{name}": np.zeros_like(w) for name, w in params.items()}
        new, kept = {}, {}
        for name, w in params.items():
            v, direction = step(mu, state[f"v{name}"], grads[f"d{name}"])
            new[name], kept[f"v{name}"] = w - lr * direction, v
        return new, kept

    return update


def heavy_ball(mu, v, g):
    return mu * v + g, mu * v + g


def nesterov(mu, v, g):
    return mu * v + g, g + mu * (mu * v + g)


def notes(mu, v, g):
    return mu * v + (1 - mu) * g, mu * v + (1 - mu) * g


def scaled(root, start=0.0, keep=1.0, new=1.0, lr=0.1):
    """RMSprop and Adagrad: the step is lr g / root(mean square)."""

    def update(params, grads, state):
        state = state or dict.fromkeys(params, start)
        squares = {name: keep * state[name] + new * grads[f"d{name}"] ** 2 for name in params}
        return {name: w - lr * grads[f"d{name}"] / root(squares[name]) for name, w in params.items()}, squares

    return update


def sgd(**settings):
    return lambda tensors: torch.optim.SGD(tensors, lr=0.1, **settings)


def per_parameter(params, grads, state):
    """Adam whose step counter advances once per parameter."""
    step, t, new, kept = adam(), 0 if state is None else state["t"], {}, {}
    for name in params:
        inner = None if state is None else {"t": t, name: state[name]}
        inner = {"t": t, name: (0.0, 0.0)} if inner is None else inner
        one, after = step({name: params[name]}, grads, inner)
        new |= one
        kept[name] = after[name]
        t += 1
    return new, kept | {"t": t}


def in_place(sign):
    def update(params, grads, state):
        for name in params:
            params[name] -= sign * 0.1 * grads[f"d{name}"]

    return update


def nadam(lr=2e-3, b1=0.9, b2=0.999, eps=1e-8, decay=4e-3):
    """NAdam, whose torch twin keeps a running product in torch's default dtype."""

    def update(params, grads, state):
        t = 1 if state is None else state["t"] + 1
        mu, following = (b1 * (1 - 0.5 * 0.96 ** (k * decay)) for k in (t, t + 1))
        product = mu * (1.0 if state is None else state["product"])
        new, kept = {}, {"t": t, "product": product}
        for name, w in params.items():
            m, s = (0.0, 0.0) if state is None else state[name]
            g = grads[f"d{name}"]
            m, s = b1 * m + (1 - b1) * g, b2 * s + (1 - b2) * g * g
            ahead = following * m / (1 - product * following) + (1 - mu) * g / (1 - product)
            new[name] = w - lr * ahead / (np.sqrt(s / (1 - b2**t)) + eps)
            kept[name] = (m, s)
        return new, kept

    return update


RIGHT = {
    "gradient descent": (lambda p, g, s: ({n: w - 0.1 * g[f"d{n}"] for n, w in p.items()}, s), sgd()),
    "weight decay": (
        lambda p, g, s: ({n: w - 0.1 * (g[f"d{n}"] + 0.5 * w) for n, w in p.items()}, s),
        sgd(weight_decay=0.5),
    ),
    "heavy ball": (momentum(heavy_ball), sgd(momentum=0.9)),
    "nesterov": (momentum(nesterov), sgd(momentum=0.9, nesterov=True)),
    "the notes' average": (momentum(notes, lr=1.0), sgd(momentum=0.9)),
    "Adam": (adam(), lambda t: torch.optim.Adam(t, lr=1e-3)),
    "Adam with L2": (adam(decay=0.1), lambda t: torch.optim.Adam(t, lr=1e-3, weight_decay=0.1)),
    "AdamW": (adam(decay=0.1, decoupled=True), lambda t: torch.optim.AdamW(t, lr=1e-3, weight_decay=0.1)),
    "RMSprop": (scaled(lambda s: np.sqrt(s) + 1e-8, 0.0, 0.99, 0.01), lambda t: torch.optim.RMSprop(t, lr=0.1)),
    "Adagrad": (scaled(lambda s: np.sqrt(s) + 1e-10), lambda t: torch.optim.Adagrad(t, lr=0.1)),
}
