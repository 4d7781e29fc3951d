"""The formula of an update that no rule explains is named by an edit of torch's own step."""

import numpy as np
import pytest
import torch

from handgrad import check_updates
from handgrad.compare.checks.formulas import settings_of
from handgrad.compare.facts.causes import Unknown
from handgrad.compare.facts.edits import MissingFactor, OtherFunction, OtherNumber
from handgrad.compare.oracle.optimizer import Followers

RNG = np.random.default_rng(41)
W = {"w": RNG.normal(size=(3, 4))}
GRADIENTS = [{"dw": RNG.normal(size=(3, 4))} for _ in range(4)]
OPTIMIZERS = {
    "SGD": lambda t: torch.optim.SGD(t, lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True),
    "Adam": lambda t: torch.optim.Adam(t, lr=0.01, weight_decay=0.1, amsgrad=True),
    "AdamW": lambda t: torch.optim.AdamW(t, lr=0.01),
    "RMSprop": lambda t: torch.optim.RMSprop(t, lr=0.01, momentum=0.5, centered=True),
    "Adagrad": lambda t: torch.optim.Adagrad(t, lr=0.1),
    "Adadelta": lambda t: torch.optim.Adadelta(t),
    "NAdam": lambda t: torch.optim.NAdam(t),
    "RAdam": lambda t: torch.optim.RAdam(t),
    "ASGD": lambda t: torch.optim.ASGD(t),
    "Adamax": lambda t: torch.optim.Adamax(t),
    "Rprop": lambda t: torch.optim.Rprop(t),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_the_recorded_step_is_the_step(optimizer):
    followers, params = Followers(optimizer, W), W
    for gradients in GRADIENTS:
        result = followers.step(params, gradients, lambda _: {})
        params = {"w": result["w"]}
    graph = followers.recorded()
    node = graph.outputs["w_next"]
    np.testing.assert_allclose(node.value.numpy(), result["w"], rtol=1e-13)
    np.testing.assert_allclose(graph.valued({})[node].numpy(), result["w"], rtol=1e-13)
    assert {"w", "dw"} <= graph.inputs.keys()


FORMS = {
    "eps before the correction": lambda m, s, c, r: (m / c) / ((np.sqrt(s) + 1e-3) / r),
    "m is not corrected": lambda m, s, c, r: m / (np.sqrt(s) / r + 1e-3),
    "s is not corrected": lambda m, s, c, r: (m / c) / (np.sqrt(s) + 1e-3),
    "no root": lambda m, s, c, r: (m / c) / (s / r + 1e-3),
}
CAUSES = {
    "eps before the correction": (OtherNumber, "eps / sqrt(1 - beta2^3)"),
    "m is not corrected": (OtherNumber, "-lr"),
    "s is not corrected": (MissingFactor, None),
    "no root": (OtherFunction, ""),
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
    report = check_updates(by_hand(form), adam, W)
    kind, used = CAUSES[form]
    assert isinstance(report.first.cause, kind), str(report)
    assert used is None or report.first.cause.used == used


def test_a_random_update_has_no_name():
    noise = np.random.default_rng(5).normal(size=(3, 4))
    report = check_updates(lambda p, g, s: ({"w": p["w"] - 0.01 * np.sin(noise * g["dw"])}, s), adam, W)
    assert report.first.cause == Unknown()


def test_settings_have_their_names():
    optimizer = adam([torch.zeros(2, requires_grad=True)])
    names = settings_of(optimizer, 3)
    assert names[0.01] == "lr"
    assert names[0.9] == "beta1"
    assert names[1 - 0.9**3] == "1 - beta1^3"
    assert names[1e-3 / np.sqrt(1 - 0.99**3)] == "eps / sqrt(1 - beta2^3)"
