"""The cross-entropy as the notes write it, and what it does to training."""

from __future__ import annotations

import numpy as np
import torch

import handgrad.manual.as_written
import handgrad.manual.losses
from handgrad.compare.notes import Evidence, Figure
from handgrad.compare.report.details import Line, Plot
from handgrad.manual.activations import sigmoid
from handgrad.manual.network import linear, linear_backward
from handgrad.manual.optimizers import gradient_descent

__all__ = ["literal_loss"]


def literal_loss() -> Evidence:
    """L2: value and gradient for y = 0 and p = 0.9, and 500 steps of descent along the gradient as written."""
    p, y = 0.9, 0.0
    z = float(np.log(p / (1 - p)))
    written = float(handgrad.manual.as_written.binary_cross_entropy(np.array([[p]]), np.array([[y]]))[0, 0])
    right = float(handgrad.manual.losses.binary_cross_entropy(np.array([[z]]), np.array([[y]]))[0, 0])
    logit = torch.tensor(z, dtype=torch.float64, requires_grad=True)
    by_torch = torch.nn.functional.binary_cross_entropy_with_logits(logit, torch.tensor(y, dtype=torch.float64))
    literal = _literal(logit, torch.tensor(y, dtype=torch.float64))
    (slope,) = torch.autograd.grad(by_torch, logit)
    (wrong,) = torch.autograd.grad(literal, logit)
    probabilities, costs = _descend(right=False)
    p_end, J_end = probabilities[-1], costs[-1]
    steps = tuple(map(float, range(len(costs))))
    return Evidence(
        f"y = 0, p = 0.9: as written {written:.4g}, correct {right:.4g}; dJ/dz as written {float(wrong):.2g}, correct "
        f"{float(slope):.2g}: the sign is wrong where y = 0; 500 steps of descent drive p(y = 0) to {p_end:.3g} and J "
        f"to {J_end}",
        (
            Figure("loss as written", written, float(literal.detach())),
            Figure("loss", right, float(by_torch.detach())),
            Figure("dJ/dz", p - y, float(slope)),
            Figure("dJ/dz as written", -p, float(wrong)),
            Figure("p(y = 0) after 500 steps as written", p_end, None),
            Figure("J after 500 steps as written", J_end, None),
        ),
        (
            Plot(
                "J as written, along its own gradient",
                "step",
                "J",
                (Line("as written", steps, tuple(costs)), Line("correct", steps, tuple(_descend(right=True)[1]))),
                text=f"As written it falls without end, until it is nan at step {_first_nan(costs)}.",
            ),
            Plot(
                "p where y = 0",
                "step",
                "p",
                (
                    Line("as written", steps, tuple(probabilities)),
                    Line("correct", steps, tuple(_descend(right=True)[0])),
                ),
                text="As written the answer is driven to 1 where it should be 0.",
            ),
        ),
    )


def _first_nan(costs: list[float]) -> int:
    return next((step for step, J in enumerate(costs) if np.isnan(J)), len(costs))


def _literal(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    p = torch.sigmoid(z)
    return -y * torch.log(p) + (1 - y) * torch.log(1 - p)


def _descend(*, right: bool) -> tuple[list[float], list[float]]:
    """Logistic regression on two examples, 500 steps at rate 1: p where y = 0, and J, before each step and at the end.

    By the gradient of the formula as written, dz = -y (1-p) - (1-y) p, or by the right one, dz = p - y.
    """
    X, Y = np.array([[-0.1, 0.1]]), np.array([[0.0, 1.0]])
    params = {"W": np.zeros((1, 1)), "b": np.zeros((1, 1))}
    probabilities, costs = list[float](), list[float]()
    with np.errstate(all="ignore"):
        for _ in range(501):
            Z = linear(params["W"], X, params["b"])
            P = sigmoid(Z)
            losses = (
                handgrad.manual.losses.binary_cross_entropy(Z, Y)
                if right
                else handgrad.manual.as_written.binary_cross_entropy(P, Y)
            )
            probabilities.append(float(P[0, 0]))
            costs.append(float(handgrad.manual.losses.mean_loss(losses)))
            dZ = handgrad.manual.losses.output_gradient(P, Y) if right else (-Y * (1 - P) - (1 - Y) * P) / Y.shape[1]
            dW, _, db = linear_backward(dZ, params["W"], X, needs_dA_prev=False)
            params, _ = gradient_descent(params, {"dW": dW, "db": db}, {}, learning_rate=1.0)
    return probabilities, costs
