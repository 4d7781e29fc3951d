"""Which steps of the reference a mistake could stand in that these inputs would not show, and what would show it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from torch import Tensor

from handgrad.compare.checks.functions.passes import Pass
from handgrad.compare.checks.functions.subject import Subject
from handgrad.compare.facts.blind_spots import blind_spot
from handgrad.compare.facts.remarks import BlindSpot
from handgrad.compare.oracle.coarse.effects import AXES, Step
from handgrad.compare.oracle.coarse.exact import effect_of
from handgrad.compare.thresholds import VISIBLE
from handgrad.compare.verdict.coarse.case import Case

AVERAGES = ("mean", "var", "std", "var_mean")


def hidden_steps(case: Case) -> tuple[BlindSpot, ...]:
    """Constants, counts and whole steps whose change would be taken for rounding, each told once."""
    ends = {step.number for step in case.exact.steps if step.axis is not None and math.isfinite(_least(case, step))}
    whole = [step for step in case.exact.steps if step.axis is None and step.constant is None]
    hidden = (step for step in whole if math.isinf(_least(case, step)) and step.number not in ends)
    silent = [step for step in hidden if not _shows_in_part(case, step)]
    steps = ", ".join(dict.fromkeys(f"{step.operation}{_line(step)}" for step in silent))
    spots = [*_constants(case), *_counts(case, whole)]
    return tuple(
        dict.fromkeys([*spots, *([blind_spot("step-hidden", steps=steps, build=case.format.finer)] if silent else [])])
    )


def unseen(subject: Subject, made: Pass, gradients: Iterable[Tensor]) -> tuple[BlindSpot, ...]:
    """Gradients that neither side has, or that are of no input, and layouts that are not tried; `gradients` are those
    of the reference.
    """
    pairs = zip(subject.trained, gradients, strict=True)
    frozen = [subject.names[i] for i, g in pairs if made.gradients.get(i) is None and not bool(g.any())]
    captured = [f"a tensor of shape {shape}" for shape in made.captured]
    spots = (("frozen", frozen), ("captured", captured))
    return tuple(blind_spot(code, of) for code, of in spots if of) + ((blind_spot("random"),) if made.draws else ())


def _constants(case: Case) -> Iterator[BlindSpot]:
    """Constants that may be more than twice what they are; the backward has them again."""
    for step in case.exact.steps:
        is_backward = step.place is not None and step.place.is_backward
        if step.constant is not None and not is_backward and (least := _least(case, step)) > 1:
            words = {"most": f"{abs(step.constant) * (1 + least):.2g}", "constant": f"{step.constant:g}"}
            yield blind_spot("constant-hidden", size=f"{step.size:.2g}", line=_line(step), **words)


def _counts(case: Case, whole: Iterable[Step]) -> Iterator[BlindSpot]:
    """Averages whose count may be off by one."""
    for step in whole:
        least = _least(case, step)
        if step.terms > 1 and step.operation in AVERAGES and least * step.terms > 1:
            most = max(1, math.floor(1 / least))
            yield blind_spot("count-hidden", terms=step.terms, operation=step.operation, line=_line(step), most=most)


def _least(case: Case, step: Step) -> float:
    """The smallest share of a step that would have shown in some tensor."""
    return min(measure.directions.resolution[step] for measure in case.measures)


def _shows_in_part(case: Case, step: Step) -> bool:
    """Whether the last entries of a step along an axis alone would show, as those of exp in softmax do, whose whole
    result may be any multiple.
    """
    exact = case.exact
    for axis in (-1, *range(AXES)):
        end = step._replace(axis=axis)
        pairs = zip(exact.draws, exact.results, strict=True)
        effects = [effect_of(exact.reference, draw, end, plain) for draw, plain in pairs]
        of_tensors = zip(case.measures, zip(*effects, strict=True), strict=True)
        if any(float(m.deviation.whitened(off).abs().amax()) >= VISIBLE for m, off in of_tensors if off[0].numel()):
            return True
    return False


def _line(step: Step) -> str:
    """In which line of the reference it is done, and as a part of what, or nothing."""
    of = f" in {step.of}" if step.of else ""
    if step.place is None:
        return of
    return f"{of} in line {step.place.line} of the reference{', differentiated' * step.place.is_backward}"
