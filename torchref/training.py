"""The loop of the notes.

O2  for each iteration: select a batch, forward propagation, backpropagation, update
"""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from handgrad.torchref.exchange import parameters
from handgrad.torchref.optimizers import state
from handgrad.torchref.optimizers import step as update
from handgrad.torchref.tap import tapped

__all__ = ["train"]

LOSS_PHASE = ("losses", "penalty")


def train(
    model: nn.Sequential,
    cost: Callable[[Tensor, Tensor], Tensor],
    optimizer: torch.optim.Optimizer,
    X: Tensor,
    Y: Tensor,
    batches: Iterable[Tensor],
) -> Iterator[tuple[int, str, dict[str, Tensor]]]:
    """Train the model, and yield everything on the way: (step, phase, {name: tensor}), phase by phase.

    Names, shapes and phases are those of the loop by hand. cost(X, Y) is J with taps; gradients are what autograd
    leaves in .grad. The tensors yielded are live: copy what must outlast the next step.
    """
    named = parameters(model)
    for step, batch in enumerate(batches, start=1):  # (O2)
        X_batch, Y_batch = X[:, batch], Y[:, batch]  # (n_x, n), (K, n)
        taps: dict[str, Tensor] = {}

        def keep(name: str, tensor: Tensor, taps: dict[str, Tensor] = taps) -> Tensor:
            tensor.retain_grad()
            taps[name] = tensor
            return tensor

        with tapped(keep):
            J = cost(X_batch, Y_batch)
        loss = {name: taps.pop(name) for name in [*taps] if name in LOSS_PHASE} | {"J": J}
        yield step, "forward", {"X": X_batch, "Y": Y_batch, **taps}
        yield step, "loss", loss
        optimizer.zero_grad()
        J.backward()  # type: ignore[no-untyped-call]  # torch annotates no return type
        yield step, "backward", _gradients(taps, named)
        update(optimizer)
        moved = {**state(optimizer, named), **{f"{name}_next": p for name, p in named.items()}}
        yield step, "update", {name: _as_column(tensor) for name, tensor in moved.items()}


def _gradients(taps: dict[str, Tensor], named: dict[str, nn.Parameter]) -> dict[str, Tensor]:
    """What autograd left in .grad, under the names dT, in the order of backpropagation: dZL, dWL, dbL, dA(L-1), ..."""
    found: dict[str, Tensor] = {}
    for name in reversed(taps):
        layer = name[1:]
        read = {name: taps[name]} if name.startswith("A") else {name: taps[name], **_of_layer(layer, named)}
        found |= {f"d{key}": _as_column(t.grad) for key, t in read.items() if t.grad is not None}
    return found


def _of_layer(layer: str, named: dict[str, nn.Parameter]) -> dict[str, Tensor]:
    return {f"W{layer}": named[f"W{layer}"], f"b{layer}": named[f"b{layer}"]}


def _as_column(tensor: Tensor) -> Tensor:
    """nn.Linear keeps a bias as (n_l,), the notes as (n_l, 1)."""
    return tensor.unsqueeze(1) if tensor.dim() == 1 else tensor
