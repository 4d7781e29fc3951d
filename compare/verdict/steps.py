"""From the verdicts on single tensors to those on a step: rows, findings, and which of them only follow from others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import NamedTuple

import numpy as np

from handgrad.compare.causes import Cause, Unknown
from handgrad.compare.facts import Fact
from handgrad.compare.failures import (
    LosesDigits,
    NotComputed,
    NotFinite,
    NotReal,
    Overflow,
    UnknownName,
    Unstable,
    WrongShape,
)
from handgrad.compare.names import Key, gradient, of_gradient, of_updated, of_velocity, velocity
from handgrad.compare.remarks import AsFloat32, Note, Operands, OutOfRange, Persists, Reads
from handgrad.compare.results import Excerpt, Finding, Row, Worst
from handgrad.compare.thresholds import CAST_DERIVATIVE, CAST_GRADIENT, RIGHT_AFTER_ALL
from handgrad.compare.trace import Arrays, described, is_real
from handgrad.compare.verdict.bounds import PRECISIONS, Allowance
from handgrad.compare.verdict.closeness import Local, index_of
from handgrad.compare.verdict.differences import Measured, measured_all
from handgrad.compare.verdict.excerpts import excerpt
from handgrad.compare.verdict.rule import Ladder, Outcome, judge

__all__ = ["ROOTS", "Judgement", "StepRun", "apart_by_name", "inputs_of", "judge_step", "misfit", "row_of", "structure"]

ROOTS = {np.dtype(dtype): precision.u**0.5 for dtype, precision in PRECISIONS.items()}
ReadBy = Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class StepRun:
    """One step of the derivation in one precision.

    `records` is what it computed, `local` the reference evaluated on those records in float64, `allowances` what
    rounding can explain where the operation is known. Each is by record name.
    """

    records: Arrays
    local: Arrays
    allowances: Mapping[str, Allowance] = field(default_factory=dict)


class Judgement(NamedTuple):
    """A row, the finding if it is a culprit, whether its end-to-end difference is beyond rounding, and a note.

    `local` has both sides in the finest precision of a tensor that is a FAULT, `excerpt` entries of both for a finding.
    """

    row: Row
    finding: Finding | None = None
    differs: bool = False
    note: Note | None = None
    local: Local | None = None
    excerpt: Excerpt | None = None


@dataclass
class _Consequences:
    """What is known so far in a step that excuses tensors which are computed from wrong ones."""

    reads: ReadBy
    inherited: set[str] = field(default_factory=set)
    less_exact: dict[str, str] = field(default_factory=dict)  # the gradient of what a WEAK value reads, and that value
    not_finite: bool = False
    overflown: bool = False
    has_finding: bool = False

    def excuse(
        self, key: Key, row: Row, outcome: Outcome, local: Mapping[str, Local], runs: Mapping[str, StepRun]
    ) -> bool:
        """Whether a tensor that is not OK only follows from one before it.

        The gradient of what a wrong value reads (torch's tanh backward uses its own output); what is not finite on both
        sides after something that was not; the gradient at a value cast to float32; a value that is torch's own.
        """
        shown = local[_shown(local, outcome)]
        both = all(not np.isfinite(side[outcome.index]) for side in shown)
        return (
            key.name in self.inherited
            or (outcome.verdict == "NONFINITE" and both and self.not_finite)
            or (key.name in self.less_exact and _follows_from(self.less_exact[key.name], local, runs))
            or (self.has_finding and _is_right_after_all(row, shown))
        )

    def note(self, name: str, verdict: str) -> None:
        """Keep what follows from a tensor that is not OK; J's own value enters no gradient."""
        self.not_finite |= verdict == "NONFINITE"
        if name != "J" and verdict == "FAULT":
            self.inherited |= {gradient(read) for read in self.reads.get(name, ())}
        elif name != "J" and verdict == "WEAK":
            self.less_exact |= {gradient(read): name for read in self.reads.get(name, ())}


def judge_step(
    keys: Iterable[tuple[Key, str]],
    runs: Mapping[str, StepRun],
    end_to_end: tuple[Arrays, Arrays],
    reads: ReadBy,
    ladders: Mapping[str, Ladder],
) -> list[Judgement]:
    """Judge the records of one step, given in dataflow order with their equation labels.

    `runs` are the same step by dtype; `end_to_end` the two sides that are printed, by hand and in torch, each on its
    own tensors. Names come first, then shapes, then finiteness and value. `reads` names what each forward tensor is
    computed from.
    """
    keys = [*keys]
    apart = apart_by_name([key.name for key, _ in keys], *end_to_end)
    finest = runs["float64"].records if "float64" in runs else {}
    cast = {name for name, record in finest.items() if record.dtype.char == "f"}  # float32
    before, judgements = _Consequences(reads), list[Judgement]()
    for key, equation in keys:
        judgement = structure(key, equation, runs, end_to_end)
        if judgement is None:
            local, note = _comparable(key.name, runs, before)
            beside_float32 = bool(cast and cast & {*inputs_of(key.name, reads)})
            known = {dtype: runs[dtype].allowances[key.name] for dtype in local if key.name in runs[dtype].allowances}
            bounds = known if len(known) == len(local) else None
            outcome = judge(local, bounds, ladders.get(key.name), beside_float32=beside_float32)
            row, differs = row_of(key, equation, outcome, end_to_end, apart.get(key.name))
            judgement = Judgement(row, None, differs, note)
            if outcome.verdict != "OK":
                is_culprit = not before.excuse(key, row, outcome, local, runs)
                before.note(key.name, outcome.verdict)
                if is_culprit:
                    circumstances = _circumstances(key.name, outcome, local, known, reads, end_to_end[0])
                    judgement = _culprit(judgement, key, outcome, local, inputs_of(key.name, reads), circumstances)
        before.has_finding |= judgement.finding is not None
        judgements.append(judgement)
    return judgements


def _comparable(name: str, runs: Mapping[str, StepRun], before: _Consequences) -> tuple[dict[str, Local], Note | None]:
    """Both sides of a tensor by dtype, without float32 where that cannot hold it."""
    local = {dtype: Local(run.records[name], run.local[name]) for dtype, run in runs.items()}
    if len(local) < 2:
        return local, None
    if before.overflown or _is_out_of_range(local["float32"], runs["float32"].allowances.get(name)):
        before.overflown = True  # what is computed from it says nothing either
        del local["float32"]
        return local, OutOfRange()
    return local, None


def _culprit(
    judgement: Judgement,
    key: Key,
    outcome: Outcome,
    local: Mapping[str, Local],
    inputs: tuple[str, ...],
    circumstances: tuple[Fact, ...],
) -> Judgement:
    """A judgement with its finding, whose cause is still unknown if it is a FAULT, and entries of both sides."""
    dtype = _shown(local, outcome)
    ours, theirs = (float(side[outcome.index]) for side in local[dtype])
    shown_in = dtype if outcome.verdict != "FAULT" and len(local) > 1 else ""
    finding = Finding(
        key,
        outcome.verdict,
        _cause(outcome, ours, theirs),
        worst=Worst(outcome.index, ours, theirs, shown_in, inputs),
        equation=judgement.row.equation,
        rho=outcome.rho,
        circumstances=circumstances,
    )
    finest = local.get("float64", next(iter(local.values()))) if outcome.verdict == "FAULT" else None
    return judgement._replace(finding=finding, local=finest, excerpt=excerpt(key, *local[dtype], outcome.index))


def _cause(outcome: Outcome, by_hand: float, torch: float) -> Cause:
    """What the verdict alone says of the cause."""
    if outcome.verdict == "NONFINITE":
        return NotFinite(by_hand, torch) if np.isfinite(by_hand) or np.isfinite(torch) else Overflow()
    if outcome.verdict == "WEAK":
        return Unstable() if outcome.is_unstable else LosesDigits()
    return Unknown()


def _circumstances(
    name: str,
    outcome: Outcome,
    local: Mapping[str, Local],
    known: Mapping[str, Allowance],
    reads: ReadBy,
    records: Arrays,
) -> tuple[Fact, ...]:
    """How a FAULT was told from rounding; what an operation that overflows or loses digits was handed."""
    if outcome.verdict == "FAULT":
        persists = [Persists("moves")] if outcome.is_told_by_moves else [Persists("digits")] if len(local) > 1 else []
        return (*persists, *([AsFloat32()] if _is_as_float32(local, known) else []))
    operands = sorted(reads.get(name, ()))
    alike = [n for n in operands if n in records and records[n].shape == records[name].shape and is_real(records[n])]
    if alike:
        return (Operands(tuple((n, float(records[n][outcome.index])) for n in alike)),)
    return (Reads(tuple(operands)),) if operands else ()


def inputs_of(name: str, reads: ReadBy) -> tuple[str, ...]:
    """What a tensor is computed from: by its equation, or by what reads it if it is a gradient."""
    if name in reads:
        return tuple(sorted(reads[name]))
    if of_updated(name) != name:
        return velocity(of_updated(name)), gradient(of_updated(name))
    if of_velocity(name):
        return (gradient(of_velocity(name)),)
    readers = [value for value, read in reads.items() if of_gradient(name) in read]
    return tuple(dict.fromkeys([*map(gradient, readers), *sorted({n for value in readers for n in reads[value]})]))


def _is_right_after_all(row: Row, local: Local) -> bool:
    """Whether a value that does not follow from the records is torch's own: it was not computed from a wrong one."""
    if not np.isfinite(row.max_abs_diff):
        return False
    with np.errstate(all="ignore"):
        off = np.abs(np.subtract(*local, dtype=np.float64)).max()
    return not row.max_abs_diff > RIGHT_AFTER_ALL * off


def _follows_from(value: str, local: Mapping[str, Local], runs: Mapping[str, StepRun]) -> bool:
    """Whether the difference of a gradient is what a less exact value makes of it, where a derivative is taken at it.

    g' of tanh and sigmoid changes at most twice as fast as the value does, so dZ = dA g' is off by 2 |dA| |A - A'|;
    where 1 - A^2 cancels, that is more than the value's own share.
    """
    dtype = "float64" if "float64" in local else next(iter(local))
    run, finest = runs[dtype], local[dtype]
    difference = np.abs(finest.recorded - finest.reference)
    allowed = CAST_GRADIENT * np.max(np.abs(finest.reference), initial=0.0)
    cotangent = run.records.get(gradient(value))
    if cotangent is not None and cotangent.shape == difference.shape == run.records[value].shape:
        allowed = allowed + CAST_DERIVATIVE * np.abs(cotangent * (run.records[value] - run.local[value]))
    return bool((difference <= allowed).all())


def _is_out_of_range(local: Local, allowance: Allowance | None) -> bool:
    """Whether a float32 record is not finite only where float32 cannot hold its reference, or what it is computed by.

    Overflow says nothing about the formula, nor does what follows from it. A sum overflows if its terms are too large
    together, whatever they come to; (a - y)^2 does before it is halved.
    """
    wrong = ~np.isfinite(local.recorded)
    if not wrong.any():
        return False
    reach = np.abs(local.reference)
    if allowance is not None and allowance.magnitude is not None:
        reach = np.maximum(reach, allowance.magnitude(None))
    return not (reach <= np.finfo(np.float32).max / 8)[wrong].any()


def structure(
    key: Key, equation: str, runs: Mapping[str, StepRun], end_to_end: tuple[Arrays, Arrays]
) -> Judgement | None:
    """A record that is missing, no array of real numbers, unknown to torch or of the wrong shape; else None."""
    by_hand, torch = end_to_end
    unknown = [name for name in by_hand if all(name not in run.local for run in runs.values())]
    records = {dtype: run.records.get(key.name) for dtype, run in runs.items()}
    if all(record is not None and is_real(record) for record in records.values()):
        if any(key.name not in run.local for run in runs.values()):
            return _misfit(key, "FAULT", _unknown_name(key.name, by_hand, runs), by_hand[key.name].shape, equation)
        return misfit(key, records, {dtype: run.local[key.name].shape for dtype, run in runs.items()}, equation)
    similar = get_close_matches(key.name, unknown, n=1)
    due = torch[key.name].shape if key.name in torch else ()
    return misfit(key, records, dict.fromkeys(records, due), equation, similar[0] if similar else "")


def misfit(
    key: Key,
    records: Mapping[str, np.ndarray | None],
    due: Mapping[str, tuple[int, ...]],
    equation: str = "",
    similar: str = "",
) -> Judgement | None:
    """The one check of a record by dtype that is missing, no array of real numbers or of another shape; else None.

    `due` has the shape that it must have by dtype, `similar` a name that was returned and that nothing has.
    """
    missing = [dtype for dtype, record in records.items() if record is None]
    if missing:
        cause: Cause = NotComputed(similar, missing[0] if len(missing) < len(records) else "")
        return _misfit(key, "MISSING", cause, next(iter(due.values())), equation)
    present = {dtype: record for dtype, record in records.items() if record is not None}
    for record in present.values():
        if not is_real(record):
            return _misfit(key, "MISSING", NotReal(described(record)), record.shape, equation)
    wrong = {dtype: record.shape for dtype, record in present.items() if record.shape != due[dtype]}
    if not wrong:
        return None
    dtype, shape = next(iter(wrong.items()))
    cause = WrongShape(shape, due[dtype], dtype if len(wrong) < len(records) else "")
    return _misfit(key, "FAULT", cause, shape, equation)


def _misfit(key: Key, verdict: str, cause: Cause, shape: tuple[int, ...], equation: str) -> Judgement:
    row = Row(*key, equation=equation, shape=shape, max_abs_diff=float("nan"), verdict=verdict)
    return Judgement(row, Finding(key, verdict, cause, equation=equation), differs=True)


def _unknown_name(name: str, by_hand: Arrays, runs: Mapping[str, StepRun]) -> UnknownName:
    """The nearest name that torch has, of those that are missing if one of them is near."""
    known = dict.fromkeys(name for run in runs.values() for name in run.local)
    missing = [other for other in known if other not in by_hand]
    names = missing if get_close_matches(name, missing) else [*known]
    same = [other for other in names if other.lower() == name.lower()]
    return UnknownName((same or get_close_matches(name, names, n=1) or [""])[0], tuple(names))


def apart_by_name(names: Iterable[str], by_hand: Arrays, torch: Arrays) -> dict[str, Measured]:
    """How far the two sides are apart end to end, by name, where both have real numbers in the same shape."""
    both = {name: (by_hand[name], torch[name]) for name in names if name in by_hand and name in torch}
    pairs = {n: (a, b) for n, (a, b) in both.items() if a.shape == b.shape and is_real(a) and is_real(b) and a.size}
    return dict(zip(pairs, measured_all([*pairs.values()]), strict=True))


def row_of(
    key: Key, equation: str, outcome: Outcome, ends: tuple[Arrays, Arrays], apart: Measured | None
) -> tuple[Row, bool]:
    """The row of a judged tensor with its end-to-end difference, and whether that is beyond rounding."""
    by_hand = ends[0][key.name]
    if apart is None or apart.position is None:  # its inputs have another size on this side
        row = Row(*key, equation=equation, shape=by_hand.shape, max_abs_diff=float("nan"), rho=outcome.rho)
        return row._replace(rho_basis=outcome.basis, verdict=outcome.verdict), True
    at = index_of(apart.position, by_hand.shape)
    row = Row(
        *(*key, equation, by_hand.shape, apart.max_abs_diff, at, apart.by_hand, apart.torch),
        *(outcome.rho, outcome.basis, outcome.verdict),
    )
    return row, not apart.max_abs_diff <= ROOTS.get(ends[1][key.name].dtype, 0.0) * apart.scale


def _shown(local: Mapping[str, Local], outcome: Outcome) -> str:
    """The dtype that shows an outcome best: where a side is not finite, or where digits are lost."""
    for dtype, run in local.items():
        if not np.isfinite(run.recorded).all() or not np.isfinite(run.reference).all():
            return dtype
    if outcome.verdict != "WEAK":
        return next(iter(local))

    def lost(dtype: str) -> float:
        recorded, reference = (float(side[outcome.index]) for side in local[dtype])
        return float(abs(recorded - reference) / PRECISIONS[dtype].u)

    return max(local, key=lost)


def _is_as_float32(local: Mapping[str, Local], known: Mapping[str, Allowance]) -> bool:
    """Whether a difference in float64 is everywhere within what rounding explains in float32."""
    if "float64" not in known:
        return False
    recorded, reference = local["float64"]
    return bool((np.abs(recorded - reference) <= known["float64"].everywhere(PRECISIONS["float32"])).all())
