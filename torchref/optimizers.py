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
from torch.optim.sgd import sgd

__all__ = ["gradient_descent", "momentum", "one_step", "step", "velocities"]

Parameters = Mapping[str, Tensor]


def gradient_descent(parameters: Parameters, *, learning_rate: float, beta: float = 0.0) -> torch.optim.SGD:
    """Plain SGD; `beta` belongs to momentum and is not read."""
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


def one_step(
    parameters: Parameters, gradients: Parameters, velocities: Parameters, *, learning_rate: float, beta: float
) -> dict[str, Tensor]:
    """The velocities vW1, ..., if there are any to start from, and W1_next, ..., by the function that SGD's step calls.

    Gradients are named dW1, ...; nothing that is handed in is changed. With beta = 0, SGD leaves the buffers alone as
    `velocities` says above. Any shape and dtype.
    """
    moved = {name: parameter.clone() for name, parameter in parameters.items()}
    along = [gradients[f"d{name}"] for name in parameters]
    buffers = {f"v{name}": velocities[f"v{name}"].clone() for name in parameters if velocities}
    momentum = beta if buffers else 0.0
    sgd(  # (O3, O4) or (U1)
        [*moved.values()],
        along,
        [*buffers.values()] or [None] * len(along),
        lr=learning_rate,
        momentum=momentum,
        dampening=momentum,
        weight_decay=0.0,
        nesterov=False,
        maximize=False,
        foreach=False,
    )
    kept = buffers if momentum else dict(zip(buffers, along, strict=False))
    return kept | {f"{name}_next": w for name, w in moved.items()}
