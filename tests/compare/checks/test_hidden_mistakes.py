"""The mistake that a condition warns of passes where the condition holds, and is found where it does not."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from handgrad import check_gradients, check_training, check_updates, tap

pytestmark = pytest.mark.usefixtures("no_causes")
rng = np.random.default_rng(0)
W, X = rng.standard_normal((2, 3)), rng.standard_normal((3, 5))


def passes(report):
    return not report.findings


def spots_of(report):
    return {spot.code: spot.of for spot in report.blind_spots}


class _Cubed(torch.autograd.Function):
    """z^3, whose backward forgets what comes from upstream."""

    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return z**3

    @staticmethod
    def backward(ctx, upstream):
        return 3 * ctx.saved_tensors[0] ** 2


class _Mean(torch.autograd.Function):
    """The loss itself, whose backward forgets what comes from upstream."""

    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return (z**2).mean()

    @staticmethod
    def backward(ctx, upstream):
        return 2 * ctx.saved_tensors[0] / ctx.saved_tensors[0].numel()


C = torch.from_numpy(rng.standard_normal((2, 3)))
UPSTREAM = {
    "a plain sum": (lambda z: _Cubed.apply(z).sum(), lambda z: (z**2 * z).sum(), True),
    "over a view": (lambda z: _Cubed.apply(z).T.reshape(3, 2).sum(0).sum(), lambda z: (z**3).sum(), True),
    "the loss itself": (_Mean.apply, lambda z: (z**2).mean(), True),
    "a loss of torch's by hand": (_Mean.apply, lambda z: F.mse_loss(z, torch.zeros_like(z)), True),
    "before a loss of torch's": (
        lambda z: F.mse_loss(_Cubed.apply(z), C),
        lambda z: F.mse_loss(z**3, C),
        False,
    ),
    "weighed": (lambda z: (C * _Cubed.apply(z)).sum(), lambda z: (C * z**3).sum(), False),
    "a mean": (lambda z: _Cubed.apply(z).mean(), lambda z: (z**3).mean(), False),
    "twice the loss": (lambda z: 2 * _Mean.apply(z), lambda z: 2 * (z**2).mean(), False),
}


HANDED_BACK = {"a tensor": lambda J: {"J": J}, "a number": lambda J: {"J": J.item()}, "nothing": lambda J: {}}


@pytest.mark.parametrize("handed_back", HANDED_BACK.values(), ids=HANDED_BACK)
@pytest.mark.parametrize(("own", "loss", "hidden"), UPSTREAM.values(), ids=UPSTREAM)
def test_an_upstream_gradient_that_is_1_hides_that_it_is_forgotten(own, loss, hidden, handed_back):
    def derivation(p):
        z = torch.tensor(p["Z"], requires_grad=True)
        J = own(z)
        J.backward()
        return handed_back(J) | {"dZ": z.grad}

    report = check_gradients(derivation, lambda p: loss(p["Z"]), {"Z": W}, ())
    assert passes(report) == hidden
    assert ("unit-upstream" in spots_of(report)) == hidden


def relu_layer(relu, mask=lambda Z: Z > 0, hand=lambda Z: np.maximum(Z, 0)):
    """A hidden layer with a ReLU of torch's, and the derivation with its own mask."""

    def reference(p, X, Y):
        A1 = tap("A1", relu(tap("Z1", X @ p["W1"] + p["b1"])))
        return ((A1 @ p["W2"] - Y) ** 2).mean()

    def derivation(p, X, Y):
        Z1 = X @ p["W1"] + p["b1"]
        A1 = hand(Z1)
        E = A1 @ p["W2"] - Y
        dA1 = 2 * E / E.size @ p["W2"].T
        dZ1 = dA1 * mask(Z1)
        return {
            "Z1": Z1,
            "A1": A1,
            "dA1": dA1,
            "dZ1": dZ1,
            "dW1": X.T @ dZ1,
            "db1": dZ1.sum(0),
            "dW2": A1.T @ (2 * E / E.size),
        }

    return derivation, reference


RELUS = {
    "relu": torch.relu,
    "clamp": lambda z: z.clamp(min=0),
    "clamp_min": lambda z: torch.clamp_min(z, 0),
    "maximum": lambda z: torch.maximum(z, torch.zeros_like(z)),
    "module": torch.nn.ReLU(inplace=True),
}


@pytest.mark.parametrize("relu", RELUS.values(), ids=RELUS)
@pytest.mark.parametrize(("low", "spot"), [(0.0, ("A1",)), (-1.0, None)])
def test_a_relu_that_no_negative_input_reaches_hides_that_its_mask_is_forgotten(relu, low, spot):
    draw = np.random.default_rng(1)
    params = {"W1": draw.uniform(low, 1, (4, 5)), "b1": draw.uniform(low, 1, 5), "W2": draw.uniform(-1, 1, (5, 1))}
    batch = (draw.uniform(0, 1, (8, 4)), draw.uniform(0, 1, (8, 1)))
    derivation, reference = relu_layer(relu, mask=np.ones_like)
    report = check_gradients(derivation, reference, params, batch)
    assert spots_of(report).get("no-negative-input") == spot
    assert passes(report) == (spot is not None)
    right = check_gradients(*relu_layer(relu), params, batch)
    assert passes(right), str(right)
    assert spots_of(right).get("no-negative-input") == spot


def test_a_leaky_relu_without_positive_inputs_hides_its_other_branch():
    draw = np.random.default_rng(1)
    params = {"W1": -draw.random((4, 5)), "b1": -draw.random(5), "W2": draw.uniform(-1, 1, (5, 1))}
    batch = (draw.random((8, 4)), draw.random((8, 1)))
    wrong = relu_layer(
        torch.nn.functional.leaky_relu, lambda Z: 0.01 * np.ones_like(Z), lambda Z: np.where(Z > 0, Z, 0.01 * Z)
    )
    report = check_gradients(*wrong, params, batch)
    assert passes(report)
    assert spots_of(report)["no-positive-input"] == ("A1",)
    params["W1"][:, 0] *= -9
    report = check_gradients(*wrong, params, batch)
    assert not passes(report)
    assert "no-positive-input" not in spots_of(report)


@pytest.mark.parametrize(
    "activation",
    [torch.tanh, torch.sigmoid, torch.nn.functional.softplus, lambda z: z.clamp(-50, 50), lambda z: z.clamp(min=-9)],
)
def test_what_has_no_kink_at_0_needs_no_inputs_of_both_signs(activation):
    report = check_gradients(lambda p: {}, lambda p: activation(p["Z"]).square().mean(), {"Z": np.abs(W)}, ())
    assert not {"no-negative-input", "no-positive-input"} & {*spots_of(report)}


def linear(p, X, Y, over=np.sum, scale=1.0):
    dZ = (X @ p["W"] * scale + p["b"] - Y) / len(X)
    return {"dW": X.T @ dZ * scale, "db": over(dZ, axis=0)}


def squared(p, X, Y):
    return ((X @ p["W"] + p["b"] - Y) ** 2).sum() / (2 * len(X))


@pytest.mark.parametrize(("n", "hidden"), [(1, True), (6, False)])
def test_one_example_hides_a_mean_for_a_sum(n, hidden):
    params, batch = {"W": rng.random((4, 3)), "b": rng.random(3)}, (rng.random((n, 4)), rng.random((n, 3)))
    report = check_gradients(lambda *given: linear(*given, over=np.mean), squared, params, batch)
    assert passes(report) == hidden
    assert ("one-example" in spots_of(report)) == hidden
    assert passes(check_gradients(linear, squared, params, batch))


@pytest.mark.parametrize(("n", "hidden"), [(3, True), (6, False)])
def test_as_many_examples_as_units_hide_which_is_which(n, hidden):
    def by_units(p, X, Y):
        dZ = (X @ p["W"] + p["b"] - Y) / p["W"].shape[1]
        return {"dW": X.T @ dZ, "db": dZ.sum(0)}

    params, batch = {"W": rng.random((4, 3)), "b": rng.random(3)}, (rng.random((n, 4)), rng.random((n, 1)))
    report = check_gradients(by_units, squared, params, batch)
    assert passes(report) == hidden
    assert ("examples-as-size" in spots_of(report)) == hidden


@pytest.mark.parametrize(("gamma", "hidden"), [(np.ones(2), True), (np.array([0.5, 2.0]), False)])
def test_a_gamma_of_1_hides_that_it_is_no_factor(gamma, hidden):

    def derivation(p, X, weights):
        Z = X @ p["W"]
        return {"dgamma": (Z * weights).sum(0), "dW": X.T @ np.broadcast_to(weights, Z.shape)}  # gamma is forgotten

    def reference(p, X, weights):
        return (p["gamma"] * (X @ p["W"]) * weights).sum()

    report = check_gradients(derivation, reference, {"W": W.T, "gamma": gamma}, (X.T, C[:, 0].numpy()))
    assert passes(report) == hidden
    assert spots_of(report).get("unit-parameters") == (("gamma",) if hidden else None)


@pytest.mark.parametrize(("V", "hidden"), [(W, True), (2 * W, False)])
def test_two_names_for_equal_arrays_hide_one_for_the_other(V, hidden):
    def derivation(p, X):
        return {"dV": p["V"] @ X @ X.T, "dW": p["V"] @ X @ X.T}  # the second reads V where W belongs

    def reference(p, X):
        return ((p["W"] @ X) ** 2).sum() / 2 + ((p["V"] @ X) ** 2).sum() / 2

    report = check_gradients(derivation, reference, {"W": W, "V": V}, (X,))
    assert passes(report) == hidden
    assert spots_of(report).get("equal-parameters") == (("W", "V") if hidden else None)


def test_a_parameter_that_is_frozen_in_the_reference_is_named():
    def reference(p, X):
        return ((p["W"] @ X + p["b"].detach()) ** 2).sum()

    params = {"W": W, "b": rng.random((2, 1))}
    report = check_gradients(lambda p, X: {"dW": 2 * (p["W"] @ X + p["b"]) @ X.T}, reference, params, (X,))
    assert spots_of(report)["frozen"] == ("b",)
    used = check_gradients(lambda p, X: {}, lambda p, X: ((p["W"] @ X + p["b"]) ** 2).sum(), params, (X,))
    assert "frozen" not in spots_of(used)


@pytest.mark.parametrize("tapped", [True, False])
def test_nothing_recorded_between_j_and_the_parameters_is_said(tapped):
    def reference(p, X):
        Z = p["W"] @ X
        return ((tap("Z", Z) if tapped else Z) ** 2).sum()

    report = check_gradients(lambda p, X: {"dW": 2 * p["W"] @ X @ X.T}, reference, {"W": W}, (X,))
    assert passes(report)
    assert ("nothing-between" in spots_of(report)) != tapped


# --- steps


@pytest.mark.parametrize(("times", "hidden"), [(1.0, True), (0.5, False)])
def test_an_upstream_gradient_that_is_1_at_every_step_hides_that_it_is_forgotten(times, hidden):
    def trainer(params, batches):
        for (target,) in batches:
            z = torch.tensor(params["Z"] - target, requires_grad=True)
            J = _Mean.apply(z) if hidden else times * _Mean.apply(z)
            J.backward()
            params = {"Z": params["Z"] - 0.1 * z.grad.numpy()}
            yield {**params, "J": J.item()}

    def reference(p, target):
        return times * F.mse_loss(p["Z"], target)

    batches = [(rng.standard_normal(W.shape),) for _ in range(2)]
    report = check_training(trainer, reference, lambda tensors: torch.optim.SGD(tensors, lr=0.1), {"Z": W}, batches)
    assert passes(report) == hidden
    assert ("unit-upstream" in spots_of(report)) == hidden


def adam(last_correction=10**9, forgets=0):
    """Adam by hand, which counts its steps no further than `last_correction`, and from a step on keeps its moments."""

    def update(params, grads, state):
        t, m, v = state or (0, dict.fromkeys(params, 0.0), dict.fromkeys(params, 0.0))
        t, new, m, v = t + 1, {}, dict(m), dict(v)
        k = min(t, last_correction)
        for n, w in params.items():
            g = grads[f"d{n}"]
            if not 0 < forgets < t:
                m[n], v[n] = 0.9 * m[n] + 0.1 * g, 0.999 * v[n] + 0.001 * g**2
            new[n] = w - 1e-3 * m[n] / (1 - 0.9**k) / (np.sqrt(v[n] / (1 - 0.999**k)) + 1e-8)
        return new, (t, m, v)

    return update


STEPS = {
    "correction lost": (adam(5), 10),
    "moments kept": (adam(forgets=5), 10),
    "correction lost later": (adam(40), 100),
}
PARAMS = {"W": W, "b": W[0]}


@pytest.mark.parametrize(("update", "steps"), STEPS.values(), ids=STEPS)
def test_few_steps_of_adam_hide_what_goes_wrong_later(update, steps):
    few = check_updates(update, lambda tensors: torch.optim.Adam(tensors, lr=1e-3), PARAMS)
    assert passes(few)
    assert "long-memory" in spots_of(few)
    many = check_updates(update, lambda tensors: torch.optim.Adam(tensors, lr=1e-3), PARAMS, steps=steps)
    assert not passes(many)
    assert ("long-memory" in spots_of(many)) == (steps < 100)


def sgd(rate, factor=1.0):
    """A trainer whose rate is off by a factor."""

    def trainer(params, batches):
        params = dict(params)
        for (X,) in batches:
            dW = params["W"] @ X @ X.T
            params["W"] = params["W"] - rate * dW * factor
            yield {"W": params["W"], "dW": dW}

    return trainer


@pytest.mark.parametrize(("rate", "hidden"), [(1e-16, True), (1e-14, True), (1e-3, False)])
@pytest.mark.parametrize("off", [1.001, 0.998])
def test_steps_as_small_as_rounding_hide_a_wrong_rate(rate, hidden, off):
    def checked(trainer):
        reference, batches = lambda p, X: ((p["W"] @ X) ** 2).sum() / 2, [(X,), (X[:, :2],)]
        return check_training(trainer, reference, lambda tensors: torch.optim.SGD(tensors, lr=rate), {"W": W}, batches)

    report = checked(sgd(rate, off))
    assert passes(report) == hidden
    assert spots_of(report).get("small-steps") == (("W",) if hidden else None)
    assert passes(checked(sgd(rate)))


@pytest.mark.parametrize(("sign", "hidden"), [(1.0, True), (-1.0, False)])
def test_a_trainer_that_sees_no_negative_input_at_any_step_hides_that_the_mask_is_forgotten(sign, hidden):
    def trainer(params, batches):
        W = params["W"]
        for (X,) in batches:
            W = W - 1e-3 * np.ones_like(W @ X) @ X.T  # without the mask
            yield {"W": W}

    def reference(p, X):
        return tap("A", torch.relu(p["W"] @ X)).sum()

    batches = [(np.abs(X),), (sign * np.abs(X[:, :2]),)]
    report = check_training(trainer, reference, lambda t: torch.optim.SGD(t, lr=1e-3), {"W": np.abs(W)}, batches)
    assert passes(report) == hidden
    assert spots_of(report).get("no-negative-input") == (("A",) if hidden else None)
