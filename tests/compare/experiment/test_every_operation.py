"""Every row of the registry is right in a run at every scale of the data, and a small error in it is found."""

from dataclasses import replace
from importlib import import_module
from types import ModuleType

import numpy as np
import pytest

from handgrad import Experiment, InputError
from handgrad.compare.experiment.run import run
from handgrad.compare.operations import OPERATIONS, operation
from handgrad.compare.source.labels import MODULES
from tests.support import small_data

SCALES = (1e-3, 1.0, 1e3)
SMALL = 1 + 1e-6
BASE = Experiment(
    (6, 5, 4, 3), ("tanh", "tanh", "sigmoid"), bias_scale=0.5, l2=0.1, learning_rate=0.01, batch_size=4, epochs=2
)


def with_operation(row):
    """A run of the network in which the operation stands, in hidden layers if it is an activation."""
    if row.kind == "activation" and len(row.by_hand) == 2:
        return replace(BASE, activations=(row.name, row.name, "sigmoid"))
    if row.kind == "activation":  # it stands last, before its loss
        row = next(loss for loss in OPERATIONS if loss.kind == "loss" and loss.last == row.name)
    chosen = {row.kind: row.name} if row.kind in ("loss", "optimizer", "initializer") else {}
    return replace(BASE, activations=("tanh", "tanh", row.last or "sigmoid"), **chosen)


def data_for(row, scale, seed=5):
    X, y = small_data(6, 3, 11, seed)
    return scale * X, np.eye(3)[y.argmax(axis=1)]


def slightly_wrong(row, half):
    """The hand-written side with one function of the operation off by a millionth in all that it computes."""
    modules = {name: import_module(f"handgrad.manual.{name}") for name in MODULES}
    file, function = row.by_hand[half].split(":")
    wrong = ModuleType(modules[file].__name__)
    vars(wrong).update(vars(modules[file]))

    def off(*arguments, **options):
        return scaled(getattr(modules[file], function)(*arguments, **options))

    setattr(wrong, function, off)
    return {**modules, file: wrong}


def scaled(value):
    if isinstance(value, tuple):
        return tuple(map(scaled, value))
    if isinstance(value, dict):
        return {name: scaled(each) for name, each in value.items()}
    return (value * SMALL).astype(value.dtype)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("row", OPERATIONS, ids=lambda row: row.name)
def test_every_operation_is_right_at_every_scale(row, scale):
    report = with_operation(row).run(data_for(row, scale))
    assert report.ok, str(report)
    beyond = [(each.name, each.step, each.verdict, each.rho) for each in report.rows if not each.rho < 1]
    assert not beyond, "more than the units of the row explain, though another opinion may clear it"
    assert {each.verdict for each in report.rows} == {"OK"}


HALVES = [
    (row, half) for row in OPERATIONS for half in range(len(row.by_hand)) if row.kind in ("activation", "loss")
] + [(row, 1) for row in OPERATIONS if row.kind == "optimizer"]


@pytest.mark.parametrize(("row", "half"), HALVES, ids=lambda of: of if isinstance(of, int) else of.name)
def test_an_error_of_a_millionth_in_it_is_a_fault(row, half):
    report = run(with_operation(row), data_for(row, 1.0), hand=slightly_wrong(row, half))
    assert report.findings[0].verdict == "FAULT"
    assert report.findings[0].equation in row.equations


def test_labels_that_do_not_add_up_are_one_sentence():
    row = operation("loss", "cross-entropy")
    X, Y = data_for(row, 1.0)
    Y[2] = [1.0, 1.0, 0.0]
    with pytest.raises(InputError, match="y adds up to 2 at row 3; cross-entropy needs 1, so"):
        with_operation(row).run((X, Y))
