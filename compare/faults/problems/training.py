"""A training loop by hand: linear regression, mini-batches, plain gradient descent."""

import torch


def trainer(params, batches):
    """Yields the gradients and the new parameters after each batch."""
    W, b = params["W"], params["b"]
    for X, Y in batches:
        e = (X @ W + b - Y) / len(X)
        dW = X.T @ e
        db = e.sum(axis=0)
        W = W - 0.1 * dW
        b = b - 0.1 * db
        yield {"W": W, "b": b, "dW": dW, "db": db}


def reference(params, X, Y):
    """The cost in torch."""
    return ((X @ params["W"] + params["b"] - Y) ** 2).sum() / 2 / len(X)


def optimizer(tensors):
    """torch's."""
    return torch.optim.SGD(tensors, lr=0.1)


def draw(rng):
    """Random sizes and values; the last batch is short."""
    d, K = rng.integers(3, 6), rng.integers(3, 5)
    sizes = (6, 6, 6, 4)
    batches = [(rng.standard_normal((n, d)), rng.standard_normal((n, K))) for n in sizes]
    return {"params": {"W": rng.standard_normal((d, K)), "b": rng.standard_normal(K)}, "batches": batches}
