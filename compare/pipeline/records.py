"""What a derivation returned, judged against a torch reference without knowing the formulas."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from handgrad.compare.facts.causes import Cause
from handgrad.compare.facts.failures import ReturnedInstead, WrongShape
from handgrad.compare.facts.operands import SharesMemory
from handgrad.compare.facts.remarks import Float32Only, Float64Inside, Note, NotJudged, TorchInFloat32, runs_in_one
from handgrad.compare.names import Key, gradient, is_gradient, of_gradient, phase_of
from handgrad.compare.oracle.reference import check_repeatable, own_run
from handgrad.compare.oracle.replay import Replay
from handgrad.compare.pipeline.conventions import Read, in_convention
from handgrad.compare.pipeline.evidence import Elsewhere, Evidence, situations, with_records
from handgrad.compare.pipeline.judged import JudgedStep
from handgrad.compare.pipeline.problem import Problem
from handgrad.compare.pipeline.scene import scene_of_records
from handgrad.compare.pipeline.untapped import Names
from handgrad.compare.results import Finding
from handgrad.compare.sandbox import Call, call, overflows, quietly
from handgrad.compare.thresholds import SCREEN, SCREEN_FLOAT32, SCREEN_OF_SUMS
from handgrad.compare.trace import Arrays, in_precision, is_none, is_real, rounds_to_float32, same
from handgrad.compare.verdict.closeness import Local
from handgrad.compare.verdict.judgement import EndToEnd, Judgement, judgement_of
from handgrad.compare.verdict.rounding import largest_around, screen, screened
from handgrad.compare.verdict.shapes import Fitted, fitted
from handgrad.compare.verdict.steps import judge_step

Sides = tuple[np.ndarray, ...]  # of one tensor: torch, and by hand in float64 and in float32
BLOCK = 2**16  # numbers that are compared at once, so that what is made on the way is small beside large tensors


@dataclass(frozen=True)
class Returned:
    """What a derivation returned at a step, by precision, the printed one first, for params, also by precision.

    `due` are the parameters whose gradient it owes; `previous` is what the step before returned, with its parameters.
    `derivation` is there where it can be called again, on other parameters and another batch; what it returns where all
    has moved is else in `elsewhere`, by precision. `known` is how another step was read, if it was in a convention.
    """

    number: int
    calls: Mapping[str, Call]
    params: Mapping[str, Arrays]
    due: frozenset[str] = frozenset()
    previous: Arrays = field(default_factory=dict)
    derivation: Callable[..., Any] | None = None
    elsewhere: Mapping[str, Elsewhere] = field(default_factory=dict)
    known: Read | None = None


def judge_records(problem: Problem, returned: Returned) -> tuple[JudgedStep, Replay, Read]:
    """The verdicts on what was returned, the reference's own run beside it, and how what was returned was read."""
    number, (printed, made) = returned.number, next(iter(returned.calls.items()))
    params = returned.params[printed]
    everything = {n: a for call in returned.calls.values() for n, a in call.records.items() if not is_none(a)}
    end_to_end = own_run(problem.reference, params, problem.batch, everything, printed)
    names = Names(end_to_end, {**params, **problem.batch}, returned.due)
    calls = {dtype: names.judged_of(call.read_for(end_to_end.values)) for dtype, call in returned.calls.items()}
    keys = _keys(number, end_to_end, calls[printed].records, returned.due)
    ended = _ended(number, keys, calls, end_to_end)
    calls = {dtype: call for dtype, call in calls.items() if call.is_usable}
    if printed not in calls:
        return JudgedStep(number, [], ended=ended, stop=True), end_to_end, Read([], {})
    fits = {dtype: _as_due(call.records, params) for dtype, call in calls.items()}
    records, own = {dtype: fit.records for dtype, fit in fits.items()}, {**end_to_end.values, **end_to_end.gradients}
    misshapen = _misshapen({dtype: fit.misshapen for dtype, fit in fits.items()})
    agreeing: Callable[[], Sequence[Judgement]] = partial(_judge_agreeing, keys, (records[printed], own))
    read, notes = Read([], {}), _of_precision(records)
    if misshapen or "float64" not in records or not _agree([key.name for key in keys], records, own):
        evidence = {dtype: _evidence(problem, returned, dtype, of, end_to_end) for dtype, of in records.items()}
        read, agreeing = _verdicts(keys, evidence, end_to_end, returned.known), tuple
        notes += [*_of_torch(read.judged, evidence), *read.notes]
    judged = [_with_shape(judgement, misshapen) for judgement in read.judged]
    independent = {*end_to_end.side_outputs, *params, *problem.batch}
    lost = independent & {of_gradient(name) for name in everything.keys() - end_to_end.gradients.keys()}
    notes += [*fits[printed].notes, *names.not_tapped(records[printed], judged), *map(NotJudged, sorted(lost))]
    reads = end_to_end.reads
    scene = partial(scene_of_records, evidence=read.sides, reads=reads, previous=returned.previous, usual=problem.usual)
    aliased = partial(_with_alias, call=calls[printed], end_to_end=end_to_end)
    arrays = {name: (array, own[name]) for name, array in made.records.items() if name in own}
    step = JudgedStep(number, judged, notes, reads, scene, aliased, ended, agreeing=agreeing, arrays=arrays)
    return step._replace(absent_signs=end_to_end.absent_signs), end_to_end, read


def _evidence(problem: Problem, returned: Returned, dtype: str, records: Arrays, end_to_end: Replay) -> Evidence:
    """What was returned in one precision, beside the reference."""
    derivation = returned.derivation
    params, batch = in_precision(returned.params[dtype], dtype), in_precision(problem.batch, dtype)

    def again(params: Arrays, batch: Arrays) -> dict[str, np.ndarray]:
        assert derivation is not None
        return _as_due(call(derivation, params, batch).read_for(end_to_end.values).records, params).records

    elsewhere = with_records(returned.elsewhere.get(dtype), lambda records: _as_due(records, params).records)
    if derivation is not None:
        elsewhere = partial(situations, again, params, batch, dtype)
    return Evidence(
        problem.reference,
        params,
        batch,
        records,
        dtype,
        elsewhere,
        None if derivation is None else again,
        None if derivation is None else partial(overflows, derivation, params, batch),
        end_to_end.reads,
        end_to_end.differentiated,
    )


def _as_due(records: Arrays, params: Arrays) -> Fitted:
    """What was returned, gradients in the shapes of their parameters where their sizes are the same, and J a scalar."""
    return fitted(records, {gradient(name): array.shape for name, array in params.items()} | {"J": ()})


def _keys(number: int, end_to_end: Replay, records: Arrays, due: Iterable[str]) -> list[Key]:
    """What was returned and what should have been, in dataflow order."""
    values, gradients = end_to_end.values, end_to_end.gradients
    empty = {
        name for name, array in {**values, **gradients}.items() if not array.size and not records.get(name, array).size
    }
    keys = [Key(number, "loss" if name == "J" else "forward", name) for name in values if name in {*records} - empty]
    owed = {*map(gradient, due)}
    return keys + [Key(number, "backward", name) for name in gradients if name in ({*records} | owed) - empty]


# --- what agrees with the reference's own run: a replay on it tells no more, and is not run


@np.errstate(all="ignore")
def _agree(names: Sequence[str], records: Mapping[str, Arrays], torch: Arrays) -> bool:
    """Whether every tensor passes the screens beside the reference's own run, so that a replay tells nothing more.

    `records` are in float64 and perhaps in float32, `torch` is the reference in float64.
    """
    sides = (torch, records["float64"], records.get("float32", records["float64"]))
    if not all(name in side for side in sides for name in names):
        return False
    tensors = [tuple(side[name] for side in sides) for name in names]
    small = [each for each in tensors if each[0].size <= BLOCK]
    groups, roundings = (small, *([each] for each in tensors if each[0].size > BLOCK)), _roundings_of(torch)
    return all(map(_are_alike, tensors)) and all(_are_near(group, roundings) for group in groups if group)


def _roundings_of(torch: Arrays) -> float:
    """What passes end to end: the reference's own sums, of up to as many terms as its longest axis, round as well."""
    longest = max((n for array in torch.values() for n in array.shape), default=1)
    return max(SCREEN, SCREEN_OF_SUMS * math.sqrt(longest))


def _are_alike(sides: Sides) -> bool:
    torch, *by_hand = sides
    is_due = torch.dtype == np.float64 and torch.size > 0
    return is_due and all(side.shape == torch.shape and is_real(side) for side in by_hand)


def _are_near(tensors: Sequence[Sides], roundings: float) -> bool:
    """Whether float64 is within rounding of torch everywhere, and float32 of that."""
    around = ((torch, largest_around(torch)) for torch, *_ in tensors)
    scales = [scale if scale.ndim else np.full(torch.size, scale) for torch, scale in around]
    columns = ([side.ravel() for side in column] for column in (*zip(*tensors, strict=True), scales))
    flat = [np.concatenate(column) if len(column) > 1 else column[0] for column in columns]
    for start in range(0, flat[0].size, BLOCK):
        torch, fine, coarse, scale = (side[start : start + BLOCK] for side in flat)
        near = np.abs(fine - torch) <= screen(torch, scale, "float64", roundings)
        if not (near & (np.abs(coarse - fine) <= screen(fine, scale, "float32", SCREEN_FLOAT32))).all():
            return False
    return True


def _judge_agreeing(keys: Iterable[Key], end_to_end: EndToEnd) -> list[Judgement]:
    """The judgements on tensors that agree with the reference's own run: their rows alone."""
    judgements, roundings = list[Judgement](), _roundings_of(end_to_end[1])
    for key in keys:
        local = Local(*(side[key.name] for side in end_to_end))
        outcome = screened(local, largest_around(local.reference), "float64", roundings)
        assert outcome is not None
        judgements.append(judgement_of(key, "", outcome, end_to_end))
    return judgements


# --- verdicts with a replay, and what is remarked


def _verdicts(keys: Sequence[Key], evidence: Mapping[str, Evidence], end_to_end: Replay, known: Read | None) -> Read:
    """The verdicts in the convention in which nothing is left to find, or less."""
    judged = _judged(keys, evidence, end_to_end)
    printed, run = next(iter(evidence.items()))
    if any(judgement.finding or judgement.differs for judgement in judged):  # a reference that draws cannot agree
        check_repeatable(run.reference, run.params, run.batch, printed, end_to_end)
    return in_convention(lambda sides: _judged(keys, sides, end_to_end), judged, evidence, end_to_end, known)


def _judged(keys: Sequence[Key], evidence: Mapping[str, Evidence], end_to_end: Replay) -> list[Judgement]:
    """The verdicts on the tensors due; the reference is replayed on the finest records, on others where asked."""
    with quietly():
        both = next(iter(evidence.values())).records, {**end_to_end.values, **end_to_end.gradients}
        return judge_step([(key, "") for key in keys], evidence, both, end_to_end.reads)


def _of_precision(records: Mapping[str, Arrays]) -> list[Note]:
    """Whether a derivation computes in float64 where it is handed float32."""
    inside = any(array.dtype == np.float64 and array.ndim for array in records.get("float32", {}).values())
    return [Float64Inside()] if inside else []


def _of_torch(judged: Sequence[Judgement], evidence: Mapping[str, Evidence]) -> list[Note]:
    """Whether the reference computes in float32 where it is handed float64, and what was returned is finer."""
    fine = evidence.get("float64")
    if fine is None or not any(judgement.row.verdict == "WEAK" for judgement in judged):
        return []
    in_torch = rounds_to_float32(fine.local[name] for name in fine.records if name in fine.local)
    return [TorchInFloat32()] if in_torch and not rounds_to_float32(fine.records.values()) else []


def calls_in_one(calls: Mapping[str, Call]) -> tuple[Mapping[str, Call], list[Note]]:
    """The calls that can be judged, and a note where a derivation has one precision alone.

    It raises in the other, or computes in float32 whatever it is handed.
    """
    alone = runs_in_one({dtype: made.raised for dtype, made in calls.items()})
    if alone is not None:
        return {alone[0]: calls[alone[0]]}, [alone[1]]
    fine = calls.get("float64")
    if fine is not None and fine.is_usable and rounds_to_float32(fine.records.values()):
        return {"float32": calls.get("float32", fine)}, [Float32Only()]
    return calls, []


def _ended(number: int, keys: Sequence[Key], calls: Mapping[str, Call], end_to_end: Replay) -> tuple[Finding, ...]:
    """An exception, or something else than a mapping, against the tensor that was to be computed next."""
    for dtype, made in calls.items():
        waiting = next((key for key in keys if key.name not in made.records), Key(number, "forward", "J"))
        if made.instead:
            remedy = f"return a dict, like {{'J': J, '{waiting.name}': ...}}"
            cause = ReturnedInstead("derivation", "returned", made.instead, remedy)
            return (Finding(waiting, "MISSING", cause),)
        if made.raised is not None:
            known = {name: Key(number, phase_of(name), name) for name in end_to_end.values}
            known |= {gradient(n): Key(number, "backward", gradient(n)) for n in end_to_end.values if n != "J"}
            known |= {key.name: key for key in keys}
            key = known.get(made.assigned, known.get(gradient(made.assigned), waiting))
            alone = any(other.raised is None for other in calls.values())
            return (Finding(key, "FAULT", replace(made.raised, dtype=dtype if alone else "")),)
    return ()


def _misshapen(by_dtype: Mapping[str, Mapping[str, WrongShape]]) -> dict[str, WrongShape]:
    """What is wrong about the shapes of gradients that cannot be subtracted from their parameter."""
    return {
        name: cause if all(name in each for each in by_dtype.values()) else replace(cause, dtype=dtype)
        for dtype, causes in [*by_dtype.items()][::-1]
        for name, cause in causes.items()
    }


def _with_shape(judgement: Judgement, misshapen: Mapping[str, WrongShape]) -> Judgement:
    """A gradient that cannot be subtracted from its parameter is a FAULT, whatever its values."""
    row = judgement.row
    if row.name not in misshapen:
        return judgement
    cause = replace(misshapen[row.name], values="agree" if judgement.finding is None else "differ")
    finding = Finding(Key(row.step, row.phase, row.name), "FAULT", cause, equation=row.equation)
    return judgement._replace(row=row._replace(verdict="FAULT"), finding=finding)


def _with_alias(name: str, causes: tuple[Cause, ...], *, call: Call, end_to_end: Replay) -> tuple[Cause, ...]:
    """A wrong tensor that shares memory with a later one was most likely overwritten by what became of that."""
    order = [*end_to_end.values, *end_to_end.gradients]
    earlier = order[: order.index(name)] if name in order else []
    others = [pair[pair[0] == name] for pair in call.aliased if name in pair]
    others = [other for other in others if other not in earlier]
    others = [other for other in others if not _related(name, other, end_to_end.reads)]  # what is one may be the other
    others = [other for other in others if same(call.records[name], call.records[other])]  # else it may be a mere view
    if not others or causes[0].code not in ("unknown", "zero", "wrong-operand"):
        return causes
    return (SharesMemory(others[0]),)


def _related(name: str, other: str, reads: Mapping[str, frozenset[str]]) -> bool:
    """Whether one of two values, or of two gradients, is computed directly from the other."""
    if is_gradient(name, reads) != is_gradient(other, reads):
        return False
    a, b = (of_gradient(each) if is_gradient(each, reads) else each for each in (name, other))
    return a == b or a in reads.get(b, ()) or b in reads.get(a, ())
