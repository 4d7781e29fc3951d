"""Both sides of the notes' network as they are made from its settings."""

from itertools import chain, islice

import numpy as np
import pytest

from handgrad.compare.experiment.data import load
from handgrad.compare.experiment.sides import (
    by_hand,
    epoch_orders,
    hand_network,
    in_torch,
    initial_parameters,
    torch_batches,
    training_by_hand,
    training_in_torch,
)
from handgrad.compare.faults.planting import planted
from handgrad.compare.names import PHASES
from handgrad.compare.pipeline.recording import Ended
from tests.compare.experiment.networks import DATA, INITIALIZERS, LOSSES, NETWORK, N, experiment

LOADED = load(DATA)


def phases_by_hand(settings, hand=None):
    return by_hand(settings, LOADED, initial_parameters(settings, hand), epoch_orders(settings, N), hand)


def phases_in_torch(settings):
    return in_torch(settings, LOADED, initial_parameters(settings), epoch_orders(settings, N))


def test_the_sides_never_share_memory():
    settings = experiment()
    params = initial_parameters(settings)
    ours, live = {}, {}
    for _, phase, values in by_hand(settings, LOADED, params, epoch_orders(settings, N)):
        ours |= values
        if phase == PHASES[-1]:
            break
    for _, phase, values in in_torch(settings, LOADED, params, epoch_orders(settings, N)):
        live |= {name: tensor.detach().numpy() for name, tensor in values.items()}
        if phase == PHASES[-1]:
            break
    assert ours.keys() == live.keys()
    for name, tensor in live.items():
        for array in (*ours.values(), *params.values(), LOADED.X, LOADED.Y):
            assert not np.shares_memory(tensor, array), name


def test_what_is_recorded_by_hand_is_a_copy_that_cannot_be_changed():
    settings = experiment()
    params = initial_parameters(settings)
    phases = by_hand(settings, LOADED, params, epoch_orders(settings, N))
    records = next(training_by_hand(phases, ()))
    for name, array in records.items():
        assert not array.flags.writeable, name
        assert not any(np.shares_memory(array, param) for param in params.values()), name


def test_both_sides_yield_the_same_names_in_the_same_order():
    for settings in (experiment(), experiment(l2=0.0, loss="squared-error", optimizer="gradient-descent")):
        ours, theirs = (
            next(training_by_hand(phases_by_hand(settings), ())),
            next(training_in_torch(phases_in_torch(settings))),
        )
        assert [*ours] == [*theirs]
        assert {name: array.shape for name, array in ours.items()} == {n: array.shape for n, array in theirs.items()}
        assert {array.dtype for array in theirs.values()} == {np.dtype("float64")}


def test_a_training_has_as_many_steps_on_both_sides():
    settings = experiment(steps=5)
    assert len([*training_by_hand(phases_by_hand(settings), ())]) == 5
    assert len([*training_in_torch(phases_in_torch(settings))]) == 5


def test_the_start_is_drawn_once_and_rounded_for_float32():
    fine, coarse = (initial_parameters(experiment(dtype=dtype)) for dtype in ("float64", "float32"))
    assert {name: array.shape for name, array in fine.items()} == {
        "W1": (7, 5),
        "b1": (7, 1),
        "W2": (2, 7),
        "b2": (2, 1),
    }
    for name, array in fine.items():
        assert coarse[name].dtype == np.float32
        np.testing.assert_array_equal(coarse[name], array.astype(np.float32))
    assert not initial_parameters(experiment(bias_scale=0))["b1"].any()
    assert not np.array_equal(fine["W1"], initial_parameters(experiment(seed=4))["W1"])


def test_a_batch_is_cut_from_the_same_order_on_both_sides():
    settings = experiment(epochs=1)
    (order,) = epoch_orders(settings, N)
    assert sorted(order) == [*range(N)]
    cut = [batch.tolist() for batch in torch_batches(settings, N, epoch_orders(settings, N))]
    assert [len(batch) for batch in cut] == [4, 4, 3]
    assert [*chain.from_iterable(cut)] == order.tolist()
    full = experiment(epochs=1, batch_size=None)
    (whole,) = torch_batches(full, N, epoch_orders(full, N))
    assert whole.tolist() == [*range(N)], "the full batch is not shuffled"


def test_the_epochs_are_as_many_as_the_steps_need():
    assert len([*epoch_orders(experiment(epochs=7), N)]) == 7
    assert len([*epoch_orders(experiment(steps=4), N)]) == 2
    first, second = islice(epoch_orders(experiment(), N), 2)
    assert first.tolist() != second.tolist()


def test_modules_that_are_handed_over_run_in_place_of_the_installed_ones():
    settings = experiment()
    zero = planted(INITIALIZERS, [("unit * standard_deviation(*shape)", "0 * unit")])
    assert not initial_parameters(settings, zero)["W1"].any()
    losses = planted(LOSSES, [("np.maximum(Z, 0) - Z * Y", "7")])
    assert hand_network(settings, losses).loss.value is losses["losses"].binary_cross_entropy
    assert hand_network(settings).loss.value is not losses["losses"].binary_cross_entropy


@pytest.mark.parametrize(
    ("right", "wrong", "equation", "name", "complete"),
    [
        ("W @ A_prev + b", "W @ A_prev + b[7]", "F1", "Z[l]", set()),
        ("dW = dZ @ A_prev.T", "dW = dZ @ A_prev", "B2", "dW[l]", {"forward", "loss"}),
        ("    return gradients\n", "    return None\n", "", "backward", {"forward", "loss"}),
    ],
    ids=["forward", "backward", "between the phases"],
)
def test_what_ends_a_step_by_hand_is_told_with_what_was_computed_by_then(right, wrong, equation, name, complete):
    settings = experiment()
    due = next(training_in_torch(phases_in_torch(settings)))
    steps = training_by_hand(phases_by_hand(settings, planted(NETWORK, [(right, wrong)])), due)
    with pytest.raises(Ended) as caught:
        next(steps)
    ended = caught.value
    assert (ended.where.step, ended.where.name, ended.equation, ended.complete) == (1, name, equation, complete)
    assert {"X", "Y"} <= ended.records.keys() <= due.keys()
    assert ("J" in ended.records) == ("loss" in complete)
