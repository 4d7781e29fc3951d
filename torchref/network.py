"""The fully connected network: an ordinary nn.Sequential of nn.Linear and activations, or a function of its weights.

    F1  Z[l] = W[l] A[l-1] + b[l], A[0] = X
    F2  A[l] = g(Z[l])

B1-B5 stand nowhere here: autograd supplies every gradient. Examples are columns as in the notes, X is (n_x, n), and so
is what every tap hands out; nn.Linear, which has them as rows, is handed the transpose.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from handgrad.torchref import activations as activation_modules
from handgrad.torchref.losses import LOSSES, mean_loss, weight_decay
from handgrad.torchref.tap import tap

__all__ = ["Layer", "Reference", "affine", "build", "cost", "layers_of", "mlp"]

Layer = tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]  # Z from the A before, and A = g(Z)
Reference = Callable[[Mapping[str, Tensor], Tensor, Tensor], Tensor]


def build(layers: Sequence[int], activations: Sequence[Callable[[], nn.Module]], dtype: torch.dtype) -> nn.Sequential:
    """nn.Sequential(Linear, activation, Linear, activation, ...) for widths (n_x, n_1, ..., n_L)."""
    modules: list[nn.Module] = []
    for n_in, n_out, activation in zip(layers, layers[1:], activations, strict=False):
        modules += [nn.Linear(n_in, n_out, dtype=dtype), activation()]
    return nn.Sequential(*modules)


def layers_of(model: nn.Sequential) -> list[Layer]:
    """The layers of a network that `build` made, from columns of examples to columns of examples."""
    modules = list(model)
    return [(_by_rows(linear), activation) for linear, activation in zip(modules[::2], modules[1::2], strict=True)]


def _by_rows(linear: nn.Module) -> Callable[[Tensor], Tensor]:
    """torch has examples as rows: A (n_{l-1}, n) goes in as (n, n_{l-1}), Z (n_l, n) comes out."""

    def columns(A: Tensor) -> Tensor:
        Z: Tensor = linear(A.T).T
        return Z

    return columns


def cost(
    layers: Iterable[Layer],
    weights: Iterable[Tensor],
    X: Tensor,
    Y: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    loss_reads: str = "Z",
    l2: float = 0.0,
) -> Tensor:
    """Forward pass and cost J, a scalar, naming Z1, A1, ..., ZL, AL, losses and penalty by taps.

    X is (n_x, n), Y is (K, n). `loss_reads` names the tensor of the last layer that the loss is a function of: "Z"
    (logits) or "A". The penalty, of the `weights`, is there only if l2 > 0.
    """
    A = X  # (n_x, n)
    for l, (linear, activation) in enumerate(layers, start=1):
        Z = tap(f"Z{l}", linear(A))  # (F1) (n_l, n)
        A = tap(f"A{l}", activation(Z))  # (F2) (n_l, n)
    losses = tap("losses", loss(Z if loss_reads == "Z" else A, Y))  # (K, n)
    return mean_loss(losses, tap("penalty", weight_decay(weights, l2))) if l2 else mean_loss(losses)


def mlp(layers: Sequence[int], activations: Sequence[str], loss: str, *, l2: float = 0.0) -> Reference:
    """The notes' network as a reference: reference(params, X, Y) -> J, with params W1 (n_1, n_x), b1 (n_1, 1), ...

    Activations are those of torchref/activations.py, one per layer after the input; losses those of torchref/losses.py,
    such as binary-cross-entropy, which reads the logits ZL and needs sigmoid last. X is (n_x, n), Y is (K, n).
    Raises ValueError for names that are not known, sizes that are not positive, or params of other shapes.
    """
    layers, activations = tuple(layers), tuple(activations)
    _check(layers, activations, loss, l2)
    modules = [getattr(activation_modules, name.replace("-", "_"))() for name in activations]
    function, reads, _ = LOSSES[loss]
    numbers = range(1, len(layers))

    def reference(params: Mapping[str, Tensor], X: Tensor, Y: Tensor) -> Tensor:
        for l in numbers:
            for name, shape in ((f"W{l}", (layers[l], layers[l - 1])), (f"b{l}", (layers[l], 1))):
                got = tuple(params[name].shape) if name in params else "missing"
                if got != shape:
                    raise ValueError(f"{name} is {got}; layers {layers} need {shape}")
        layers_by_columns = [affine(params[f"W{l}"], params[f"b{l}"]) for l in numbers]
        weights = (params[f"W{l}"] for l in numbers)
        return cost(zip(layers_by_columns, modules, strict=True), weights, X, Y, function, reads, l2)

    return reference


def affine(W: Tensor, b: Tensor) -> Callable[[Tensor], Tensor]:
    """What nn.Linear computes, on columns of examples: Z = W A + b."""
    return lambda A: W @ A + b


def _check(layers: tuple[int, ...], activations: tuple[str, ...], loss: str, l2: float) -> None:
    if len(layers) < 2 or not all(isinstance(n, int) and n > 0 for n in layers):
        raise ValueError(f"layers is {layers}; it must hold two or more positive whole numbers, like (3, 4, 1)")
    known = [name.replace("_", "-") for name in activation_modules.__all__]
    if not {*activations} <= {*known} or len(activations) != len(layers) - 1:
        raise ValueError(
            f"activations is {activations}; it must name {len(layers) - 1}, one a layer, of {' '.join(known)}"
        )
    if loss not in LOSSES:
        raise ValueError(f"loss is {loss!r}; it must be one of {' '.join(LOSSES)}")
    last = LOSSES[loss].last
    if last and activations[-1] != last:
        raise ValueError(f"the last activation is {activations[-1]!r}; {loss} needs {last} there")
    if not isinstance(l2, (int, float)) or not 0 <= l2 < float("inf"):
        raise ValueError(f"l2 is {l2!r}; it must be a number from 0 on")
