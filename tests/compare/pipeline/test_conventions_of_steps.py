"""A convention over the steps of a trainer: 1/n is each step's own n, and what is constant stays constant."""

from functools import partial

import numpy as np
import pytest
import torch

from handgrad import check_training, tap
from handgrad.compare.facts.remarks import MeanLeftOut, Undone

RNG = np.random.default_rng(31)
ONE = {"W": RNG.standard_normal((2, 3)), "b": RNG.standard_normal((2, 1))}
TWO = {
    "W1": RNG.standard_normal((4, 3)),
    "b1": RNG.standard_normal((4, 1)),
    "W2": RNG.standard_normal((2, 4)),
    "b2": RNG.standard_normal((2, 1)),
}
OF_EACH = MeanLeftOut("n")


def logistic_in_torch(p, X, Y):
    A = torch.sigmoid(tap("Z", p["W"] @ X + p["b"]))
    return torch.nn.functional.binary_cross_entropy(A, Y, reduction="sum") / X.shape[1]


def squared_in_torch(p, X, Y):
    A1 = tap("A1", torch.tanh(tap("Z1", p["W1"] @ X + p["b1"])))
    return ((tap("Z2", p["W2"] @ A1 + p["b2"]) - Y) ** 2).sum() / X.shape[1]


def logistic(p, X, Y, late, early):
    """One layer; dZ is divided by `early` and the gradients of parameters by `late`."""
    dZ = (1 / (1 + np.exp(-(p["W"] @ X + p["b"]))) - Y) / early
    return {"dZ": dZ, "dW": dZ @ X.T / late, "db": dZ.sum(1, keepdims=True) / late}


def squared(p, X, Y, late, early):
    """Two layers, where dZ2 lacks the 2 of the square, so that it is n/2 times torch's."""
    A1 = np.tanh(p["W1"] @ X + p["b1"])
    dZ2 = (p["W2"] @ A1 + p["b2"] - Y) / early
    dZ1 = p["W2"].T @ dZ2 * (1 - A1**2)
    sums = {"dW2": dZ2 @ A1.T, "db2": dZ2.sum(1, keepdims=True), "dW1": dZ1 @ X.T, "db1": dZ1.sum(1, keepdims=True)}
    return {"dZ2": dZ2, "dZ1": dZ1, **{name: 2 * total / late for name, total in sums.items()}}


def each(n, step):
    return n


def one(n, step):
    return 1


def checked(gradients, sizes, late=each, early=one):
    """The report on gradient descent over batches of such sizes, divided by what is given of a size and a step."""

    def train(p, batches):
        for step, (X, Y) in enumerate(batches, start=1):
            n = X.shape[1]
            along = gradients(p, X, Y, late(n, step), early(n, step))
            p = {name: w - 0.1 * along[f"d{name}"] for name, w in p.items()}
            yield {**p, **along}

    params, reference = (ONE, logistic_in_torch) if gradients is logistic else (TWO, squared_in_torch)
    rng = np.random.default_rng(7)
    batches = [(rng.standard_normal((3, n)), rng.integers(0, 2, (2, n)).astype(float)) for n in sizes]
    return check_training(train, reference, partial(torch.optim.SGD, lr=0.1), params, batches)


def places(report):
    """The steps and names of what is wrong by itself, by the same mistake or another."""
    return {(f.where.step, name) for f in report.findings for name in (f.where.name, *f.together)}


@pytest.mark.parametrize("sizes", [(8, 8, 3), (3, 8, 8), (5, 8, 3), (8, 1, 3)], ids=str)
@pytest.mark.parametrize("gradients", [logistic, squared])
def test_a_mean_that_is_left_out_is_one_note_over_batches_of_all_sizes(gradients, sizes):
    report = checked(gradients, sizes)
    assert report.findings == (), str(report)
    (note,) = report.notes
    assert note == OF_EACH if gradients is logistic else (type(note), note.varies) == (Undone, True)


@pytest.mark.parametrize("sizes", [(8, 8), (8, 8, 8)], ids=str)
def test_where_all_batches_have_one_size_that_is_named(sizes):
    assert checked(logistic, sizes).notes == (MeanLeftOut("8"),)


WRONG = {
    "the last": ((8, 8, 3), lambda n, step: 8, {3}),
    "the first": ((3, 8, 8), lambda n, step: 8, {1}),
    "two of them": ((8, 5, 8, 3), lambda n, step: 8, {2}),
    "sums in place of means": ((8, 8, 3), lambda n, step: n if step < 3 else 1, {3}),
    "sums in a whole batch": ((8, 3, 8), lambda n, step: n if step < 3 else 1, {3}),
    "the n of another size": ((8, 8, 3), lambda n, step: n if step < 3 else 5, {3}),
}


@pytest.mark.parametrize(("sizes", "late", "steps"), WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("gradients", [logistic, squared])
def test_what_a_step_divides_wrongly_is_found_where_it_is_divided(gradients, sizes, late, steps):
    """dZ = A - Y is right at every step; dW and db are not, where another n divides them."""
    report = checked(gradients, sizes, late)
    params = ONE if gradients is logistic else TWO
    assert places(report) == {(step, f"d{name}") for step in steps for name in params}, str(report)
    (note,) = report.notes
    assert note == OF_EACH if gradients is logistic else (type(note), note.tensors) == (Undone, ("dZ2", "dZ1"))


@pytest.mark.parametrize("gradients", [logistic, squared])
def test_a_dZ_that_is_wrong_where_it_has_the_mean_is_found_as_it_is(gradients):
    report = checked(gradients, (8, 8, 3), late=one, early=lambda n, step: 8)
    first = report.first.where
    assert (first.step, first.name) == (3, "dZ" if gradients is logistic else "dZ2"), str(report)


@pytest.mark.parametrize("gradients", [logistic, squared])
@pytest.mark.parametrize("factor", [0.5, 7.0, -3.0])
def test_a_constant_factor_stays_that_over_batches_of_all_sizes(gradients, factor):
    scale = 2.0 if gradients is squared else 1.0
    report = checked(
        gradients, (8, 8, 3), late=lambda n, step: scale * factor, early=lambda n, step: n / factor / scale
    )
    assert report.findings == (), str(report)
    (note,) = report.notes
    assert (note.factor, note.varies) == (pytest.approx(factor), False)


@pytest.mark.parametrize("gradients", [logistic, squared])
def test_a_constant_factor_that_a_short_batch_does_not_undo_is_found_where_it_is_undone(gradients):
    scale = 2.0 if gradients is squared else 1.0
    report = checked(
        gradients,
        (8, 8, 3),
        late=lambda n, step: scale * (0.5 if step < 3 else 1.0),
        early=lambda n, step: n / 0.5 / scale,
    )
    params = ONE if gradients is logistic else TWO
    assert places(report) == {(3, f"d{name}") for name in params}, str(report)


@pytest.mark.parametrize("sizes", [(8, 8, 3), (3, 8, 8)], ids=str)
def test_a_mistake_of_every_step_beside_a_mean_that_is_left_out_is_all_that_is_found(sizes):
    def wrong(*given):
        return {**(right := squared(*given)), "dW1": -right["dW1"]}

    report = checked(wrong, sizes)
    assert places(report) == {(1, "dW1")}, str(report)
    assert [(type(note), note.varies) for note in report.notes] == [(Undone, True)]
