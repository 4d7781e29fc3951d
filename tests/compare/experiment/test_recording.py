"""The hand-written side of the notes' network under way."""

from itertools import islice

import numpy as np
import pytest

from handgrad.compare.experiment.data import load
from handgrad.compare.experiment.recording import recorded, records_due
from handgrad.compare.experiment.sides import epoch_orders, in_torch, initial_parameters
from handgrad.compare.facts.failures import NoBatch
from handgrad.compare.facts.remarks import Float64Only
from handgrad.compare.faults.planting import planted
from handgrad.compare.names import PHASES, updated
from tests.compare.experiment.networks import BATCHES, DATA, NETWORK, OPTIMIZERS, TRAINING, N, experiment

LOADED = load(DATA)


def steps_of(settings, count=6, hand=None):
    return [*islice(recorded(settings, LOADED, hand), count)]


@pytest.mark.parametrize("more", [{"l2": 0.3}, {"loss": "squared-error", "optimizer": "gradient-descent"}], ids=str)
def test_a_step_records_what_torch_records(more):
    """The names, phases and shapes that a step is due to have are those of torch's own run, in its order."""
    settings = experiment(**more)
    (step,) = steps_of(settings, 1)
    phases = in_torch(settings, LOADED, initial_parameters(settings), epoch_orders(settings, N))
    made = []
    for _, phase, values in phases:
        made += [(name, (phase, tuple(tensor.shape))) for name, tensor in values.items()]
        if phase == PHASES[-1]:
            break
    assert [*step.due.items()] == made
    assert step.is_whole
    assert step.ended is None


def test_both_precisions_are_recorded_the_printed_one_first():
    for first, second in (("float64", "float32"), ("float32", "float64")):
        (step,) = steps_of(experiment(dtype=first), 1)
        assert [*step.sides] == [first, second]
        assert step.printed is step.sides[first]
        assert {array.dtype.name for array in step.printed.records.values()} == {first}
        assert {array.dtype.name for array in step.batch_in("float32").values()} == {"float32"}


def test_every_step_starts_from_what_the_one_before_left():
    first, second = steps_of(experiment(), 2)
    for dtype, side in second.sides.items():
        before = first.sides[dtype].records
        assert all(np.array_equal(w, before[updated(name)]) for name, w in side.before.items())
        assert all(np.array_equal(v, before[name]) for name, v in second.state[dtype].items())
    assert not any(v.any() for v in first.state["float64"].values()), "as torch starts"


def test_torch_starts_at_rest_whatever_the_hand_starts_from():
    hand = planted(OPTIMIZERS, [('f"v{name}": np.zeros_like(w)', 'f"v{name}": np.ones_like(w)')])
    (step,) = steps_of(experiment(), 1, hand)
    assert not any(v.any() for v in step.state["float64"].values())
    assert {*step.state["float64"]} == {"vW1", "vb1", "vW2", "vb2"}


def test_without_momentum_there_are_no_velocities():
    (step,) = steps_of(experiment(optimizer="gradient-descent"), 1)
    assert step.state["float64"] == {}
    assert "vW1" not in records_due(experiment(optimizer="gradient-descent"), 1)
    assert "vW1" in records_due(experiment(), 1)


def test_the_batches_are_as_torch_selects_them():
    steps = steps_of(experiment())
    assert [step.batch["X"].shape for step in steps] == [(5, 4), (5, 4), (5, 3)] * 2
    for step in steps:
        np.testing.assert_array_equal(step.batch["X"], step.printed.records["X"])
        assert step.batch["Y"].dtype == np.float64


def test_the_steps_end_with_the_last_batch():
    assert [step.number for step in recorded(experiment(), LOADED)] == [1, 2, 3, 4, 5, 6]


def test_a_step_that_is_not_whole_loses_no_batch():
    whole = [step.printed.records["X"] for step in steps_of(experiment())]
    more = planted(NETWORK, [("    return gradients\n", "    gradients['extra'] = X\n    return gradients\n")])
    steps = steps_of(experiment(), 4, more)
    assert [step.number for step in steps] == [1, 2, 3, 4]
    for step, X in zip(steps, whole[:4], strict=True):
        assert not step.is_whole
        np.testing.assert_array_equal(step.batch["X"], X)


def test_an_exception_ends_the_step_with_what_was_computed_by_then():
    hand = planted(NETWORK, [("db = dZ.sum(axis=1, keepdims=True)", "db = dZ.sum(axis=7, keepdims=True)")])
    (step,) = steps_of(experiment(), hand=hand)
    assert (step.ended.equation, step.ended.where.step) == ("B3", 1)
    assert step.printed.complete == {"forward", "loss"}
    assert {"J", "dZ2"} <= step.printed.records.keys()


def test_a_step_without_a_batch_is_recorded_as_such():
    endless = planted(BATCHES, [("for order in epoch_orders:", "for order in [*epoch_orders] * 3:")])
    *_, last = steps_of(experiment(), 20, endless)
    assert (last.number, last.ended.cause, last.ended.equation, last.due) == (7, NoBatch(7), "O2", {})
    assert last.printed.records == {}


def test_a_side_that_stops_before_the_other_has_recorded_nothing():
    shorter = ("enumerate(batches, start=1)", "enumerate([*batches][: 2 if X.dtype == 'f4' else 9], start=1)")
    steps = steps_of(experiment(), hand=planted(TRAINING, [shorter]))
    assert [len(step.sides["float32"].records) > 0 for step in steps] == [True, True, False]
    assert not steps[-1].is_whole


def test_a_derivation_that_raises_in_float32_goes_on_in_float64_alone():
    picky = ("return W @ A_prev + b", "assert W.dtype == np.float64, 'double precision'; return W @ A_prev + b")
    first, *steps = recorded(experiment(), LOADED, planted(NETWORK, [picky]))
    assert {(*step.sides,) for step in (first, *steps)} == {("float64",)}
    assert len(steps) == 5
    assert not any(step.notes for step in steps)
    (note,) = first.notes
    assert isinstance(note, Float64Only)
    assert (note.raised.exception, note.raised.file) == ("AssertionError", "manual/network.py")


def test_printed_in_float32_an_exception_there_ends_the_run():
    picky = ("return W @ A_prev + b", "assert W.dtype == np.float64, 'double precision'; return W @ A_prev + b")
    (step,) = recorded(experiment(dtype="float32"), LOADED, planted(NETWORK, [picky]))
    assert (step.ended.equation, step.notes) == ("F1", ())


def test_a_derivation_that_raises_in_float32_later_goes_on_as_well():
    picky = "assert W.dtype == np.float64 or A_prev.shape[1] == 4, 'full batches'; return W @ A_prev + b"
    steps = steps_of(experiment(), hand=planted(NETWORK, [("return W @ A_prev + b", picky)]))
    assert [len(step.sides) for step in steps] == [2, 2, 1, 1, 1, 1]
    assert [len(step.notes) for step in steps] == [0, 0, 1, 0, 0, 0]
