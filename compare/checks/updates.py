"""An optimiser step by hand against any torch optimiser, on the same gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from handgrad.compare.environment import environment
from handgrad.compare.errors import InputError, kind_of
from handgrad.compare.experiment.exceptions import quietly
from handgrad.compare.names import Key
from handgrad.compare.oracle.optimizer import (
    FORMS,
    MOVED,
    NO_BUFFER,
    Follower,
    Optimizer,
    UpdateRun,
    judge_update,
    named_rule,
    nothing_moved,
    or_reset,
    unmoved,
)
from handgrad.compare.oracle.reference import moved
from handgrad.compare.report import Finding, Report, Row
from handgrad.compare.sandbox import (
    CAUGHT,
    Raised,
    as_record,
    checked_arrays,
    checked_precisions,
    differing,
    fresh,
    in_precision,
    located,
    same,
    undisturbed,
)
from handgrad.compare.source import listing as sources
from handgrad.compare.source import tracing as provenance
from handgrad.compare.trace import is_real
from handgrad.compare.verdict.conventions import FLOAT32_ONLY
from handgrad.compare.verdict.rule import rounds_to_float32
from handgrad.compare.verdict.shapes import shape_hint
from handgrad.compare.verdict.steps import Judgement, culprits, detailed

__all__ = ["Update", "check_updates", "exposing_gradients", "result_structure"]

Arrays = dict[str, np.ndarray]
Update = Callable[..., Any]

QUIET = 2.0**-20


def check_updates(
    update: Update,
    optimizer: Optimizer,
    params: Mapping[str, Any],
    *,
    steps: int = 5,
    gradients: Sequence[Mapping[str, Any]] | None = None,
    precisions: Sequence[str] = ("float64", "float32"),
) -> Report:
    """Check an optimiser's update by hand against a torch optimiser, step by step.

    update(params, grads, state) returns (params, state), or None if it changes params in place; state is None at step 1
    and afterwards what it returned. optimizer(list_of_tensors) returns a torch.optim.Optimizer. Both sides get the same
    gradients, named d<name>, and keep their own state; torch starts each step from the parameters by hand. The
    gradients of `steps` steps are drawn to expose optimisers (zeros, changing signs, 1e-8, 1e4, a step where all are
    small) unless given, one mapping a step. Of a state that is a mapping, the keys v<name> are compared with torch's
    momentum buffers.
    Everything is run from `params` and once more from zero, where small steps show. Raises InputError, a ValueError, if
    the arguments cannot be used; whatever the update does is a finding.
    """
    with undisturbed():
        chosen, start = checked_precisions(precisions), checked_arrays("params", params, trained=True)
        if not start:
            raise InputError("params is empty; hand over at least one parameter, like {'W1': W1}")
        if not callable(update):
            raise InputError(f"update is {kind_of(update)}; it must be a function of params, grads and state")
        sequence = _checked_gradients(gradients, start) if gradients is not None else exposing_gradients(start, steps)
        return _report(update, optimizer, start, sequence, chosen, drawn=gradients is None)


def exposing_gradients(params: Mapping[str, np.ndarray], steps: int) -> list[Arrays]:
    """Gradients that tell optimisers apart, named d<name>, in float64; the same for the same shapes.

    Entry by entry ordinary, 1e-8, 1e4, of changing sign, or zero every other step; at every fourth step all of them
    2^-20 times that, so that their norm stays below a threshold for clipping.
    """
    if not isinstance(steps, int) or isinstance(steps, bool) or not 1 <= steps <= 10_000:
        raise InputError(f"steps is {steps!r}; it must be a whole number from 1 to 10000, so write for example 5")
    rng = np.random.default_rng(0)
    found = []
    for step in range(steps):
        gradients = {}
        for position, (name, array) in enumerate(params.items()):
            kind = (np.arange(array.size).reshape(array.shape) + position) % 5
            size = np.choose(kind, [1.0, 1e-8, 1e4, 1.0 if step % 2 else -1.0, 1.0 if step % 2 == 0 else 0.0])
            size *= QUIET if step % 4 == 3 else 1.0
            draw = rng.standard_normal(array.shape)
            gradients[f"d{name}"] = size * np.where(kind == 3, np.abs(draw) + 0.5, draw)
        found.append(gradients)
    return found


def _checked_gradients(gradients: Any, params: Mapping[str, np.ndarray]) -> list[Arrays]:
    if isinstance(gradients, (str, Mapping)) or not isinstance(gradients, Sequence) or not gradients:
        raise InputError("gradients must be a list with one mapping a step, like [{'dW1': ...}, {'dW1': ...}]")
    found = []
    for step, each in enumerate(gradients, start=1):
        arrays = checked_arrays(f"gradients of step {step}", each, trained=False)
        unknown = [name for name in arrays if name.removeprefix("d") not in params or not name.startswith("d")]
        if unknown:
            names = ", ".join(f"d{name}" for name in params)
            raise InputError(f"{unknown[0]!r} in the gradients of step {step} is of no parameter; name them {names}")
        for name, array in params.items():
            got = arrays.get(f"d{name}")
            if got is None or got.shape != array.shape:
                what = "is missing" if got is None else f"has shape {got.shape}"
                raise InputError(f"d{name} {what} in the gradients of step {step}; it must have shape {array.shape}")
        found.append(arrays)
    return found


@dataclass(frozen=True)
class _Run:
    """The steps of one run of the update: what it had before and after each, and its velocities."""

    before: list[Arrays]
    after: list[Arrays]
    velocities: list[Arrays]
    failure: tuple[str, str] | None = None  # cause and explanation of what ended it


def _run(update: Update, start: Arrays, gradients: Sequence[Arrays]) -> _Run:
    """Take the steps, on copies; the update's own object is copied, so that no run leaves state to the next."""
    mine = fresh(update)
    params, state = dict(start), None
    before, after, velocities = list[Arrays](), list[Arrays](), list[Arrays]()
    for each in gradients:
        handed = {name: array.copy() for name, array in params.items()}
        given = {name: array.copy() for name, array in each.items()}
        try:
            with quietly():
                returned = mine(handed, given, state)
        except CAUGHT as error:  # whatever the user's code raises is a finding, not a crash
            raised: Raised = located(error)
            return _Run(before, after, velocities, ("exception", raised.what))
        if returned is None:
            returned = (handed, state)
        if not (isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[0], Mapping)):
            text = f"the update returned {kind_of(returned)}; return (params, state) or None"
            return _Run(before, after, velocities, ("missing", text))
        result, state = returned
        before.append(params)
        after.append({str(name): as_record(value) for name, value in result.items()})
        kept = state.items() if isinstance(state, Mapping) else ()
        velocities.append({str(name): as_record(value) for name, value in kept if f"{name}"[:1] == "v"})
        changed = [name for name, array in given.items() if not same(array, each[name])]
        if changed:
            text = f"the update changes {changed[0]} in place; the gradient belongs to the caller, so copy it first"
            return _Run(before, after, velocities, ("mutated-input", text))
        if any(not _fits(after[-1].get(name), array) for name, array in params.items()):
            break
        params = {name: after[-1][name] for name in params}
    return _Run(before, after, velocities)


def _fits(record: np.ndarray | None, like: np.ndarray) -> bool:
    return record is not None and record.shape == like.shape and is_real(record)


def _report(
    update: Update,
    optimizer: Optimizer,
    start: Arrays,
    gradients: list[Arrays],
    precisions: tuple[str, ...],
    *,
    drawn: bool,
) -> Report:
    zero = {name: np.zeros_like(array) for name, array in start.items()}
    first, second = (_judged(update, optimizer, each, gradients, precisions) for each in (start, zero))
    judged, from_zero, notes, more = first.judgements, second.judgements, first.notes, second.notes
    still = [name for name in first.unmoved if name in second.unmoved]
    found = culprits(judged) or tuple(
        replace(finding, explanation=f"{finding.explanation}; started from 0, where small steps show")
        for finding in culprits(from_zero)
    )
    if any(finding.cause in FORMS for finding in found):

        def agrees(other: Optimizer) -> bool:
            starts = (_judged(update, other, each, gradients, precisions) for each in (start, zero))
            return not any(judgement.finding for each in starts for judgement in each.judgements)

        found = named_rule(found, [*judged, *from_zero], Follower(optimizer, start).optimizer, agrees)
        found = _with_resets(found, first if culprits(judged) else second, optimizer, gradients)
    if len(still) == len(start) and not found:
        found = (nothing_moved(still[0], "give gradients, and a rate, that move them"),)
    rows: dict[tuple[int, str], Row] = {}
    for judgement in (*judged, *from_zero):
        row = judgement.row
        known = rows.get((row.step, row.name))
        if known is None or (known.verdict == "OK" and not (row.rho or 0.0) <= (known.rho or 0.0)):
            rows[row.step, row.name] = row
    name = type(Follower(optimizer, start).optimizer).__name__
    made = _made(update, start, gradients[0], precisions[0]) if found else {}
    return Report(
        rows=tuple(rows.values()),
        findings=found,
        notes=tuple(dict.fromkeys([*notes, *more])),
        blind_spots=tuple(
            text
            for applies, text in (
                (len(gradients) < 5, f"state that builds up ({len(gradients)} steps; use 5 or more)"),
                (len(start) == 1, "a step counter advanced once per parameter (one parameter; use two or more)"),
                (
                    bool(still),
                    f"the update of {', '.join(still)} (no step changes it; give gradients that are not zero)",
                ),
                (not drawn, "what the given gradients do not excite (leave `gradients` out to have them drawn)"),
                (len(precisions) == 1, f"what the other precision would tell ({precisions[0]} alone; use both)"),
            )
            if applies
        ),
        environment=environment(
            f"check_updates: by hand (NumPy {np.__version__}) against torch.optim.{name}, "
            f"{len(gradients)} steps, {' and '.join(precisions)}",
            precisions,
            notes=[*notes, *more],
        ),
        details=detailed(judged if any(judgement.finding for judgement in judged) else from_zero, {})._replace(
            code=(
                *sources.by_hand(update, {f"{n}_next": n for n in start}, made),
                *sources.building(optimizer, {row.name: None for row in rows.values()}),
            ),
        ),
    )


def _made(update: Update, start: Arrays, gradients: Arrays, dtype: str) -> dict[str, provenance.At]:
    """Where each updated parameter is made, seen in one more first step; nothing where that raises."""
    params, given = ({n: a.copy() for n, a in in_precision(of, dtype).items()} for of in (start, gradients))

    def updated() -> Any:
        returned = fresh(update)(params, given, None)
        return params if returned is None else returned[0]

    return provenance.seen(updated)


def _judged(
    update: Update, optimizer: Optimizer, start: Arrays, gradients: list[Arrays], precisions: tuple[str, ...]
) -> _Judged:
    """The verdicts on all steps from one start."""
    runs, twins = {}, {}
    for dtype in precisions:
        given = [in_precision(each, dtype) for each in gradients]
        runs[dtype] = _run(update, in_precision(start, dtype), given)
        twins[dtype] = _followed(optimizer, runs[dtype], given)
    printed = precisions[0]
    again = _run(update, in_precision(start, printed), [in_precision(each, printed) for each in gradients])
    first = _failure(runs, again, start)
    judged: list[Judgement] = [] if first is None else [first]
    if first is not None and first.finding is not None and first.finding.cause == "not-repeatable":
        return _Judged(judged, [], [], {}, printed)
    notes = []
    if "float64" in runs and _casts(runs["float64"]):
        notes, runs = [FLOAT32_ONLY], {"float32": runs["float64"]}
        twins, printed = {"float32": twins["float64"]}, "float32"
    velocities = []
    for step in range(min(len(run.after) for run in runs.values())):
        of_step = {dtype: each[step] for dtype, each in twins.items()}
        judged += _updates(step, runs, of_step, start, printed)
        velocities += _velocities(step, runs, of_step, start, printed)
    kept = {v for run in runs.values() for recorded in run.velocities[:1] for v in recorded}
    followed = {v for each in twins.values() for step in each[:1] for v in step}
    alone = [v for v in (f"v{name}" for name in start) if v in kept - followed]
    if alone:
        notes.append(NO_BUFFER.format(", ".join(alone), type(Follower(optimizer, start).optimizer).__name__))
    if velocities:
        convention = _convention(velocities, judged)
        notes += [convention] if convention else []
        judged += [] if convention else [judgement for judgement, _ in velocities]
        judged.sort(key=lambda judgement: (judgement.row.step, not judgement.row.name.startswith("v")))
    still = unmoved(zip(runs[printed].before, runs[printed].after, strict=True))
    apart = {judgement.row.name for judgement in judged if judgement.row.max_abs_diff}
    by_neither = [name for name in still if f"{name}_next" not in apart]
    return _Judged(_never_moved(judged) if still == [*start] else judged, notes, by_neither, runs, printed)


class _Judged(NamedTuple):
    """The verdicts on all steps from one start, notes, the parameters that neither side changes, and the runs."""

    judgements: list[Judgement]
    notes: list[str]
    unmoved: list[str]
    runs: Mapping[str, _Run]
    printed: str


def _with_resets(
    found: Sequence[Finding], judged: _Judged, optimizer: Optimizer, gradients: list[Arrays]
) -> tuple[Finding, ...]:
    """The findings, called `reset` where torch agrees with no step before; an update then only follows its velocity."""
    named = []
    for finding in found:
        if finding.step > 1 and finding.cause in FORMS:
            step, start = finding.step - 1, {finding.name.removeprefix("v").removesuffix("_next")}
            twins = {dtype: _from_scratch(optimizer, run, step, gradients, dtype) for dtype, run in judged.runs.items()}
            like = {name: array for name, array in judged.runs[judged.printed].before[step].items() if name in start}
            again = _updates(step, judged.runs, twins, like, judged.printed)
            again += [judgement for judgement, _ in _velocities(step, judged.runs, twins, like, judged.printed)]
            finding = or_reset(finding, [judgement for judgement in again if judgement.row.name == finding.name])
        named.append(finding)
    lost = {f"{f.name[1:]}_next": f.step for f in named if f.cause == "reset" and f.name[0] == "v"}
    follows = (f.name in lost and (f.cause == "reset" or (f.cause in FORMS and f.step > lost[f.name])) for f in named)
    return tuple(finding for finding, only_follows in zip(named, follows, strict=True) if not only_follows)


Followed = tuple[np.ndarray, list[np.ndarray]]
Twins = Mapping[str, Mapping[str, Followed]]  # of one step, by dtype


def _updates(step: int, runs: Mapping[str, _Run], twins: Twins, start: Arrays, printed: str) -> list[Judgement]:
    """The verdicts on the updated parameters of one step."""
    found = []
    for name in start:
        key = Key(step + 1, "update", f"{name}_next")
        after = {dtype: run.after[step].get(name) for dtype, run in runs.items()}
        structure = result_structure(key, after, start[name])
        if structure is not None:
            found.append(structure)
            continue
        by_dtype = {
            dtype: UpdateRun(run.before[step][name], run.after[step][name], *twins[dtype][name])
            for dtype, run in runs.items()
        }
        found.append(judge_update(key, by_dtype, printed))
    return found


def _from_scratch(
    optimizer: Optimizer, run: _Run, step: int, gradients: list[Arrays], dtype: str
) -> dict[str, Followed]:
    """What torch makes of one step if there was none before."""
    alone = _Run(run.before[step : step + 1], run.after[step : step + 1], run.velocities[step : step + 1])
    return _followed(optimizer, alone, [in_precision(gradients[step], dtype)])[0]


def _followed(optimizer: Optimizer, run: _Run, gradients: list[Arrays]) -> list[dict[str, Followed]]:
    """torch's results step by step: of every parameter and, as v<name>, of its velocity; with those of moved twins."""
    rng = np.random.default_rng(0)
    if not run.before:
        return []
    twins = [Follower(optimizer, run.before[0]) for _ in range(1 + MOVED)]
    found = []
    for before, given in zip(run.before, gradients, strict=False):
        results = []
        for position, twin in enumerate(twins):
            by = 2.0**-24 if position else 0.0
            args = ({n: moved(a.astype(np.float64), rng=rng, by=by) for n, a in of.items()} for of in (before, given))
            after = twin.step(*args)
            buffers = {f"v{name}": twin.velocity(name) for name in before}
            results.append(after | {name: buffer for name, buffer in buffers.items() if buffer is not None})
        found.append({name: (results[0][name], [other[name] for other in results[1:]]) for name in results[0]})
    return found


def _velocities(
    step: int, runs: Mapping[str, _Run], twins: Twins, start: Arrays, printed: str
) -> list[tuple[Judgement, float]]:
    """The verdicts on recorded velocities, each with its ratio to torch's."""
    found = []
    for name, array in start.items():
        v = f"v{name}"
        if any(v not in run.velocities[step] or v not in twins[dtype] for dtype, run in runs.items()):
            continue
        key = Key(step + 1, "update", v)
        structure = result_structure(key, {dtype: run.velocities[step][v] for dtype, run in runs.items()}, array)
        if structure is not None:
            found.append((structure, np.nan))
            continue
        by_dtype = {
            dtype: UpdateRun(np.zeros_like(array), run.velocities[step][v], *twins[dtype][v])
            for dtype, run in runs.items()
        }
        shown = by_dtype[printed]
        ours, theirs = shown.by_hand.astype(np.float64), shown.torch
        ratio = float(np.vdot(ours, theirs) / np.vdot(theirs, theirs)) if theirs.any() else np.nan
        found.append((judge_update(key, by_dtype, printed), ratio))
    return found


def _convention(velocities: Sequence[tuple[Judgement, float]], judged: Sequence[Judgement]) -> str:
    """A note if all updates agree and every velocity is the same multiple of torch's; else nothing."""
    if any(judgement.finding for judgement in judged) or not any(j.finding for j, _ in velocities):
        return ""
    if not _is_one_factor(velocities):
        return ""
    ratio = next(ratio for _, ratio in velocities if np.isfinite(ratio))
    return f"Convention: the velocity is {ratio:.6g} times torch's, and the update makes up for it."


def _is_one_factor(velocities: Sequence[tuple[Judgement, float]]) -> bool:
    """Whether every velocity is about the same multiple of torch's."""
    ratios = np.array([ratio for _, ratio in velocities if np.isfinite(ratio)])
    return bool(len(ratios)) and bool(np.ptp(ratios) <= 1e-6 * abs(ratios[0]))


def result_structure(key: Key, records: Mapping[str, np.ndarray | None], like: np.ndarray) -> Judgement | None:
    """A result that is missing, no array of real numbers, or of another shape."""
    for record in records.values():
        if record is not None and is_real(record) and record.shape == like.shape:
            continue
        if record is None or not is_real(record):
            verdict, cause = "MISSING", "missing"
            text = "it is not there after the update; return every parameter"
            if record is not None:
                what = record.item() if record.dtype == object and record.shape == () else f"an array of {record.dtype}"
                text = f"it is {what} after the update; return an array of real numbers"
        else:
            verdict, cause = "FAULT", "shape"
            text = f"its shape is {record.shape}, it must stay {like.shape}{shape_hint(record.shape, like.shape)}"
        shape = like.shape if record is None else record.shape
        row = Row(*key, equation="", shape=shape, max_abs_diff=float("nan"), verdict=verdict)
        return Judgement(row, Finding(*key, "", verdict, cause, text), differs=True)
    return None


def _failure(runs: Mapping[str, _Run], again: _Run, start: Arrays) -> Judgement | None:
    """What ended a run, or that a second one gives another answer."""
    name = next(iter(start))
    for run in runs.values():
        if run.failure is not None:
            step = len(run.after) if run.failure[0] == "mutated-input" else len(run.after) + 1
            return _judgement(Key(step, "update", f"{name}_next"), *run.failure)
    first = next(iter(runs.values()))
    for step, (one, other) in enumerate(zip(first.after, again.after, strict=False), start=1):
        unlike = differing(one, other)
        if unlike:
            text = "the same steps taken twice give two answers; keep what the optimiser remembers in `state`"
            return _judgement(Key(step, "update", f"{unlike[0]}_next"), "not-repeatable", text)
    return None


def _judgement(key: Key, cause: str, text: str) -> Judgement:
    row = Row(*key, equation="", shape=(), max_abs_diff=float("nan"), verdict="FAULT")
    return Judgement(row, Finding(*key, "", "FAULT", cause, text), differs=True)


def _casts(run: _Run) -> bool:
    """Whether everything after every update is float32, although it was handed float64."""
    arrays = [array for after in run.after for array in after.values() if is_real(array)]
    still = unmoved(zip(run.before, run.after, strict=True))
    return bool(run.before) and len(still) < len(run.before[0]) and rounds_to_float32(arrays)


def _never_moved(judged: list[Judgement]) -> list[Judgement]:
    """Say `zero` of weights that no step changed."""
    text = "no step changes any parameter; return the new ones, or change them in place"
    return [
        judgement._replace(finding=replace(judgement.finding, cause="zero", explanation=text))
        if judgement.finding is not None and judgement.finding.cause in ("unknown", "update-form")
        else judgement
        for judgement in judged
    ]
