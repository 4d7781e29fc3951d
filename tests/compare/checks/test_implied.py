"""Trainers that yield parameters alone: the mistake in a gradient is named from the steps along it."""

import numpy as np
import pytest
import torch

from handgrad import check_training, tap
from handgrad.compare.facts.causes import InDerivative, PartialBatch, Scaled, Unknown
from handgrad.compare.facts.edits import FactorForm, PartOfSum
from handgrad.compare.facts.operands import OfStepBefore, Stale, StaleTogether, UpdatedOperand
from handgrad.compare.facts.updates import OfGradient, OtherMomentum, OtherUpdate, Transposed

RNG = np.random.default_rng(11)
SIZES = (7, 7, 4, 7)
PARAMS = {
    "W1": RNG.standard_normal((5, 5)),
    "b1": RNG.standard_normal((5, 1)),
    "W2": RNG.standard_normal((3, 5)),
    "b2": RNG.standard_normal((3, 1)),
}
BATCHES = [(RNG.standard_normal((5, n)), RNG.standard_normal((3, n))) for n in SIZES]
CLASSES = [np.eye(3)[:, RNG.integers(0, 3, n)] for n in SIZES]


def two_layers(p, X, Y):
    A1 = torch.tanh(p["W1"] @ X + p["b1"])
    return ((p["W2"] @ A1 + p["b2"] - Y) ** 2).sum() / (2 * X.shape[1])


def softmax(p, X, Y):
    return -(Y * torch.log_softmax(p["W"] @ X + p["b"], 0)).sum() / X.shape[1]


def of_two_layers(mistake, p, X, Y, before):
    """The gradients, all computed before any update."""
    n = {"nominal": 7, "no mean": 1}.get(mistake, X.shape[1])
    p, X, Y = before if before and mistake == "all stale" else (p, X, Y)
    q = before[0] if before and mistake == "stale weights" else p
    used = before[1] if before and mistake == "stale batch" and before[1].shape == X.shape else X
    A1 = np.tanh(q["W1"] @ X + q["b1"])
    dZ2 = (q["W2"] @ A1 + q["b2"] - Y) / n
    dZ2 = np.sign(dZ2) / n if mistake == "loss" else dZ2
    dZ1 = q["W2"].T @ dZ2 * (1 if mistake == "no derivative" else 1 - A1**2)
    kept = slice(None, -1) if mistake == "dropped" else slice(None)
    dW1 = dZ1[:, kept] @ used[:, kept].T
    return {
        "W1": dW1.T if mistake == "wrong layer" else dW1,
        "b1": dZ1[:, kept].sum(1, keepdims=True),
        "W2": dZ2[:, kept] @ A1[:, kept].T,
        "b2": dZ2[:, kept].sum(1, keepdims=True),
    }


def of_softmax(mistake, p, X, Y, before):
    n = {"nominal": 7, "no mean": 1}.get(mistake, X.shape[1])
    p, X, Y = before if before and mistake == "all stale" else (p, X, Y)
    q = before[0] if before and mistake == "stale weights" else p
    E = np.exp(q["W"] @ X + q["b"])
    dZ = (E / E.sum(0) - Y) / n
    kept = slice(None, -1) if mistake == "dropped" else slice(None)
    return {"W": dZ[:, kept] @ X[:, kept].T, "b": dZ[:, kept].sum(1, keepdims=True)}


NETS = {
    "two layers": (of_two_layers, two_layers, PARAMS, BATCHES),
    "softmax": (
        of_softmax,
        softmax,
        {"W": PARAMS["W2"], "b": PARAMS["b2"]},
        [(X, Y) for (X, _), Y in zip(BATCHES, CLASSES, strict=True)],
    ),
}
RULES = {
    "plain": {},
    "momentum": {"momentum": 0.9},
    "dampening": {"momentum": 0.9, "dampening": 0.5},
    "nesterov": {"momentum": 0.9, "nesterov": True},
    "decay": {"momentum": 0.9, "weight_decay": 0.01},
}


def trainer(gradients, mistake="", rate=0.05, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False):
    """SGD by hand; v is the gradient at the first step."""

    def train(params, batches):
        p, v, before = dict(params), {}, None
        lr = next(iter(p.values())).dtype.type(rate)
        for X, Y in batches:
            g, after = gradients(mistake, p, X, Y, before), {}
            for name, w in p.items():
                along = g[name] + w.dtype.type(weight_decay) * w
                v[name] = momentum * v[name] + (1 - dampening) * along if name in v else along
                after[name] = w - lr * (along + momentum * v[name] if nesterov else v[name])
            before, p = (p, X, Y), after
            yield dict(p)

    return train


def checked(net="two layers", mistake="", rate=0.05, precisions=("float64", "float32"), **rule):
    gradients, reference, params, batches = NETS[net]
    by_hand = trainer(gradients, mistake, rate, **rule)

    def torchs(tensors):
        return torch.optim.SGD(tensors, lr=rate, **rule)

    return check_training(by_hand, reference, torchs, params, batches, precisions=precisions)


MISTAKES = {
    "dropped": (1, "dropped-example", PartOfSum),
    "wrong layer": (1, "transpose", Transposed),
    "stale weights": (2, "stale", StaleTogether),
    "stale batch": (2, "stale", Stale),
    "all stale": (2, "stale", OfStepBefore),
    "nominal": (3, "partial-batch", PartialBatch),
    "no derivative": (1, "activation-derivative", InDerivative),
    "no mean": (1, "scale", Scaled),
    "loss": (1, "missing-factor", FactorForm),
}
OF_SOFTMAX = ("dropped", "stale weights", "all stale", "nominal", "no mean")


def assert_named(report, mistake):
    step, code, kind = MISTAKES[mistake]
    assert (report.first.where.step, report.first.where.phase) == (step, "update"), str(report)
    assert isinstance(report.first.cause, OfGradient), str(report)
    assert (report.first.cause.code, type(report.first.cause.mistake)) == (code, kind)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_mistake_in_a_gradient_is_named_from_the_updates(mistake):
    assert_named(checked(mistake=mistake), mistake)


@pytest.mark.parametrize("mistake", OF_SOFTMAX)
def test_so_it_is_of_a_softmax_regression(mistake):
    assert_named(checked("softmax", mistake), mistake)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "plain"])
def test_so_it_is_through_the_state_of_the_optimiser(rule):
    """At the second step torch's state has to be that of the run by hand, in which the first was right."""
    for mistake in ("all stale", "nominal"):
        assert_named(checked(mistake=mistake, **RULES[rule]), mistake)


@pytest.mark.parametrize("rate", [1e-3, 1e-6])
def test_so_it_is_at_small_rates_with_the_digits_that_are_left(rate):
    assert_named(checked(mistake="no mean", rate=rate), "no mean")
    assert_named(checked("softmax", "dropped", rate=rate), "dropped")


@pytest.mark.parametrize("mistake", ["wrong layer", "nominal", "no derivative"])
def test_so_it_is_in_float32_alone(mistake):
    assert_named(checked(mistake=mistake, precisions=("float32",)), mistake)


def test_one_mistake_of_several_gradients_is_one_finding():
    report = checked(mistake="nominal")
    assert [(f.where.name, f.together) for f in report.findings] == [("W1_next", ("b1_next", "W2_next", "b2_next"))]
    assert report.first.factor == pytest.approx(4 / 7)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("net", NETS)
def test_right_trainers_are_left_in_peace(net, rule):
    for rate in (1e-1, 1e-3, 1e-6):
        assert checked(net, rate=rate, **rule).findings == ()
        assert checked(net, rate=rate, precisions=("float32",), **rule).findings == ()


def layer_by_layer(keep=0.0):
    """Each layer is updated before the gradient of the one below is taken."""

    def train(params, batches):
        p, v = dict(params), dict.fromkeys(params, 0.0)

        def update(name, along):
            v[name] = keep * v[name] + along
            p[name] = p[name] - p[name].dtype.type(0.05) * v[name]

        for X, Y in batches:
            A1 = np.tanh(p["W1"] @ X + p["b1"])
            dZ2 = (p["W2"] @ A1 + p["b2"] - Y) / X.shape[1]
            update("W2", dZ2 @ A1.T)
            update("b2", dZ2.sum(1, keepdims=True))
            dZ1 = p["W2"].T @ dZ2 * (1 - A1**2)
            update("W1", dZ1 @ X.T)
            update("b1", dZ1.sum(1, keepdims=True))
            yield dict(p)

    return train


def tapped(p, X, Y):
    A1 = tap("A1", torch.tanh(p["W1"] @ X + p["b1"]))
    return ((tap("Z2", p["W2"] @ A1 + p["b2"]) - Y) ** 2).sum() / (2 * X.shape[1])


@pytest.mark.parametrize("reference", [two_layers, tapped])
@pytest.mark.parametrize("keep", [0.0, 0.9])
def test_weights_that_are_updated_too_early_are_named(keep, reference):
    def torchs(tensors):
        return torch.optim.SGD(tensors, lr=0.05, momentum=keep)

    report = check_training(layer_by_layer(keep), reference, torchs, PARAMS, BATCHES)
    assert report.first.cause == OfGradient(UpdatedOperand("W2"))
    assert [(f.where.name, f.together) for f in report.findings] == [("W1_next", ("b1_next",))]


def descent(tensors):
    return torch.optim.SGD(tensors, lr=0.05)


def causes(by_hand, optimizer):
    return {f.cause for f in check_training(by_hand, two_layers, optimizer, PARAMS, BATCHES).findings}


def test_another_rule_is_not_called_a_mistake_of_the_gradient():
    kinds = [
        {*map(type, causes(trainer(of_two_layers, rate=0.1), descent))},
        {*map(type, causes(trainer(of_two_layers, momentum=0.9), descent))},
        {*map(type, causes(trainer(of_two_layers, rate=0.015), descent))},
    ]
    assert kinds == [{OtherUpdate}, {OtherMomentum}, {Scaled}]


def test_a_factor_of_every_step_is_no_size_where_batches_differ():
    """7 times the rate is not the size of the first batch: that of four examples has the factor as well."""
    (cause,) = causes(trainer(of_two_layers, rate=0.35), descent)
    assert cause == Scaled(7.0, of_update=True)


def test_what_divides_by_the_size_of_the_gradient_tells_nothing_of_it():
    def adam(tensors):
        return torch.optim.Adam(tensors, lr=0.05)

    assert causes(trainer(of_two_layers, "wrong layer"), adam) == {Unknown()}


def test_a_gradient_that_is_yielded_is_judged_itself():
    def train(params, batches):
        p = dict(params)
        for X, Y in batches:
            g = of_two_layers("wrong layer", p, X, Y, None)
            p = {name: w - w.dtype.type(0.05) * g[name] for name, w in p.items()}
            yield {**p, **{f"d{name}": g[name] for name in p}}

    report = check_training(train, two_layers, descent, PARAMS, BATCHES)
    assert [(f.where.name, type(f.cause)) for f in report.findings] == [("dW1", Transposed)]


@pytest.mark.parametrize(("mistake", "cause"), [("stale batch", Stale("X")), ("all stale", OfStepBefore())])
def test_a_stale_gradient_that_is_yielded_is_named_too(mistake, cause):
    def train(params, batches):
        p, before = dict(params), None
        for X, Y in batches:
            g, before = of_two_layers(mistake, p, X, Y, before), (p, X, Y)
            p = {name: w - w.dtype.type(0.05) * g[name] for name, w in p.items()}
            yield {**p, **{f"d{name}": g[name] for name in p}}

    assert cause in {f.cause for f in check_training(train, two_layers, descent, PARAMS, BATCHES).findings}
