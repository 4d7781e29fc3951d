"""The variance of numbers that are far from 0: the mean of the squared distances from their mean."""

import torch


def derivation(params):
    """Forward and backward by hand."""
    x = params["x"]
    d = x - x.mean()
    J = (d * d).mean()
    return {"J": J, "dx": 2 * d / x.size}


def reference(params):
    """The same in torch."""
    return torch.var(params["x"], correction=0)


def draw(rng):
    """Random values around 10,000."""
    return {"params": {"x": 1e8 + rng.standard_normal(20)}, "batch": ()}
