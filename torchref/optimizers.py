"""torch.optim, configured to be exactly the updates by hand, and its own functions on states that are given.

U1  w = w - a dJ/dw
O3  V = B V + (1-B) dJ/dw, V = 0 before the first step
O4  w = w - a V
O5  M = B M + (1-B) dJ/dw, M = 0 before the first step
O6  S = B2 S + (1-B2) (dJ/dw)^2, S = 0 before the first step
O7  w = w - a M' / (sqrt(S') + e), M' = M/(1 - B^t), S' = S/(1 - B2^t)

The trap: SGD starts its buffer with the undamped gradient of step 1. Momentum = dampening = B is the notes' rule only
once a buffer of zeros is in place before that step. Adam's averages start at 0 by themselves.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim.adam import adam as adam_of_torch
from torch.optim.sgd import sgd as sgd_of_torch

__all__ = ["Twin", "adam", "gradient_descent", "momentum", "state", "step"]

Tensors = Mapping[str, Tensor]


class Twin(NamedTuple):
    """An optimiser in torch, whole and in its two halves; each takes the optimiser's options as well.

    `build(parameters)` makes torch's optimiser. `remember(gradients, state)` is the state after a step along the
    gradients dw, and `move(parameters, gradients, state)` the parameters that go with the state after it. Both leave
    what they are given as it is, and every tensor may have a first axis of runs.
    """

    build: Callable[..., torch.optim.Optimizer]
    remember: Callable[..., dict[str, Tensor]]
    move: Callable[..., dict[str, Tensor]]


def step(optimizer: torch.optim.Optimizer) -> None:
    """Update every parameter in place from its .grad."""
    optimizer.step()  # (O4)


def state(optimizer: torch.optim.Optimizer, parameters: Tensors) -> dict[str, Tensor]:
    """What is remembered after a step under the names by hand: vW1, vb1, ... or mW1, ..., sW1, ..., t.

    With beta = 0 SGD leaves its buffer alone and moves by the gradient; V is that gradient then.
    """
    found: dict[str, Tensor] = {}
    for key, letter in {"momentum_buffer": "v", "exp_avg": "m", "exp_avg_sq": "s"}.items():
        for name, parameter in parameters.items():
            kept, g = optimizer.state[parameter], parameter.grad
            if key in kept:
                is_idle = optimizer.param_groups[0].get("momentum") == 0
                found[f"{letter}{name}"] = g if is_idle and g is not None else kept[key]
            if "step" in kept:
                found["t"] = kept["step"]
    return found


# --- gradient descent


def _plain_sgd(parameters: Tensors, *, learning_rate: float) -> torch.optim.SGD:
    return torch.optim.SGD(parameters.values(), lr=learning_rate)  # (U1)


def _nothing(gradients: Tensors, before: Tensors, **_: float) -> dict[str, Tensor]:
    return {}


def _by_gradient(parameters: Tensors, gradients: Tensors, _: Tensors, *, learning_rate: float) -> dict[str, Tensor]:
    return _along(parameters, [gradients[f"d{name}"] for name in parameters], learning_rate)


def _along(parameters: Tensors, directions: list[Tensor], learning_rate: float) -> dict[str, Tensor]:
    """The parameters after plain SGD's step along the directions."""
    moved = {name: w.clone() for name, w in parameters.items()}
    _sgd([*moved.values()], directions, [None] * len(moved), lr=learning_rate, momentum=0.0, dampening=0.0)
    return moved


_sgd: Any = partial(sgd_of_torch, weight_decay=0.0, nesterov=False, maximize=False, foreach=False)
gradient_descent = Twin(_plain_sgd, _nothing, _by_gradient)


# --- momentum


def _sgd_with_momentum(parameters: Tensors, *, learning_rate: float, beta: float) -> torch.optim.SGD:
    """SGD with momentum = dampening = beta and a momentum buffer of zeros for every parameter."""
    sgd = torch.optim.SGD(parameters.values(), lr=learning_rate, momentum=beta, dampening=beta)  # (O3)
    for parameter in parameters.values():
        sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return sgd


def _velocities(gradients: Tensors, before: Tensors, *, learning_rate: float, beta: float) -> dict[str, Tensor]:
    if not beta:
        return {f"v{name[1:]}": dw for name, dw in gradients.items()}
    after = {f"v{name[1:]}": before[f"v{name[1:]}"].clone() for name in gradients}
    given, thrown_away = [*gradients.values()], [dw.clone() for dw in gradients.values()]
    _sgd(thrown_away, given, [*after.values()], lr=learning_rate, momentum=beta, dampening=beta)
    return after


def _by_velocity(
    parameters: Tensors, _: Tensors, after: Tensors, *, learning_rate: float, beta: float
) -> dict[str, Tensor]:
    return _along(parameters, [after[f"v{name}"] for name in parameters], learning_rate)


momentum = Twin(_sgd_with_momentum, _velocities, _by_velocity)


# --- Adam


def _adam_with_moments(
    parameters: Tensors, *, learning_rate: float, beta: float, beta2: float, epsilon: float
) -> torch.optim.Adam:
    betas = (
        beta,  # (O5)
        beta2,  # (O6)
    )
    return torch.optim.Adam(parameters.values(), lr=learning_rate, betas=betas, eps=epsilon)  # (O7)


def _moments(gradients: Tensors, before: Tensors, **options: float) -> dict[str, Tensor]:
    given, thrown_away = [*gradients.values()], [dw.clone() for dw in gradients.values()]
    means, squares = ({f"{x}{name[1:]}": before[f"{x}{name[1:]}"].clone() for name in gradients} for x in "ms")
    counts = [torch.zeros(()) for _ in given]  # only what moves depends on them
    _adam(thrown_away, given, [*means.values()], [*squares.values()], [], counts, amsgrad=False, **_as_torch(options))
    return {**means, **squares, "t": before["t"] + 1}


def _by_moments(parameters: Tensors, _: Tensors, after: Tensors, **options: float) -> dict[str, Tensor]:
    """The parameters after a step by moments and a count, 1 at least, that are given: run by run, for torch counts so.

    The average of M and M is M; and with amsgrad torch divides by the largest S so far, which is S beside -inf.
    """
    moved = {name: w.clone() for name, w in parameters.items()}
    w, means, squares, counts = list[Tensor](), list[Tensor](), list[Tensor](), list[Tensor]()
    for name, tensor in moved.items():
        of_name = (tensor, after[f"m{name}"].clone(), after[f"s{name}"].clone(), after["t"].clamp(min=1) - 1)
        for found, each in zip((w, means, squares, counts), of_name, strict=True):
            found += each if after["t"].dim() else [each]
    smallest = [torch.full_like(each, -torch.inf) for each in squares]
    _adam(w, means, means, smallest, squares, counts, amsgrad=True, **_as_torch(options))
    return moved


def _as_torch(options: Mapping[str, float]) -> dict[str, float]:
    """The options under torch's names."""
    named = {"learning_rate": "lr", "beta": "beta1", "beta2": "beta2", "epsilon": "eps"}
    return {named[name]: value for name, value in options.items()}


_adam: Any = partial(adam_of_torch, weight_decay=0.0, maximize=False, foreach=False)
adam = Twin(_adam_with_moments, _moments, _by_moments)
