"""The two sides agree wherever they should, and a planted fault is caught at the tensor that it corrupts."""

import re
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

import handgrad.manual.batches
import handgrad.manual.losses
import handgrad.manual.network
import handgrad.manual.optimizers
import handgrad.manual.training
from handgrad.compare.diagnosis import diagnose
from handgrad.compare.experiment import recording as stepping
from handgrad.compare.experiment import run as lockstep
from handgrad.compare.experiment.data import load
from handgrad.compare.experiment.recording import Training
from handgrad.compare.experiment.run import Experiment
from handgrad.compare.experiment.sides import by_hand, epoch_orders, in_torch, initial_parameters
from handgrad.compare.experiment.twin import LocalTwin
from handgrad.compare.report.suspects import where
from handgrad.compare.trace import extend, step_trace
from handgrad.compare.verdict.conventions import AS_IN_THE_NOTES
from handgrad.compare.verdict.steps import Drift
from handgrad.torchref.exchange import to_array
from tests.support import edited, planted, small_data

LAYERS = {1: (5,), 2: (5, 7), 4: (5, 7, 6, 9)}
N = 11  # batches of 4, 4 and 3


def experiment(activation="tanh", depth=2, K=2, loss="binary-cross-entropy", batch_size=4, **fields):
    last = "sigmoid" if loss == "binary-cross-entropy" else "identity"
    settings = {"l2": 0.05, "bias_scale": 0.5, "learning_rate": 0.01, "epochs": 2, "seed": 3, **fields}
    return Experiment(
        layers=(*LAYERS[depth], K),
        activations=(activation,) * (depth - 1) + (last,),
        loss=loss,
        batch_size=batch_size,
        **settings,
    )


GRID = list(
    product(
        ("sigmoid", "relu", "tanh", "identity"),
        LAYERS,
        (1, 3),
        ("binary-cross-entropy", "squared-error"),
        (None, 1, 4),
        ("gradient-descent", "momentum"),
        ("float64", "float32"),
    )
)


@pytest.mark.parametrize("free_running", [False, True], ids=["resynchronised", "free-running"])
@pytest.mark.parametrize("activation", ["sigmoid", "relu", "tanh", "identity"])
def test_both_sides_agree_over_the_grid(parity, activation, free_running):
    cases = [case for case in GRID if case[0] == activation]
    for case in cases[::5] if free_running else cases:
        _, depth, K, loss, batch_size, optimizer, dtype = case
        run = experiment(*case[:5], optimizer=optimizer, dtype=dtype, free_running=free_running)
        report = parity.check_experiment(run, small_data(5, K, N, seed=sum(map(len, map(str, case)))))
        names = {row.name for row in report.rows}
        expected = {f"{stem}{l}" for l in range(1, depth + 1) for stem in ("Z", "A", "dZ", "dW", "db")}
        expected |= {f"{stem}{l}_next" for l in range(1, depth + 1) for stem in "Wb"} | {
            "X",
            "Y",
            "losses",
            "penalty",
            "J",
        }
        expected |= {f"dA{l}" for l in range(1, depth + (loss == "squared-error"))}
        if optimizer == "momentum":
            expected |= {f"v{stem}{l}" for l in range(1, depth + 1) for stem in "Wb"}
        assert names == expected, case
        assert len({row.step for row in report.rows}) == {None: 2, 1: 2 * N, 4: 6}[batch_size]


def test_momentum_agrees_over_twelve_steps_with_a_short_last_batch(parity):
    report = parity.check_experiment(experiment(epochs=4), small_data(5, 2, N, seed=1))
    widths = [row.shape[1] for row in report.rows if row.name == "X"]
    assert widths == [4, 4, 3] * 4


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not():
    data = small_data(5, 2, N, seed=2)
    first, again = experiment().run(data).to_json(), experiment().run(data).to_json()
    assert first == again
    assert first != experiment(seed=4).run(data).to_json()


def test_the_sides_never_share_memory():
    run, data = experiment(), load(small_data(5, 2, N, seed=2))
    params = initial_parameters(run)
    hand = by_hand(run, data, params, epoch_orders(run, N))
    ours, live = {}, {}
    extend(ours, hand)
    for _, phase, values in in_torch(run, data, params, epoch_orders(run, N)):
        live.update({name: tensor.detach().numpy() for name, tensor in values.items()})
        if phase == "update":
            break
    arrays = [*ours.values(), *params.values(), data.X, data.Y]
    for name, tensor in live.items():
        for array in arrays:
            assert not np.shares_memory(tensor, array), name
    for array in ours.values():
        assert not array.flags.writeable
        assert not any(np.shares_memory(array, param) for param in params.values())


# Planted faults: what the derivation gets wrong, and the first tensor that must be named. Each is an edit of one line.
NETWORK, LOSSES, OPTIMIZERS = handgrad.manual.network, handgrad.manual.losses, handgrad.manual.optimizers
FAULTS = {
    "batches overlap": (handgrad.manual.batches, "start + batch_size]", "start + batch_size + 1]", {}, (1, "X", "O1")),
    "labels in another order": (
        handgrad.manual.training,
        "Y.take(batch, axis=1)",
        "Y.take(batch[::-1], axis=1)",
        {},
        (1, "Y", "O1"),
    ),
    "sign of the output gradient": (LOSSES, "(A - Y) / n", "(Y - A) / n", {}, (1, "dZ4", "B1")),
    "1/n forgotten in the gradient": (LOSSES, "(A - Y) / n", "A - Y", {}, (1, "dZ4", "B1")),
    "1/n forgotten in the cost": (LOSSES, "losses.sum() / n", "losses.sum()", {}, (1, "J", "L1")),
    "1/n twice in a hidden dZ": (
        NETWORK,
        "dA * derivative",
        "dA * derivative / X.shape[1]",
        {},
        (1, "dZ3", "B5"),
    ),
    "dW transposed": (NETWORK, "return dW, dA_prev, db", "return dW.T, dA_prev, db", {}, (1, "dW4", "B2")),
    "W for its transpose": (NETWORK, "W.T @ dZ", "W @ dZ", {"layers": (5, 5, 5, 5, 5)}, (1, "dA3", "B4")),
    "mean for sum in db": (
        NETWORK,
        "dZ.sum(axis=1, keepdims=True)",
        "dZ.mean(axis=1, keepdims=True)",
        {},
        (1, "db4", "B3"),
    ),
    "db lost its second axis": (NETWORK, "dZ.sum(axis=1, keepdims=True)", "dZ.sum(axis=1)", {}, (1, "db4", "B3")),
    "bias unused": (NETWORK, "W @ A_prev + b", "W @ A_prev", {}, (1, "Z1", "F1")),
    "derivative of the activation forgotten": (NETWORK, "dA * derivative", "dA * 1", {}, (1, "dZ3", "B5")),
    "weight decay with the wrong sign": (NETWORK, "+ l2 * W", "- l2 * W", {}, (1, "dW4", "B2")),
    "weight decay doubled in the cost": (LOSSES, "l2 / 2 * sum", "l2 * sum", {}, (1, "penalty", "L4")),
    "min for max in the loss": (
        LOSSES,
        "np.maximum(Z, 0) - Z * Y",
        "np.minimum(Z, 0) - Z * Y",
        {},
        (1, "losses", "L2"),
    ),
    "1 - beta forgotten": (OPTIMIZERS, "(1 - beta) * gradients", "gradients", {}, (1, "vW1", "O3")),
    "velocity never kept": (OPTIMIZERS, 'beta * velocities[f"v{name}"] + ', "", {}, (2, "vW1", "O3")),
    "ascent": (OPTIMIZERS, "w - learning_rate * V", "w + learning_rate * V", {}, (1, "W1_next", "O4")),
    "rate applied twice": (OPTIMIZERS, "learning_rate * V", "learning_rate**2 * V", {}, (1, "W1_next", "O4")),
    "gradient descent ascends": (
        OPTIMIZERS,
        "w - learning_rate * gradients",
        "w + learning_rate * gradients",
        {"optimizer": "gradient-descent"},
        (1, "W1_next", "U1"),
    ),
}


@pytest.mark.parametrize(("module", "right", "wrong", "fields", "culprit"), FAULTS.values(), ids=FAULTS)
def test_a_planted_fault_is_caught_at_its_tensor(module, right, wrong, fields, culprit):
    layers = fields.get("layers", (5, 7, 6, 9, 2))
    run = Experiment(
        layers=layers,
        activations=("tanh", "relu", "tanh", "sigmoid"),
        batch_size=4,
        l2=0.05,
        bias_scale=0.5,
        seed=6,
        optimizer=fields.get("optimizer", "momentum"),
    )
    data = small_data(layers[0], layers[-1], N, seed=7)
    assert run.run(data).ok
    with edited(module, (right, wrong)):
        report = run.run(data)
    first = report.first
    assert not report.ok
    assert (first.step, first.name, first.equation) == culprit, str(report)
    assert first.name in str(report)


def test_backprop_through_already_updated_weights_is_caught_in_the_layer_below():
    """The most reported public bug: layer 2 is updated before its weights carry the error on to layer 1."""

    def wrong(dZ, W, A_prev, l2=0.0, *, needs_dA_prev=True):
        dW = dZ @ A_prev.T + l2 * W
        updated = W - 0.001 * dW
        return dW, updated.T @ dZ if needs_dA_prev else None, dZ.sum(axis=1, keepdims=True)

    with planted(handgrad.manual.network.linear_backward, wrong):
        report = experiment(depth=4).run(small_data(5, 2, N, seed=7))
    assert (report.first.name, report.first.equation) == ("dA3", "B4"), str(report)


def test_a_velocity_reset_at_each_epoch_is_caught_at_the_first_step_of_the_second():
    def wrong(params, gradients, velocities, *, learning_rate, beta):
        import handgrad.manual.optimizers

        calls = vars(handgrad.manual.optimizers).setdefault("_calls", {})
        dtype = params["W1"].dtype.name
        calls[dtype] = calls.get(dtype, 0) + 1
        keep = 0.0 if calls[dtype] == 4 else beta  # step 4 opens the second epoch
        moved = {f"v{name}": keep * velocities[f"v{name}"] + (1 - beta) * gradients[f"d{name}"] for name in params}
        return {name: w - learning_rate * moved[f"v{name}"] for name, w in params.items()}, moved

    try:
        with planted(handgrad.manual.optimizers.momentum, wrong):
            report = experiment().run(small_data(5, 2, N, seed=7))
    finally:
        vars(handgrad.manual.optimizers).pop("_calls", None)
    assert (report.first.step, report.first.name, report.first.equation) == (4, "vW1", "O3"), str(report)


@pytest.mark.parametrize("optimizer", ["momentum", "gradient-descent"])
@pytest.mark.parametrize(
    ("records", "found"),
    [
        ('{**gradients, "foo": gradients["dW1"]}', ("foo", "FAULT", "unknown-name")),
        ("{**gradients, 7: 3}", ("7", "FAULT", "unknown-name")),
        ('{**gradients, "dW1": "hello"}', ("dW1", "MISSING", "missing")),
        ('{k: v for k, v in gradients.items() if k != "dW1"}', ("dW1", "MISSING", "missing")),
    ],
    ids=["one too many", "a number for a name", "text", "one too few"],
)
def test_a_record_that_is_not_due_or_no_array_is_the_only_finding(records, found, optimizer):
    """torch goes on from the hand's weights all the same, and what cannot be computed without it is not judged."""
    with edited(handgrad.manual.training, ('"backward", {**gradients}', f'"backward", {records}')):
        report = experiment(optimizer=optimizer).run(small_data(5, 2, N, seed=7))
    assert [(f.name, f.verdict, f.cause) for f in report.findings] == [found], str(report)


def test_an_exception_of_no_line_of_the_derivation_has_no_place():
    with edited(handgrad.manual.training, ('"backward", {**gradients}', '"backward", list(gradients)')):
        first = experiment().run(small_data(5, 2, N, seed=7)).first
    assert (first.cause, first.explanation) == ("exception", "AttributeError: 'list' object has no attribute 'items'")


def test_an_exception_on_a_line_without_a_label_belongs_to_the_equation_above_it():
    with edited(handgrad.manual.network, ("dW = dW + l2 * W", "dW = dW + l2 * W.T")):
        first = experiment().run(small_data(5, 2, N, seed=7)).first
    assert (first.equation, first.cause, first.name) == ("B2", "exception", "dW[l]"), first


def test_an_exception_is_a_finding_against_the_line_that_raised_it():
    with edited(handgrad.manual.network, ("dZ @ A_prev.T  # (B2)", "dZ @ A_prev  # (B2)")):
        report = experiment().run(small_data(5, 2, N, seed=7))
    first = report.first
    assert (first.equation, first.cause, first.name) == ("B2", "exception", "dW[l]"), str(report)
    assert "ValueError in manual/network.py line" in first.explanation
    assert {row.phase for row in report.rows} == {"forward", "loss", "backward"}


def test_a_tensor_of_the_wrong_shape_gets_the_blame_for_the_exception_it_causes():
    with edited(handgrad.manual.network, ("A = g.value(Z)  # (F2)", "A = g.value(Z).T  # (F2)")):
        report = experiment().run(small_data(5, 2, N, seed=7))
    assert (report.first.name, report.first.equation, report.first.cause) == ("A1", "F2", "shape")
    assert "then ValueError" in report.first.explanation


def test_a_gradient_that_is_missing_or_misnamed_is_named():
    with edited(handgrad.manual.network, ('gradients[f"dW{l}"]', 'gradients[f"dw{l}"]')):
        report = experiment(optimizer="gradient-descent").run(small_data(5, 2, N, seed=7))
    assert (report.first.name, report.first.verdict, report.first.cause) == ("dW2", "MISSING", "missing")


def test_a_nan_on_one_side_is_not_finite():
    with edited(handgrad.manual.losses, ("losses.sum() / n", "losses.sum() / n * np.nan")):
        report = experiment().run(small_data(5, 2, N, seed=7))
    assert (report.first.name, report.first.verdict, report.first.cause) == ("J", "NONFINITE", "not-finite")


def test_resynchronised_steps_are_judged_by_themselves_and_free_running_ones_are_not():
    """A fault in one step's update must not spread to the next step's forward pass, unless torch runs freely."""
    with edited(handgrad.manual.optimizers, ("w - learning_rate * V", "w - learning_rate * V * 1.001")):
        by_itself = experiment().run(small_data(5, 2, N, seed=7))
        freely = experiment(free_running=True).run(small_data(5, 2, N, seed=7))
    assert {row.phase for row in by_itself.rows if row.verdict != "OK"} == {"update"}
    assert {row.phase for row in freely.rows if row.verdict != "OK"} == {"forward", "loss", "backward", "update"}
    assert freely.findings == by_itself.findings, "what only follows is no culprit in either"


def test_rounding_that_grows_on_both_sides_own_ways_is_weak(monkeypatch):
    """Free-running, correct code may drift further than a few runs show; that each step is right by itself tells so."""
    run = experiment(free_running=True, dtype="float32")
    monkeypatch.setattr(Drift, "allowed", lambda *_: 0.0)
    report = run.run(small_data(5, 2, N, seed=7))
    (finding,) = report.findings
    assert report.ok
    assert (finding.verdict, finding.cause) == ("WEAK", "precision-loss")
    assert finding.explanation.startswith("every step by itself is right")
    assert "from the same inputs" not in finding.explanation
    assert {row.verdict for row in report.rows} == {"OK", "WEAK"}


@pytest.mark.parametrize(
    ("module", "right", "wrong", "equation"),
    [
        (NETWORK, "dW = dZ @", "import sys; sys.exit(0); dW = dZ @", "B2"),
        (NETWORK, "    return gradients\n", "    return None\n", ""),
        (LOSSES, "    return losses.sum() / n + penalty", "    return None", "L1"),
        (NETWORK, "return dW, dA_prev, db", "return dW.tolist(), dA_prev, db", "B2"),
        (NETWORK, "return dW, dA_prev, db", "return np.ma.array(dW), dA_prev, db", "B2"),
        (NETWORK, "return dW, dA_prev, db", "return dW.astype(object), dA_prev, db", "B2"),
        (NETWORK, "Z = linear(", "Z = np.longdouble(1) * linear(", "F1"),
        (NETWORK, "Z = linear(", "Z = 1j * linear(", "F1"),
        (NETWORK, 'gradients[f"dW{l}"], ', "gradients[7], ", "B2"),
    ],
    ids=["exit", "None for all", "None", "list", "masked", "object", "longdouble", "complex", "key"],
)
def test_what_is_no_array_of_real_numbers_is_a_finding_at_its_tensor(module, right, wrong, equation):
    with edited(module, (right, wrong)):
        report = experiment().run(small_data(5, 2, N, seed=7))
    assert not report.ok
    assert report.first.equation == equation, str(report)


@pytest.mark.parametrize(
    ("right", "wrong", "equation"),
    [
        ("V = beta * velocities", "gradients[f'd{name}'] *= 1.0; V = beta * velocities", "O3"),
        ("updated[name] = w - learning_rate * V", "w -= learning_rate * V; updated[name] = w", "O4"),
    ],
    ids=["gradients", "weights"],
)
def test_writing_into_what_an_earlier_equation_kept_is_an_exception_there(right, wrong, equation):
    with edited(OPTIMIZERS, (right, wrong)):
        report = experiment().run(small_data(5, 2, N, seed=7))
    assert (report.first.cause, report.first.equation) == ("exception", equation), str(report)
    assert "read-only" in report.first.explanation


def test_weights_changed_in_place_reach_no_record_of_an_earlier_equation():
    """The read-only mark can be lifted; W_next is right then, and so is what the old weights computed."""
    in_place = "w.setflags(write=True); w -= learning_rate * V; updated[name] = w"
    with edited(OPTIMIZERS, ("updated[name] = w - learning_rate * V", in_place)):
        report = experiment().run(small_data(5, 2, N, seed=7))
    assert report.ok, str(report)


def test_what_is_computed_in_float32_is_shown_in_float64():
    """J summed in float32 is right in float32; the digits are missing in float64."""
    with edited(handgrad.manual.losses, ("losses.sum() / n", "losses.sum(dtype='float32') / n")):
        report = experiment(l2=0.0).run(small_data(5, 2, N, seed=7))
    assert (report.first.name, report.first.verdict) == ("J", "WEAK")
    assert "in float64" in report.first.explanation


def test_what_float32_cannot_hold_is_a_note_and_float64_decides():
    """Squares of 1e25 overflow in float32 as they must; the formula is right."""
    run = Experiment(
        layers=(3, 2, 1), activations=("relu", "identity"), loss="squared-error", batch_size=4, steps=2, bias_scale=0.5
    )
    X, y = small_data(3, 1, N, seed=7)
    report = run.run((1e25 * X, y))
    assert report.ok, str(report)
    assert report.notes == ("Some values exceed what float32 can hold; those tensors are judged in float64 alone.",)
    with edited(handgrad.manual.losses, ("(A - Y) ** 2 / 2", "(A - Y) ** 2")):
        assert run.run((1e25 * X, y)).first.name == "losses"


def test_lost_digits_are_shown_in_the_precision_that_loses_them():
    """In float64 both sides print the same."""
    with edited(
        handgrad.manual.network, ("dW = dZ @ A_prev.T", "dW = dZ @ A_prev.T * (1 + (dZ.dtype == 'float32') / 100)")
    ):
        first = experiment(l2=0.0).run(small_data(5, 2, N, seed=7)).first
    assert first.verdict == "WEAK"
    hand, torch = re.search(r"by hand (\S+), torch (\S+) from the same inputs in float32", first.explanation).groups()
    assert float(hand) == pytest.approx(1.01 * float(torch), rel=1e-5)


@pytest.mark.parametrize(
    ("wrong", "is_told"),
    [
        ("dW = (dZ @ A_prev.T).astype('float32') + 0.3 * W", True),
        ("dW = dZ @ A_prev.T * (1 + 1e-3) + 0.3 * W", False),
    ],
)
def test_a_difference_of_float32_s_size_says_so(wrong, is_told):
    """What is added after the cast hides that its values are float32's; it is a FAULT that comes with a hint."""
    with edited(handgrad.manual.network, ("dW = dW + l2 * W", wrong)):
        first = experiment(l2=0.3).run(small_data(5, 2, N, seed=7)).first
    assert (first.verdict, first.equation) == ("FAULT", "B2")
    assert ("see whether something in it is computed in float32" in first.explanation) == is_told


def test_a_square_that_float32_cannot_hold_before_it_is_halved_is_no_finding(monkeypatch):
    run = Experiment(
        layers=(1, 1), activations=("identity",), loss="squared-error", batch_size=1, steps=1, bias_scale=0.0
    )
    monkeypatch.setattr(stepping, "initial_parameters", lambda _: {"W1": np.ones((1, 1)), "b1": np.zeros((1, 1))})
    half = np.sqrt(np.finfo(np.float32).max.astype(float))  # its square is float32's largest number
    report = run.run((np.array([[1.2 * half]]), np.ones(1)))
    assert report.ok, str(report)
    assert any("float64 alone" in note for note in report.notes)
    with edited(handgrad.manual.losses, ("(A - Y) ** 2 / 2", "(A - Y) ** 2 / 0")):
        assert run.run((np.array([[1.2 * half]]), np.ones(1))).first.name == "losses"


def test_a_sum_of_terms_that_float32_cannot_hold_is_no_finding(monkeypatch):
    """1e40 - 1e40 is nan in float32, where both are infinite, and a number in float64."""
    run = Experiment(
        layers=(2, 2, 1), activations=("relu", "identity"), loss="squared-error", batch_size=1, steps=1, bias_scale=0.5
    )
    start = initial_parameters(run) | {"W1": np.array([[50.0, -50.0], [1e-38, 1e-38]])}
    monkeypatch.setattr(stepping, "initial_parameters", lambda _: start)
    data = np.array([[3e38, 3e38]]), np.ones(1)
    report = run.run(data)
    assert report.ok, str(report)
    assert report.notes == ("Some values exceed what float32 can hold; those tensors are judged in float64 alone.",)
    with edited(handgrad.manual.network, ("W @ A_prev + b", "W @ A_prev / 0 * 0 + b")):
        assert run.run(data).first.name == "Z1"


def test_a_run_that_overflows_on_both_sides_cannot_pass():
    run = Experiment(
        layers=(3, 2, 1), activations=("relu", "identity"), loss="squared-error", batch_size=1, learning_rate=1e30
    )
    for rate in (1e30, 10.0):
        report = replace(run, learning_rate=rate, steps=100).run(small_data(3, 1, N, seed=7))
        assert not report.ok
        assert report.first.verdict == "NONFINITE"
        assert "lower the learning rate" in report.first.explanation
        assert len(report.findings) == 1, "inf * 0 and what comes after it only follow"
        assert " is the first tensor that overflows on both sides, at step" in str(report)
        assert "wrong by itself" not in str(report)
        assert where(report) == ""


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("optimizer", ["momentum", "gradient-descent"])
def test_torch_started_from_given_weights_and_velocities_is_torch_nn(optimizer, dtype):
    """A stack of steps, each from weights and velocities of its own, is what nn.Sequential and SGD compute."""
    run = experiment(optimizer=optimizer, dtype=dtype, l2=0.3, batch_size=None, steps=1)
    data, rng, K = load(small_data(5, 2, N, seed=2)), np.random.default_rng(8), 3
    start = initial_parameters(run)
    params = {name: rng.standard_normal((K, *w.shape)).astype(dtype) for name, w in start.items()}
    velocities = {f"v{name}": rng.standard_normal(w.shape).astype(dtype) for name, w in params.items()}
    velocities = velocities if optimizer == "momentum" else {}
    batch = {"X": np.stack([data.X] * K), "Y": np.stack([data.Y] * K)}
    before = {name: array.copy() for name, array in {**params, **velocities, **batch}.items()}
    at_once = batch | LocalTwin(run).at_once(params, velocities, batch, dtype=dtype)
    assert all(np.array_equal(array, before[name]) for name, array in {**params, **velocities, **batch}.items())
    for k in range(K):
        here = {name: w[k] for name, w in params.items()}
        alone = {
            key.name: a for key, a in step_trace(in_torch(run, data, here, epoch_orders(run, N)), to_array).items()
        }
        for name, array in alone.items():
            expected = array
            if name.startswith("v"):  # in_torch starts at rest
                expected = array + run.beta * velocities[name][k]
            elif name.endswith("_next") and velocities:
                expected = array - run.learning_rate * run.beta * velocities[f"v{name.removesuffix('_next')}"][k]
            assert at_once[name].dtype == dtype or name in ("X", "Y")
            np.testing.assert_allclose(at_once[name][k], expected, rtol=0, atol=64 * np.finfo(dtype).eps)
    assert {*alone} <= {*at_once}


def test_a_step_records_what_torch_records():
    """The names, phases and shapes that a step is due to have are those of torch's own run, in its order."""
    for more in ({"l2": 0.3}, {"loss": "squared-error", "optimizer": "gradient-descent"}):
        run, data = experiment(**more), load(small_data(5, 2, N, seed=2))
        (step,) = Training(run, data).advance(1, AS_IN_THE_NOTES)
        trace = step_trace(in_torch(run, data, initial_parameters(run), epoch_orders(run, N)), to_array)
        assert [*step.due.items()] == [(key.name, (key.phase, array.shape)) for key, array in trace.items()]


@pytest.mark.parametrize(
    ("module", "right", "wrong", "prefix"),
    [
        (NETWORK, "A = g.value(Z)", "A = g.value(Z) * 1.001", "A"),
        (OPTIMIZERS, "(1 - beta) * gradients", "gradients", "v"),
    ],
    ids=["an activation and the derivative that reads it", "a velocity and the weights that follow it"],
)
def test_what_only_follows_from_a_culprit_is_no_finding(module, right, wrong, prefix):
    with edited(module, (right, wrong)):
        report = experiment(depth=4).run(small_data(5, 2, N, seed=7))
    assert report.findings
    assert {finding.name[0] for finding in report.findings} == {prefix}, str(report)
    assert "affects" in report.first.explanation


def test_a_tensor_that_is_weak_before_it_is_wrong_is_wrong(monkeypatch):
    """In step 1 dZ underflows in float32, so that nothing but lost digits can be told; in step 4 signs are plain."""
    rng = np.random.default_rng(10)
    data = 1e3 * rng.standard_normal((2, 2)), rng.standard_normal((2, 7))
    run = Experiment(
        layers=(2, 7),
        activations=("sigmoid",),
        loss="squared-error",
        initializer="glorot",
        distribution="uniform",
        optimizer="gradient-descent",
        learning_rate=1,
        l2=0.1,
        batch_size=1,
        steps=8,
        seed=10,
    )
    looked_at = []

    def diagnosed(scene, **more):
        looked_at.append(scene.recorded)
        return diagnose(scene, **more)

    monkeypatch.setattr(lockstep, "diagnose", diagnosed)
    signs = "np.array([[-1], [-1], [1], [-1], [-1], [1], [-1]])"
    with edited(
        handgrad.manual.network, ("db = dZ.sum(axis=1, keepdims=True)", f"db = {signs} * dZ.sum(axis=1, keepdims=True)")
    ):
        report = run.run(data)
    verdicts = [row.verdict for row in report.rows if row.name == "db1"]
    assert verdicts[0] == "WEAK"
    assert "FAULT" in verdicts
    assert not report.ok
    assert (report.first.name, report.first.verdict) == ("db1", "FAULT"), str(report)
    assert report.details.excerpts[0].step == report.first.step > 1
    wrong = next(row for row in report.rows if (row.name, row.step) == ("db1", report.first.step))
    assert looked_at[0][wrong.index] == wrong.by_hand  # not the step where it is WEAK


@pytest.mark.parametrize("free", [False, True], ids=["re-synchronised", "free"])
def test_a_hand_written_side_that_goes_on_after_the_last_batch_is_one_finding(free):
    endless = ("for order in epoch_orders:", "for order in __import__('itertools').cycle([*epoch_orders]):")
    run = Experiment(layers=(5, 7, 2), activations=("tanh", "sigmoid"), batch_size=4, epochs=1, free_running=free)
    with edited(handgrad.manual.batches, endless):
        report = run.run(small_data(5, 2, N, seed=3))
    assert [(finding.step, finding.name, finding.equation) for finding in report.findings] == [(4, "X", "O2")]
    assert "it takes step 4, for which there is no batch" in report.first.explanation


def test_an_exception_in_a_run_that_starts_a_rounding_apart_alone_is_a_finding(monkeypatch):
    calls = []
    forward = handgrad.manual.network.forward

    def failing(*given):
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("too warm")
        return forward(*given)

    monkeypatch.setattr(handgrad.manual.training, "forward", failing)
    run = Experiment(layers=(5, 2), activations=("sigmoid",), batch_size=4, steps=1, free_running=True)
    report = run.run(small_data(5, 2, N, seed=3))
    assert (report.first.cause, "too warm" in report.first.explanation) == ("exception", True)


def test_a_factor_of_a_million_millionth_drifts_further_than_rounding_does():
    with edited(handgrad.manual.network, ("dW = dZ @ A_prev.T", "dW = (1 + 1e-12) * dZ @ A_prev.T")):
        report = experiment(free_running=True, l2=0.0).run(small_data(5, 2, N, seed=7))
    assert not report.ok, str(report)
    assert any(row.rho > 1 for row in report.rows)
    right = experiment(free_running=True).run(small_data(5, 2, N, seed=7))
    assert "of what rounding can drift to" in str(right)


@pytest.mark.parametrize("free_running", [False, True])
@pytest.mark.parametrize(("start", "named"), [("np.ones_like(w)", "1"), ("w.copy()", "W1")])
def test_velocities_that_do_not_start_from_zero_are_found_in_the_first_step(start, named, free_running):
    """torch starts from zero, whatever the hand-written side starts from."""
    with edited(handgrad.manual.optimizers, ("np.zeros_like(w)", start)):
        report = experiment(depth=2, free_running=free_running).run(small_data(5, 2, N, seed=7))
    first = report.first
    assert (first.step, first.name, first.verdict, first.cause) == (1, "vW1", "FAULT", "momentum-form"), str(report)
    assert f"v starts from {named} where it must start from 0" in first.explanation
