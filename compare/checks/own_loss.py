"""A third witness, where something was found: the derivation's own J, which can accuse a gradient and acquit none.

Central differences of J at a few entries of each parameter: where those agree, another entry may be wrong. Entries at a
kink have no derivative and are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
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

ENTRIES = 6  # of each parameter, chosen at random
ALTOGETHER = 60  # entries of all parameters: each takes some ten calls of the derivation
NUMBERS = 2**22  # that are handed over for the entries of one parameter: fewer entries of large ones are asked


def own_loss_notes(
    derivation: Callable[..., Any], params: Arrays, batch: Arrays, records: Arrays, asked: Collection[str]
) -> list[Note]:
    """Notes on parameter gradients that central differences of the returned J contradict, in float64, and on kinks.

    `records` is what the derivation returned in float64; without a finite J among it nothing can be said. `asked` names
    the parameters whose gradient is in doubt.
    """
    J = loss_in(records)
    if not np.isfinite(J) or records["J"].dtype != np.float64:
        return []
    inputs = in_precision(batch, "float64")

    def loss(moved: Arrays) -> float:
        return loss_in(call(derivation, moved, inputs).records)

    rng = np.random.default_rng(0)
    most = entries_asked(len(asked), sum(array.size for array in (*params.values(), *batch.values())))
    notes: list[Note] = []
    for name in (name for name in params if name in asked):
        w = params[name]
        returned = records.get(gradient(name))
        if returned is None or returned.dtype.kind != "f" or returned.shape != w.shape:
            continue
        indices = [index_of(flat, w.shape) for flat in rng.permutation(w.size)[:most]]
        slopes = {at: slope(_along(loss, J, params, name, at), float(w[at])) for at in indices}
        notes += _compared(name, returned, slopes)
    return notes


def entries_asked(parameters: int, handed: int) -> int:
    """How many entries of each of so many parameters are asked, where a call hands over so many numbers."""
    return max(1, min(ENTRIES, ALTOGETHER // max(1, parameters), NUMBERS // handed))


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


def _compared(name: str, returned: np.ndarray, slopes: Mapping[Index, Slope]) -> list[Note]:
    """What a parameter's slopes say against its gradient."""
    scale = float(np.max(np.abs(returned), initial=0.0, where=np.isfinite(returned)))
    finite = {
        at: estimate for at, estimate in slopes.items() if np.isfinite(estimate.value) and np.isfinite(returned[at])
    }
    kinks = tuple(at for at, estimate in finite.items() if estimate.kink)
    known = {at: estimate for at, estimate in finite.items() if not estimate.kink and estimate.tells(scale)}
    apart = {at: abs(estimate.value - float(returned[at])) for at, estimate in known.items()}
    wrong = [at for at in known if not apart[at] <= OWN_LOSS_ERRORS * known[at].error + OWN_LOSS_SHARE * scale]
    notes: list[Note] = [OwnLossKinks(name, kinks)] if kinks else []
    if wrong:
        worst = max(wrong, key=apart.__getitem__)
        own, error = known[worst].value, OWN_LOSS_ERRORS * known[worst].error
        counts = len(wrong), len(known), returned.size
        notes.append(OwnLossDiffers(gradient(name), worst, float(returned[worst]), own, error, *counts))
    return notes
