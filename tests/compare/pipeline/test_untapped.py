"""Names that the reference has nothing of: a note, with what they may stand for."""

import numpy as np
import pytest
import torch

from handgrad import check_gradients, check_training, tap
from handgrad.compare.facts.remarks import NotTapped
from tests.corpus.layers import SQUARES, TANH

AXIS = np.arange(6.0)


def notes_of(report):
    return [note for note in report.notes if isinstance(note, NotTapped)]


NAMES = {
    "nothing like it": ({"accuracy": lambda _: 0.5, "dQ": lambda _: AXIS}, [NotTapped(("accuracy", "dQ"))]),
    "an input": ({"A0": lambda _: TANH.batch[0]}, [NotTapped(("A0",), "X", "handed")]),
    "no array": ({"cache": lambda _: {"a": 1}, "text": lambda _: "x"}, [NotTapped(("cache", "text"))]),
    "zeros": ({"zero": lambda _: np.zeros((3, 6))}, [NotTapped(("zero",))]),
    "nan": ({"broken": lambda _: np.full((3, 6), np.nan)}, [NotTapped(("broken",))]),
    "an update": ({"W_next": lambda r: r["dW"] - 1}, [NotTapped(("W_next",))]),
}


@pytest.mark.parametrize(("changes", "notes"), NAMES.values(), ids=NAMES)
def test_right_code_with_further_names_is_right(changes, notes):
    report = check_gradients(*TANH.returning(**changes))
    assert report.findings == (), str(report)
    assert notes_of(report) == notes
    assert not {*changes} & {row.name for row in report.rows}


MEANT = {
    "by value": ("pre", lambda r: r["Z"], ("Z", "values")),
    "by value before by name": ("dz", lambda r: r["Z"], ("Z", "values")),
    "by name": ("z", lambda r: 2 * r["Z"], ("Z", "name")),
    "by shape": ("hidden", lambda r: 2 * r["Z"], ("Z", "shape")),
    "the loss": ("loss", lambda r: (TANH.batch[1] * np.tanh(r["Z"])).sum(), ("J", "values")),
    "a number": ("accuracy", lambda _: 0.5, ("", "")),
}


@pytest.mark.parametrize(("name", "value", "meant"), MEANT.values(), ids=MEANT)
def test_a_tensor_that_was_not_returned_may_be_what_it_stands_for(name, value, meant):
    def derivation(*given):
        records = TANH.derivation(*given)
        return {"dW": records["dW"], "db": records["db"], name: value(records)}

    report = check_gradients(derivation, *TANH[1:], precisions=("float64",))
    assert (report.findings, notes_of(report)) == ((), [NotTapped((name,), *meant)])


def test_a_mistake_beside_further_names_is_found():
    report = check_gradients(*TANH.scaled("dW", 2.0).returning(A0=lambda _: TANH.batch[0], y=lambda _: 1.0))
    assert [f.where.name for f in report.findings] == ["dW"]
    assert notes_of(report) == [NotTapped(("A0",), "X", "handed"), NotTapped(("y",))]


def test_once_it_is_tapped_it_is_judged():
    def tapped(p, X, C):
        return (C * tap("A", torch.tanh(tap("Z", p["W"] @ X + p["b"])))).sum()

    wrong = TANH.returning(A=lambda r: 2 * np.tanh(r["Z"]))
    assert check_gradients(*wrong).ok
    report = check_gradients(wrong.derivation, tapped, *TANH[2:])
    assert [f.where.name for f in report.findings] == ["A"]
    assert notes_of(report) == []


@pytest.mark.parametrize("name", ["dw", "grad_W", "activation"])
def test_a_training_takes_further_names_as_well(name):
    def train(params, batches):
        W, b = params["W"], params["b"]
        for batch in batches:
            records = SQUARES.derivation({"W": W, "b": b}, *batch)
            W, b = W - 0.1 * records["dW"], b - 0.1 * records["db"]
            yield {"W": W, "b": b, "J": records["J"], name: records["dW"], "cache": {}}

    def sgd(tensors):
        return torch.optim.SGD(tensors, lr=0.1)

    report = check_training(train, SQUARES.reference, sgd, SQUARES.params, [SQUARES.batch] * 2)
    assert report.findings == (), str(report)
    assert notes_of(report) == [NotTapped((name,), "dW", "values"), NotTapped(("cache",))]
