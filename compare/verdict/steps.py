"""From the verdicts on single tensors to the rows of a report and its culprits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import NamedTuple

import numpy as np

from handgrad.compare.diagnosis import Cause, explained
from handgrad.compare.errors import did_you_mean
from handgrad.compare.names import Key
from handgrad.compare.report import DIVERGED, UNSTABLE, Finding, Row
from handgrad.compare.report.details import Details, Excerpt
from handgrad.compare.trace import Trace, is_real
from handgrad.compare.verdict.bounds import PRECISIONS, Allowance
from handgrad.compare.verdict.differences import Measured, measured_all
from handgrad.compare.verdict.excerpts import excerpt
from handgrad.compare.verdict.rule import Ladder, Local, Outcome, index_of, judge
from handgrad.compare.verdict.shapes import shape_hint

__all__ = [
    "ROOTS",
    "Diagnosis",
    "Drift",
    "JudgedRun",
    "Judgement",
    "StepRun",
    "beyond",
    "culprits",
    "detailed",
    "judge_step",
    "outranks",
]

Arrays = Mapping[str, np.ndarray]
Diagnosis = Callable[[Finding, bool], tuple[Cause, ...]]  # what explains a finding: every cause, or the first
AS_FLOAT32 = "; that is no more than float32's rounding, so see whether something in it is computed in float32"
LESS_EXACT = 2.0**-20  # a gradient computed from a value cast to float32 is off by a few of its roundings, 2^-24
RIGHT = 2.0**-10  # end to end off by less than that share of its local difference, a value is right


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

    `factor` is the ratio of the two sides where there is one, `excerpt` entries of both for a finding.
    """

    row: Row
    finding: Finding | None = None
    differs: bool = False
    note: str = ""
    factor: float | None = None
    excerpt: Excerpt | None = None


@dataclass(frozen=True)
class JudgedRun:
    """A training of both sides, judged: every tensor, the exception that ended it, its steps, notes, and what explains
    a finding.
    """

    judgements: list[Judgement]
    failure: Finding | None
    steps: int
    notes: tuple[str, ...]
    causes: Diagnosis | None = None


def judge_step(
    keys: Iterable[tuple[Key, str]],
    runs: Mapping[str, StepRun],
    end_to_end: tuple[Arrays, Arrays],
    reads: Mapping[str, frozenset[str]],
    ladders: Mapping[str, Ladder],
) -> list[Judgement]:
    """Judge the records of one step, given in dataflow order with their equation labels.

    `runs` are the same step by dtype; `end_to_end` the two sides that are printed, by hand and in torch, each on its
    own tensors. Names come first, then shapes, then finiteness and value. `reads` names what each forward tensor is
    computed from: after a FAULT there, the gradients of what it read are inherited; after WEAK, as far as a float32
    value in it explains them. J's own value enters no gradient, so nothing is inherited from it.
    """
    judgements: list[Judgement] = []
    inherited: set[str] = set()
    less_exact: dict[str, str] = {}  # the gradient of what a WEAK value was computed from, and that value
    not_finite_before = overflown = False
    keys = [*keys]
    apart = _apart([key.name for key, _ in keys], *end_to_end)
    finest = runs["float64"].records if "float64" in runs else {}
    cast = {name for name, record in finest.items() if record.dtype.char == "f"}  # float32
    for key, equation in keys:
        structure = _structure(key, equation, runs, end_to_end)
        if structure is not None:
            judgements.append(structure)
            continue
        local = {dtype: Local(run.records[key.name], run.local[key.name]) for dtype, run in runs.items()}
        note = ""
        if len(local) > 1 and (
            overflown or _is_out_of_range(local["float32"], runs["float32"].allowances.get(key.name))
        ):
            overflown = True  # what is computed from it says nothing either
            del local["float32"]
            note = "Some values exceed what float32 can hold; those tensors are judged in float64 alone."
        known = {dtype: runs[dtype].allowances[key.name] for dtype in local if key.name in runs[dtype].allowances}
        bounds = known if len(known) == len(local) else None
        outcome = judge(
            local, bounds, ladders.get(key.name), beside_float32=bool(cast and cast & _read_by(key.name, reads))
        )
        row, differs = _row(key, equation, outcome, end_to_end, apart.get(key.name))
        if outcome.verdict == "OK":
            judgements.append(Judgement(row, None, differs, note))
            continue
        shown = local[_shown(local, outcome)]
        both = all(not np.isfinite(side[outcome.index]) for side in shown)
        is_inherited = key.name in inherited or (outcome.verdict == "NONFINITE" and both and not_finite_before)
        not_finite_before |= outcome.verdict == "NONFINITE"
        is_inherited |= key.name in less_exact and _follows_from(less_exact[key.name], local, runs)
        is_inherited |= any(each.finding is not None for each in judgements) and _is_right_after_all(row, shown)
        if key.name == "J":
            pass
        elif outcome.verdict == "FAULT":
            inherited |= {f"d{name}" for name in reads.get(key.name, ())}
        elif outcome.verdict == "WEAK":
            less_exact |= {f"d{name}": key.name for name in reads.get(key.name, ())}
        if outcome.verdict != "FAULT":
            hint = _operands(reads.get(key.name, frozenset()), outcome, end_to_end[0], row.shape)
        else:
            hint = AS_FLOAT32 if _is_as_float32(local, known) else ""
        finding = None if is_inherited else _finding(key, equation, outcome, local, hint)
        factor = None
        entries = None if finding is None else excerpt(key, *shown, outcome.index)
        if finding is not None and outcome.verdict == "FAULT":
            dtype = "float64" if "float64" in local else next(iter(local))
            factor = explained(local[dtype].recorded, local[dtype].reference, dtype).factor
        judgements.append(Judgement(row, finding, differs, note, factor, entries))
    return judgements


def _read_by(name: str, reads: Mapping[str, frozenset[str]]) -> set[str]:
    """What a tensor of the notes' network is computed from: by its equation, or by what reads it if a gradient."""
    if name in reads:
        return set(reads[name])
    if name.endswith("_next"):
        return {f"v{name.removesuffix('_next')}", f"d{name.removesuffix('_next')}"}
    if name.startswith("v"):
        return {f"d{name[1:]}"}
    readers = [value for value, read in reads.items() if name[1:] in read]
    return {f"d{reader}" for reader in readers}.union(*(reads[reader] for reader in readers))


def _is_right_after_all(row: Row, local: Local) -> bool:
    """Whether a value that does not follow from the records is torch's own: it was not computed from a wrong one."""
    if not np.isfinite(row.max_abs_diff):
        return False
    with np.errstate(all="ignore"):
        off = np.abs(np.subtract(*local, dtype=np.float64)).max()
    return not row.max_abs_diff > RIGHT * off


ROOTS = {np.dtype(dtype): precision.u**0.5 for dtype, precision in PRECISIONS.items()}


def _follows_from(value: str, local: Mapping[str, Local], runs: Mapping[str, StepRun]) -> bool:
    """Whether the difference of a gradient is what a less exact value makes of it, where a derivative is taken at it.

    g' of tanh and sigmoid changes at most twice as fast as the value does, so dZ = dA g' is off by 2 |dA| |A - A'|;
    where 1 - A^2 cancels, that is more than the value's own share.
    """
    dtype = "float64" if "float64" in local else next(iter(local))
    run, finest = runs[dtype], local[dtype]
    difference = np.abs(finest.recorded - finest.reference)
    allowed = LESS_EXACT * np.max(np.abs(finest.reference), initial=0.0)
    cotangent = run.records.get(f"d{value}")
    if cotangent is not None and cotangent.shape == difference.shape == run.records[value].shape:
        allowed = allowed + 4 * np.abs(cotangent * (run.records[value] - run.local[value]))
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


class Drift:
    """Judges free-running steps: how far may two runs drift apart by rounding alone?

    As far as ten times the spread of runs by hand that start one rounding apart, plus the rounding of the step itself.
    A spread is a small sample, so for each tensor the largest one up to the step counts.
    """

    def __init__(self) -> None:
        """Nothing has drifted yet."""
        self.spread: dict[str, float] = {}
        self.scale: dict[str, float] = {}

    def judge(self, keys: Iterable[tuple[Key, str]], by_hand: Sequence[Trace], torch: Trace) -> list[Judgement]:
        """Judge one step by hand, the first of `by_hand`, against torch; the others are the runs that started apart."""
        return [self._judge(key, equation, by_hand, torch[key]) for key, equation in keys]

    def allowed(self, name: str, dtype: str) -> float:
        """How far apart rounding lets a tensor be, as far as it has been judged."""
        return float(10 * self.spread[name] + 8 * PRECISIONS[dtype].u * self.scale[name])

    def _judge(self, key: Key, equation: str, by_hand: Sequence[Trace], torch: np.ndarray) -> Judgement:
        ends = ({key.name: by_hand[0][key]} if key in by_hand[0] else {}, {key.name: torch})
        structure = _structure(key, equation, {"free": StepRun(*ends)}, ends)
        if structure is not None:
            return structure
        hand, *twins = (side[key].astype(np.float64) for side in by_hand)
        apart = max(float(np.max(np.abs(hand - twin), initial=0.0)) for twin in twins)
        self.spread[key.name] = max(self.spread.get(key.name, 0.0), apart)
        self.scale[key.name] = max(self.scale.get(key.name, 0.0), float(np.max(np.abs(torch), initial=0.0)))
        allowed = self.allowed(key.name, str(torch.dtype))
        difference = np.abs(hand - torch)
        index = index_of(int(np.argmax(difference)), difference.shape)
        rho = float(difference[index] / np.float64(allowed)) if difference[index] != 0 else 0.0
        verdict = "OK" if rho <= 1 else "FAULT" if np.isfinite(difference[index]) else "NONFINITE"
        outcome = Outcome(verdict, rho, "twins", index)
        row, differs = _row(key, equation, outcome, ends, _apart([key.name], *ends).get(key.name))
        local = {"free": Local(by_hand[0][key], torch)}
        if verdict == "OK":
            return Judgement(row, None, differs)
        entries = excerpt(key, *local["free"], index)
        return Judgement(row, _finding(key, equation, outcome, local), differs, excerpt=entries)


def outranks(verdict: str, before: str | None) -> bool:
    """Whether a finding on a tensor counts for more than the one before: the first does, and a failure after WEAK."""
    return before is None or before == "WEAK" != verdict


def culprits(judgements: Iterable[Judgement], causes: Diagnosis | None = None) -> tuple[Finding, ...]:
    """The findings in dataflow order, each tensor at the first step where it fails, or else where it is WEAK.

    The first says how many tensors it affects; `causes` names what explains a finding whose values are wrong.
    """
    found: dict[str, Finding] = {}
    affected, diverged = 0, False
    for judgement in judgements:
        finding = judgement.finding
        if finding is None or (diverged and finding.verdict == "NONFINITE"):
            affected += bool(found) and judgement.differs
        elif outranks(finding.verdict, found[finding.name].verdict if finding.name in found else None):
            found.pop(finding.name, None)  # it stands where it fails
            found[finding.name] = finding
            diverged |= finding.explanation.startswith(DIVERGED)
    findings = [_named(finding, causes, every=position == 0) for position, finding in enumerate(found.values())]
    if findings and affected:
        later = "1 later tensor" if affected == 1 else f"{affected} later tensors"
        findings[0] = replace(findings[0], explanation=f"{findings[0].explanation}; affects {later}")
    return tuple(findings)


def detailed(judgements: Iterable[Judgement], reads: Mapping[str, Iterable[str]]) -> Details:
    """What verdicts tell beside their rows: entries of each wrong tensor where its finding is, and what follows.

    `reads` is what each value is computed from.
    """
    excerpts: dict[str, tuple[str, Excerpt]] = {}  # with the verdict there
    downstream: dict[str, list[int]] = {}
    found = False
    for judgement in judgements:
        row = judgement.row
        found |= judgement.finding is not None
        before, _ = excerpts.get(row.name, (None, None))
        if judgement.excerpt is not None and outranks(row.verdict, before):
            excerpts[row.name] = row.verdict, judgement.excerpt
        if found and judgement.finding is None and (judgement.differs or row.verdict != "OK"):
            downstream.setdefault(row.name, []).append(row.step)
    return Details(
        reads={name: tuple(sorted(read)) for name, read in reads.items()},
        downstream={name: tuple(steps) for name, steps in downstream.items()},
        excerpts=tuple(excerpt for _, excerpt in excerpts.values()),
    )


def _named(finding: Finding, causes: Diagnosis | None, *, every: bool) -> Finding:
    """A finding with the first cause that explains it and, if asked for, the others that do as well."""
    if causes is None or finding.verdict != "FAULT" or finding.cause != "unknown":
        return finding
    first, *others = causes(finding, every)
    also = "".join(f"; or {other.code}: {other.text}" for other in others)
    told = f"{first.text}{also}; " if first.text else ""
    factor = None if first.code == "unknown" else first.factor
    return replace(finding, cause=first.code, factor=factor, explanation=f"{told}{finding.explanation}")


def _structure(
    key: Key, equation: str, runs: Mapping[str, StepRun], end_to_end: tuple[Arrays, Arrays]
) -> Judgement | None:
    """A record that is missing, unknown to torch or of the wrong shape."""
    by_hand, torch = end_to_end
    missing = [dtype for dtype, run in runs.items() if key.name not in run.records]
    if missing:
        shape, verdict, cause = torch[key.name].shape if key.name in torch else (), "MISSING", "missing"
        explanation = "the hand-written side did not compute it"
        strange = [name for name in by_hand if all(name not in run.local for run in runs.values())]
        close = get_close_matches(key.name, strange, n=1)
        explanation += f"; it returns {close[0]!r}, which torch does not: did you mean that?" if close else ""
        if len(missing) < len(runs):
            explanation += f" in {missing[0]}"
    elif any(not is_real(run.records[key.name]) for run in runs.values()):
        shape, verdict, cause = by_hand[key.name].shape, "MISSING", "missing"
        record = by_hand[key.name]
        kind = record.item() if record.dtype == object and record.shape == () else f"array of dtype {record.dtype}"
        explanation = f"it is not a NumPy array of real numbers but of type {kind}"
    elif any(key.name not in run.local for run in runs.values()):
        shape, verdict, cause = by_hand[key.name].shape, "FAULT", "unknown-name"
        known = [name for run in runs.values() for name in run.local]
        missing = [name for name in known if name not in by_hand]
        known = missing if get_close_matches(key.name, missing) else known
        explanation = f"torch computes nothing of this name; {did_you_mean(key.name, dict.fromkeys(known))}"
    else:
        wrong = {dtype: r for dtype, r in runs.items() if r.records[key.name].shape != r.local[key.name].shape}
        if not wrong:
            return None
        dtype, run = next(iter(wrong.items()))
        shape, due, verdict, cause = run.records[key.name].shape, run.local[key.name].shape, "FAULT", "shape"
        where = f" in {dtype}" if len(wrong) < len(runs) else ""
        explanation = f"its shape is {shape}{where}, torch's is {due}{shape_hint(shape, due)}"
    row = Row(*key, equation=equation, shape=shape, max_abs_diff=float("nan"), verdict=verdict)
    return Judgement(row, Finding(*key, equation, verdict, cause, explanation), differs=True)


def _apart(names: Iterable[str], by_hand: Arrays, torch: Arrays) -> dict[str, Measured]:
    """How far the two sides are apart end to end, by name, where both have real numbers in the same shape."""
    both = {name: (by_hand[name], torch[name]) for name in names if name in by_hand and name in torch}
    pairs = {n: (a, b) for n, (a, b) in both.items() if a.shape == b.shape and is_real(a) and is_real(b) and a.size}
    return dict(zip(pairs, measured_all([*pairs.values()]), strict=True))


def _row(
    key: Key, equation: str, outcome: Outcome, ends: tuple[Arrays, Arrays], found: Measured | None
) -> tuple[Row, bool]:
    """The row of a judged tensor with its end-to-end difference, and whether that is beyond rounding."""
    by_hand, torch = (side[key.name] for side in ends)
    if found is None or found.position is None:  # its inputs have another size on this side
        row = Row(*key, equation=equation, shape=by_hand.shape, max_abs_diff=float("nan"), rho=outcome.rho)
        return row._replace(rho_basis=outcome.basis, verdict=outcome.verdict), True
    at = index_of(found.position, by_hand.shape)
    row = Row(
        *(*key, equation, by_hand.shape, found.max_abs_diff, at, found.by_hand, found.torch),
        *(outcome.rho, outcome.basis, outcome.verdict),
    )
    return row, not found.max_abs_diff <= ROOTS.get(torch.dtype, 0.0) * found.scale


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


def _finding(key: Key, equation: str, outcome: Outcome, local: Mapping[str, Local], hint: str = "") -> Finding:
    dtype = _shown(local, outcome)
    recorded, reference = (float(side[outcome.index]) for side in local[dtype])
    at = f"at {outcome.index}: " if outcome.index else ""
    worst = f"{at}by hand {recorded:.9g}, torch {reference:.9g}"
    if outcome.basis != "twins":
        worst += " from the same inputs"
    if outcome.verdict != "FAULT" and len(local) > 1:
        worst += f" in {dtype}"
    if outcome.verdict == "NONFINITE":
        cause, text = "not-finite", _not_finite(recorded, reference)
    elif outcome.is_unstable:
        cause, text = "precision-loss", UNSTABLE
    elif outcome.verdict == "WEAK":
        cause = "precision-loss"
        text = f"the formula is right, its arithmetic loses digits: {beyond(outcome.rho)}"
    else:
        cause, text = "unknown", beyond(outcome.rho)
        if outcome.is_told_by_moves:
            text += ", and it moves with the parameters as a formula does"
        elif len(local) > 1:
            text += ", and 9 more digits do not shrink it"
    text = f"{text}; {worst}{hint}"
    return Finding(*key, equation, outcome.verdict, cause, text, None, outcome.index)


def _operands(names: frozenset[str], outcome: Outcome, records: Arrays, shape: tuple[int, ...]) -> str:
    """What an operation that overflows or loses digits was handed: its operands' values there, or their names."""
    alike = [name for name in sorted(names) if name in records and records[name].shape == shape]
    there = [f"{name} is {float(records[name][outcome.index]):.6g} there" for name in alike if is_real(records[name])]
    if there:
        return f"; {' and '.join(there)}"
    return f"; it is computed from {', '.join(sorted(names))}" if names else ""


def _is_as_float32(local: Mapping[str, Local], known: Mapping[str, Allowance]) -> bool:
    """Whether a difference in float64 is everywhere within what rounding explains in float32."""
    if "float64" not in known:
        return False
    recorded, reference = local["float64"]
    return bool((np.abs(recorded - reference) <= known["float64"].everywhere(PRECISIONS["float32"])).all())


def _not_finite(recorded: float, reference: float) -> str:
    if np.isfinite(reference):
        return f"by hand it is {recorded}, in torch it is finite"
    if np.isfinite(recorded):
        return f"in torch it is {reference}, by hand it is finite"
    return DIVERGED


def beyond(rho: float) -> str:
    """How many times what rounding explains, as a person says it."""
    if rho == float("inf"):  # of what copies, as ReLU does
        return "rounding explains none of it"
    return f"{f'{rho:.1e}' if rho >= 1000 else f'{rho:.2g}'} times what rounding explains"
