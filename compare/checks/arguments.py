"""Whether a derivation computes what it returns from what it is handed, or has its numbers from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

import numpy as np

from handgrad.compare.errors import InputError
from handgrad.compare.facts.failures import IgnoresArguments
from handgrad.compare.names import Key, phase_of
from handgrad.compare.oracle.reference import own_run
from handgrad.compare.oracle.replay import Replay
from handgrad.compare.pipeline.evidence import directions
from handgrad.compare.pipeline.judged import collected
from handgrad.compare.pipeline.problem import Problem
from handgrad.compare.pipeline.recording import Run
from handgrad.compare.pipeline.steps import Training, judged_steps
from handgrad.compare.results import FAILING, Finding
from handgrad.compare.sandbox import Call
from handgrad.compare.source.reached import keeps_numbers
from handgrad.compare.thresholds import IGNORED, IN_PROPORTION, MOVE, MOVE_FLOAT32, TINY
from handgrad.compare.trace import Arrays, is_real
from handgrad.compare.verdict.rounding import largest

Again = Callable[[Arrays, Arrays], Call]


@np.errstate(all="ignore")
def ignored_arguments(
    things: Sequence[object], calls: Mapping[str, Call], again: Again, problem: Problem, torch: Replay
) -> tuple[Finding, ...]:
    """A finding on answers that do not follow params and batch as torch's do, which agree on those handed over.

    `things` are what the derivation reads, itself among them.
    Only where numbers may be from elsewhere is the derivation asked where all has moved: where it answers float32 in
    float64 or to the same bits, or where its code reaches arrays outside. What it leaves out is in proportion to the
    move, unlike what rounding makes of one that the mathematics amplifies. Then each array is moved alone.
    """
    printed = calls[problem.printed]
    if not _may_ignore(calls) and not keeps_numbers(things):
        return ()
    own = {**torch.values, **torch.gradients}
    agreeing = {name: due for name, due in own.items() if _is_near(due, printed.records.get(name))}
    behind = partial(_behind, agreeing, problem, again)
    with suppress(InputError):  # a reference that does not run there
        far, near = (_all_moved(problem, by) for by in (MOVE_FLOAT32, MOVE))
        if left := behind(far):
            less = behind(near)
            names = [name for name in left if 0 < less.get(name, 0.0) <= IN_PROPORTION * left[name]]
            alone = tuple(of for of, array in far.items() if {*names} & behind({of: array}).keys())
            if alone:
                first = names[0]
                cause = IgnoresArguments(tuple(names), alone)
                return (Finding(Key(1, phase_of(first), first), "FAULT", cause),)
    return ()


def ignored_by_trainer(
    things: Sequence[object], training: Training, again: Callable[[Arrays, Sequence[Arrays]], Run]
) -> tuple[Finding, ...]:
    """A finding on the steps of a trainer, which are torch's, that stand still where its start, or its batches, move.

    Asked as `ignored_arguments` is: only where numbers may be from elsewhere, and then of either alone.
    """
    calls = {dtype: Call(run.steps[0].records) for dtype, run in training.runs.items() if run.steps}
    if not calls or not (_may_ignore(calls) or keeps_numbers(things)):
        return ()
    there, here = training.moved(training.printed, MOVE_FLOAT32)[0], training.runs[training.printed]
    rows = (judgement.row for judgement in collected(judged_steps(there)).judgements)
    wrong = [*dict.fromkeys(row.name for row in rows if row.verdict in FAILING)]
    halves = ((there.params, there.params, training.batches), (training.batches[0], training.params, there.batches))
    stands = [_standing(wrong, here, again(start, batches)) if wrong else [] for _, start, batches in halves]
    arrays = tuple(name for (of, *_), names in zip(halves, stands, strict=True) if names for name in of)
    names = [name for name in wrong if any(name in each for each in stands)]
    cause = IgnoresArguments(tuple(names), arrays)
    return (Finding(Key(1, phase_of(names[0]), names[0]), "FAULT", cause),) if names else ()


def _standing(names: Sequence[str], one: Run, other: Run) -> list[str]:
    """The names of which two runs have the same numbers at every step."""
    pairs = [(a.records, b.records) for a, b in zip(one.steps, other.steps, strict=False)]
    return [name for name in names if all(name in a and _same(b.get(name), a[name]) for a, b in pairs)]


def _all_moved(problem: Problem, by: float) -> dict[str, np.ndarray]:
    """Every array that is handed over, moved by a share, in one direction."""
    params, batch = next(directions(problem.params, problem.batch, by))
    return {**params, **batch}


def _may_ignore(calls: Mapping[str, Call]) -> bool:
    """Whether answers in float32 are those in float64, or computed in float64."""
    fine, coarse = calls.get("float64"), calls.get("float32")
    if fine is None or coarse is None or not (fine.is_usable and coarse.is_usable):
        return False
    arrays = ((fine.records.get(name), array) for name, array in coarse.records.items() if array.ndim)
    return any(array.dtype.char == "d" or _same(in_fine, array) for in_fine, array in arrays)


def _same(one: np.ndarray | None, other: np.ndarray) -> bool:
    """Whether two floating answers, which are not 0 everywhere, are the same in every bit."""
    if one is None or one.dtype.kind != "f" or not is_real(other) or one.shape != other.shape or not one.size:
        return False
    if one.item(0) != other.item(0):  # as a rule
        return False
    return bool(one.any() and np.array_equal(one.astype(np.float64), other.astype(np.float64)))


def _behind(own: Arrays, problem: Problem, again: Again, moved: Mapping[str, np.ndarray]) -> dict[str, float]:
    """How far answers are behind torch's, where some arrays have moved: those that leave out a part of torch's move.

    A move that is next to nothing, as of a saturated unit, tells nothing.
    """
    params = {name: moved.get(name, array) for name, array in problem.params.items()}
    batch = {name: moved.get(name, array) for name, array in problem.batch.items()}
    call = again(params, batch)
    there = own_run(problem.reference, params, batch, call.records, "float64")
    found = {}
    for name, due in {**there.values, **there.gradients}.items():
        record, before = call.records.get(name), own.get(name)
        if record is None or before is None or not is_real(record) or not record.shape == due.shape == before.shape:
            continue
        move, left = _apart(due, before), _apart(due, record)
        if move > TINY * largest(before) and left > IGNORED * move:
            found[name] = left
    return found


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.max(np.abs(one - other), initial=0.0))


def _is_near(due: np.ndarray, record: np.ndarray | None) -> bool:
    """Whether an answer is torch's own, to far less than a move."""
    if record is None or not is_real(record) or record.shape != due.shape or not due.size:
        return False
    return _apart(due, record) <= IGNORED * MOVE_FLOAT32 * largest(due)
