"""The same network in torch.nn: forward passes only, autograd supplies every gradient."""

from handgrad.torchref.modules import from_module
from handgrad.torchref.network import mlp
from handgrad.torchref.tap import tap

__all__ = [
    "activations",
    "batches",
    "exchange",
    "from_module",
    "initializers",
    "losses",
    "mlp",
    "modules",
    "network",
    "optimizers",
    "tap",
    "training",
    "two_layers",
]
