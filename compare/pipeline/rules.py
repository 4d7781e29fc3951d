"""Which rule the updates of a run follow instead of the one that is due: another optimiser's, or one factor.

A rule is named only if it explains every step that was recorded, and if no other one does: what has to be explained is
the change, which may be small beside the rounding of what it changes.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace
from functools import reduce
from math import inf

import torch

from handgrad.compare.diagnosis.factors import Factors
from handgrad.compare.diagnosis.rules import Rule, relatives
from handgrad.compare.errors import InputError
from handgrad.compare.facts.causes import Cause, Scaled, Unknown
from handgrad.compare.facts.updates import Ascends
from handgrad.compare.names import gradient, is_updated, of_updated, updated
from handgrad.compare.oracle.optimizer import Follower, Optimizer
from handgrad.compare.pipeline.judged import explained_update, factors_of, of_factor
from handgrad.compare.pipeline.recording import Run
from handgrad.compare.pipeline.steps import FORMS, JudgedTraining, Training, explains, follow
from handgrad.compare.results import Finding
from handgrad.compare.thresholds import KNOWN
from handgrad.compare.verdict.judgement import Judgement
from handgrad.compare.verdict.rule import unexplained


def rule_instead(findings: tuple[Finding, ...], trainings: Sequence[JudgedTraining]) -> tuple[Finding, ...]:
    """Findings on updates with the rule that the updates of all trainings follow instead, if one is told.

    Without one, a factor or another cause is named only where every step has it, and a factor as that of its step where
    each has one of its own.
    """
    if not any(_is_form(finding) or is_updated(finding.where.name) for finding in findings):
        return findings
    wrong = _wrong(trainings)
    factors = {name: [factors_of(judgement) for judgement in each] for name, each in wrong.items()}
    joint = {name: reduce(Factors.both, each) for name, each in factors.items()}
    of_all = reduce(Factors.both, joint.values(), Factors())
    if of_all.simplest is not None:
        joint = dict.fromkeys(joint, of_all)
    is_steady = bool(joint) and all(each.least <= each.most for each in joint.values())
    runs, rule = [each.training for each in trainings], None
    if any(map(_is_form, findings)) and (not is_steady or of_all.simplest is not None):
        rule = _rule(runs, Follower(runs[0].optimizer, runs[0].params).optimizer, is_rate=is_steady)

    def named(finding: Finding) -> Finding:
        name, cause = finding.where.name, finding.cause
        if not is_updated(name):  # the update of a velocity that is wrong is no finding: the velocity has the rule
            return _of_velocity(finding, rule, runs) if _is_form(finding) else finding
        if not _is_form(finding):
            causes = [explained_update(judgement) for judgement in wrong.get(name, [])]
            return replace(finding, cause=Unknown()) if cause in causes and {*causes} != {cause} else finding
        if rule is not None:
            return replace(finding, cause=rule.cause)
        return replace(finding, cause=_without_rule(cause, joint.get(name), factors.get(name, [])))

    return tuple(map(named, findings))


def _is_form(finding: Finding) -> bool:
    """Whether a finding is what another rule looks like."""
    return finding.where.phase == "update" and finding.cause.code in FORMS


def _wrong(trainings: Sequence[JudgedTraining]) -> dict[str, list[Judgement]]:
    """The updated parameters that are wrong, by name, at each step where they are."""
    wrong: dict[str, list[Judgement]] = {}
    for judgement in (judgement for each in trainings for judgement in each.judged.judgements):
        row = judgement.row
        if is_updated(row.name) and row.verdict == "FAULT" and judgement.local is not None:
            wrong.setdefault(row.name, []).append(judgement)
    return wrong


def _without_rule(cause: Cause, joint: Factors | None, by_step: Sequence[Factors]) -> Cause:
    """The factor of every step, or that of one where each has one of its own."""
    if joint is None or cause.code == "reset":
        return cause
    if joint.simplest is not None:
        return of_factor(joint)
    if not isinstance(cause, (Scaled, Ascends)):
        return cause
    own = [each.simplest for each in by_step]
    known = [factor for factor in own if factor is not None]
    differ = len(known) == len(own) and max(known) - min(known) > KNOWN * max(map(abs, known))
    return Scaled(known[0], of_update=True, varies=True) if differ else Unknown()


def without_consequences(findings: tuple[Finding, ...], outcome: JudgedTraining) -> tuple[Finding, ...]:
    """Findings without the updates that are right along torch's own gradient where the one yielded is wrong."""
    training = outcome.training
    yielded = {finding.where.name for finding in findings} & {*map(gradient, training.params)}
    if not yielded:
        return findings
    runs = {dtype: _without(run, yielded) for dtype, run in training.runs.items()}
    along_own = replace(training, runs=runs)

    def follows(finding: Finding) -> bool:
        name = finding.where.name
        is_of_one = is_updated(name) and gradient(of_updated(name)) in yielded
        return is_of_one and _left([along_own], training.optimizer, [name]) <= 1

    return tuple(finding for finding in findings if not follows(finding))


def _without(run: Run, names: Set[str]) -> Run:
    """A run that did not yield some tensors."""
    left = ({name: array for name, array in taken.records.items() if name not in names} for taken in run.steps)
    return replace(run, steps=tuple(replace(t, records=kept) for t, kept in zip(run.steps, left, strict=True)))


def _of_velocity(finding: Finding, rule: Rule | None, runs: Sequence[Training]) -> Finding:
    """A velocity with the rule that explains it, or beside its factor the rule that explains the updates."""
    if rule is not None and isinstance(finding.cause, Scaled):
        return replace(finding, others=(rule.cause,))
    is_told = rule is not None and isinstance(finding.cause, Unknown)
    if rule is None or not is_told or _left(runs, rule.factory, [finding.where.name]) > 1:
        return finding
    return replace(finding, cause=rule.cause)


def _rule(runs: Sequence[Training], due: torch.optim.Optimizer, *, is_rate: bool) -> Rule | None:
    """The one relative of the optimiser that explains all updates; a simpler one before those that it is a case of.

    Where `is_rate`, every change is the same multiple of torch's: what explains that as well would be a guess.
    """
    names = [updated(name) for name in runs[0].params]
    rules = [rule for rule in relatives(due) if not is_rate or rule.is_rate]
    left = {rule: _left(runs, rule.factory, names) for rule in rules}
    best = min(rules, key=lambda rule: (left[rule] > 1, len(rule.changes), left[rule]), default=None)
    if best is None or left[best] > 1 or not explains(left[best], _left(runs, runs[0].optimizer, names)):
        return None
    rivals = (rule for rule in rules if not best.changes <= rule.changes)
    return best if all(explains(left[best], left[rule]) for rule in rivals) else None


def _left(runs: Sequence[Training], optimizer: Optimizer, names: Sequence[str]) -> float:
    """How much an optimiser leaves of some tensors, in units of what rounding explains; inf if too much."""
    most = 0.0
    try:
        steps = (beside for training in runs for beside in follow(training, optimizer))
        for name, witness in ((name, witness) for beside in steps for witness in beside.values() for name in names):
            most = max(most, unexplained(name, witness))
            if most == inf:
                break
    except (InputError, TypeError, ValueError):  # torch refuses that combination of settings
        return inf
    return most
