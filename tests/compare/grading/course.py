"""An exercise of two layers: its key, with numbers and names that no submission has, and what a class hands in."""

KEY = """
import numpy as np
import torch

from handgrad import tap

SECRET_OF_THE_KEY = "quetzalcoatl-7391"
rng = np.random.default_rng(20)
params = {"W1": rng.standard_normal((4, 3)), "b1": rng.standard_normal((4, 1))}
params |= {"W2": rng.standard_normal((2, 4)), "b2": rng.standard_normal((2, 1))}
batch = (rng.standard_normal((3, 7)), rng.standard_normal((2, 7)))


def derivation(params, X, Y):
    n = X.shape[1]
    Z1 = params["W1"] @ X + params["b1"]
    A1 = np.tanh(Z1)
    Z2 = params["W2"] @ A1 + params["b2"]
    J = ((Z2 - Y) ** 2).sum() / (2 * n)
    dZ2 = (Z2 - Y) / n
    dW2 = dZ2 @ A1.T
    db2 = dZ2.sum(axis=1, keepdims=True)
    dA1 = params["W2"].T @ dZ2
    dZ1 = dA1 * (1 - A1**2)
    dW1 = dZ1 @ X.T
    db1 = dZ1.sum(axis=1, keepdims=True)
    return dict(Z1=Z1, A1=A1, Z2=Z2, J=J, dZ2=dZ2, dW2=dW2, db2=db2, dA1=dA1, dZ1=dZ1, dW1=dW1, db1=db1)


def reference(params, X, Y):
    torch_side_hidden_one = tap("Z1", params["W1"] @ X + params["b1"])
    A1 = tap("A1", torch.tanh(torch_side_hidden_one))
    Z2 = tap("Z2", params["W2"] @ A1 + params["b2"])
    return ((Z2 - Y) ** 2).sum() / (2 * X.shape[1])
"""
RIGHT = "import numpy as np\n\n\n" + KEY[KEY.index("def derivation") : KEY.index("def reference")].rstrip() + "\n"
"""What is right: the key's own derivation, which the class does not see."""

TENSORS = ("Z1", "A1", "Z2", "J", "dZ2", "db2", "dW2", "dA1", "dZ1", "db1", "dW1")


def mistaken(*edits, source=RIGHT):
    """A submission with pieces of the right one replaced."""
    for old, new in edits:
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    return source


TANH = ("(1 - A1**2)", "(1 - A1)")
MEAN = ("dZ2.sum(axis=1, keepdims=True)", "dZ2.mean(axis=1, keepdims=True)")
SCALE = ("dZ2 = (Z2 - Y) / n", "dZ2 = Z2 - Y")
THIRD = ("dZ1 @ X.T", "-dZ1 @ X.T")
