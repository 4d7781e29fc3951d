"""What a derivation returned, judged against a torch reference without knowing the formulas."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from handgrad.compare.diagnosis import TOO_FEW, UNKNOWN, Cause, diagnose
from handgrad.compare.errors import InputError, kind_of
from handgrad.compare.experiment.exceptions import quietly
from handgrad.compare.experiment.scene import of_records
from handgrad.compare.experiment.settings import FLOAT32_MAX
from handgrad.compare.names import Key
from handgrad.compare.oracle.reference import Evidence, Reference, check_repeatable, input_names, run_reference
from handgrad.compare.oracle.replay import Replay
from handgrad.compare.report import Finding, Row
from handgrad.compare.report.details import Details
from handgrad.compare.sandbox import Call, checked_arrays, in_precision, same
from handgrad.compare.trace import is_real
from handgrad.compare.verdict.conventions import FLOAT32_ONLY, FLOAT64_INSIDE, FLOAT64_ONLY, TORCH_IN_FLOAT32
from handgrad.compare.verdict.means import (
    LEFT_OUT,
    divided_by,
    gradients_of_taps,
    is_mean,
    mean_left_out,
    right_end_to_end,
)
from handgrad.compare.verdict.rule import rounds_to_float32
from handgrad.compare.verdict.shapes import Fitted, fitted
from handgrad.compare.verdict.steps import Judgement, StepRun, culprits, detailed, judge_step

__all__ = ["JudgedRecords", "Problem", "judged_records"]

Arrays = dict[str, np.ndarray]


class Problem:
    """The arguments of a check, looked through: the reference, and params and batch by name."""

    def __init__(
        self, reference: Reference, params: Mapping[str, Any], batch: Sequence[Any], precisions: tuple[str, ...]
    ) -> None:
        """Raise InputError for arguments that cannot be used."""
        if not callable(reference):
            raise InputError(f"reference is {kind_of(reference)}; it must be a function that returns J")
        if not isinstance(batch, (tuple, list)):
            raise InputError(f"batch is {kind_of(batch)}; it must be a tuple of arrays, like (X, Y)")
        self.reference, self.precisions = reference, precisions
        self.params = checked_arrays("params", params, trained=True)
        if "float32" in precisions:
            _check_range("params", self.params)
        if not self.params:
            raise InputError("params is empty; hand over at least one parameter, like {'W1': W1}")
        self.batch = checked_arrays("batch", self.named(batch), trained=False)
        if "float32" in precisions:
            _check_range("batch", self.batch)
        self.usual = {name: array.shape for name, array in self.batch.items()}
        if self.params.keys() & self.batch.keys():
            both = sorted(self.params.keys() & self.batch.keys())[0]
            raise InputError(f"{both!r} names a parameter and an input of the reference; rename one of them")

    def alone(self, precision: str) -> Problem:
        """The same in one precision."""
        found = copy(self)
        found.precisions = (precision,)
        return found

    def named(self, batch: Sequence[Any]) -> dict[str, Any]:
        """A batch by the names of the reference's parameters after the first."""
        return dict(zip(input_names(self.reference, len(batch)), batch, strict=True))


def _check_range(kind: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Raise InputError for values that float32 cannot hold."""
    for name, array in arrays.items():
        if array.dtype.kind == "f" and np.max(np.abs(array)) > FLOAT32_MAX:
            raise InputError(
                f"{kind}[{name!r}] holds {np.max(np.abs(array)):g}; float32 holds no more than {FLOAT32_MAX:g}, so "
                "rescale it, or check with precisions=('float64',)"
            )


@dataclass(frozen=True)
class JudgedRecords:
    """The rows, findings and notes on one call of a derivation, and the reference's own run beside it."""

    rows: tuple[Row, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    end_to_end: Replay
    details: Details = field(default_factory=Details)


def judged_records(
    problem: Problem,
    params_by: Mapping[str, Arrays],
    batch: Arrays,
    calls: Mapping[str, Call],
    *,
    step: int,
    derive: Callable[[Mapping[str, np.ndarray]], Call] | None = None,
    owed: bool = True,
    previous: Arrays | None = None,
) -> JudgedRecords:
    """Judge what a derivation returned by dtype for params, also by dtype, and a batch.

    `derive` runs it again on other parameters, where it can be. `owed`: a gradient of every parameter is due.
    `previous` is what the step before returned, with its parameters.
    """
    printed = next(iter(calls))
    params = params_by[printed]
    everything = {name: array for each in calls.values() for name, array in each.records.items()}
    end_to_end = run_reference(problem.reference, params, batch, everything, printed, check=True)
    calls = {dtype: each.read_for(end_to_end.values) for dtype, each in calls.items()}
    keys = _keys(step, end_to_end, calls[printed], params if owed else {}, batch)
    notes = _float64_only(calls)
    if notes:
        calls = {"float64": calls["float64"]}
    failed = _failed(step, keys, calls, end_to_end)
    calls = {dtype: each for dtype, each in calls.items() if each.raised is None and not each.instead}
    if printed not in calls:
        return JudgedRecords((), () if failed is None else (failed,), (), end_to_end)
    shapes = {f"d{name}": array.shape for name, array in params.items()} | {"J": ()}
    fits = {dtype: fitted(each.records, shapes) for dtype, each in calls.items()}
    evidence = _evidence(problem.reference, params_by, batch, fits, end_to_end)
    if "float64" in evidence and derive is not None:
        rerun = lambda moved: derive(moved).read_for(end_to_end.values).records  # noqa: E731
        evidence["float64"] = replace(evidence["float64"], derive=rerun)
    judged, more, normalised = _verdicts(keys, evidence, end_to_end)
    misshapen = _misshapen(fits)
    judged = [_with_shape(judgement, misshapen) for judgement in judged]

    def causes(finding: Finding, every: bool) -> tuple[Cause, ...]:
        scene = of_records(finding.name, normalised, end_to_end.reads, previous or {}, problem.usual)
        return _with_alias(
            finding.name,
            (UNKNOWN,) if scene is None else diagnose(scene, every=every),
            calls[printed],
            end_to_end,
        )

    findings, together = _as_one(culprits(judged, causes), judged, everything, end_to_end)
    notes += [*_notes(judged, evidence, more), *fits[printed].notes]
    notes += [
        f"d{name} is not judged: J does not depend on {name} in the reference."
        for name in sorted({*end_to_end.side_outputs, *params, *batch})
        if f"d{name}" in everything and f"d{name}" not in end_to_end.gradients
    ]
    rows = tuple(judgement.row for judgement in judged)
    findings = findings if failed is None else (*findings, failed)
    details = detailed(judged, end_to_end.reads)._replace(together=together)
    return JudgedRecords(rows, findings, tuple(notes), end_to_end, details)


def _evidence(
    reference: Reference, params_by: Mapping[str, Arrays], batch: Arrays, fits: Mapping[str, Fitted], end_to_end: Replay
) -> dict[str, Evidence]:
    """What was returned in each precision, beside the reference."""
    return {
        dtype: Evidence(
            reference,
            in_precision(params_by[dtype], dtype),
            in_precision(batch, dtype),
            fit.records,
            reads=end_to_end.reads if dtype == "float64" else {},
            differentiated=end_to_end.differentiated,
        )
        for dtype, fit in fits.items()
    }


def _verdicts(
    keys: Sequence[Key], evidence: Mapping[str, Evidence], end_to_end: Replay
) -> tuple[list[Judgement], list[str], Mapping[str, Evidence]]:
    """The verdicts and notes in the convention in which nothing is left to find, or less, and the evidence read so."""
    judged, notes = _judged(keys, evidence, end_to_end)
    printed, run = next(iter(evidence.items()))
    if any(judgement.finding or judgement.differs for judgement in judged):  # a reference that draws cannot agree
        check_repeatable(run.reference, run.params, run.batch, printed, end_to_end)
    left_out = mean_left_out(judged, run.records, end_to_end, run.params, run.batch)
    if left_out is not None and is_mean(run.reference, run.params, run.batch, end_to_end, left_out[0]):
        divided = divided_by(evidence, *left_out)
        again, also = _judged(keys, divided, end_to_end)
        gradients = {f"d{name}" for name in run.params}
        left = [judgement.row.name for judgement in again if judgement.finding is not None]
        before = sum(judgement.finding is not None for judgement in judged)
        agree = [not judgement.differs for judgement in again if judgement.row.name in gradients]
        right = right_end_to_end(run.records, end_to_end, gradients)
        is_likelier = {*left} <= gradients and 2 * len(right) >= len(agree)
        is_better = (len(left), not is_likelier) < (before, True) if left else all(agree)
        if is_better:
            return again, [*also, LEFT_OUT.format(left_out[0])], divided
    return judged, notes, evidence


def _misshapen(fits: Mapping[str, Fitted]) -> dict[str, str]:
    """What is wrong about the shapes of gradients that cannot be subtracted from their parameter."""
    return {
        name: text if all(name in each.misshapen for each in fits.values()) else f"in {dtype}, {text}"
        for dtype, fit in [*fits.items()][::-1]
        for name, text in fit.misshapen.items()
    }


def _notes(judged: Sequence[Judgement], evidence: Mapping[str, Evidence], more: Sequence[str]) -> list[str]:
    """Which precision either side computes in, where it is another than it was handed, and what the verdicts say."""
    inside = FLOAT32_ONLY not in more and _in_float64(evidence.get("float32"))
    weak = any(judgement.row.verdict == "WEAK" for judgement in judged)
    coarse = weak and "float64" in evidence and _is_coarser_in_torch(evidence["float64"])
    return [*([FLOAT64_INSIDE] if inside else []), *more, *([TORCH_IN_FLOAT32] if coarse else [])]


def _float64_only(calls: Mapping[str, Call]) -> list[str]:
    """A note on a derivation that runs in float64, the precision printed, and raises in float32."""
    first, *others = calls.items()
    raised = calls["float32"].raised if "float32" in calls else None
    if raised is None or not others or first[0] != "float64" or first[1].raised is not None:
        return []
    return [FLOAT64_ONLY.format(raised.what)]


def _keys(step: int, end_to_end: Replay, printed: Call, owed: Mapping[str, Any], batch: Mapping[str, Any]) -> list[Key]:
    """What was returned and what should have been, in dataflow order; then what the reference does not have."""
    values, gradients, records = end_to_end.values, end_to_end.gradients, printed.records
    wanted = {f"d{name}" for name in owed}
    empty = {
        name for name, array in {**values, **gradients}.items() if not array.size and not records.get(name, array).size
    }
    keys = [Key(step, "loss" if name == "J" else "forward", name) for name in values if name in {*records} - empty]
    keys += [Key(step, "backward", name) for name in gradients if name in ({*records} | wanted) - empty]
    known = {*values, *gradients, *(f"d{name}" for name in (*end_to_end.side_outputs, *owed, *batch))}
    unknown = [name for name in records if name not in known]
    return keys + [Key(step, "backward" if name.startswith("d") else "forward", name) for name in unknown]


def _judged(
    keys: Sequence[Key], evidence: Mapping[str, Evidence], end_to_end: Replay
) -> tuple[list[Judgement], list[str]]:
    """The verdicts, in stages: float64 alone where that shows rounding only, then both precisions with the ladder."""
    printed = next(iter(evidence.values()))
    both = (printed.records, {**end_to_end.values, **end_to_end.gradients})
    labelled = [(key, "") for key in keys]
    all_finite = _alike(evidence)
    masks = not all_finite and bool(np.isfinite(end_to_end.values["J"]).all())

    def judge(dtypes: Iterable[str], *, closely: bool) -> list[Judgement]:
        runs = {dtype: _run(evidence[dtype], masks=masks) for dtype in dtypes}
        source = evidence.get("float64", printed)
        ladders = {key.name: source.ladder(key.name) for key in keys if key.name in source.records} if closely else {}
        with quietly():
            return judge_step(labelled, runs, both, end_to_end.reads, ladders)

    finest = evidence.get("float64")
    if finest is not None and all_finite:
        judged = judge(["float64"], closely=False)
        if all(judgement.row.verdict == "OK" for judgement in judged):
            return judged, []
    judged = judge(evidence, closely=True)
    if len(evidence) > 1 and any(j.finding for j in judged) and _in_float32(evidence["float64"]):
        return judge(["float32"], closely=True), [FLOAT32_ONLY]
    return judged, [judgement.note for judgement in judged if judgement.note]


def _run(evidence: Evidence, *, masks: bool) -> StepRun:
    """Records beside the reference; with `masks`, infinities that stand in both, as in masked scores, are no overflow.

    They are that where J is finite in spite of them, and are left out by counting them as 0 on both sides. A value that
    the reference itself computes in float32, as in (Z > 0).float().mean(), is compared to within a rounding of that.
    """
    records, local = dict(evidence.records), dict(evidence.local)
    for name, reference in evidence.local.items():
        record = records.get(name)
        if record is not None and reference.dtype == np.float32 and _is_rounded(record, reference):
            local[name] = record.astype(np.float64)
    for name, reference in evidence.local.items() if masks else ():
        record = records.get(name)
        if record is not None and is_real(record) and record.shape == reference.shape and np.isinf(record).any():
            both = np.isinf(record) & (record == reference)
            records[name], local[name] = np.where(both, 0, record), np.where(both, 0, reference)
    return StepRun(records, local)


def _is_rounded(record: np.ndarray, reference: np.ndarray) -> bool:
    """Whether a float32 value of the reference is a record, to within a few of its roundings."""
    if not is_real(record) or record.shape != reference.shape:
        return False
    apart = np.max(np.abs(record.astype(np.float64) - reference), initial=0.0)
    return bool(apart <= 4 * 2.0**-24 * np.max(np.abs(reference), initial=0.0))


def _in_float64(run: Evidence | None) -> bool:
    return run is not None and any(array.dtype == np.float64 and array.ndim for array in run.records.values())


def _is_coarser_in_torch(run: Evidence) -> bool:
    """Whether it is the reference that computes in float32."""
    return rounds_to_float32(run.local[name] for name in run.records if name in run.local) and not _in_float32(run)


def _in_float32(run: Evidence) -> bool:
    return rounds_to_float32(filter(is_real, run.records.values()))


def _alike(evidence: Mapping[str, Evidence]) -> bool:
    """Whether every precision returned the same names and shapes, all real and finite."""
    first, *others = ({name: array.shape for name, array in each.records.items()} for each in evidence.values())
    real = all(is_real(array) and np.isfinite(array).all() for e in evidence.values() for array in e.records.values())
    return real and all(other == first for other in others)


def _with_shape(judgement: Judgement, misshapen: Mapping[str, str]) -> Judgement:
    """A gradient that cannot be subtracted from its parameter is a FAULT, whatever its values."""
    row = judgement.row
    if row.name not in misshapen:
        return judgement
    values = "its values agree once it has that shape" if judgement.finding is None else "its values are wrong too"
    text = f"{misshapen[row.name]}; {values}"
    finding = Finding(row.step, row.phase, row.name, row.equation, "FAULT", "shape", text)
    return judgement._replace(row=row._replace(verdict="FAULT"), finding=finding)


def _related(name: str, other: str, reads: Mapping[str, frozenset[str]]) -> bool:
    """Whether one of two values, or of two gradients, is computed directly from the other."""
    if (name[1:] in reads) != (other[1:] in reads):
        return False
    a, b = (each[1:] if each.startswith("d") and each[1:] in reads else each for each in (name, other))
    return a == b or a in reads.get(b, ()) or b in reads.get(a, ())


def _with_alias(name: str, causes: tuple[Cause, ...], made: Call, end_to_end: Replay) -> tuple[Cause, ...]:
    """A wrong tensor that shares memory with a later one was most likely overwritten by what became of that."""
    order = [*end_to_end.values, *end_to_end.gradients]
    earlier = order[: order.index(name)] if name in order else []
    others = [pair[pair[0] == name] for pair in made.aliased if name in pair]
    others = [other for other in others if other not in earlier]
    others = [other for other in others if not _related(name, other, end_to_end.reads)]  # what is one may be the other
    others = [other for other in others if same(made.records[name], made.records[other])]  # else it may be a mere view
    if not others or causes[0].code not in ("unknown", "zero", "wrong-operand"):
        return causes
    text = f"it shares memory with {others[0]}, so what is done to one is done to both; copy before changing it"
    return (Cause("aliased", text),)


def _as_one(
    findings: tuple[Finding, ...], judged: Sequence[Judgement], records: Mapping[str, Any], end_to_end: Replay
) -> tuple[tuple[Finding, ...], dict[str, tuple[str, ...]]]:
    """One finding for gradients off by the same factor where it may come in at a tensor that was not returned.

    With the names of the others by that of the finding.
    """
    taps = gradients_of_taps(end_to_end)
    first = next((f for f in findings if f.phase == "backward" and f.cause in ("scale", "sign", "partial-batch")), None)
    if first is None or first.factor is None or (taps and taps <= records.keys()):
        return findings, {}
    factors = {j.row.name: j.factor for j in judged if j.row.phase == "backward" and j.factor is not None}
    alike = [f for f in findings if f is first or abs(factors.get(f.name, 0.0) / first.factor - 1) <= 1e-6]
    if len(alike) == 1:
        return findings, {}
    lead, *others = alike
    told = first.explanation
    if lead is not first:
        told = f"{first.explanation.partition('; ')[0]}; {lead.explanation.removeprefix(f'{TOO_FEW}; ')}"
    text = f"{told}; by the same factor: {', '.join(f.name for f in others)}; it comes in before them"
    merged = replace(lead, cause=first.cause, factor=first.factor, explanation=text)
    left = tuple(merged if finding is lead else finding for finding in findings if finding not in others)
    return left, {lead.name: tuple(f.name for f in others)}


def _failed(step: int, keys: Sequence[Key], calls: Mapping[str, Call], end_to_end: Replay) -> Finding | None:
    """An exception, or something else than a mapping, against the tensor that was to be computed next."""
    values = {name: Key(step, "loss" if name == "J" else "forward", name) for name in end_to_end.values}
    gradients = {f"d{name}": Key(step, "backward", f"d{name}") for name in end_to_end.values if name != "J"}
    for dtype, made in calls.items():
        if made.raised is None and not made.instead:
            continue
        known = values | gradients | {key.name: key for key in keys}
        waiting = next((key for key in keys if key.name not in made.records), Key(step, "forward", "J"))
        if made.raised is not None:
            key = known.get(made.raised.assigned, known.get(f"d{made.raised.assigned}", waiting))
            other = any(each.raised is None for each in calls.values())
            text = made.raised.what + (f" (in {dtype} only)" if other else "")
            return Finding(*key, "", "FAULT", "exception", text)
        text = f"the derivation returned {made.instead}; return a dict, like {{'J': J, '{waiting.name}': ...}}"
        return Finding(*waiting, "", "MISSING", "missing", text)
    return None
