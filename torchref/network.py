"""The fully connected network as an ordinary nn.Sequential of nn.Linear and activations.

    F1  Z[l] = W[l] A[l-1] + b[l], A[0] = X
    F2  A[l] = g(Z[l])

B1-B5 stand nowhere here: autograd supplies every gradient. torch has examples as rows, the notes as columns: X comes in
as (n_x, n), is transposed once at the entry, and every tap hands out the notes' orientation.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from torchref.losses import mean_loss, weight_decay
from torchref.tap import tap

__all__ = ["build", "cost"]


def build(layers: Sequence[int], activations: Sequence[type[nn.Module]], dtype: torch.dtype) -> nn.Sequential:
    """nn.Sequential(Linear, activation, Linear, activation, ...) for widths (n_x, n_1, ..., n_L)."""
    modules: list[nn.Module] = []
    for n_in, n_out, activation in zip(layers, layers[1:], activations, strict=False):
        modules += [nn.Linear(n_in, n_out, dtype=dtype), activation()]
    return nn.Sequential(*modules)


def cost(
    model: nn.Sequential,
    X: Tensor,
    Y: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    loss_reads: str = "Z",
    l2: float = 0.0,
) -> Tensor:
    """Forward pass and cost J, a scalar, naming Z1, A1, ..., ZL, AL, losses, penalty and J by taps.

    X is (n_x, n), Y is (K, n). `loss_reads` names the tensor of the last layer that the loss is a function of: "Z"
    (logits) or "A". The penalty is there only if l2 > 0.
    """
    modules = list(model)
    a = X.T  # (n, n_x)
    for l, (linear, activation) in enumerate(zip(modules[::2], modules[1::2], strict=True), start=1):
        z = linear(a)  # (F1) (n, n_l)
        z = tap(f"Z{l}", z.T).T
        a = activation(z)  # (F2) (n, n_l)
        a = tap(f"A{l}", a.T).T
    losses = tap("losses", loss((z if loss_reads == "Z" else a).T, Y))  # (K, n)
    if not l2:
        return tap("J", mean_loss(losses))
    weights = [module.weight for module in modules if isinstance(module, nn.Linear)]
    return tap("J", mean_loss(losses, tap("penalty", weight_decay(weights, l2))))
