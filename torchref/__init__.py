"""The same network in torch.nn: forward passes only, autograd supplies every gradient."""

from torchref.modules import from_module
from torchref.network import mlp
from torchref.tap import tap

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
]
