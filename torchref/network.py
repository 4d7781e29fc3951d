"""The fully connected network as an ordinary nn.Sequential of nn.Linear and activations.

    F1  Z[l] = W[l] A[l-1] + b[l], A[0] = X
    F2  A[l] = g(Z[l])

B1-B5 stand nowhere here: autograd supplies every gradient. torch has examples as rows, the notes as columns: X comes in
as (n_x, n), is transposed once at the entry, and every tap hands out the notes' orientation.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from torchref import activations as activation_modules
from torchref import losses as loss_functions
from torchref.losses import mean_loss, weight_decay
from torchref.tap import tap

__all__ = ["Reference", "build", "cost", "mlp"]

Reference = Callable[[Mapping[str, Tensor], Tensor, Tensor], Tensor]


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
    """Forward pass and cost J, a scalar, naming Z1, A1, ..., ZL, AL, losses and penalty by taps.

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
        return mean_loss(losses)
    weights = [module.weight for module in modules if isinstance(module, nn.Linear)]
    return mean_loss(losses, tap("penalty", weight_decay(weights, l2)))


def mlp(layers: Sequence[int], activations: Sequence[str], loss: str, *, l2: float = 0.0) -> Reference:
    """The notes' network as a reference: reference(params, X, Y) -> J, with params W1 (n_1, n_x), b1 (n_1, 1), ...

    Activations are sigmoid, relu, tanh or identity, one per layer after the input; the loss is binary-cross-entropy,
    which reads the logits ZL and needs sigmoid last, or squared-error, which reads AL. X is (n_x, n), Y is (K, n).
    Raises ValueError for names that are not known, sizes that are not positive, or params of other shapes.
    """
    layers, activations = tuple(layers), tuple(activations)
    _check(layers, activations, loss, l2)
    modules = [getattr(activation_modules, name) for name in activations]
    function = getattr(loss_functions, loss.replace("-", "_"))
    model = _Cost(build(layers, modules, torch.float64), function, "Z" if loss == "binary-cross-entropy" else "A", l2)

    def reference(params: Mapping[str, Tensor], X: Tensor, Y: Tensor) -> Tensor:
        placed = {}
        for l in range(1, len(layers)):
            for name, shape in ((f"W{l}", (layers[l], layers[l - 1])), (f"b{l}", (layers[l], 1))):
                got = tuple(params[name].shape) if name in params else "missing"
                if got != shape:
                    raise ValueError(f"{name} is {got}; layers {layers} need {shape}")
            placed[f"model.{2 * l - 2}.weight"] = params[f"W{l}"]
            placed[f"model.{2 * l - 2}.bias"] = params[f"b{l}"].squeeze(1)
        J: Tensor = functional_call(model, placed, (X, Y))
        return J

    return reference


LOSSES = ("binary-cross-entropy", "squared-error")


def _check(layers: tuple[int, ...], activations: tuple[str, ...], loss: str, l2: float) -> None:
    if len(layers) < 2 or not all(isinstance(n, int) and n > 0 for n in layers):
        raise ValueError(f"layers is {layers}; it must hold two or more positive whole numbers, like (3, 4, 1)")
    unknown = [name for name in activations if name not in activation_modules.__all__]
    if unknown or len(activations) != len(layers) - 1:
        known = " ".join(activation_modules.__all__)
        raise ValueError(f"activations is {activations}; it must name {len(layers) - 1}, one a layer, of {known}")
    if loss not in LOSSES:
        raise ValueError(f"loss is {loss!r}; it must be one of {' '.join(LOSSES)}")
    if loss == LOSSES[0] and activations[-1] != "sigmoid":
        raise ValueError(f"the last activation is {activations[-1]!r}; binary-cross-entropy needs sigmoid there")
    if not isinstance(l2, (int, float)) or not 0 <= l2 < float("inf"):
        raise ValueError(f"l2 is {l2!r}; it must be a number from 0 on")


class _Cost(nn.Module):
    """A network and its cost as one module, so that its parameters can be handed in with every call."""

    def __init__(
        self, model: nn.Sequential, loss: Callable[[Tensor, Tensor], Tensor], loss_reads: str, l2: float
    ) -> None:
        super().__init__()
        self.model, self.loss, self.loss_reads, self.l2 = model, loss, loss_reads, l2

    def forward(self, X: Tensor, Y: Tensor) -> Tensor:
        """J, a scalar."""
        return cost(self.model, X, Y, self.loss, self.loss_reads, self.l2)
