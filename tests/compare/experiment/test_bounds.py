"""What rounding can explain in each record of the notes' network is that of the operation that computes it."""

import numpy as np
import pytest

import handgrad.manual.initializers
import handgrad.manual.losses
import handgrad.manual.network
from handgrad import Experiment
from handgrad.compare.experiment.bounds import allowance, allowances, label_of, operands
from handgrad.compare.experiment.data import load
from handgrad.compare.experiment.recording import recorded
from handgrad.compare.facts.remarks import OutOfRange
from handgrad.compare.verdict import bounds
from handgrad.compare.verdict.bounds import PRECISIONS
from tests.compare.experiment.networks import DATA, N, experiment
from tests.support import edited, small_data


def step_of(settings):
    _, second, *_ = recorded(settings, load(DATA))
    return second


def of_step(settings):
    step = step_of(settings)
    side = step.sides["float64"]
    return allowances(settings, side.before, step.state["float64"], side.records), step


@pytest.mark.parametrize("optimizer", ["momentum", "gradient-descent"])
@pytest.mark.parametrize("loss", ["binary-cross-entropy", "squared-error"])
@pytest.mark.parametrize("activation", ["sigmoid", "relu", "tanh", "identity"])
def test_every_record_has_an_allowance(activation, loss, optimizer):
    found, step = of_step(experiment(activation, depth=4, loss=loss, optimizer=optimizer))
    assert found.keys() == step.due.keys()
    for name, allowed in found.items():
        entries = allowed.everywhere(PRECISIONS["float64"])
        np.broadcast_shapes(entries.shape, step.printed.records[name].shape or (1,))
        assert np.isfinite(entries).all(), name
        assert (entries > 0).all() or (allowed.k == 0 and not entries.any()), name


def test_an_allowance_is_that_of_the_operation():
    settings = experiment(depth=4, l2=0.3)
    found, step = of_step(settings)
    read = operands(step.printed.before, step.printed.records)
    before = operands(step.state["float64"])
    a, B = settings.learning_rate, settings.beta
    due = {
        "X": bounds.Allowance(0),
        "Z1": bounds.linear(read["W1"], read["X"], read["b1"]),
        "Z2": bounds.linear(read["W2"], read["A1"], read["b2"]),
        "A2": bounds.elementwise(8),
        "losses": bounds.elementwise(8 * np.abs(read["Z4"]) + 8 * np.abs(read["losses"])),
        "penalty": bounds.penalty([read[f"W{l}"] for l in (1, 2, 3, 4)], read["penalty"]),
        "J": bounds.cost(read["losses"], read["penalty"]),
        "dZ4": bounds.output_gradient(read["dZ4"], 8),
        "dZ3": bounds.elementwise(4 * np.abs(read["dZ3"]) + 18 * np.abs(read["dA3"])),
        "dA3": bounds.input_gradient(read["W4"], read["dZ4"]),
        "dW1": bounds.weight_gradient(read["dZ1"], read["X"], read["W1"], 0.3),
        "db2": bounds.bias_gradient(read["dZ2"]),
        "vW1": bounds.elementwise(4 * B * np.abs(before["vW1"]) + (4 * (1 - B) + 2 * B) * np.abs(read["dW1"])),
        "b3_next": bounds.elementwise(2 * np.abs(read["b3"]) + 14 * a * np.abs(read["vb3"])),
    }
    for name, expected in due.items():
        for precision in PRECISIONS.values():
            np.testing.assert_array_equal(found[name].everywhere(precision), expected.everywhere(precision), name)


def test_without_momentum_weights_move_by_the_gradient():
    settings = experiment(optimizer="gradient-descent")
    found, step = of_step(settings)
    read = operands(step.printed.before, step.printed.records)
    expected = bounds.elementwise(2 * np.abs(read["W1"]) + 14 * settings.learning_rate * np.abs(read["dW1"]))
    np.testing.assert_array_equal(
        found["W1_next"].everywhere(PRECISIONS["float64"]), expected.everywhere(PRECISIONS["float64"])
    )


def test_a_record_whose_operands_were_not_recorded_has_none():
    settings = experiment()
    step = step_of(settings)
    records = {name: array for name, array in step.printed.records.items() if name != "A1"}
    found = allowances(settings, step.printed.before, step.state["float64"], records)
    assert records.keys() - found.keys() == {"Z2", "dW2"}
    with pytest.raises(KeyError):
        allowance(settings, "A", operands(records), {})


def test_operands_are_in_float64_and_know_X_as_A0():
    read = operands({"W1": np.ones((2, 2), dtype="f4")}, {"X": np.zeros((2, 1))})
    assert {name: array.dtype.name for name, array in read.items()} == dict.fromkeys(("W1", "X", "A0"), "float64")
    assert "A0" not in operands({"W1": np.ones(1)})


def test_labels_are_those_of_the_notes():
    settings = experiment(depth=4)
    labels = {name: label_of(settings, name) for name in ("X", "Z1", "losses", "J", "dZ4", "dZ3", "vb1", "W1_next")}
    assert labels == {
        "X": "O1",
        "Z1": "F1",
        "losses": "L2",
        "J": "L1",
        "dZ4": "B1",
        "dZ3": "B5",
        "vb1": "O3",
        "W1_next": "O4",
    }


# --- what float32 cannot hold


def test_what_float32_cannot_hold_is_a_note_and_float64_decides():
    """Squares of 1e25 overflow in float32 as they must; the formula is right."""
    settings = Experiment(
        layers=(3, 2, 1), activations=("relu", "identity"), loss="squared-error", batch_size=4, steps=2, bias_scale=0.5
    )
    X, y = small_data(3, 1, N, seed=7)
    report = settings.run((1e25 * X, y))
    assert report.ok, str(report)
    assert report.notes == (OutOfRange(),)
    with edited(handgrad.manual.losses, ("(A - Y) ** 2 / 2", "(A - Y) ** 2")):
        assert settings.run((1e25 * X, y)).first.where.name == "losses"


def test_a_square_that_float32_cannot_hold_before_it_is_halved_is_no_finding():
    settings = Experiment(
        layers=(1, 1), activations=("identity",), loss="squared-error", batch_size=1, steps=1, bias_scale=0.0
    )
    half = np.sqrt(np.finfo(np.float32).max.astype(float))  # its square is float32's largest number
    data = np.array([[1.2 * half]]), np.ones(1)
    with edited(handgrad.manual.initializers, ("return unit * standard_deviation(*shape)", "return np.ones(shape)")):
        report = settings.run(data)
        assert report.ok, str(report)
        assert OutOfRange() in report.notes
        with edited(handgrad.manual.losses, ("(A - Y) ** 2 / 2", "(A - Y) ** 2 / 0")):
            assert settings.run(data).first.where.name == "losses"


def test_a_sum_of_terms_that_float32_cannot_hold_is_no_finding():
    """1e40 - 1e40 is nan in float32, where both are infinite, and a number in float64."""
    settings = Experiment(
        layers=(2, 2, 1), activations=("relu", "identity"), loss="squared-error", batch_size=1, steps=1, bias_scale=0.5
    )
    drawn = "return unit * standard_deviation(*shape)"
    given = "return np.array([[50.0, -50.0], [1e-38, 1e-38]]) if shape == (2, 2) else unit * standard_deviation(*shape)"
    data = np.array([[3e38, 3e38]]), np.ones(1)
    with edited(handgrad.manual.initializers, (drawn, given)):
        report = settings.run(data)
        assert report.ok, str(report)
        assert report.notes == (OutOfRange(),)
        with edited(handgrad.manual.network, ("W @ A_prev + b", "W @ A_prev / 0 * 0 + b")):
            assert settings.run(data).first.where.name == "Z1"
