"""Saturation, the kink of ReLU, and tanh written out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

import handgrad.manual.activations as by_hand
from handgrad.compare.notes.evidence import Evidence, Figure
from handgrad.compare.results import Curve, Plot
from handgrad.manual import as_written


def saturation() -> Evidence:
    """A1: derivatives far out, and the largest one of the sigmoid to the tenth power."""
    z = np.array([[10.0]])
    sigmoid = by_hand.sigmoid_derivative(z, by_hand.sigmoid(z)).item()
    tanh = by_hand.tanh_derivative(z, by_hand.tanh(z)).item()
    largest = by_hand.sigmoid_derivative(0 * z, by_hand.sigmoid(0 * z)).item()
    return Evidence(
        f"sigmoid'(10) = {sigmoid:.2g}, tanh'(10) = {tanh:.2g}, ReLU'(10) = 1; the largest sigmoid' is {largest:g}, "
        f"and {largest:g}^10 = {largest**10:.2g}: ten layers leave a millionth",
        (
            Figure("sigmoid'(10)", sigmoid, _slope(torch.sigmoid, 10.0)),
            Figure("tanh'(10)", tanh, _slope(torch.tanh, 10.0)),
            Figure("ReLU'(10)", float(by_hand.relu_derivative(z, z).item()), _slope(torch.relu, 10.0)),
            Figure("ReLU'(-10)", float(by_hand.relu_derivative(-z, 0 * z).item()), _slope(torch.relu, -10.0)),
            Figure("largest sigmoid'", largest, _slope(torch.sigmoid, 0.0)),
        ),
        (_derivatives(),),
    )


def _derivatives() -> Plot:
    """The derivatives by hand from one saturated end to the other."""
    z = np.linspace(-12, 12, 97)
    pairs = {
        "sigmoid'": by_hand.sigmoid_derivative(z, by_hand.sigmoid(z)),
        "tanh'": by_hand.tanh_derivative(z, by_hand.tanh(z)),
        "ReLU'": by_hand.relu_derivative(z, by_hand.relu(z)),
    }
    curves = tuple(Curve(name, tuple(map(float, z)), tuple(map(float, values))) for name, values in pairs.items())
    text = "What a layer leaves of a gradient; ReLU' is 0 on the left, which this axis cannot show."
    return Plot("Saturation", "z", "derivative", curves, log=True, text=text)


def kink() -> Evidence:
    """A2: what different code gives for ReLU'(0)."""
    zero = np.zeros((1, 1))
    ours = float(by_hand.relu_derivative(zero, zero).item())
    relu = _slope(torch.relu, 0.0)
    clamp = _slope(lambda z: z.clamp(min=0), 0.0)
    maximum = _slope(lambda z: torch.maximum(z, torch.zeros_like(z)), 0.0)
    differences = float((by_hand.relu(zero + 1e-6) - by_hand.relu(zero - 1e-6)).item() / 2e-6)
    return Evidence(
        f"at exactly 0 torch.relu gives {relu:g}, clamp(min=0) {clamp:g}, maximum(x, 0) "
        f"{maximum:g}, central differences {differences:g}; by hand it is {ours:g}",
        (
            Figure("ReLU'(0)", ours, relu),
            Figure("clamp'(0)", None, clamp),
            Figure("maximum'(0)", None, maximum),
            Figure("central differences at 0", differences, None),
        ),
    )


def written_out() -> Evidence:
    """A3: the quotient of exponentials overflows, and loses digits near 0."""
    with np.errstate(all="ignore"):
        first = {
            dtype: next(z for z in range(1, 1000) if np.isnan(as_written.tanh(np.array([z], dtype=dtype))[0]))
            for dtype in ("float32", "float64")
        }
        near = np.array([1e-5])
        off = float(abs(as_written.tanh(near) - np.tanh(near))[0] / np.spacing(np.tanh(near))[0])
    return Evidence(
        f"as code it is nan from z = {first['float32']} in float32 and {first['float64']} in float64, and "
        f"{off:.0e} ulp off at 1e-5; np.tanh is neither",
        (
            Figure("tanh(710)", float(by_hand.tanh(np.array([710.0]))[0]), float(torch.tanh(torch.tensor(710.0)))),
            Figure("first z that gives nan as written, float32", float(first["float32"]), None),
            Figure("first z that gives nan as written, float64", float(first["float64"]), None),
        ),
    )


def _slope(function: Callable[[torch.Tensor], torch.Tensor], at: float) -> float:
    """The derivative that autograd gives at a point."""
    z = torch.tensor(at, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(function(z), z)
    return float(slope)
