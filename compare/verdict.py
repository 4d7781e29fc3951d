"""Do two records of the same tensor agree?

Interim criterion, replaced by the one of local replay and the precision ladder: the error scaled by the tensor's
maximum (for db, and for what follows from it, by the sum of |dZ|) is at most LIMIT[dtype]. It stands in `allowed`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from compare.report import Row
from compare.trace import Key, Trace

__all__ = ["Judgement", "allowed", "judge_step"]

LIMIT = {"float64": 1e-11, "float32": 1e-4}


@dataclass(frozen=True)
class Judgement:
    """A row of the report and, unless it is OK, the cause code and a sentence on it."""

    row: Row
    cause: str = ""
    explanation: str = ""


def judge_step(by_hand: Trace, torch: Trace, equations: Mapping[str, str]) -> list[Judgement]:
    """Compare one step's records in dataflow order: names, then shape, dtype, finiteness and value of each tensor."""
    judgements = []
    for key in [*torch, *(key for key in by_hand if key not in torch)]:  # torch's order is dataflow order
        equation = equations[key.name]
        if key not in by_hand:
            judgements.append(
                _unpaired(key, equation, torch[key], "missing", "the hand-written side did not compute it")
            )
        elif key not in torch:
            judgements.append(
                _unpaired(key, equation, by_hand[key], "unknown-name", "torch computes nothing of this name")
            )
        else:
            judgements.append(_judge(key, equation, by_hand, torch))
    return judgements


def allowed(key: Key, by_hand: Trace, torch: Trace) -> float:
    """The largest absolute difference that passes: LIMIT times the tensor's scale."""
    reference = torch[key]
    scale = float(np.max(np.abs(reference), initial=0.0))
    stem = key.name.removeprefix("d").removeprefix("v").removesuffix("_next")
    if stem.startswith("b"):
        dZ = by_hand.get(Key(key.step, "backward", f"dZ{stem[1:]}"))
        scale = max(scale, 0.0 if dZ is None else float(np.max(np.abs(dZ).sum(axis=1))))
    return LIMIT[str(reference.dtype)] * scale


def _unpaired(key: Key, equation: str, array: np.ndarray, cause: str, explanation: str) -> Judgement:
    row = Row(*key, equation=equation, shape=array.shape, max_abs_diff=float("nan"), verdict="MISSING")
    return Judgement(row, cause, explanation)


def _judge(key: Key, equation: str, by_hand: Trace, torch: Trace) -> Judgement:
    hand, reference = by_hand[key], torch[key]
    if hand.shape != reference.shape:
        row = Row(*key, equation=equation, shape=hand.shape, max_abs_diff=float("nan"), verdict="FAULT")
        return Judgement(row, "shape", f"its shape is {hand.shape}, torch's is {reference.shape}")
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(hand.astype(np.float64) - reference)
    difference = np.where(hand == reference, 0.0, apart)  # equal infinities differ by nothing
    index = _worst(difference)
    at: dict[str, Any] = {
        "equation": equation,
        "shape": hand.shape,
        "max_abs_diff": float(difference[index]),
        "index": index,
        "by_hand": float(hand[index]),
        "torch": float(reference[index]),
    }
    if hand.dtype != reference.dtype:
        row = Row(*key, **at, verdict="FAULT")
        return Judgement(row, "precision-loss", f"its dtype is {hand.dtype}, torch's is {reference.dtype}")
    if not np.isfinite(difference[index]):
        return Judgement(Row(*key, **at, verdict="NONFINITE"), "not-finite", _not_finite(at["by_hand"], at["torch"]))
    limit = allowed(key, by_hand, torch)
    if not difference[index] <= limit:
        explanation = f"the largest difference is {difference[index]:.3g}; at this size {hand.dtype} allows {limit:.1g}"
        return Judgement(Row(*key, **at, verdict="FAULT"), "unknown", explanation)
    return Judgement(Row(*key, **at, verdict="OK"))


def _not_finite(by_hand: float, torch: float) -> str:
    if np.isfinite(torch):
        return f"by hand it is {by_hand}, in torch it is finite"
    if np.isfinite(by_hand):
        return f"in torch it is {torch}, by hand it is finite"
    return "both sides overflow, so nothing can be compared; lower the learning rate or rescale the data"


def _worst(difference: np.ndarray) -> tuple[int, ...]:
    """The index of the first nan if there is one, else of the largest entry."""
    flat = int(np.argmax(difference))  # argmax takes nan for the largest
    return tuple(int(i) for i in np.unravel_index(flat, difference.shape))
