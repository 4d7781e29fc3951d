"""The lecture notes' network by hand, in NumPy: forward, backward, initialisers, batches, optimisers."""

__all__ = [
    "activations",
    "as_written",
    "batches",
    "initializers",
    "losses",
    "network",
    "optimizers",
    "training",
    "two_layers",
]
