"""The material in which the cause of a wrong tensor of the notes' network is sought."""

from dataclasses import replace

import numpy as np
import pytest

from handgrad.compare.diagnosis.ranking import diagnose
from handgrad.compare.experiment.data import load
from handgrad.compare.experiment.judging import NetworkJudge
from handgrad.compare.experiment.recording import recorded
from handgrad.compare.experiment.scene import scene_of_network
from handgrad.compare.faults.planting import planted
from handgrad.compare.pipeline.evidence import Evidence
from handgrad.compare.sandbox import quietly
from handgrad.compare.trace import real
from tests.compare.experiment.networks import DATA, NETWORK, TRAINING, experiment

LOADED = load(DATA)


def scene_of(name, *edits, number=3, dtype="float64", module=NETWORK, **fields):
    """The scene of a tensor at a step, the third of which has a short batch."""
    settings = experiment(**fields)
    steps = [*recorded(settings, LOADED, planted(module, edits) if edits else None)]
    step, judge = steps[number - 1], NetworkJudge(settings, LOADED)
    previous = steps[number - 2].sides[dtype].records if number > 1 else {}
    with quietly():
        local = judge.evaluated(step, dtype).local
    values = real(step.sides[dtype].records)
    batch = {n: values[n] for n in ("X", "Y") if n in values}
    here = Evidence(judge.reference, step.sides[dtype].before, batch, values, reads=judge.reads)
    alone = replace(step, sides={dtype: step.sides[dtype]})
    return scene_of_network(name, settings, LOADED, alone, here, local, previous)


def test_a_tensor_stands_beside_torchs_and_all_others():
    scene = scene_of("dZ1")
    assert scene.name == "dZ1"
    np.testing.assert_allclose(scene.recorded, scene.reference, rtol=1e-12)
    assert {"W1", "X", "A1", "dA1", "vW1", "vW1 before", "all of X", "all of Y"} <= scene.tensors.keys()
    assert scene.tensors["all of X"].shape == (5, 11)
    assert (scene.parameters, scene.inputs) == ({"W1", "b1", "W2", "b2"}, {"X", "Y"})
    assert {*scene.updated} == scene.parameters
    assert scene.reads["Z2"] == {"W2", "A1", "b2"}


def test_what_it_may_be_computed_from_can_be_replaced():
    scene = scene_of("dA1")
    np.testing.assert_allclose(scene.replayed({}), scene.reference, rtol=1e-12)
    doubled = scene.replayed({"W2": 2 * scene.tensors["W2"]})
    np.testing.assert_allclose(doubled, 2 * scene.reference, rtol=1e-12)


@pytest.mark.parametrize("name", ["X", "Y", "vW1", "b2_next"])
def test_nothing_is_replayed_of_batches_and_updates(name):
    assert scene_of(name).replay is None


def test_the_step_before_is_known():
    scene = scene_of("dW1", number=2)
    assert not np.array_equal(scene.previous["dW1"], scene.recorded)
    assert scene_of("dW1", number=1).previous == {}


def test_numbers_have_the_names_that_a_reader_knows():
    numbers = scene_of("dW1", l2=0.3).numbers
    assert (numbers["n"], numbers["batch size"], numbers["N"], numbers["K"], numbers["n_x"]) == (3, 4, 11, 2, 5)
    assert (numbers["learning rate"], numbers["l2"]) == (0.01, 0.3)
    assert numbers["beta"] + numbers["1 - beta"] == 1
    assert "batch size" not in scene_of("dW1", number=1).numbers, "the batch is not a short one"
    assert scene_of("dW1").settings["step"] == 3


def test_float32_is_told_by_what_was_recorded():
    assert scene_of("dW1").dtype == "float64"
    assert scene_of("dW1", dtype="float32").dtype == "float32"


NOTHING = {
    "not recorded": ("dW1", TRAINING, ('"backward", {**gradients}', '"backward", {}')),
    "unknown to torch": ("foo", TRAINING, ('"backward", {**gradients}', '"backward", {**gradients, "foo": X}')),
    "another shape": ("db1", NETWORK, ("dZ.sum(axis=1, keepdims=True)", "dZ.sum(axis=1)")),
    "without its batch": ("Z1", TRAINING, ('{"X": X_batch, "Y": Y_batch}', '{"Y": Y_batch}')),
}


@pytest.mark.parametrize(("name", "module", "edit"), NOTHING.values(), ids=NOTHING)
def test_where_there_is_nothing_to_compare_there_is_no_scene(name, module, edit):
    assert scene_of(name, edit, module=module, number=1, optimizer="gradient-descent") is None


def test_a_cause_is_found_in_it():
    (cause, *_) = diagnose(scene_of("dW1", ("dW = dZ @ A_prev.T", "dW = 3 * dZ @ A_prev.T"), l2=0.0))
    assert cause.code == "scale"
    assert cause.factor == pytest.approx(3.0)
    assert "n" in cause.names
