"""Parameter updates.

    U1  w = w - a dJ/dw, for every layer, for b as well, all gradients before any update
    O3  V = B V + (1-B) dJ/dw, V = 0 before the first step, the same for b
    O4  w = w - a V

a is the learning rate, B is beta. An optimiser maps parameters, gradients and its state, what it remembers of the steps
before, to new parameters and a new state, and changes none of them.
"""

from collections.abc import Mapping

import numpy as np

__all__ = ["gradient_descent", "momentum", "no_state", "zero_velocities"]

Arrays = Mapping[str, np.ndarray]


def no_state(params: Arrays) -> dict[str, np.ndarray]:
    """The state that gradient descent starts with: none."""
    return {}


def gradient_descent(
    params: Arrays, gradients: Arrays, state: Arrays, *, learning_rate: float
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Gradient descent: w = w - a dw for every parameter w, from gradients named d<w>.

    Shapes and dtypes are those of the parameters. Returns (params after the step, the state as it was: none).
    Source: the notes, "Update".
    """
    updated = {}
    for name, w in params.items():
        updated[name] = w - learning_rate * gradients[f"d{name}"]  # (U1)
    return updated, {**state}


def zero_velocities(params: Arrays) -> dict[str, np.ndarray]:
    """The state that momentum starts with: V = 0 for every parameter, under the name v<w>."""
    return {f"v{name}": np.zeros_like(w) for name, w in params.items()}


def momentum(
    params: Arrays, gradients: Arrays, velocities: Arrays, *, learning_rate: float, beta: float
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Momentum as an exponentially weighted average: V = B V + (1-B) dw, then w = w - a V, for every parameter w.

    Shapes and dtypes are those of the parameters. Returns (params after the step, velocities after the step).
    Source: the notes, "Momentum Algorithm".
    """
    updated, moved = {}, {}
    for name, w in params.items():
        V = beta * velocities[f"v{name}"] + (1 - beta) * gradients[f"d{name}"]  # (O3)
        moved[f"v{name}"] = V
        updated[name] = w - learning_rate * V  # (O4)
    return updated, moved
