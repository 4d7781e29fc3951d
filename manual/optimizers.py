"""Parameter updates.

    U1  w = w - a dJ/dw, for every layer, for b as well, all gradients before any update
    O3  V = B V + (1-B) dJ/dw, V = 0 before the first step, the same for b
    O4  w = w - a V
    O5  M = B M + (1-B) dJ/dw, M = 0 before the first step, the same for b
    O6  S = B2 S + (1-B2) (dJ/dw)^2, S = 0 before the first step, the same for b
    O7  w = w - a M' / (sqrt(S') + e), M' = M/(1 - B^t), S' = S/(1 - B2^t), t = 1, 2, ... the number of the step

a is the learning rate, B is beta, e is epsilon. An optimiser maps parameters, gradients and its state, what it
remembers of the steps before, to new parameters and a new state, and changes none of them.
"""

from collections.abc import Mapping

import numpy as np

__all__ = ["adam", "gradient_descent", "momentum", "no_state", "zero_moments", "zero_velocities"]

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


def zero_moments(params: Arrays) -> dict[str, np.ndarray]:
    """The state that Adam starts with: M = 0 and S = 0 for every parameter, as m<w> and s<w>, and t = 0 steps."""
    means = {f"m{name}": np.zeros_like(w) for name, w in params.items()}
    squares = {f"s{name}": np.zeros_like(w) for name, w in params.items()}
    return {**means, **squares, "t": np.array(0)}


def adam(
    params: Arrays,
    gradients: Arrays,
    moments: Arrays,
    *,
    learning_rate: float,
    beta: float,
    beta2: float,
    epsilon: float,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Adam: every entry of w moves by the average of its gradient, divided by the root of the average of its square.

    M and S start at 0, so after t steps their weights add up to 1 - B^t and 1 - B2^t, and are divided by that. e keeps
    an entry without gradients from 0/0. Shapes and dtypes are those of the parameters. Returns (params after the step,
    moments and t after the step). Supplied. Source: Kingma and Ba, "Adam: a method for stochastic optimization", 2015.
    """
    t = int(moments["t"]) + 1
    updated, means, squares = {}, {}, {}
    for name, w in params.items():
        dw = gradients[f"d{name}"]
        M = beta * moments[f"m{name}"] + (1 - beta) * dw  # (O5)
        S = beta2 * moments[f"s{name}"] + (1 - beta2) * dw * dw  # (O6)
        means[f"m{name}"], squares[f"s{name}"] = M, S
        M_corrected, S_corrected = M / (1 - beta**t), S / (1 - beta2**t)
        updated[name] = w - learning_rate * M_corrected / (np.sqrt(S_corrected) + epsilon)  # (O7)
    return updated, {**means, **squares, "t": np.array(t)}
