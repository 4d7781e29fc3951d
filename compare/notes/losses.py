"""The cross-entropy as the notes write it, and what it does to training."""

from __future__ import annotations

import numpy as np
import torch

import manual.as_written
import manual.losses
from compare.notes import Evidence, Figure

__all__ = ["literal_loss"]


def literal_loss() -> Evidence:
    """L2: value and gradient for y = 0 and p = 0.9, and 500 steps of descent along the gradient as written."""
    p, y = 0.9, 0.0
    z = float(np.log(p / (1 - p)))
    written = float(manual.as_written.binary_cross_entropy(np.array([[p]]), np.array([[y]]))[0, 0])
    right = float(manual.losses.binary_cross_entropy(np.array([[z]]), np.array([[y]]))[0, 0])
    logit = torch.tensor(z, dtype=torch.float64, requires_grad=True)
    by_torch = torch.nn.functional.binary_cross_entropy_with_logits(logit, torch.tensor(y, dtype=torch.float64))
    literal = _literal(logit, torch.tensor(y, dtype=torch.float64))
    (slope,) = torch.autograd.grad(by_torch, logit)
    (wrong,) = torch.autograd.grad(literal, logit)
    p_end, J_end = _descend()
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
    )


def _literal(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    p = torch.sigmoid(z)
    return -y * torch.log(p) + (1 - y) * torch.log(1 - p)


def _descend() -> tuple[float, float]:
    """Logistic regression on two examples by the gradient of the formula as written: dz = -y (1-p) - (1-y) p."""
    x, y = np.array([[-0.1, 0.1]]), np.array([[0.0, 1.0]])
    w = b = 0.0
    with np.errstate(all="ignore"):
        for _ in range(500):
            p = 1 / (1 + np.exp(-(w * x + b)))
            dz = (-y * (1 - p) - (1 - y) * p) / 2
            w, b = w - 20.0 * float((dz * x).sum()), b - 20.0 * float(dz.sum())
        p = 1 / (1 + np.exp(-(w * x + b)))
        J = float(manual.as_written.binary_cross_entropy(p, y).mean())
    return float(p[0, 0]), J
