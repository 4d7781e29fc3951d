"""Which rule updates follow instead of the one that is due: another optimiser's, a factor, or none that is told."""

import pytest
import torch

from handgrad.compare.facts.causes import Scaled, Unknown, WrongSign
from handgrad.compare.facts.failures import NotComputed
from handgrad.compare.facts.updates import OtherMomentum, OtherUpdate
from handgrad.compare.names import Key
from handgrad.compare.pipeline.rules import rule_instead
from handgrad.compare.pipeline.steps import judged_training
from handgrad.compare.results import Finding
from tests.compare.checks.trainers import gradients, momentum, trainer
from tests.compare.pipeline.test_steps import FIRST, descent, training_of


def named(training):
    outcome = judged_training(training, "")
    return rule_instead(outcome.findings, [outcome])


def test_updates_of_another_rule_are_named_by_torchs():
    first, *_ = named(training_of(momentum(0.5, lambda _: 1.0, 0.1)))
    assert first.cause.code == "unknown", "no relative of the optimiser that is due has this memory"
    for rate, cause in ((0.2, OtherUpdate), (-0.1, OtherUpdate)):
        findings = named(training_of(momentum(0.9, lambda _: 1.0, rate)))
        assert {type(f.cause) for f in findings} == {cause}, findings
    findings = named(training_of(momentum(0.0, lambda _: 1.0, 0.1)))
    assert {type(f.cause) for f in findings} == {OtherMomentum}


def test_without_a_rule_a_factor_is_that_of_every_step_or_it_is_none():
    names = ("W1", "b1", "W2", "b2")

    def shares(*by_step):
        def train(params, batches):
            p = dict(params)
            for share, made in zip(by_step, _steps_of_descent(p, batches), strict=True):
                p |= {n: p[n] + (share if n == "W2" else 1.0) * made[n] for n in names}
                yield dict(p)

        return train

    same = named(training_of(shares(*[0.3] * 6), descent))
    assert [(f.where.name, f.cause) for f in same] == [("W2_next", Scaled(pytest.approx(0.3), of_update=True))]
    others = named(training_of(shares(0.3, 0.3, 0.5, 0.3, 0.3, 0.5), descent))
    assert [(f.where.name, f.cause.varies, f.factor) for f in others] == [("W2_next", True, pytest.approx(0.3))]


def _steps_of_descent(p, batches):
    """The changes of gradient descent from wherever p is at each step."""
    for X, Y in batches:
        along = gradients(p, X, Y)
        yield {name: -0.1 * along[f"d{name}"] for name in p}


def test_a_factor_that_a_step_does_not_have_is_not_named():
    factor, none = Scaled(0.3, of_update=True), Unknown()
    training = training_of(momentum(0.9, lambda step: 0.3 if not step else 1.0, 0.1))
    findings = rule_instead((Finding(FIRST, "FAULT", factor),), [judged_training(training, "")])
    assert [finding.cause for finding in findings] == [none]


def test_a_rule_is_named_on_nothing_but_updates():
    causes = {Key(1, "backward", "dW1"): WrongSign(), Key(1, "update", "vW1"): NotComputed(), FIRST: NotComputed()}
    findings = tuple(Finding(where, "FAULT", cause) for where, cause in causes.items())
    outcome = judged_training(training_of(momentum(0.9, lambda _: 1.0, 0.2)), "")
    assert {type(f.cause) for f in rule_instead(outcome.findings, [outcome])} == {OtherUpdate}
    assert rule_instead(findings, [outcome]) == findings


def test_settings_that_torch_refuses_are_no_rule():
    """torch keeps in the defaults of AdamW what its constructor does not take."""
    training = training_of(trainer(), lambda tensors: torch.optim.AdamW(tensors, lr=0.1, amsgrad=True))
    findings = (Finding(FIRST, "FAULT", Unknown()),)
    assert rule_instead(findings, [judged_training(training, "")]) == findings
