"""Saturation, the kink of ReLU, and tanh written out."""

from collections.abc import Callable

import numpy as np
import torch

from handgrad.compare.notes.evidence import Evidence, Figure, evidence, figure
from handgrad.compare.notes.language import Sentence
from handgrad.compare.operations import operation
from handgrad.compare.results import Curve, Plot
from handgrad.manual import activations, as_written

SLOPES = {"sigmoid": "sigmoid'", "tanh": "tanh'", "relu": "ReLU'"}
"""What the derivative of an activation is called."""


def saturation() -> Evidence:
    """A1: derivatives far out, and the largest one of the sigmoid to the tenth power."""
    far_out = [("sigmoid", 10.0), ("tanh", 10.0), ("relu", 10.0), ("relu", -10.0)]
    sigmoid, tanh, *_ = figures = [_figure(f"{SLOPES[name]}({z:g})", name, z) for name, z in far_out]
    largest = _derivative("sigmoid", np.array(0.0)).item()
    z = np.linspace(-12, 12, 97)
    curves = (Curve(text, tuple(z.tolist()), tuple(_derivative(name, z).tolist())) for name, text in SLOPES.items())
    text = "What a layer leaves of a gradient; ReLU' is 0 on the left, which this axis cannot show."
    return evidence(
        Sentence(
            "sigmoid'(10) = {sigmoid:.2g}, tanh'(10) = {tanh:.2g}, ReLU'(10) = 1; the largest sigmoid' is {largest:g}, "
            "and {largest:g}^10 = {power:.2g}: ten layers leave a millionth",
            sigmoid=sigmoid.by_hand,
            tanh=tanh.by_hand,
            largest=largest,
            power=largest**10,
        ),
        *figures,
        _figure("largest sigmoid'", "sigmoid", 0.0),
        plots=(Plot("Saturation", "z", "derivative", tuple(curves), log=True, text=text),),
    )


def kink() -> Evidence:
    """A2: what different code gives for ReLU'(0)."""
    at_0 = _figure("ReLU'(0)", "relu", 0.0)
    clamp = _slope(lambda z: z.clamp(min=0), 0.0)
    maximum = _slope(lambda z: torch.maximum(z, torch.zeros_like(z)), 0.0)
    differences = np.diff(activations.relu(np.array([-1e-6, 1e-6]))).item() / 2e-6
    return evidence(
        Sentence(
            "at exactly 0 torch.relu gives {torch:g}, clamp(min=0) {clamp:g}, maximum(x, 0) {maximum:g}, central "
            "differences {differences:g}; by hand it is {by_hand:g}",
            torch=at_0.torch,
            clamp=clamp,
            maximum=maximum,
            differences=differences,
            by_hand=at_0.by_hand,
        ),
        at_0,
        figure("clamp'(0)", None, clamp),
        figure("maximum'(0)", None, maximum),
        figure("central differences at 0", differences),
    )


def written_out() -> Evidence:
    """A3: the quotient of exponentials overflows, and loses digits near 0."""
    with np.errstate(all="ignore"):
        nan = (np.isnan(as_written.tanh(np.arange(1000, dtype=dtype))) for dtype in (np.float32, np.float64))
        single, double = (int(is_nan.argmax()) for is_nan in nan)
    near = np.array(1e-5)
    off = abs(as_written.tanh(near) - np.tanh(near)) / np.spacing(np.tanh(near))
    return evidence(
        Sentence(
            "as code it is nan from z = {single} in float32 and {double} in float64, and {off:.0e} ulp off at 1e-5; "
            "np.tanh is neither",
            single=single,
            double=double,
            off=float(off),
        ),
        figure("tanh(710)", activations.tanh(np.array(710.0)), torch.tanh(torch.tensor(710.0))),
        figure("first z that gives nan as written, float32", single),
        figure("first z that gives nan as written, float64", double),
    )


def _figure(text: str, name: str, z: float) -> Figure:
    """The derivative of an activation at a point."""
    return figure(text, _derivative(name, np.array(z)), _slope(getattr(torch, name), z))


def _derivative(name: str, z: np.ndarray) -> np.ndarray:
    """The derivative by hand, entry by entry."""
    row = operation("activation", name)
    value, derivative = row.hands()
    return np.asarray(derivative(z if row.reads == "Z" else value(z)))


def _slope(function: Callable[[torch.Tensor], torch.Tensor], at: float) -> float:
    """The derivative that autograd gives at a point."""
    z = torch.tensor(at, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(function(z), z)
    return float(slope)
