"""The one pipeline: steps that are judged become culprits, causes, and a report.

Every check makes `JudgedStep`s, each in its own way; what happens with them is here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from handgrad.compare.diagnosis.edits.hypotheses import MOST_TIER
from handgrad.compare.diagnosis.factors import Factors
from handgrad.compare.diagnosis.ranking import diagnosis_of, explained, first_cause
from handgrad.compare.diagnosis.scene import Scene
from handgrad.compare.diagnosis.search import Budget, Explanation
from handgrad.compare.facts.causes import Cause, Scaled, Unknown, WrongSign, Zero
from handgrad.compare.facts.remarks import BlindSpot, Note, ThenRaised
from handgrad.compare.facts.updates import Ascends, LeftOut
from handgrad.compare.names import is_sibling, is_updated
from handgrad.compare.report.report import Report
from handgrad.compare.results import Code, Details, Finding, Plot, deferred, later
from handgrad.compare.source.suspects import located
from handgrad.compare.source.unrecorded import narrowed
from handgrad.compare.verdict.attribution import attribution, consequences, culprits, outranks
from handgrad.compare.verdict.judgement import Judgement

Rank = Callable[[Scene], tuple[Cause, ...]]
Scenes = Callable[[str], Scene | None]
Adapt = Callable[[str, tuple[Cause, ...]], tuple[Cause, ...]]
MOST_LATER, TIER_OF_LATER = 3, 2  # findings after the first whose own edits are tried, and the tiers
NUMBER_OF_A_NAME = re.compile(r"(?<=[A-Za-z_])\d+")
Sides = tuple[np.ndarray, np.ndarray]  # by hand and in torch


def _no_scene(_: str) -> None:
    return None


def _as_they_are(_: str, causes: tuple[Cause, ...]) -> tuple[Cause, ...]:
    return causes


class JudgedStep(NamedTuple):
    """The verdicts on one step, notes, and what values are computed from.

    `scene(name)` gives the material that the cause of a wrong tensor is sought in, `adapt(name, causes)` what else is
    known of it. `ended` holds what ended the run here. `stop`: nothing can be judged after it. `absent_signs` are those
    that the inputs of ReLUs on the way to a tensor never have, `arrays` both sides of what was compared, by name.
    `agreeing` makes the judgements that come before the others, of tensors about which there is nothing to say.
    """

    number: int
    judgements: Sequence[Judgement]
    notes: Sequence[Note] = ()
    reads: Mapping[str, frozenset[str]] = {}
    scene: Scenes = _no_scene
    adapt: Adapt = _as_they_are
    ended: tuple[Finding, ...] = ()
    stop: bool = False
    absent_signs: frozenset[tuple[str, str]] = frozenset()
    arrays: Mapping[str, Sides] = {}
    agreeing: Callable[[], Sequence[Judgement]] = tuple


@dataclass
class Judged:
    """A run, judged: every tensor, what ended it, its notes, and where each wrong tensor is so first."""

    judgements: Sequence[Judgement] = deferred(())
    notes: dict[Note, None] = field(default_factory=dict)
    ended: tuple[Finding, ...] = ()
    steps: int = 0
    reads: Mapping[str, frozenset[str]] = field(default_factory=dict)
    suspects: dict[str, JudgedStep] = field(default_factory=dict)
    absent_signs: frozenset[tuple[str, str]] = frozenset()  # at every step
    arrays: dict[tuple[int, str], Sides] = field(default_factory=dict)
    _scenes: dict[str, Scene | None] = field(default_factory=dict, init=False)

    def scene(self, name: str) -> Scene | None:
        """The material that the cause of a wrong tensor is sought in, made once; None where there is none."""
        if name not in self._scenes:
            self._scenes[name] = self.suspects[name].scene(name) if name in self.suspects else None
        return self._scenes[name]

    @property
    def has_finding(self) -> bool:
        """Whether anything was found."""
        return bool(self.suspects or self.ended)


def collected(steps: Iterable[JudgedStep]) -> Judged:
    """All steps, up to one after which nothing can be judged: the loop over steps."""
    judged, verdicts, made = Judged(), dict[str, str](), list[Callable[[], Sequence[Judgement]]]()
    judged.judgements = later(lambda: [*chain.from_iterable(make() for make in made)])
    for step in steps:
        made += [step.agreeing, partial(tuple, step.judgements)]
        judged.notes |= dict.fromkeys([*step.notes, *(j.note for j in step.judgements if j.note is not None)])
        judged.reads = judged.reads or step.reads
        judged.absent_signs = judged.absent_signs & step.absent_signs if judged.steps else step.absent_signs
        judged.arrays |= {(step.number, name): sides for name, sides in step.arrays.items()}
        judged.steps = step.number
        for finding in (judgement.finding for judgement in step.judgements if judgement.finding is not None):
            name = finding.where.name
            if outranks(finding.verdict, verdicts.get(name)):
                verdicts[name] = finding.verdict
                judged.suspects[name] = step  # where it was WEAK or UNTOLD before tells nothing of what is wrong
        judged.ended = step.ended
        if step.stop:
            break
    return judged


def findings_of(judged: Judged) -> tuple[Finding, ...]:
    """The culprits with their causes."""
    if not judged.suspects:
        return ()
    by_key = {j.finding.where: j for j in judged.judgements if j.finding is not None}

    def causes(finding: Finding, rank: Rank) -> tuple[Cause, ...]:
        name = finding.where.name
        scene = judged.scene(name)
        if scene is None and finding.where.phase == "update":
            return (explained_update(by_key[finding.where]),)
        if scene is None:
            return (Unknown(),)
        return judged.suspects[name].adapt(name, rank(scene))

    edits, budget = list[Explanation](), Budget()

    def every(scene: Scene) -> tuple[Cause, ...]:
        diagnosis = diagnosis_of(scene, edits[0].edit.tier if edits else MOST_TIER, budget)  # siblings as far
        edits.extend(filter(None, [diagnosis.edit]))
        return diagnosis.causes

    later: list[str] = []

    def one(scene: Scene) -> tuple[Cause, ...]:
        shared = next((edit.cause for edit in edits if edit.explains(scene.name, scene.observed)), None)
        if shared is not None or len(later) == MOST_LATER:
            return (shared or first_cause(scene),)
        later.append(scene.name)
        diagnosis = diagnosis_of(scene, TIER_OF_LATER, budget)
        edits.extend(filter(None, [diagnosis.edit]))
        return diagnosis.causes[:1]

    found = attribution(culprits(judged.judgements), partial(causes, rank=every), partial(causes, rank=one))
    return _nearest_first(found, edits[0]) if edits and {*judged.reads} == {"J"} else found


def _nearest_first(findings: tuple[Finding, ...], edit: Explanation) -> tuple[Finding, ...]:
    """Gradients that no tap orders: of those that one edit explains, the nearest to it first, or the largest."""
    first = findings[0]
    alike = [finding for finding in findings if finding.cause == edit.cause and finding.where.phase == "backward"]

    def distance(finding: Finding) -> tuple[int, int]:
        name = finding.where.name
        return edit.lines_to(name), -edit.segment.graph.outputs[name].value.numel()

    if first not in alike:
        return findings
    nearest = min(alike, key=distance)
    rest = [finding for finding in findings if finding not in (first, nearest)]
    lead = replace(nearest, others=first.others, affects=first.affects)
    return lead, *([] if nearest is first else [replace(first, others=(), affects=nearest.affects)]), *rest


def as_one(findings: Sequence[Finding], scene: Scenes) -> tuple[Finding, ...]:
    """Findings that are off by one mistake, as the first of them; the cause is the first that is known."""
    leads: list[Finding] = []
    for finding in findings:
        at = next((i for i, lead in enumerate(leads) if _is_one_mistake(lead, finding, scene)), None)
        if at is None:
            leads.append(finding)
            continue
        lead = leads[at]
        cause = finding.cause if isinstance(lead.cause, Unknown) else lead.cause
        leads[at] = replace(lead, cause=cause, together=(*lead.together, finding.where.name, *finding.together))
    return tuple(leads)


def _is_one_mistake(one: Finding, other: Finding, scene: Scenes) -> bool:
    """Whether two findings are off by the same factor, have one cause, or one but for the number in their names."""
    if {one.verdict, other.verdict} != {"FAULT"} or not _are_near(one, other):
        return False
    if isinstance(one.cause, Unknown) and isinstance(other.cause, Unknown):
        return False
    if one.where.step != other.where.step:  # an update rule is one, wherever it first shows
        return one.where.phase == "update" and one.cause == other.cause
    if one.cause == other.cause:
        return True
    if is_sibling(one.where.name, other.where.name) and _pattern(one.cause) == _pattern(other.cause):
        return True
    return any(_is_off_by(a.factor, scene(b.where.name)) for a, b in ((one, other), (other, one)))


def _are_near(one: Finding, other: Finding) -> bool:
    """Whether both are values, or of J and the gradients, or of the update."""
    return one.where.phase == other.where.phase or {one.where.phase, other.where.phase} == {"loss", "backward"}


def _is_off_by(factor: float | None, scene: Scene | None) -> bool:
    """Whether a tensor is off by a factor."""
    return factor is not None and scene is not None and scene.explained_by(factor * scene.reference)


def _pattern(value: Any) -> Any:
    """A cause, its facts without the numbers of tensors' names."""
    if isinstance(value, Cause):
        return type(value), tuple(_pattern(getattr(value, each.name)) for each in fields(value))
    if isinstance(value, tuple):
        return tuple(map(_pattern, value))
    return NUMBER_OF_A_NAME.sub("", value) if isinstance(value, str) else value


def explained_update(judgement: Judgement) -> Cause:
    """What the two sides of an update alone show; the cause is sought in the change, not in what it changed."""
    if judgement.local is None:
        return Unknown()
    cause = explained(judgement.local.recorded, judgement.local.reference)
    if not is_updated(judgement.row.name):
        return cause
    if isinstance(cause, Zero):
        return LeftOut()
    return of_factor(factors_of(judgement)) if isinstance(cause, (Unknown, Scaled, WrongSign)) else cause


def factors_of(judgement: Judgement) -> Factors:
    """The factors of torch's change that the change by hand is, to within what rounding leaves of the weights."""
    assert judgement.local is not None
    return Factors.of(*judgement.local, 0.0 if judgement.rounding is None else judgement.rounding)


def of_factor(factors: Factors) -> Cause:
    """An update that is off by a factor, if it is told."""
    factor = factors.simplest
    if factor is None:
        return Unknown()
    return Ascends() if factor == -1.0 else Scaled(factor, of_update=True)


def with_ended(findings: tuple[Finding, ...], ended: Sequence[Finding]) -> tuple[Finding, ...]:
    """What ended a run is a finding of its own only if no tensor before it explains it."""
    if not findings or not ended:
        return (*findings, *ended)
    then = ThenRaised(ended[0].cause)
    first = replace(findings[0], circumstances=(*findings[0].circumstances, then))
    return (first, *findings[1:])


def reported(
    judged: Judged,
    findings: Sequence[Finding],
    environment: Mapping[str, Any],
    *,
    notes: Callable[[], Iterable[Note]] = tuple,
    blind_spots: Callable[[], Iterable[BlindSpot]] = tuple,
    code: Callable[[], Iterable[Code]] = tuple,
    plots: Iterable[Plot] = (),
) -> Report:
    """The report on a run: one finding for a mistake, with the line of the derivation that it leads to.

    Without a finding nothing else is made before it is read.
    """

    def details() -> Details:
        return consequences(judged.judgements, judged.reads)._replace(code=tuple(code()), plots=tuple(plots))

    report = Report(
        rows=later(lambda: tuple(judgement.row for judgement in judged.judgements)),
        findings=as_one(findings, judged.scene),
        notes=later(lambda: tuple(dict.fromkeys([*judged.notes, *notes()]))),
        blind_spots=later(lambda: tuple(blind_spots())),
        environment=environment,
        details=later(details),
        arrays=judged.arrays,
    )
    return narrowed(located(report), judged.scene) if findings else report
