"""The formula of an update that no setting of torch explains is named by an edit of torch's own step."""

import numpy as np
import pytest
import torch

from handgrad import check_training, check_updates
from handgrad.compare.facts.causes import Unknown
from handgrad.compare.facts.edits import MissingFactor, OtherFunction
from handgrad.compare.facts.updates import (
    ClippedGradient,
    Counted,
    DecayForm,
    DecaySetting,
    EpsilonPlace,
    OtherSetting,
    StateStart,
)
from tests.corpus import optimizers as corpus

RNG = np.random.default_rng(41)
W = {"w": RNG.normal(size=(3, 4))}

FORMS = {
    "eps before the correction": lambda m, s, c, r: (m / c) / ((np.sqrt(s) + 1e-3) / r),
    "m is not corrected": lambda m, s, c, r: m / (np.sqrt(s) / r + 1e-3),
    "s is not corrected": lambda m, s, c, r: (m / c) / (np.sqrt(s) + 1e-3),
    "no root": lambda m, s, c, r: (m / c) / (s / r + 1e-3),
}
CAUSES = {
    "eps before the correction": EpsilonPlace("eps", "sqrt(exp_avg_sq)", "sqrt(exp_avg_sq) / sqrt(1 - beta2^t)"),
    "m is not corrected": MissingFactor,
    "s is not corrected": MissingFactor,
    "no root": OtherFunction,
}


def adam(tensors):
    return torch.optim.Adam(tensors, lr=0.01, betas=(0.9, 0.99), eps=1e-3)


def by_hand(form):
    """Adam in a form that torch has no setting for."""

    def update(params, gradients, state):
        t, m, s = state or (0, 0.0, 0.0)
        g = gradients["dw"]
        t, m, s = t + 1, 0.9 * m + 0.1 * g, 0.99 * s + 0.01 * g * g
        change = FORMS[form](m, s, 1 - 0.9**t, np.sqrt(1 - 0.99**t))
        return {"w": params["w"] - 0.01 * change}, (t, m, s)

    return update


@pytest.mark.parametrize("form", FORMS)
def test_a_form_without_a_setting_is_named(form):
    cause, due = check_updates(by_hand(form), adam, W).first.cause, CAUSES[form]
    assert cause == due if isinstance(due, EpsilonPlace) else isinstance(cause, due), cause


def test_a_random_update_has_no_name():
    noise = np.random.default_rng(5).normal(size=(3, 4))
    report = check_updates(lambda p, g, s: ({"w": p["w"] - 0.01 * np.sin(noise * g["dw"])}, s), adam, W)
    assert report.first.cause == Unknown()


NAMED = {
    "adam t stuck at 1": Counted("stuck"),
    "adam t one ahead": Counted("ahead"),
    "adam neither corrected": Counted("left-out"),
    "adamw decay without the rate": DecayForm("without-rate", 0.1),
    "sgd decay after momentum": DecayForm("apart", 0.1),
    "sgd decay where none is due": DecayForm("gradient", pytest.approx(0.03), is_due=False),
    "sgd decay of a third": DecaySetting("weight_decay", pytest.approx(0.1 / 3), 0.1),
    "adam eps 3e-5": OtherSetting("eps", pytest.approx(3e-5), 1e-8),
    "sgd values clipped": ClippedGradient(1.0, "value"),
    "sgd norm of all clipped": ClippedGradient(pytest.approx(1.0), "norm of all gradients"),
    "rmsprop starts from the first square": StateStart("square_avg", "dw^2"),
    "sgd dampening from the first step": StateStart("momentum_buffer", "0", "dw", "lr=0.01, momentum=0.9"),
    "sgd dampening 0.1 from the first step": StateStart("momentum_buffer", "0", "dw", "lr=0.018, momentum=0.8"),
}


@pytest.mark.parametrize("name", NAMED)
def test_all_steps_together_name_a_slip(name):
    slip = corpus.SLIPS[name]
    assert check_updates(slip.update, slip.optimizer, corpus.PARAMS).first.cause == NAMED[name]


OF_TRAINING = {
    "adam t per parameter": Counted("per-parameter"),
    "adam decay on the bias": DecayForm("gradient", 0.1, is_due=False),
    "sgd decay divided by the batch": DecaySetting("weight_decay", pytest.approx(0.1 / 7), 0.1),
}


@pytest.mark.parametrize("name", OF_TRAINING)
def test_a_training_loop_is_named_as_the_update_is(name):
    slip, calls = corpus.TRAINED[name], []

    def loss(p, X, Y):
        calls.append(p)
        return corpus.loss(p, X, Y)

    report = check_training(corpus.train(slip.update), loss, slip.optimizer, corpus.PARAMS, corpus.BATCHES)
    assert report.first.cause == OF_TRAINING[name]
    assert len(calls) < 200  # torch's gradients are found once, not once for every optimiser that is tried
