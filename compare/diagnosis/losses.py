"""The form of a loss: the notes' literal one, another base, an epsilon in the logarithm, swapped labels, another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from handgrad.compare.diagnosis.factors import named_factors
from handgrad.compare.diagnosis.scene import Array, Cause, Scene
from handgrad.compare.operations import names, operation
from handgrad.torchref.exchange import to_array, to_tensor

__all__ = ["cost_forms", "loss_forms"]

EPSILONS = (*(10.0**-k for k in range(3, 17)), 2.0**-52, 2.0**-23)
LN2 = float(np.log(2.0))


def loss_forms(scene: Scene) -> Iterator[Cause]:
    """Losses, one per output and example, against other formulas of the predictions and labels."""
    if scene.name != "losses" or "Y" not in scene.tensors:
        return
    Y = scene.tensors["Y"]
    last = max(
        (n for n in scene.tensors if n.startswith("A") and n[1:].isdigit()), key=lambda n: int(n[1:]), default=""
    )
    if not last or scene.tensors[last].shape != Y.shape != ():
        return
    Z = scene.tensors.get(f"Z{last[1:]}", scene.tensors[last])
    found: dict[str, Array] = {}
    with np.errstate(all="ignore"):
        for name in names("loss"):
            row = operation("loss", name)
            read = Z if row.reads == "Z" else scene.tensors[last]
            loss, swapped = (to_array(row.twin()(to_tensor(read), to_tensor(labels))) for labels in (Y, 1 - Y))
            found |= {f"the {name} loss": loss, f"the {name} loss with 1 - Y for Y": swapped}
            found |= {f"the {name} loss by the logarithm to base {b}": loss / np.log(b) for b in (2, 10)}
        found |= _cross_entropies(Z, scene.tensors[last], Y)
    for told, predicted in found.items():
        if np.isfinite(predicted).all() and scene.explained_by(predicted):
            yield Cause("loss-formula", f"it is {told}")


def cost_forms(scene: Scene) -> Iterator[Cause]:
    """J against other multiples of the sum of the losses, and other multiples of the penalty."""
    losses = scene.tensors.get("losses")
    if scene.name != "J" or losses is None or scene.recorded.size != 1:
        return
    of_weights = scene.tensors.get("penalty", np.zeros(()))
    if of_weights.size != 1:  # a user's tensor of that name
        return
    penalty = float(of_weights.item())
    mean = float(scene.reference.item()) - penalty
    factor = (float(scene.recorded.item()) - penalty) / mean if mean else 0.0
    names = named_factors(factor, scene.numbers)
    if penalty and factor > 0 and names:
        code = "partial-batch" if any("batch size" in name for name in names) else "scale"
        told = f"the mean of the losses is {factor:.12g} = {' or '.join(names[:3])} times torch's, the penalty is right"
        yield Cause(code, told, factor)
    for times in (0.0, -1.0, 2.0, 0.5):
        if penalty and scene.explained_by(np.asarray(mean + times * penalty)):
            yield Cause("regularisation", f"the penalty enters {times:g} times")


def _cross_entropies(Z: Array, A: Array, Y: Array) -> Mapping[str, Array]:
    """Forms in which a binary cross-entropy is written wrongly."""
    softplus = np.log1p(np.exp(-np.abs(Z)))
    right = np.maximum(Z, 0) - Z * Y + softplus
    found = {
        "the notes' literal formula -y log p + (1-y) log(1-p), with one sign wrong": (1 - Y) * np.log(1 - A)
        - Y * np.log(A),
        "the part -y log p alone": -Y * np.log(A),
        "the part -(1-y) log(1-p) alone": -(1 - Y) * np.log(1 - A),
        "the loss of z in place of p, without the logarithm's linear part": softplus,
        "the loss with log2 in its last term": right - softplus + softplus / LN2,
        "the loss of -z: the sign of z y is wrong": np.maximum(Z, 0) + Z * Y + softplus,
        "the loss with min(z, 0) for max(z, 0)": np.minimum(Z, 0) - Z * Y + softplus,
    }
    for eps in EPSILONS:
        smooth = -(Y * np.log(A + eps) + (1 - Y) * np.log(1 - A + eps))
        found[f"the loss with an epsilon of {eps:.2g} in the logarithm"] = smooth
        clipped = np.clip(A, eps, 1 - eps)
        found[f"the loss of p clipped to {eps:.2g}"] = -(Y * np.log(clipped) + (1 - Y) * np.log(1 - clipped))
    return found
