"""A function that computes float64 in float64, judged as a derivation is that returns its gradients.

That rule sees 1e-12, and names mistakes by the recorded graph of the reference.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
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


def report_on(subject: Subject, draw: Draw) -> Report:
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

    def derivation(params: dict[str, np.ndarray], *batch: np.ndarray) -> dict[str, Any]:
        made = run(subject, draw._replace(inputs=tuple(map(_tensor, inputs_of(params, batch)))))
        if made.raised is not None:
            raise RuntimeError(str(made.raised))
        J = sum(float((c * y).sum()) for c, y in zip(draw.cotangents, made.floating, strict=True))
        gradients = zip(subject.gradients, (made.gradients.get(i) for i in draw.trained), strict=True)
        return {**dict(zip(names, made.floating, strict=True)), "J": J, **dict(gradients)}

    def reference(params: dict[str, Tensor], *batch: Tensor) -> Tensor:
        outputs = outputs_of(subject.reference(*inputs_of(params, batch)))
        terms = [(c * tap(name, y.clone())).sum() for name, c, y in zip(names, draw.cotangents, outputs, strict=True)]
        return sum(terms[1:], terms[0])

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, kind) for name in ("params", *others)]
    reference.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # inspect reads it
    arrays = {name: draw.inputs[i].numpy(force=True) for name, i in trained.items()}
    batch = [draw.inputs[i].numpy(force=True) for i in others.values()]
    return check_gradients(derivation, reference, arrays, batch, precisions=("float64",))


def with_causes(report: Report, judged: Mapping[int, Verdict], wrong: Sequence[Wrong]) -> Report:
    """The report with the causes that only calls of the function tell, and without what is told beside it."""
    told = {each.name for each in wrong}
    by_name = {each.row.name: each.finding for each in judged.values() if each.row.verdict == "FAULT"}
    causes = {name: f.cause for name, f in by_name.items() if f is not None and not isinstance(f.cause, Unknown)}
    beside = [finding for finding in report.findings if finding.where.name not in told]
    findings = (replace(f, cause=causes[f.where.name]) if f.where.name in causes else f for f in beside)
    return replace(report, findings=tuple(findings))


def named_in(subject: Subject, draw: Draw) -> Report | None:
    """That report on the same function handed float64; None where it does not compute in that."""
    draw = promoted(draw, torch.float64)
    try:
        return report_on(subject, draw) if is_fine(run(subject, draw)) else None
    except InputError:
        return None


def _tensor(value: Any) -> Any:
    return torch.from_numpy(np.array(value)) if isinstance(value, np.ndarray) else value
