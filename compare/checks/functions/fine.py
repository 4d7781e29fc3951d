"""A function that computes float64 in float64, judged as a derivation is that returns its gradients.

That rule sees 1e-12, and names mistakes by the recorded graph of the reference.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from handgrad.compare.checks.functions.passes import Pass, run
from handgrad.compare.checks.functions.structure import Wrong
from handgrad.compare.checks.functions.subject import Subject
from handgrad.compare.checks.functions.verdicts import Verdict
from handgrad.compare.checks.gradients import check_gradients
from handgrad.compare.errors import InputError
from handgrad.compare.facts.causes import Unknown
from handgrad.compare.names import gradient
from handgrad.compare.oracle.coarse.evaluation import Draw, outputs_of, promoted
from handgrad.compare.report.report import Report
from handgrad.compare.trace import rounds_to_float32
from handgrad.torchref.tap import tap


def is_fine(made: Pass) -> bool:
    """Whether a pass on float64 inputs was computed in float64."""
    tensors = [*made.floating, *(g for g in made.gradients.values() if g is not None)]
    if made.raised is not None or not tensors or any(t.dtype != torch.float64 for t in tensors):
        return False
    return not rounds_to_float32(t.detach().cpu().numpy() for t in tensors)


def report_on(subject: Subject, draw: Draw, precision: str = "float64") -> Report:
    """The report of check_gradients on a function, whose loss is its outputs times the cotangents of the draw."""
    names = subject.outputs(len(draw.cotangents))
    trained = {subject.names[i]: i for i in draw.trained}
    others = {
        name: i for i, name in enumerate(subject.names) if name not in trained and isinstance(draw.inputs[i], Tensor)
    }

    def inputs_of(params: dict[str, Any], batch: Sequence[Any]) -> list[Any]:
        inputs = [*draw.inputs]
        for name, value in (*params.items(), *zip(others, batch, strict=True)):
            inputs[{**trained, **others}[name]] = value
        return inputs

    def handed(value: Any, like: Any) -> Any:
        return torch.from_numpy(np.array(value)).to(like) if isinstance(value, np.ndarray) else value

    def derivation(params: dict[str, np.ndarray], *batch: np.ndarray) -> dict[str, Any]:
        made = run(subject, draw._replace(inputs=tuple(map(handed, inputs_of(params, batch), draw.inputs))))
        if made.raised is not None:
            raise RuntimeError(str(made.raised))
        J = sum(float((c * y).sum()) for c, y in zip(draw.cotangents, made.floating, strict=True))
        gradients = zip(subject.gradients, (made.gradients.get(i) for i in draw.trained), strict=True)
        upstream = zip(map(gradient, names), draw.cotangents, strict=True)
        return {**dict(zip(names, made.floating, strict=True)), "J": J, **dict(upstream), **dict(gradients)}

    def reference(params: dict[str, Tensor], *batch: Tensor) -> Tensor:
        outputs = outputs_of(subject.reference(*inputs_of(params, batch)))
        pairs = zip(names, draw.cotangents, outputs, strict=True)
        terms = [(c.to(y.dtype) * tap(name, y.clone())).sum() for name, c, y in pairs]
        return sum(terms[1:], terms[0])

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, kind) for name in ("params", *others)]
    reference.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # inspect reads it
    finest = promoted(draw, torch.float64).inputs
    arrays = {name: finest[i].numpy(force=True) for name, i in trained.items()}
    batch = [finest[i].numpy(force=True) for i in others.values()]
    report = check_gradients(derivation, reference, arrays, batch, precisions=(precision,))
    upstream = {gradient(name) for name in names}  # which both sides are handed
    rows = tuple(row for row in report.rows if row.name not in upstream)
    return replace(report, rows=rows, arrays={k: sides for k, sides in report.arrays.items() if k[1] not in upstream})


def with_causes(report: Report, judged: Mapping[int, Verdict], wrong: Sequence[Wrong]) -> Report:
    """The report with the causes that only calls of the function tell, and without what is told beside it."""
    told = {each.name for each in wrong}
    by_name = {each.row.name: each.finding for each in judged.values() if each.row.verdict == "FAULT"}
    causes = {name: f.cause for name, f in by_name.items() if f is not None and not isinstance(f.cause, Unknown)}
    beside = [finding for finding in report.findings if finding.where.name not in told]
    findings = (replace(f, cause=causes[f.where.name]) if f.where.name in causes else f for f in beside)
    return replace(report, findings=tuple(findings))


def named_in(subject: Subject, draw: Draw) -> Iterator[tuple[str, Report]]:
    """That report on the same function handed the finest dtype that it computes in: float64, float32, or as it is."""
    finer = promoted(draw, torch.float64)
    if is_fine(run(subject, finer)):
        yield from _reported("float64", subject, finer)
        return
    in_float32 = promoted(draw, torch.float32)
    is_taken = run(subject, in_float32).raised is None
    yield from _reported(*(("float32", subject, in_float32) if is_taken else (subject.dtype, subject, draw)))


def _reported(dtype: str, subject: Subject, draw: Draw) -> Iterator[tuple[str, Report]]:
    """The dtype that is handed over and the report, if there is one."""
    with suppress(InputError):
        yield dtype, report_on(subject, draw, "float64" if dtype == "float64" else "float32")
