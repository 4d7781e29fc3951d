"""Wrong rules of updates that are small beside the weights: the right name or none, at any rate."""

import numpy as np
import pytest
import torch

from handgrad import check_training, check_updates
from handgrad.compare.facts.causes import Scaled, Unknown
from handgrad.compare.facts.edits import MissingTerm, OtherOperand
from handgrad.compare.facts.operands import DecayAdded
from handgrad.compare.facts.updates import OtherOptimizer, OtherSetting, OtherUpdate
from tests.compare.checks import trainers
from tests.compare.checks.optimizers import PARAMS, adam, heavy_ball, momentum
from tests.compare.checks.trainers import BATCHES, gradients, reference

SGD, Adam = torch.optim.SGD, torch.optim.Adam
DOUBLE, SINGLE = ("float64",), ("float32",)
GRADIENTS = tuple(f"d{name}" for name in trainers.PARAMS)


def descent(lr, decay=0.0):
    return lambda p, g, s: ({n: w - lr * (g[f"d{n}"] + decay * w) for n, w in p.items()}, s)


def trained(update, shows=()):
    """A trainer that updates by that rule."""

    def train(params, batches):
        p, state = dict(params), None
        for X, Y in batches:
            along = gradients(p, X, Y)
            p, state = update(dict(p), along, state)
            yield {**p, **{name: along[name] for name in shows}}

    return train


def trainer_causes(update, optimizer, precisions, shows=()):
    report = check_training(
        trained(update, shows), reference, optimizer, trainers.PARAMS, BATCHES, precisions=precisions
    )
    return {finding.cause for finding in report.findings}


def twice(lr):
    return OtherUpdate(f"torch.optim.SGD(lr={2 * lr:g})")


NO_EPSILON = OtherUpdate("torch.optim.Adam(lr=0.001, betas=(0.9, 0.999), eps=0)")
BETA = {OtherSetting("beta1", 0.8, 0.9)}
TRAINERS = {
    "twice": (descent(2e-5), lambda w: SGD(w, lr=1e-5), SINGLE, {twice(1e-5)}),
    "twice, float64": (descent(2e-5), lambda w: SGD(w, lr=1e-5), DOUBLE, {twice(1e-5)}),
    "twice, tiny": (descent(2e-12), lambda w: SGD(w, lr=1e-12), DOUBLE, {twice(1e-12)}),
    "ascent": (descent(-1e-5), lambda w: SGD(w, lr=1e-5), SINGLE, "ascends"),
    "three times": (descent(3e-3), lambda w: SGD(w, lr=1e-3), SINGLE, {Scaled(3.0, of_update=True)}),
    "three times, tiny": (descent(3e-10), lambda w: SGD(w, lr=1e-10), DOUBLE, {Scaled(3.0, of_update=True)}),
    "beta of another size": (adam(b1=0.8), lambda w: Adam(w, lr=1e-3), SINGLE, BETA),
    "the same in float64": (adam(b1=0.8), lambda w: Adam(w, lr=1e-3), DOUBLE, BETA),
    "the same at 1e-12": (adam(b1=0.8, lr=1e-12), lambda w: Adam(w, lr=1e-12), DOUBLE, BETA),
    "momentum at 1e-12": (
        momentum(heavy_ball, lr=1e-12, mu=0.8),
        lambda w: SGD(w, lr=1e-12, momentum=0.9),
        DOUBLE,
        {OtherSetting("momentum", 0.8, 0.9)},
    ),
    "an epsilon that no other explains": (
        adam(eps=3e-11),
        lambda w: Adam(w, lr=1e-3),
        DOUBLE,
        {OtherSetting("eps", 3e-11, 1e-8)},
    ),
}


@pytest.mark.parametrize(("update", "optimizer", "precisions", "due"), TRAINERS.values(), ids=TRAINERS)
def test_a_trainer_of_small_steps_has_its_rule_or_none(update, optimizer, precisions, due):
    causes = trainer_causes(update, optimizer, precisions)
    if due == "ascends":
        assert [cause.reverses for cause in causes] == ["ascends"]
    else:
        assert {Unknown() if isinstance(cause, Unknown) else cause for cause in causes} == due


def test_an_epsilon_of_zero_is_named_where_gradients_show_it():
    """In training its place in the formula is named: gradients there show no rule."""
    optimizer = lambda w: Adam(w, lr=1e-3)  # noqa: E731  # it is used twice
    assert {f.cause for f in check_updates(adam(eps=0.0), optimizer, PARAMS, precisions=DOUBLE).findings} == {
        NO_EPSILON
    }
    assert {type(cause) for cause in trainer_causes(adam(eps=0.0), optimizer, DOUBLE)} <= {MissingTerm, OtherOperand}


@pytest.mark.parametrize("shape", [(2, 3), (1, 7), (2, 4), (5, 4)], ids=str)
@pytest.mark.parametrize("precisions", [DOUBLE, SINGLE], ids=str)
@pytest.mark.parametrize(("times", "lr"), [(2, 0.1), (3, 0.1), (1.7, 1e-5), (100, 1e-3), (-3, 1e-6)])
def test_a_factor_is_named_on_a_parameter_of_any_shape(shape, precisions, times, lr):
    params = {"W": np.random.default_rng(0).standard_normal(shape)}
    report = check_updates(descent(times * lr), lambda w: SGD(w, lr=lr), params, precisions=precisions)
    assert report.first.cause == (twice(lr) if times == 2 else Scaled(float(times), of_update=True))


def test_a_factor_of_one_step_is_none_of_the_others():
    def later(params, grads, state):
        t = state or 0
        return {n: w - (1e-4 if t else 3e-4) * grads[f"d{n}"] for n, w in params.items()}, t + 1

    def ever_faster(params, grads, state):
        t = state or 0
        return {n: w - 1e-4 * (2, 3, 5)[t] * grads[f"d{n}"] for n, w in params.items()}, t + 1

    same = [{f"d{n}": np.random.default_rng(1).standard_normal(w.shape) for n, w in PARAMS.items()}] * 3
    first = check_updates(later, lambda w: SGD(w, lr=1e-4), PARAMS, gradients=same).first
    assert (first.where.step, first.cause) == (1, Scaled(3.0, of_update=True)), "it is wrong at this step alone"
    second = check_updates(ever_faster, lambda w: SGD(w, lr=1e-4), PARAMS, gradients=same).first
    assert second.cause == Scaled(2.0, of_update=True, varies=True)


# --- decay in the gradient that is yielded


def decaying(yields, uses=0.01, mu=0.0):
    """Weight decay that the trainer adds to its gradients: some of it to those that it yields."""

    def train(params, batches):
        p, v = dict(params), dict.fromkeys(params, 0.0)
        for X, Y in batches:
            along = gradients(p, X, Y)
            shown = {f"d{name}": along[f"d{name}"] + yields * w for name, w in p.items()}
            for name, w in p.items():
                v[name] = mu * v[name] + along[f"d{name}"] + uses * w
                p[name] = w - 0.1 * v[name]
            yield {**p, **shown}

    return train


@pytest.mark.parametrize("mu", [0.0, 0.9])
@pytest.mark.parametrize("precisions", [("float64", "float32"), SINGLE], ids=str)
@pytest.mark.parametrize("by_torch", [0.01, 0.0], ids=["torch decays too", "torch does not"])
def test_a_decay_that_is_in_the_yielded_gradient_is_named_there_alone(mu, precisions, by_torch):
    optimizer = lambda w: SGD(w, lr=0.1, momentum=mu, weight_decay=by_torch)  # noqa: E731  # it reads the settings
    report = check_training(
        decaying(0.01, mu=mu), reference, optimizer, trainers.PARAMS, BATCHES, precisions=precisions
    )
    assert {finding.where.name for finding in report.findings} == {*GRADIENTS}
    decay = [finding.cause for finding in report.findings if finding.where.name == "dW1"]
    assert [(type(cause), cause.times) for cause in decay] == [(DecayAdded, pytest.approx(0.01, rel=1e-4))]


def test_an_update_that_is_wrong_beside_its_gradient_is_a_finding_of_its_own():
    optimizer = lambda w: SGD(w, lr=0.1, weight_decay=0.01)  # noqa: E731  # it has settings
    report = check_training(decaying(0.01, uses=0.07), reference, optimizer, trainers.PARAMS, BATCHES)
    named = {name for finding in report.findings for name in (finding.where.name, *finding.together)}
    assert {f"{name}_next" for name in trainers.PARAMS} <= named
    right = check_training(decaying(0.0), reference, optimizer, trainers.PARAMS, BATCHES)
    assert right.ok, str(right)


# --- whatever the settings

RATES = [10.0**-k for k in range(1, 9)]


def wrong_settings(count):
    """Draws of a wrong setting: what is due, the update, the factor of a rate, and the cause that names it, if any."""
    rng = np.random.default_rng(7)
    for _ in range(count):
        lr, mu, b1 = float(rng.choice(RATES)), float(rng.choice([0.5, 0.8, 0.95])), float(rng.choice([0.8, 0.95, 0.5]))
        times, eps = float(rng.choice([0.3, 0.5, 2, 3, 10])), float(rng.choice([1e-12, 1e-7, 1e-5, 3e-9]))
        precision = (DOUBLE, SINGLE)[rng.integers(2)]
        yield (
            precision,
            [
                (lambda w, lr=lr: SGD(w, lr=lr), descent(times * lr), ("lr", times * lr)),
                (lambda w, lr=lr: SGD(w, lr=lr, weight_decay=0.1), descent(lr, 0.03), ("weight_decay", 0.03)),
                (lambda w, lr=lr: SGD(w, lr=lr, momentum=0.9), momentum(heavy_ball, lr, mu), ("momentum", mu)),
                (lambda w, lr=lr: Adam(w, lr=lr), adam(lr, b1=b1), ("betas", (b1, 0.999))),
                (lambda w, lr=lr: Adam(w, lr=lr), adam(lr, eps=eps), ("eps", eps)),
            ][rng.integers(5)],
        )


@pytest.mark.parametrize(("precisions", "drawn"), [*wrong_settings(24)])
def test_a_wrong_setting_is_named_rightly_or_not_at_all(precisions, drawn):
    optimizer, update, (name, value) = drawn
    for finding in check_updates(update, optimizer, PARAMS, steps=3, precisions=precisions).findings:
        cause = finding.cause
        if isinstance(cause, OtherOptimizer):
            assert f"{name}={value:g}" in cause.optimizer, cause
        elif isinstance(cause, Scaled):
            assert (name, cause.factor * optimizer([torch.zeros(1)]).defaults["lr"]) == (
                "lr",
                pytest.approx(value, rel=4e-3),
            )
        elif isinstance(cause, OtherSetting):
            due = value[0] if name == "betas" else value
            assert (cause.name, cause.used) == ("beta1" if name == "betas" else name, pytest.approx(due, rel=4e-3))
        else:
            assert isinstance(cause, Unknown), cause


def test_right_updates_of_any_size_are_left_in_peace():
    for lr in RATES:
        assert check_updates(descent(lr), lambda w, lr=lr: SGD(w, lr=lr), PARAMS).findings == ()
