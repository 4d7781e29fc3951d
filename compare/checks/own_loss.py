"""A second opinion, where something was estimate: is a gradient that of the derivation's own J?

Central differences of J at a few entries of each parameter. Entries at a kink have no derivative and are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from handgrad.compare.facts.remarks import Note, OwnLossAgrees, OwnLossDiffers, OwnLossKinks
from handgrad.compare.names import gradient
from handgrad.compare.pipeline.finite_differences import Slope, slope
from handgrad.compare.sandbox import call
from handgrad.compare.thresholds import OWN_LOSS_ERRORS, OWN_LOSS_SHARE, OWN_LOSS_SURE
from handgrad.compare.trace import Arrays, in_precision

Index = tuple[int, ...]

ENTRIES = 6  # of each parameter, chosen at random
ALTOGETHER = 60  # entries of all parameters: each takes some ten calls of the derivation


def own_loss_notes(derivation: Callable[..., Any], params: Arrays, batch: Arrays, records: Arrays) -> list[Note]:
    """Notes on how the returned parameter gradients compare with central differences of the returned J, in float64.

    `records` is what the derivation returned in float64; without a finite J among it nothing can be said.
    """
    J = records.get("J")
    if J is None or J.size != 1 or J.dtype != np.float64 or not np.isfinite(J).all():
        return []
    inputs = in_precision(batch, "float64")

    def loss(moved: Arrays) -> float:
        J = call(derivation, moved, inputs).records.get("J")
        return float(J.reshape(())) if J is not None and J.size == 1 and J.dtype.kind == "f" else np.nan

    rng = np.random.default_rng(0)
    most = max(1, min(ENTRIES, ALTOGETHER // len(params)))
    notes: list[Note] = []
    agreeing: dict[str, int] = {}
    for name, w in params.items():
        returned = records.get(gradient(name))
        if returned is None or returned.dtype.kind != "f" or returned.shape != w.shape:
            continue
        indices = [tuple(map(int, np.unravel_index(flat, w.shape))) for flat in rng.permutation(w.size)[:most]]
        slopes = {at: slope(_along(loss, float(J.reshape(())), params, name, at), float(w[at])) for at in indices}
        remarks, right = _compared(name, returned, slopes)
        notes += remarks
        agreeing |= {gradient(name): right} if right else {}
    return [*notes, *([OwnLossAgrees(tuple(agreeing), sum(agreeing.values()))] if agreeing else [])]


def _along(
    loss: Callable[[Arrays], float], J: float, params: Arrays, name: str, index: Index
) -> Callable[[float], float]:
    """The loss as a function of one entry of a parameter; it is J at the entry's own value."""

    def cost(value: float) -> float:
        w = params[name].copy()
        if value == w[index]:
            return J
        w[index] = value
        return loss({**params, name: w})

    return cost


def _compared(name: str, returned: np.ndarray, slopes: Mapping[Index, Slope]) -> tuple[list[Note], int]:
    """What a parameter's slopes say of its gradient, and how many entries agree where none differs."""
    scale = float(np.max(np.abs(returned), initial=0.0, where=np.isfinite(returned)))
    finite = {
        at: estimate for at, estimate in slopes.items() if np.isfinite(estimate.value) and np.isfinite(returned[at])
    }
    kinks = tuple(at for at, estimate in finite.items() if estimate.kink)
    known = {
        at: estimate
        for at, estimate in finite.items()
        if not estimate.kink and OWN_LOSS_ERRORS * estimate.error <= OWN_LOSS_SURE * max(scale, abs(estimate.value))
    }
    apart = {at: abs(estimate.value - float(returned[at])) for at, estimate in known.items()}
    wrong = [at for at in known if not apart[at] <= OWN_LOSS_ERRORS * known[at].error + OWN_LOSS_SHARE * scale]
    notes: list[Note] = [OwnLossKinks(name, kinks)] if kinks else []
    if wrong:
        worst = max(wrong, key=apart.__getitem__)
        notes.append(OwnLossDiffers(gradient(name), worst, float(returned[worst]), known[worst].value))
    return notes, 0 if wrong else len(known)
