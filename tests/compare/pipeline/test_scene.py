"""The material in which the cause of a user's wrong tensor is sought."""

import numpy as np
import pytest
import torch

from handgrad import tap
from handgrad.compare.diagnosis.factors import LN2
from handgrad.compare.pipeline.evidence import Evidence
from handgrad.compare.pipeline.problem import problem_of
from handgrad.compare.pipeline.scene import scene_of_records
from handgrad.compare.trace import in_precision
from tests.corpus.layers import LINEAR, TANH

READS = {"Z": frozenset({"W", "b", "X"}), "J": frozenset({"Z", "C"})}


def evidence_of(layer, dtype="float64"):
    made = problem_of(layer.reference, layer.params, layer.batch, (dtype,))
    params, batch = in_precision(made.params, dtype), in_precision(made.batch, dtype)
    records = {name: np.asarray(value) for name, value in layer.derivation(params, *batch.values()).items()}
    return Evidence(layer.reference, params, batch, records)


def scene_of(layer, name, *, dtypes=("float64", "float32"), previous=None, usual=None):
    evidence = {dtype: evidence_of(layer, dtype) for dtype in dtypes}
    return scene_of_records(name, evidence=evidence, reads=READS, previous=previous or {}, usual=usual or {})


def test_a_scene_has_both_sides_and_all_that_was_at_hand():
    scene = scene_of(TANH.scaled("dW", 2.0), "dW")
    np.testing.assert_allclose(scene.recorded, 2 * scene.reference)
    assert {*scene.tensors} == {"W", "b", "X", "C", "Z", "dZ", "dW", "db", "dX"}
    assert (scene.parameters, scene.inputs) == ({"W", "b"}, {"X", "C"})
    assert (scene.of, scene.readers, scene.dtype) == ("W", ("Z",), "float64")


def test_the_reference_is_evaluated_on_what_was_returned():
    scene = scene_of(TANH.scaled("dZ", 2.0), "dW")
    np.testing.assert_allclose(scene.recorded, scene.reference / 2)


def test_what_was_not_returned_is_what_the_reference_makes_of_the_rest():
    scene = scene_of(TANH.without("Z", "dZ"), "dW")
    np.testing.assert_allclose(scene.tensors["Z"], TANH.derivation(TANH.params, *TANH.batch)["Z"])
    assert "J" not in scene.tensors


def test_a_replay_puts_other_tensors_in_their_places():
    scene = scene_of(TANH, "dW")
    W, dZ = scene.tensors["W"], scene.tensors["dZ"]
    np.testing.assert_allclose(scene.replayed({"dZ": 3 * dZ}), 3 * scene.reference)
    np.testing.assert_allclose(scene.replayed({"W": 2 * W}, of="Z") - scene.tensors["b"], 2 * W @ TANH.batch[0])
    assert scene.replayed({"dZ": dZ[1:]}) is None


def test_a_replay_outside_what_the_reference_takes_is_none():
    def in_torch(p, X, C):
        if bool((p["W"] > 10).any()):
            raise ValueError("too large")
        return TANH.reference(p, X, C)

    scene = scene_of(TANH._replace(reference=in_torch), "dW")
    assert scene.replayed({"W": 0 * scene.tensors["W"] + 11}) is None


@pytest.mark.parametrize("dtypes", [("float64",), ("float32",), ("float32", "float64")], ids=" ".join)
def test_the_finest_precision_is_shown(dtypes):
    assert scene_of(TANH, "dW", dtypes=dtypes).dtype == ("float64" if "float64" in dtypes else "float32")


def test_a_derivation_that_is_cast_throughout_has_the_roundings_of_float32():
    def cast(p, *batch):
        records = TANH.derivation(in_precision(p, "float32"), *(a.astype("float32") for a in batch))
        return in_precision(records, "float64")

    scene = scene_of(TANH._replace(derivation=cast), "dW")
    assert (scene.recorded.dtype, scene.dtype) == (np.float64, "float32")


def test_where_nothing_can_be_replayed_there_is_no_scene():
    assert scene_of(TANH.without("dW"), "dW") is None
    assert scene_of(TANH.returning(dW=lambda _: None), "dW") is None
    assert scene_of(TANH.returning(dW=lambda records: records["dW"][1:]), "dW") is None
    assert scene_of(TANH.returning(dQ=lambda records: records["dW"]), "dQ") is None


def test_sizes_have_the_names_of_their_axes():
    numbers = scene_of(LINEAR, "dW").numbers
    assert numbers == {
        "the size of axis 0 of X and axis 0 of Y": 6,
        "the size of axis 1 of X": 4,
        "the size of axis 1 of Y": 3,
        "ln 2": LN2,
    }


def test_of_a_short_batch_the_usual_size_is_a_number_too():
    short = LINEAR._replace(batch=tuple(array[:4] for array in LINEAR.batch))
    numbers = scene_of(short, "dW", usual={"X": (6, 4), "Y": (6, 3)}).numbers
    assert (numbers["n"], numbers["batch size"]) == (4, 6)
    assert "n" not in scene_of(LINEAR, "dW", usual={"X": (6, 4), "Y": (6, 3)}).numbers


def test_the_step_before_is_kept_as_far_as_it_is_real():
    previous = {"dW": np.ones((4, 3), "f4"), "note": np.array("x")}
    assert {name: array.dtype for name, array in scene_of(TANH, "dW", previous=previous).previous.items()} == {
        "dW": np.float64
    }


def test_whole_numbers_of_a_batch_are_at_hand_in_float64():
    def in_torch(p, index):
        return (tap("E", p["W"][index]) ** 2).sum()

    def by_hand(p, index):
        dW = np.zeros_like(p["W"])
        np.add.at(dW, index, 2 * p["W"][index])
        return {"E": p["W"][index], "dW": dW}

    layer = TANH._replace(derivation=by_hand, reference=in_torch, batch=(np.array([0, 2, 2]),))
    scene = scene_of(layer, "dW", dtypes=("float64",))
    assert scene.tensors["index"].dtype == np.float64
    assert scene.replayed({"E": 2 * scene.tensors["E"]}).shape == (4, 3)
    assert torch.is_tensor(in_torch({"W": torch.ones(4, 3)}, torch.tensor([0])))
