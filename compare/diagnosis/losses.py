"""The form of a loss: the notes' literal one, another base, an epsilon in the logarithm, swapped labels, another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from handgrad.compare.diagnosis.factors import named_factors
from handgrad.compare.diagnosis.scene import Array, Scene
from handgrad.compare.facts.causes import Cause, LossFormula, MeanOfLosses, PartialMeanOfLosses, PenaltyTimes
from handgrad.compare.names import layered
from handgrad.compare.operations import names, operation
from handgrad.compare.thresholds import EPSILONS
from handgrad.torchref.exchange import to_array, to_tensor


def loss_forms(scene: Scene) -> Iterator[Cause]:
    """Losses, one per output and example, against other formulas of the predictions and labels."""
    layers = [layer for stem, layer in map(layered, scene.tensors) if stem == "A" and layer is not None]
    if scene.name != "losses" or "Y" not in scene.tensors or not layers:
        return
    A, Y = scene.tensors[f"A{max(layers)}"], scene.tensors["Y"]
    if A.shape != Y.shape != ():
        return
    Z = scene.tensors.get(f"Z{max(layers)}", A)
    formulas: dict[str, Array] = {}
    for name in names("loss"):
        row = operation("loss", name)
        read = to_tensor(Z if row.reads == "Z" else A)
        loss, swapped = (to_array(row.twin()(read, to_tensor(labels))) for labels in (Y, 1 - Y))
        formulas |= {f"the {name} loss": loss, f"the {name} loss with 1 - Y for Y": swapped}
        formulas |= {f"the {name} loss by the logarithm to base {b}": loss / np.log(b) for b in (2, 10)}
    formulas |= _cross_entropies(Z, A, Y)
    yield from scene.explaining((LossFormula(formula), predicted) for formula, predicted in formulas.items())


def cost_forms(scene: Scene) -> Iterator[Cause]:
    """J against other multiples of the sum of the losses, and other multiples of the penalty."""
    of_weights = scene.tensors.get("penalty", np.zeros(()))  # of another size where it is a user's
    is_cost = scene.name == "J" and "losses" in scene.tensors and scene.recorded.size == of_weights.size == 1
    if not is_cost or not of_weights.any():
        return
    penalty = float(of_weights.item())
    mean = float(scene.reference.item()) - penalty
    factor = (float(scene.recorded.item()) - penalty) / mean if mean else 0.0
    names = named_factors(factor, scene.numbers)
    if factor > 0 and names:
        is_short = any("batch size" in name for name in names)
        yield (PartialMeanOfLosses if is_short else MeanOfLosses)(factor, names)
    predictions = ((PenaltyTimes(times), np.asarray(mean + times * penalty)) for times in (0.0, -1.0, 2.0, 0.5))
    yield from scene.explaining(predictions)


def _cross_entropies(Z: Array, A: Array, Y: Array) -> Mapping[str, Array]:
    """Forms in which a binary cross-entropy is written wrongly."""
    softplus = np.log1p(np.exp(-np.abs(Z)))
    right = np.maximum(Z, 0) - Z * Y + softplus
    forms = {
        "the notes' literal formula -y log p + (1-y) log(1-p), with one sign wrong": (1 - Y) * np.log(1 - A)
        - Y * np.log(A),
        "the part -y log p alone": -Y * np.log(A),
        "the part -(1-y) log(1-p) alone": -(1 - Y) * np.log(1 - A),
        "the loss of z in place of p, without the logarithm's linear part": softplus,
        "the loss with log2 in its last term": right - softplus + softplus / np.log(2),
        "the loss of -z: the sign of z y is wrong": np.maximum(Z, 0) + Z * Y + softplus,
        "the loss with min(z, 0) for max(z, 0)": np.minimum(Z, 0) - Z * Y + softplus,
    }
    for eps in EPSILONS:
        smooth = -(Y * np.log(A + eps) + (1 - Y) * np.log(1 - A + eps))
        forms[f"the loss with an epsilon of {eps:.2g} in the logarithm"] = smooth
        clipped = np.clip(A, eps, 1 - eps)
        forms[f"the loss of p clipped to {eps:.2g}"] = -(Y * np.log(clipped) + (1 - Y) * np.log(1 - clipped))
    return forms
