"""The cross-entropy as the notes write it, and what it does to training."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from handgrad.compare.notes.evidence import Evidence, Figure
from handgrad.compare.results import Curve, Plot
from handgrad.manual import as_written, losses
from handgrad.manual.activations import sigmoid
from handgrad.manual.network import linear, linear_backward
from handgrad.manual.optimizers import gradient_descent

STEPS = 500


def literal_loss() -> Evidence:
    """L2: value and gradient for y = 0 and p = 0.9, and descent along the gradient as written."""
    p, y = 0.9, 0.0
    z = float(np.log(p / (1 - p)))
    written = float(as_written.binary_cross_entropy(np.array([[p]]), np.array([[y]]))[0, 0])
    right = float(losses.binary_cross_entropy(np.array([[z]]), np.array([[y]]))[0, 0])
    logit, label = torch.tensor(z, dtype=torch.float64, requires_grad=True), torch.tensor(y, dtype=torch.float64)
    by_torch = torch.nn.functional.binary_cross_entropy_with_logits(logit, label)
    literal = _literal(logit, label)
    (slope,) = torch.autograd.grad(by_torch, logit)
    (wrong,) = torch.autograd.grad(literal, logit)
    along_written, along_right = _descend(_as_written), _descend(_right)
    p_end, J_end = (values[-1] for values in along_written)
    return Evidence(
        f"y = 0, p = 0.9: as written {written:.4g}, correct {right:.4g}; dJ/dz as written {float(wrong):.2g}, correct "
        f"{float(slope):.2g}: the sign is wrong where y = 0; {STEPS} steps of descent drive p(y = 0) to {p_end:.3g} "
        f"and J to {J_end}",
        (
            Figure("loss as written", written, float(literal.detach())),
            Figure("loss", right, float(by_torch.detach())),
            Figure("dJ/dz", p - y, float(slope)),
            Figure("dJ/dz as written", -p, float(wrong)),
            Figure(f"p(y = 0) after {STEPS} steps as written", p_end, None),
            Figure(f"J after {STEPS} steps as written", J_end, None),
        ),
        _plots(along_written, along_right),
    )


Descent = tuple[list[float], list[float]]
"""p where y = 0, and J, before each step and at the end."""


def _plots(along_written: Descent, along_right: Descent) -> tuple[Plot, Plot]:
    """p and J along both descents."""
    steps = tuple(map(float, range(STEPS + 1)))
    p, J = (
        (Curve("as written", steps, tuple(written)), Curve("correct", steps, tuple(right)))
        for written, right in zip(along_written, along_right, strict=True)
    )
    first = next((step for step, cost in enumerate(along_written[1]) if np.isnan(cost)), STEPS + 1)
    without_end = f"As written it falls without end, until it is nan at step {first}."
    wrong_way = "As written the answer is driven to 1 where it should be 0."
    return (
        Plot("J as written, along its own gradient", "step", "J", J, text=without_end),
        Plot("p where y = 0", "step", "p", p, text=wrong_way),
    )


def _literal(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    p = torch.sigmoid(z)
    return -y * torch.log(p) + (1 - y) * torch.log(1 - p)


def _as_written(Z: np.ndarray, P: np.ndarray, Y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The losses as written, and dZ of them: -y (1-p) - (1-y) p."""
    return as_written.binary_cross_entropy(P, Y), (-Y * (1 - P) - (1 - Y) * P) / Y.shape[1]


def _right(Z: np.ndarray, P: np.ndarray, Y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The right losses, and dZ of them: p - y."""
    return losses.binary_cross_entropy(Z, Y), losses.output_gradient(P, Y)


def _descend(loss: Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]) -> Descent:
    """Logistic regression on two examples at rate 1; `loss` gives losses and dZ for Z, P and Y."""
    X, Y = np.array([[-0.1, 0.1]]), np.array([[0.0, 1.0]])
    params = {"W": np.zeros((1, 1)), "b": np.zeros((1, 1))}
    probabilities, costs = list[float](), list[float]()
    with np.errstate(all="ignore"):
        for _ in range(STEPS + 1):
            Z = linear(params["W"], X, params["b"])
            P = sigmoid(Z)
            values, dZ = loss(Z, P, Y)
            probabilities.append(float(P[0, 0]))
            costs.append(float(losses.mean_loss(values)))
            dW, _, db = linear_backward(dZ, params["W"], X, needs_dA_prev=False)
            params, _ = gradient_descent(params, {"dW": dW, "db": db}, {}, learning_rate=1.0)
    return probabilities, costs
