"""The derivative of an activation: of another function, of the wrong argument, or applied once too often."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from handgrad.compare.diagnosis.scene import Array, Scene
from handgrad.compare.facts.causes import Cause, DerivativeTooMuch, WrongDerivative
from handgrad.compare.names import gradient
from handgrad.compare.operations import names, operation
from handgrad.torchref.exchange import to_array, to_tensor


def derivatives(scene: Scene) -> Iterator[Cause]:
    """dT as the gradient of what is computed from T, times a derivative that does not belong there."""
    value = scene.tensors.get(scene.of)
    if value is None or value.shape != scene.recorded.shape:
        return
    outputs = [name for name, _ in scene.alike() if scene.of in scene.reads.get(name, ())] or [scene.of]
    for output in outputs:
        factors = _factors(scene.of, value, output, scene.tensors[output])
        cotangent = scene.tensors.get(gradient(output)) if output in scene.readers else None
        if cotangent is not None and output != scene.of:
            wrong = ((WrongDerivative(gradient(output), times), cotangent * f) for times, f in factors.items())
            yield from scene.explaining(wrong)
        yield from scene.explaining((DerivativeTooMuch(times), scene.reference * f) for times, f in factors.items())


def _factors(of: str, Z: Array, output: str, A: Array) -> Mapping[str, Array]:
    """Derivatives at Z and at A, by torch, and expressions in A and Z that are taken for one, by their formulas."""
    factors = {
        output: A,
        f"(1 - {output})": 1 - A,
        f"{output} (1 - {output})": A * (1 - A),
        f"(1 - {output}^2)": 1 - A * A,
        f"{output}^2": A * A,
        of: Z,
        f"(1 - {of}^2)": 1 - Z * Z,
        f"{of} (1 - {of})": Z * (1 - Z),
    }
    for name in names("activation"):
        factors |= {f"{name}'({of})": _derivative(name, Z), f"{name}'({output})": _derivative(name, A)}
    return {formula: factor for formula, factor in factors.items() if np.isfinite(factor).all() and np.ptp(factor) > 0}


def _derivative(name: str, X: Array) -> Array:
    """The derivative of an activation of the registry, by torch."""
    leaf = to_tensor(X).requires_grad_()
    operation("activation", name).twin()()(leaf).sum().backward()
    return np.asarray(to_array(leaf.grad)) if leaf.grad is not None else np.ones_like(X)
