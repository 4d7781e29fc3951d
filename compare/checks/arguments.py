"""Whether a derivation computes what it returns from what it is handed, or has its numbers from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

import numpy as np

from handgrad.compare.errors import InputError
from handgrad.compare.facts.failures import IgnoresArguments
from handgrad.compare.names import Key, phase_of
from handgrad.compare.oracle.reference import run_on_records
from handgrad.compare.oracle.replay import Replay
from handgrad.compare.pipeline.evidence import directions
from handgrad.compare.pipeline.problem import Problem
from handgrad.compare.results import Finding
from handgrad.compare.sandbox import Call
from handgrad.compare.thresholds import MOVE_FLOAT32, UNIT_ROUNDOFF
from handgrad.compare.trace import Arrays, is_real

Again = Callable[[Arrays, Arrays], Call]


def ignored_arguments(calls: Mapping[str, Call], again: Again, problem: Problem, torch: Replay) -> tuple[Finding, ...]:
    """A finding on answers that stay the same to the bit where params and batch are others and torch's are not.

    The call in float32 is another place already: only answers that are the same in both, as of whole numbers, are asked
    for once more.
    """
    fine, coarse = calls.get("float64"), calls.get("float32")
    if fine is None or coarse is None or not (fine.is_usable and coarse.is_usable):
        return ()
    own = {**torch.values, **torch.gradients}
    alike = [name for name, array in fine.records.items() if name in own and _same(array, coarse.records.get(name))]
    if not alike:
        return ()
    with suppress(InputError):  # a reference that does not run there
        params, batch = next(directions(problem.params, problem.batch, MOVE_FLOAT32))
        there = again(params, batch)
        elsewhere = run_on_records(problem.reference, params, batch, {})
        moved = {**elsewhere.values, **elsewhere.gradients}
        stuck = [name for name in alike if _same(fine.records[name], there.records.get(name))]
        ignored = tuple(name for name in stuck if name in moved and _moves(own[name], moved[name]))
        if ignored:
            return (Finding(Key(1, phase_of(ignored[0]), ignored[0]), "FAULT", IgnoresArguments(ignored)),)
    return ()


def _same(one: np.ndarray, other: np.ndarray | None) -> bool:
    """Whether two floating answers, which are not 0 everywhere, are the same in every bit."""
    if other is None or one.dtype.kind != "f" or not is_real(other) or one.shape != other.shape or not one.any():
        return False
    return bool(np.array_equal(one.astype(np.float64), other.astype(np.float64)))


def _moves(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether torch's own numbers differ by more than float32 could lose."""
    if one.shape != other.shape:
        return False
    apart, size = np.abs(one - other).max(initial=0.0), np.abs(one).max(initial=0.0)
    return bool(apart > 16 * UNIT_ROUNDOFF["float32"] * size)
