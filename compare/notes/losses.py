"""The cross-entropy as the notes write it, and what it does to training."""

import numpy as np
import torch

from handgrad.compare.notes.evidence import Evidence, curves, evidence, figure
from handgrad.compare.notes.language import Sentence
from handgrad.compare.results import Plot
from handgrad.manual import as_written, losses
from handgrad.manual.activations import sigmoid, sigmoid_derivative
from handgrad.manual.network import Activation, Loss, Network, backward, cost, forward
from handgrad.manual.optimizers import gradient_descent

STEPS = 500


def literal_loss() -> Evidence:
    """L2: value and gradient for y = 0 and p = 0.9, and descent along the gradient as written."""
    p, y = np.array(0.9), np.array(0.0)
    z = np.log(p / (1 - p))
    written = as_written.binary_cross_entropy(p, y)
    right = losses.binary_cross_entropy(z, y)
    logit, label = torch.tensor(z, requires_grad=True), torch.tensor(y)
    by_torch = torch.nn.functional.binary_cross_entropy_with_logits(logit, label)
    literal = -label * torch.log(torch.sigmoid(logit)) + (1 - label) * torch.log(1 - torch.sigmoid(logit))
    (slope,), (wrong,) = torch.autograd.grad(by_torch, logit), torch.autograd.grad(literal, logit)
    along_written = _descend(WRITTEN)
    p_end, J_end = (values[-1] for values in along_written)
    return evidence(
        Sentence(
            "y = 0, p = 0.9: as written {written:.4g}, correct {right:.4g}; dJ/dz as written {wrong:.2g}, correct "
            "{slope:.2g}: the sign is wrong where y = 0; {steps} steps of descent drive p(y = 0) to {p:.3g} and J to "
            "{J}",
            written=float(written),
            right=float(right),
            wrong=float(wrong),
            slope=float(slope),
            steps=STEPS,
            p=p_end,
            J=J_end,
        ),
        figure("loss as written", written, literal.detach()),
        figure("loss", right, by_torch.detach()),
        figure("dJ/dz", p - y, slope),
        figure("dJ/dz as written", -p, wrong),
        figure(Sentence("p(y = 0) after {steps} steps as written", steps=STEPS), p_end),
        figure(Sentence("J after {steps} steps as written", steps=STEPS), J_end),
        plots=_plots(along_written, _descend(RIGHT)),
    )


Descent = tuple[list[float], list[float]]
"""p where y = 0, and J, before each step and at the end."""


def _plots(written: Descent, right: Descent) -> tuple[Plot, Plot]:
    """p and J along both descents."""
    p, J = (curves({"as written": one, "correct": other}) for one, other in zip(written, right, strict=True))
    first = next((step for step, cost in enumerate(written[1]) if np.isnan(cost)), STEPS + 1)
    without_end = Sentence("As written it falls without end, until it is nan at step {first}.", first=first)
    wrong_way = "As written the answer is driven to 1 where it should be 0."
    return (
        Plot("J as written, along its own gradient", "step", "J", J, text=without_end),
        Plot("p where y = 0", "step", "p", p, text=wrong_way),
    )


def _as_written(Z: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """The losses as written, of the logits."""
    return as_written.binary_cross_entropy(sigmoid(Z), Y)


def _as_written_derivative(P: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """The derivative of the losses as written, by the logits: -y (1-p) - (1-y) p."""
    derivative: np.ndarray = -Y * (1 - P) - (1 - Y) * P
    return derivative


WRITTEN = Loss(_as_written, _as_written_derivative, "Z")
RIGHT = Loss(losses.binary_cross_entropy, losses.binary_cross_entropy_derivative, "Z")


def _descend(loss: Loss) -> Descent:
    """Logistic regression on two examples at rate 1."""
    X, Y = np.array([[-0.1, 0.1]]), np.array([[0.0, 1.0]])
    network = Network((Activation(sigmoid, sigmoid_derivative, "A"),), loss)
    params = {"W1": np.zeros((1, 1)), "b1": np.zeros((1, 1))}
    probabilities, costs = list[float](), list[float]()
    with np.errstate(all="ignore"):
        for _ in range(STEPS + 1):
            cache = forward(network, params, X)
            probabilities.append(float(cache["A1"][0, 0]))
            costs.append(float(cost(network, params, cache, Y)["J"]))
            params, _ = gradient_descent(params, backward(network, params, cache, X, Y), {}, learning_rate=1)
    return probabilities, costs
