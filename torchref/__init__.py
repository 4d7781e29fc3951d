"""The same network in torch.nn: forward passes only, autograd supplies every gradient."""

from torchref.tap import tap

__all__ = ["activations", "batches", "exchange", "initializers", "losses", "network", "optimizers", "tap", "training"]
