"""A derivation against any torch reference: forward values, J and gradients, judged without knowing the formulas."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from handgrad.compare.checks.finite_differences import against_own_loss
from handgrad.compare.checks.records import JudgedRecords, Problem, judged_records
from handgrad.compare.environment import environment
from handgrad.compare.errors import InputError, kind_of
from handgrad.compare.oracle.reference import ROUNDINGS, Reference
from handgrad.compare.oracle.replay import Replay
from handgrad.compare.report import Finding, Report
from handgrad.compare.report.details import Code
from handgrad.compare.sandbox import Call, call, checked_precisions, differing, in_precision, undisturbed
from handgrad.compare.source import listing as sources
from handgrad.compare.source import tracing as provenance
from handgrad.compare.trace import is_real

__all__ = ["Derivation", "check_gradients"]

Arrays = dict[str, np.ndarray]
Derivation = Callable[..., Mapping[str, Any]]


def check_gradients(
    derivation: Derivation,
    reference: Reference,
    params: Mapping[str, Any],
    batch: Sequence[Any],
    *,
    precisions: Sequence[str] = ("float64", "float32"),
) -> Report:
    """Check the forward values, J and the gradients of a derivation against a torch reference.

    derivation(params, *batch) is NumPy code and returns a mapping of names to arrays: any of the intermediates that the
    reference names by taps, J, and d<name> for parameters, intermediates and inputs. reference(params, *batch) is torch
    code that returns the scalar J. Floating arrays are cast to each of `precisions`, the others pass unchanged. Both
    sides get copies. Raises InputError, a ValueError, if the arguments cannot be used, the reference fails or misuses
    taps, or there is nothing to compare; whatever the derivation does is a finding.
    """
    with undisturbed():
        problem = Problem(reference, params, batch, checked_precisions(precisions))
        return _report(derivation, problem)


def _report(derivation: Derivation, problem: Problem) -> Report:
    """Call the derivation in each precision and judge what it returned; ask it again where that may tell something."""
    if not callable(derivation):
        raise InputError(f"derivation is {kind_of(derivation)}; it must be a function of params and the batch")
    calls = {}
    for dtype in problem.precisions:
        params, batch = (in_precision(of, dtype) for of in (problem.params, problem.batch))
        calls[dtype] = call(derivation, params, batch)
    printed = problem.precisions[0]

    def derive(moved: Mapping[str, np.ndarray]) -> Call:
        return call(derivation, moved, in_precision(problem.batch, "float64"))

    everywhere = dict.fromkeys(problem.precisions, problem.params)
    judged = judged_records(problem, everywhere, problem.batch, calls, step=1, derive=derive)
    notes = list(judged.notes)
    if any(finding.cause != "missing" for finding in judged.findings):
        notes += against_own_loss(derivation, in_precision(problem.params, "float64"), problem.batch, calls)
    if judged.findings or not _one_answer([*calls.values()]):
        params, batch = (in_precision(of, printed) for of in (problem.params, problem.batch))
        calls["again"] = call(derivation, params, batch)
    misbehaviour = _misbehaviour(calls, judged.end_to_end, problem)
    repeatable = not any(finding.cause == "not-repeatable" for finding in misbehaviour)
    return Report(
        rows=judged.rows,
        findings=(*misbehaviour, *(judged.findings if repeatable else ())),
        notes=tuple(dict.fromkeys(notes)),
        blind_spots=_blind_spots(calls[printed], judged.end_to_end, problem),
        environment=environment(
            f"check_gradients: by hand (NumPy {np.__version__}) against torch, {' and '.join(problem.precisions)}",
            problem.precisions,
            notes=notes,
        ),
        details=judged.details._replace(code=_code(derivation, problem, judged)),
    )


def _code(derivation: Derivation, problem: Problem, judged: JudgedRecords) -> tuple[Code, ...]:
    """The source of both sides, with the lines that compute what is compared or wrong."""
    names = dict.fromkeys([*(row.name for row in judged.rows), *(finding.name for finding in judged.findings)])
    made = _made(derivation, problem) if judged.findings else {}
    return (
        *sources.by_hand(derivation, {name: name for name in names}, made),
        *sources.in_torch(problem.reference, names, judged.end_to_end.reads),
    )


def _made(derivation: Derivation, problem: Problem) -> dict[str, provenance.At]:
    """Where each returned array is made, seen in one more run; nothing where that raises."""
    params, batch = (in_precision(of, problem.precisions[0]) for of in (problem.params, problem.batch))
    handed = [{n: a.copy() for n, a in params.items()}, *(a.copy() for a in batch.values())]
    return provenance.seen(lambda: derivation(*handed))


def _one_answer(calls: Sequence[Call]) -> bool:
    """Whether a derivation has answered more than once, and the same but for the roundings of the coarser precision."""
    return len(calls) > 1 and not any(
        each.raised is not None or each.instead or differing(calls[0].records, each.records) for each in calls
    )


def _misbehaviour(calls: Mapping[str, Call], end_to_end: Replay, problem: Problem) -> list[Finding]:
    """What makes any comparison worthless: changed inputs, another answer when asked again, gradients all zero."""
    found = []
    made = calls[problem.precisions[0]]
    again = calls.get("again", made)
    for name in dict.fromkeys(name for each in calls.values() for name in each.mutated):
        kind = "parameter" if name in problem.params else "input"
        text = (
            f"the derivation changes the {kind} {name} that it is handed; let it compute a new array, as in {name} - a"
        )
        found.append(Finding(1, "forward", name, "", "FAULT", "mutated-input", text))
    unlike = differing(made.records, again.records) if made.raised is None and again.raised is None else ()
    if made.raised is None and again.raised is not None:
        text = f"called again on the same params and batch, the derivation raises: {again.raised.what}"
        found.append(Finding(1, "loss", "J", "", "FAULT", "not-repeatable", text))
    if unlike:
        text = (
            f"called twice on the same params and batch, the derivation gives two answers for {', '.join(unlike)}; "
            "keep no state between calls, and pass dropout masks in the batch"
        )
        phase = "backward" if unlike[0].startswith("d") else "loss" if unlike[0] == "J" else "forward"
        found.append(Finding(1, phase, unlike[0], "", "FAULT", "not-repeatable", text))
    gradients = {name: made.records[name] for name in (f"d{p}" for p in problem.params) if name in made.records}
    known = {name: array for name, array in gradients.items() if is_real(array) and name in end_to_end.gradients}
    in_torch_too = all(not end_to_end.gradients[name].any() for name in known)
    if known and in_torch_too and not any(array.any() for array in known.values()):
        text = (
            "every parameter gradient is exactly zero on both sides, so nothing is compared; choose params and a batch "
            "whose gradients are not zero"
        )
        found.append(Finding(1, "backward", next(iter(known)), "", "FAULT", "zero", text))
    return found


def _blind_spots(made: Call, end_to_end: Replay, problem: Problem) -> tuple[str, ...]:
    """What this comparison could not show: what was not returned, and what the sizes hide."""
    absent = [name for name in end_to_end.values if name not in made.records]
    taps = [name for name in end_to_end.gradients if name not in {f"d{p}" for p in problem.params}]
    absent += [name for name in taps if name not in made.records]
    square = [
        name for name, array in problem.params.items() if array.ndim == 2 and len({*array.shape}) == 1 < array.size
    ]
    zero = [name for name, array in problem.params.items() if not array.any()]
    gradients = {name: g for name, g in end_to_end.gradients.items() if name in made.records}
    still = [name for name, g in gradients.items() if not g.any() and not made.records[name].any()]
    given = (*problem.params.values(), *problem.batch.values())
    most = ROUNDINGS**2 * max(float(np.vdot(a, a)) if a.dtype.kind == "f" else _largest(a) ** 2 for a in given)
    small = [n for n, g in gradients.items() if n not in still and g.size and np.vdot(g, g) <= most]
    nothing = ROUNDINGS * max(map(_largest, given)) if small else 0.0
    sides = {n: [gradients[n], made.records[n]] for n in small if is_real(made.records[n])}
    small = [name for name, both in sides.items() if max(map(_largest, both)) <= nothing]
    return tuple(
        text
        for applies, text in (
            (absent, f"where a mistake enters between the tensors returned (not returned: {', '.join(absent)})"),
            (len(problem.precisions) == 1, _one_precision(problem.precisions[0])),
            (square, f"transposes told by their shape ({', '.join(square)} square; use sizes that differ)"),
            (small, f"{', '.join(small)} (nothing but rounding on both sides; choose values for which it is more)"),
            (still, f"{', '.join(still)} (exactly zero on both sides; choose values for which it is not)"),
            (zero, f"how the gradients depend on {', '.join(zero)} (all zero; use random values)"),
        )
        if applies
    )


def _largest(array: np.ndarray) -> float:
    return float(np.abs(array).max(initial=0))


def _one_precision(dtype: str) -> str:
    if dtype == "float32":
        return "mistakes below a relative size of 2e-4 (float32 alone; use both precisions)"
    return "arithmetic that loses digits, told from mistakes (float64 alone; use both precisions)"
