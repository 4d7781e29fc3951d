"""The same network in torch.nn: forward passes only, autograd supplies every gradient."""

from torchref.network import mlp
from torchref.tap import tap

__all__ = [
    "activations",
    "batches",
    "exchange",
    "initializers",
    "losses",
    "mlp",
    "network",
    "optimizers",
    "tap",
    "training",
]
