"""A run of the notes' network: both sides agree where they should, and a mistake is caught at what it corrupts."""

import pickle
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from handgrad import Experiment
from handgrad.compare.errors import InputError
from handgrad.compare.experiment.run import differs, run
from handgrad.compare.facts.causes import Scaled
from handgrad.compare.facts.failures import NoBatch, NotComputed, NotFinite, NotReal, Overflow, UnknownName
from handgrad.compare.facts.remarks import AsFloat32
from handgrad.compare.facts.updates import StartsFrom
from handgrad.compare.faults.planting import planted
from tests.compare.experiment.networks import (
    BATCHES,
    DATA,
    LOSSES,
    NETWORK,
    OPTIMIZERS,
    TRAINING,
    N,
    experiment,
    run_with,
)
from tests.support import small_data

GRID = [
    *product(
        (1, 2, 4),
        (1, 3),
        ("binary-cross-entropy", "squared-error"),
        (None, 1, 4),
        ("gradient-descent", "momentum"),
        ("float64", "float32"),
    )
]


@pytest.mark.parametrize("free_running", [False, True], ids=["resynchronised", "free-running"])
@pytest.mark.parametrize("activation", ["sigmoid", "relu", "tanh", "identity"])
def test_both_sides_agree_over_the_grid(activation, free_running):
    for case in GRID[::5] if free_running else GRID:
        depth, K, loss, batch_size, optimizer, dtype = case
        settings = experiment(*(activation, *case[:4]), optimizer=optimizer, dtype=dtype, free_running=free_running)
        report = settings.run(small_data(5, K, N, seed=sum(map(len, map(str, (activation, *case))))))
        assert report.ok, str(report)
        assert {row.name for row in report.rows} == names_of(depth, loss, optimizer), case
        assert len({row.step for row in report.rows}) == {None: 2, 1: 2 * N, 4: 6}[batch_size]


def names_of(depth, loss, optimizer):
    """Everything that a step computes."""
    layers = range(1, depth + 1)
    names = {f"{stem}{l}" for l in layers for stem in ("Z", "A", "dZ", "dW", "db")}
    names |= {"X", "Y", "losses", "penalty", "J", *(f"{w}{l}_next" for l in layers for w in "Wb")}
    names |= {f"dA{l}" for l in range(1, depth + (loss == "squared-error"))}
    return names | ({f"v{w}{l}" for l in layers for w in "Wb"} if optimizer == "momentum" else set())


def test_momentum_agrees_over_twelve_steps_with_a_short_last_batch():
    report = experiment(epochs=4).run(DATA)
    assert report.findings == ()
    assert [row.shape[1] for row in report.rows if row.name == "X"] == [4, 4, 3] * 4


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not():
    first, again = experiment().run(DATA).to_json(), experiment().run(DATA).to_json()
    assert first == again
    assert first != experiment(seed=4).run(DATA).to_json()


# --- planted mistakes: an edit of one line, and the first tensor that must be named

DESCENT = {"optimizer": "gradient-descent"}
SQUARE = {"layers": (5, 5, 5, 5, 5)}
DB = "dZ.sum(axis=1, keepdims=True)"
FAULTS = {
    "batches overlap": (BATCHES, "start + batch_size]", "start + batch_size + 1]", {}, (1, "X", "O1")),
    "labels in another order": (TRAINING, "Y.take(batch, axis=1)", "Y.take(batch[::-1], axis=1)", {}, (1, "Y", "O1")),
    "sign of the output gradient": (LOSSES, "return P - Y", "return Y - P", {}, (1, "dZ4", "B1")),
    "1/n forgotten in the gradient": (LOSSES, "return derivatives / n", "return derivatives", {}, (1, "dZ4", "B1")),
    "1/n forgotten in the cost": (LOSSES, "losses.sum() / n", "losses.sum()", {}, (1, "J", "L1")),
    "1/n twice in a hidden dZ": (NETWORK, "dA * derivative", "dA * derivative / X.shape[1]", {}, (1, "dZ3", "B5")),
    "dW transposed": (NETWORK, "= dW, db", "= dW.T, db", {}, (1, "dW4", "B2")),
    "W for its transpose": (NETWORK, "W.T @ dZ", "W @ dZ", SQUARE, (1, "dA3", "B4")),
    "mean for sum in db": (NETWORK, DB, DB.replace("sum", "mean"), {}, (1, "db4", "B3")),
    "db lost its second axis": (NETWORK, DB, "dZ.sum(axis=1)", {}, (1, "db4", "B3")),
    "bias unused": (NETWORK, "W @ A_prev + b", "W @ A_prev", {}, (1, "Z1", "F1")),
    "derivative of the activation forgotten": (NETWORK, "dA * derivative", "dA * 1", {}, (1, "dZ3", "B5")),
    "weight decay with the wrong sign": (NETWORK, "+ network.l2 * W", "- network.l2 * W", {}, (1, "dW4", "B2")),
    "weight decay doubled in the cost": (LOSSES, "l2 / 2 * sum", "l2 * sum", {}, (1, "penalty", "L4")),
    "min for max in the loss": (
        *(LOSSES, "np.maximum(Z, 0) - Z * Y", "np.minimum(Z, 0) - Z * Y"),
        *({}, (1, "losses", "L2")),
    ),
    "1 - beta forgotten": (OPTIMIZERS, "(1 - beta) * gradients", "gradients", {}, (1, "vW1", "O3")),
    "velocity never kept": (OPTIMIZERS, 'beta * velocities[f"v{name}"] + ', "", {}, (2, "vW1", "O3")),
    "ascent": (OPTIMIZERS, "w - learning_rate * V", "w + learning_rate * V", {}, (1, "W1_next", "O4")),
    "rate applied twice": (OPTIMIZERS, "learning_rate * V", "learning_rate**2 * V", {}, (1, "W1_next", "O4")),
    "gradient descent ascends": (
        *(OPTIMIZERS, "w - learning_rate * gradients", "w + learning_rate * gradients"),
        *(DESCENT, (1, "W1_next", "U1")),
    ),
    "backpropagation through updated weights": (
        *(NETWORK, "dA_prev = W.T @ dZ", "dA_prev = (W - 0.001 * dW).T @ dZ"),
        *({}, (1, "dA3", "B4")),
    ),
}


@pytest.mark.parametrize(("module", "right", "wrong", "fields", "culprit"), FAULTS.values(), ids=FAULTS)
def test_a_planted_fault_is_caught_at_its_tensor(module, right, wrong, fields, culprit):
    usual = {"layers": (5, 7, 6, 9, 2), "optimizer": "momentum"}
    activations = ("tanh", "relu", "tanh", "sigmoid")
    settings = Experiment(activations=activations, batch_size=4, l2=0.05, bias_scale=0.5, seed=6, **(usual | fields))
    data = small_data(settings.layers[0], settings.layers[-1], N, seed=7)
    assert run(settings, data).ok
    hand = planted(module, [(right, wrong)])
    report = run(settings, data, hand=hand)
    assert not report.ok
    assert (report.first.where.step, report.first.where.name, report.first.equation) == culprit, str(report)
    assert differs(settings, data, hand=hand)


def test_a_velocity_reset_at_each_epoch_is_caught_at_the_first_step_of_the_second():
    forgetting = "optimizer(params, gradients, {name: (step != 4) * v for name, v in state.items()})"
    first = run_with(TRAINING, ("optimizer(params, gradients, state)", forgetting)).first
    assert (first.where.step, first.where.name, first.equation, first.cause.code) == (4, "vW1", "O3", "reset")


@pytest.mark.parametrize("free_running", [False, True])
@pytest.mark.parametrize(
    ("start", "cause"), [("np.ones_like(w)", StartsFrom(fitted=pytest.approx(1.0))), ("w.copy()", StartsFrom("W1"))]
)
def test_velocities_that_do_not_start_from_zero_are_found_in_the_first_step(start, cause, free_running):
    """torch starts from zero, whatever the hand-written side starts from."""
    first = run_with(
        OPTIMIZERS, ('f"v{name}": np.zeros_like(w)', f'f"v{{name}}": {start}'), free_running=free_running
    ).first
    assert (first.where.step, first.where.name, first.verdict, first.cause) == (1, "vW1", "FAULT", cause)


@pytest.mark.parametrize(
    ("module", "right", "wrong", "prefix"),
    [
        (NETWORK, "A = g.value(Z)", "A = g.value(Z) * 1.001", "A"),
        (OPTIMIZERS, "(1 - beta) * gradients", "gradients", "v"),
    ],
    ids=["an activation and the derivative that reads it", "a velocity and the weights that follow it"],
)
def test_what_only_follows_from_a_culprit_is_no_finding(module, right, wrong, prefix):
    report = run_with(module, (right, wrong), depth=4)
    assert {finding.where.name[0] for finding in report.findings} == {prefix}, str(report)
    assert report.first.affects > 0


def test_weights_changed_in_place_reach_no_record_of_an_earlier_equation():
    """The read-only mark can be lifted; W_next is right then, and so is what the old weights computed."""
    in_place = "w.setflags(write=True); w -= learning_rate * V; updated[name] = w"
    report = run_with(OPTIMIZERS, ("updated[name] = w - learning_rate * V", in_place))
    assert report.ok, str(report)


# --- what is not there, or no number


@pytest.mark.parametrize("optimizer", ["momentum", "gradient-descent"])
@pytest.mark.parametrize(
    ("records", "name", "verdict", "cause"),
    [
        ('{**gradients, "foo": gradients["dW1"]}', "foo", "FAULT", UnknownName),
        ("{**gradients, 7: 3}", "7", "FAULT", UnknownName),
        ('{**gradients, "dW1": "hello"}', "dW1", "MISSING", NotReal),
        ('{k: v for k, v in gradients.items() if k != "dW1"}', "dW1", "MISSING", NotComputed),
    ],
    ids=["one too many", "a number for a name", "text", "one too few"],
)
def test_a_record_that_is_not_due_or_no_array_is_the_only_finding(records, name, verdict, cause, optimizer):
    """torch goes on from the hand's weights all the same, and what cannot be computed without it is not judged."""
    report = run_with(TRAINING, ('"backward", {**gradients}', f'"backward", {records}'), optimizer=optimizer)
    assert [(f.where.name, f.verdict, type(f.cause)) for f in report.findings] == [(name, verdict, cause)], str(report)


@pytest.mark.parametrize("name", ["W1", "Z9"])
def test_what_an_update_records_beside_what_is_due_is_a_finding_too(name):
    """A new value has the name W1_next."""
    more = ('"update", {**state, ', f'"update", {{"{name}": params["W1"], **state, ')
    report = run_with(TRAINING, more)
    assert [(f.where.name, type(f.cause)) for f in report.findings] == [(name, UnknownName)], str(report)


def test_a_gradient_that_is_missing_or_misnamed_is_named():
    first = run_with(NETWORK, ('gradients[f"dW{l}"]', 'gradients[f"dw{l}"]'), optimizer="gradient-descent").first
    assert (first.where.name, first.verdict, first.cause) == ("dW2", "MISSING", NotComputed("dw2"))


def test_a_nan_on_one_side_is_not_finite():
    first = run_with(LOSSES, ("losses.sum() / n", "losses.sum() / n * np.nan")).first
    assert (first.where.name, first.verdict, type(first.cause)) == ("J", "NONFINITE", NotFinite)
    assert np.isnan(first.cause.by_hand)
    assert np.isfinite(first.cause.torch)


@pytest.mark.parametrize("rate", [1e30, 10.0])
def test_a_run_that_overflows_on_both_sides_cannot_pass(rate):
    report = Experiment(
        layers=(3, 2, 1),
        activations=("relu", "identity"),
        loss="squared-error",
        batch_size=1,
        learning_rate=rate,
        steps=100,
    ).run(small_data(3, 1, N, seed=7))
    assert not report.ok
    (finding,) = report.findings  # inf * 0 and what comes after it only follow
    moved = Overflow(moved=finding.where.step > 1)
    assert (finding.verdict, finding.cause, finding.line) == ("NONFINITE", moved, None)


@pytest.mark.parametrize("free", [False, True], ids=["re-synchronised", "free"])
def test_a_hand_written_side_that_goes_on_after_the_last_batch_is_one_finding(free):
    endless = ("for order in epoch_orders:", "for order in __import__('itertools').cycle([*epoch_orders]):")
    settings = Experiment(layers=(5, 7, 2), activations=("tanh", "sigmoid"), batch_size=4, epochs=1, free_running=free)
    (finding,) = run_with(BATCHES, endless, settings=settings).findings
    assert (*finding.where, finding.equation, finding.cause) == (4, "forward", "X", "O2", NoBatch(4))


# --- precisions


def test_what_is_computed_in_float32_is_shown_in_float64():
    """J summed in float32 is right in float32; the digits are missing in float64."""
    first = run_with(LOSSES, ("losses.sum() / n", "losses.sum(dtype='float32') / n"), l2=0.0).first
    assert (first.where.name, first.verdict, first.worst.dtype) == ("J", "WEAK", "")


def test_a_mistake_of_float32_alone_is_a_fault_and_shown_there():
    """In float64 both sides print the same."""
    lossy = "dW = dZ @ A_prev.T * (1 + (dZ.dtype == 'float32') / 100)"
    first = run_with(NETWORK, ("dW = dZ @ A_prev.T", lossy), l2=0.0).first
    assert (first.verdict, first.worst.dtype) == ("FAULT", "float32")
    assert first.worst.by_hand == pytest.approx(1.01 * first.worst.torch, rel=1e-5)


@pytest.mark.parametrize(
    ("wrong", "verdict", "is_told"),
    [
        ("dW = (dZ @ A_prev.T).astype('float32') + 0.3 * W", "WEAK", False),  # drawn anew with every move
        ("dW = dZ @ A_prev.T * (1 + 1e-9) + 0.3 * W", "FAULT", True),
        ("dW = dZ @ A_prev.T * (1 + 1e-3) + 0.3 * W", "FAULT", False),
    ],
)
def test_a_difference_of_float32_s_size_says_so(wrong, verdict, is_told):
    first = run_with(NETWORK, ("dW = dW + network.l2 * W", wrong), l2=0.3).first
    assert (first.verdict, first.equation) == (verdict, "B2")
    assert (AsFloat32() in first.circumstances) == is_told


def test_a_gradient_off_by_a_hundred_thousand_millionth_is_a_fault_that_says_by_what():
    for off, l2 in product((1e-11, 1e-13), (0.0, 0.1)):
        first = run_with(NETWORK, ("dW = dZ @ A_prev.T", f"dW = (1 + {off}) * dZ @ A_prev.T"), depth=4, l2=l2).first
        assert (first.verdict, first.where.name) == ("FAULT", "dW4")
        assert isinstance(first.cause, Scaled) == (l2 == 0)
        assert l2 or first.factor == pytest.approx(1 + off, abs=off / 10)
    decay = ("dW = dW + network.l2 * W", "dW = dW + (1 + 1e-11) * network.l2 * W")
    assert run_with(NETWORK, decay, depth=4).first.verdict == "FAULT"


# --- on its own, and as a caller's


def test_resynchronised_steps_are_judged_by_themselves_and_free_running_ones_are_not():
    """A fault in one step's update must not spread to the next step's forward pass, unless torch runs freely."""
    faulty = ("w - learning_rate * V", "w - learning_rate * V * 1.001")
    by_itself, freely = (run_with(OPTIMIZERS, faulty, free_running=free) for free in (False, True))
    assert {row.phase for row in by_itself.rows if row.verdict != "OK"} == {"update"}
    assert {row.phase for row in freely.rows if row.verdict != "OK"} == {"forward", "loss", "backward", "update"}
    assert freely.findings == by_itself.findings, "what only follows is no culprit in either"


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_run_needs_no_gradient_mode_of_its_callers(mode):
    settings = experiment()
    with mode():
        report = settings.run(DATA)
        assert not differs(settings, DATA)
    assert report.rows == settings.run(DATA).rows


def test_whether_a_run_differs_is_told_at_its_first_step_that_does():
    weak = planted(LOSSES, [("losses.sum() / n", "losses.sum(dtype='float32') / n")])
    assert not differs(experiment(l2=0.0), DATA, hand=weak)
    assert differs(experiment(l2=0.0), DATA, strict=True, hand=weak)
    raising = planted(NETWORK, [("    cache = {}\n", "    cache = {}[0]\n")])
    assert differs(experiment(), DATA, hand=raising)


@pytest.mark.parametrize(
    ("fields", "data", "words"),
    [
        ({}, small_data(4, 1, 20, 1), "start layers with 4"),
        ({}, small_data(30, 2, 40, 1), "end layers with 2"),
        ({}, small_data(30, 1, 20, 1), "at most 20"),
        ({"batch_size": 2}, (np.ones((4, 30)), np.array([0, 1, 2, 1])), "y is 2 at row 3, column 1"),
        ({"batch_size": 2}, (np.ones((4, 30)), np.array([0, 1, -0.5, 1])), "y is -0.5 at row 3, column 1"),
    ],
    ids=["inputs", "outputs", "batch", "label above 1", "label below 0"],
)
def test_data_that_does_not_fit_is_refused(fields, data, words):
    with pytest.raises(InputError, match=words):
        Experiment(**fields).run(data)


def test_squared_error_takes_any_label():
    settings = Experiment(
        layers=(3, 2, 1), activations=("tanh", "identity"), loss="squared-error", batch_size=2, epochs=1
    )
    X, y = small_data(3, 1, 5, 1)
    assert settings.run((X, 100 * y - 7)).ok


def test_steps_overrides_epochs():
    data = small_data(30, 1, 40, 1)
    for steps in (1, 2, 5):
        report = Experiment(steps=steps).run(data)
        assert {row.step for row in report.rows} == set(range(1, steps + 1))


def test_a_float64_rate_does_not_lift_a_float32_run():
    settings = Experiment(dtype="float32", learning_rate=np.float64(0.1), beta=np.float64(0.9), steps=2)
    report = settings.run(small_data(30, 1, 40, 1))
    assert report.ok, str(report)


def test_an_experiment_is_picklable_and_equal_to_its_copy():
    settings = Experiment(layers=[3, np.int64(4), 1])
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert replace(settings, seed=0) == settings
