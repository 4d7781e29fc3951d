"""The file that `handgrad init` writes: a short derivation that passes, or the same with one mistake."""

from __future__ import annotations

from pathlib import Path

from handgrad.compare.errors import InputError

TEMPLATE = '''"""A derivation by hand and its torch reference. Run: handgrad check {name}"""

import numpy as np
import torch

from handgrad import tap

rng = np.random.default_rng(0)
params = {{
    "W1": rng.standard_normal((4, 3)),
    "b1": rng.standard_normal((4, 1)),
    "W2": rng.standard_normal((2, 4)),
    "b2": rng.standard_normal((2, 1)),
}}
batch = (rng.standard_normal((3, 7)), rng.standard_normal((2, 7)))  # X and Y, examples in columns


def derivation(params, X, Y):
    """Yours: forward and backward in NumPy. Return J and d<name> of every parameter, and what you want checked."""
    n = X.shape[1]
    Z1 = params["W1"] @ X + params["b1"]
    A1 = np.tanh(Z1)
    Z2 = params["W2"] @ A1 + params["b2"]
    J = ((Z2 - Y) ** 2).sum() / (2 * n)
    dZ2 = (Z2 - Y) / n
    dW2 = dZ2 @ A1.T
    db2 = dZ2.sum(axis=1, keepdims=True)
    dA1 = params["W2"].T @ dZ2
    dZ1 = dA1 * (1 - {at}**2)
    dW1 = dZ1 @ X.T
    db1 = dZ1.sum(axis=1, keepdims=True)
    return {{
        "Z1": Z1, "A1": A1, "Z2": Z2, "J": J,
        "dZ2": dZ2, "dW2": dW2, "db2": db2, "dA1": dA1, "dZ1": dZ1, "dW1": dW1, "db1": db1,
    }}  # fmt: skip


def reference(params, X, Y):
    """The same forward pass in torch, which supplies the gradients. tap names what the derivation returns."""
    Z1 = tap("Z1", params["W1"] @ X + params["b1"])
    A1 = tap("A1", torch.tanh(Z1))
    Z2 = tap("Z2", params["W2"] @ A1 + params["b2"])
    return ((Z2 - Y) ** 2).sum() / (2 * X.shape[1])
'''


def write_template(path: str, *, broken: bool = False) -> None:
    """Write a runnable file, never over one that exists; `broken` takes the derivative of tanh at Z1 instead of A1."""
    file = Path(path)
    if file.suffix != ".py":
        raise InputError(f"{path!r} is no name for a Python file; end it in .py")
    content = TEMPLATE.format(name=file.name, at="Z1" if broken else "A1")
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(content)
    except FileExistsError:
        if not file.exists():
            raise InputError(f"{path} is a link to a file that is not there; remove it or name a new file") from None
        raise InputError(f"{path} exists and is left as it is; name a new file") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be written ({why}); name a file in an existing folder") from None
