"""The registry: every row resolves on both sides, and what it says of the network is what a run records."""

from types import ModuleType

import numpy as np
import pytest

from handgrad import Experiment, InputError
from handgrad.compare.equations import EQUATIONS
from handgrad.compare.names import gradient, updated, velocity
from handgrad.compare.operations import OPERATIONS, equation_of, names, network_reads, network_records, operation
from handgrad.torchref.losses import LOSSES
from handgrad.torchref.optimizers import Twin


@pytest.mark.parametrize("row", OPERATIONS, ids=lambda row: row.name)
def test_both_halves_of_a_row_resolve(row):
    twin = row.twin()
    assert all(map(callable, (*row.hands(), *(twin if isinstance(twin, Twin) else (twin,)))))


def test_the_torch_side_by_itself_says_the_same_of_a_loss():
    assert {name: (loss.value, loss.reads, loss.last) for name, loss in LOSSES.items()} == {
        name: (row.twin(), row.reads, row.last) for name in names("loss") for row in [operation("loss", name)]
    }


ELEMENTWISE = [name for name in names("activation") if len(operation("activation", name).by_hand) == 2]


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_the_derivative_of_an_activation_is_its_slope(name):
    row = operation("activation", name)
    g, derivative = row.hands()
    Z, h = np.random.default_rng(3).standard_normal((4, 5)), 2.0**-17
    np.testing.assert_allclose(
        derivative(Z if row.reads == "Z" else g(Z)), (g(Z + h) - g(Z - h)) / (2 * h), rtol=1e-6, atol=1e-9
    )


def test_modules_stand_in_for_the_installed_ones():
    losses = ModuleType("mine")
    losses.mean_loss = len
    assert operation("cost", "mean").hands({"losses": losses}) == (len,)
    with pytest.raises(InputError, match="mine has no weight_decay"):
        operation("cost", "weight-decay").hands({"losses": losses})


def test_what_is_unknown_has_no_row():
    assert names("nothing") == ()
    with pytest.raises(KeyError):
        operation("activation", "nothing")


@pytest.mark.parametrize("optimizer", names("optimizer"))
@pytest.mark.parametrize(("loss", "last"), [("binary-cross-entropy", "sigmoid"), ("squared-error", "tanh")])
@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_records_and_labels_are_those_of_a_run(loss, last, l2, optimizer):
    run = Experiment(
        layers=(3, 4, 2), activations=("relu", last), loss=loss, l2=l2, optimizer=optimizer, batch_size=5, steps=1
    )
    X, y = np.random.default_rng(4).standard_normal((7, 3)), np.eye(2)[[0, 1, 1, 0, 1, 0, 0]]
    rows = run.run((X, y)).rows
    reads = operation("loss", loss).reads
    records = network_records((3, 4, 2), 5, loss_reads=reads, l2=l2 > 0, optimizer=optimizer)
    assert [(row.name, row.phase, row.shape) for row in rows] == [(n, *of) for n, of in records.items()]
    labels = {row.name: equation_of(row.name, depth=2, loss=loss, optimizer=optimizer) for row in rows}
    assert {row.name: row.equation for row in rows} == labels
    assert set(labels.values()) <= EQUATIONS.keys()


def test_labels_of_some_tensors():
    labels = {
        "Z1": "F1", "A2": "F2", "losses": "L2", "J": "L1", gradient("Z2"): "B1", gradient("Z1"): "B5",
        gradient("A1"): "B4", gradient("W1"): "B2", gradient("b2"): "B3", velocity("W1"): "O3", updated("b1"): "O4",
    }  # fmt: skip
    of = {"depth": 2, "loss": "binary-cross-entropy", "optimizer": "momentum"}
    assert {name: equation_of(name, **of) for name in labels} == labels
    assert equation_of("strange", **of) == ""


def test_what_each_value_is_computed_from():
    assert network_reads(2, loss_reads="A", l2=True) == {
        "Z1": ("W1", "X", "b1"), "A1": ("Z1",), "Z2": ("W2", "A1", "b2"), "A2": ("Z2",),
        "losses": ("A2", "Y"), "penalty": ("W1", "W2"), "J": ("losses", "penalty"),
    }  # fmt: skip
    assert network_reads(1, loss_reads="Z", l2=False)["J"] == ("losses",)
