"""A third witness, where something was found: the derivation's own J, which can accuse a gradient and acquit none.

Central differences of J at one entry of each parameter, that which differs most from torch's: where those agree, others
may be wrong. An entry at a kink has no derivative and is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from handgrad.compare.facts.remarks import Note, OwnLossDiffers, OwnLossKinks
from handgrad.compare.names import gradient
from handgrad.compare.pipeline.finite_differences import Slope, loss_in, slope
from handgrad.compare.sandbox import call
from handgrad.compare.thresholds import OWN_LOSS_ERRORS, OWN_LOSS_SHARE
from handgrad.compare.trace import Arrays, in_precision
from handgrad.compare.verdict.closeness import index_of

Index = tuple[int, ...]

MOST = 3  # parameters: each takes some ten calls of the derivation, and one that is wrong says it
NUMBERS = 2**22  # that are handed over for all of them, in one call for each: fewer or none where they are large


def own_loss_notes(
    derivation: Callable[..., Any], params: Arrays, batch: Arrays, records: Arrays, doubted: Arrays
) -> list[Note]:
    """Notes on parameter gradients that central differences of the returned J contradict, in float64, and on kinks.

    `records` is what the derivation returned in float64; without a finite J among it nothing can be said. `doubted`
    holds torch's gradients of the parameters whose own is in doubt, by the parameters' names.
    """
    J = loss_in(records)
    if not np.isfinite(J) or records["J"].dtype != np.float64:
        return []
    inputs = in_precision(batch, "float64")

    def loss(moved: Arrays) -> float:
        return loss_in(call(derivation, moved, inputs).records)

    notes = []
    for name in [*doubted][: parameters_asked(sum(array.size for array in (*params.values(), *batch.values())))]:
        w, returned = params[name], records.get(gradient(name))
        if returned is None or returned.dtype.kind != "f" or returned.shape != w.shape:
            continue
        difference = np.abs(returned - doubted[name])
        at = index_of(int(np.argmax(np.where(np.isfinite(difference), difference, -1.0))), w.shape)
        note = _compared(name, returned, at, slope(_along(loss, J, params, name, at), float(w[at])))
        notes += [note] if note is not None else []
    return notes


def parameters_asked(handed: int) -> int:
    """How many parameters are asked, where a call hands over so many numbers."""
    return min(MOST, NUMBERS // handed)


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


def _compared(name: str, returned: np.ndarray, at: Index, estimate: Slope) -> Note | None:
    """What the slope along one entry of a parameter says against its gradient."""
    if not (np.isfinite(estimate.value) and np.isfinite(returned[at])):
        return None
    if estimate.kink:
        return OwnLossKinks(name, (at,))
    scale, error = float(np.max(np.abs(returned), initial=0.0, where=np.isfinite(returned))), estimate.error
    is_near = abs(estimate.value - float(returned[at])) <= OWN_LOSS_ERRORS * error + OWN_LOSS_SHARE * scale
    if is_near or not estimate.tells(scale):
        return None
    own = estimate.value, OWN_LOSS_ERRORS * error
    return OwnLossDiffers(gradient(name), at, float(returned[at]), *own, returned.size)
