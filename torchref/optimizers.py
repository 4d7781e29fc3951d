"""torch.optim.SGD, configured to be exactly the notes' updates.

    U1  w = w - a dJ/dw
    O3  V = B V + (1-B) dJ/dw, V = 0 before the first step
    O4  w = w - a V

The trap: SGD starts its buffer with the undamped gradient of step 1. Momentum = dampening = B is the notes' rule only
once a buffer of zeros is in place before that step.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["gradient_descent", "momentum", "step", "velocities"]

Parameters = Mapping[str, Tensor]


def gradient_descent(parameters: Parameters, *, learning_rate: float) -> torch.optim.SGD:
    """Plain SGD."""
    return torch.optim.SGD(parameters.values(), lr=learning_rate)  # (U1)


def momentum(parameters: Parameters, *, learning_rate: float, beta: float) -> torch.optim.SGD:
    """SGD with momentum = dampening = beta and a momentum buffer of zeros for every parameter."""
    sgd = torch.optim.SGD(parameters.values(), lr=learning_rate, momentum=beta, dampening=beta)  # (O3)
    for parameter in parameters.values():
        sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return sgd


def step(optimizer: torch.optim.SGD) -> None:
    """Update every parameter in place from its .grad."""
    optimizer.step()  # (O4)


def velocities(optimizer: torch.optim.SGD, parameters: Parameters) -> dict[str, Tensor]:
    """The velocities after a step under the notes' names vW1, vb1, ...; none for gradient descent.

    With beta = 0 SGD leaves its buffer alone and moves by the gradient; V is that gradient then.
    """
    idle = optimizer.param_groups[0]["momentum"] == 0
    found: dict[str, Tensor] = {}
    for name, parameter in parameters.items():
        buffer = optimizer.state[parameter].get("momentum_buffer")
        if buffer is not None and parameter.grad is not None:
            found[f"v{name}"] = parameter.grad if idle else buffer
    return found
