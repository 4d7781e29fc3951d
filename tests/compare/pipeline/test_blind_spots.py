"""Which conditions hold for a check: each is said where it holds, and not elsewhere."""

import numpy as np
import pytest

from handgrad.compare.facts.failures import Raised
from handgrad.compare.facts.remarks import Float32Only, Float64Only
from handgrad.compare.oracle.replay import Replay
from handgrad.compare.pipeline.blind_spots import (
    hardly_moved,
    of_arrays,
    of_gradients,
    of_initializer,
    of_precisions,
    of_training,
    of_updates,
)

rng = np.random.default_rng(0)
W, X = rng.standard_normal((2, 3)), rng.standard_normal((3, 5))


def tensors_by_code(spots):
    return {spot.code: spot.of for spot in spots}


def of_product(records=None, gradients=None, upstream="", **of_reference):
    """The blind spots of J(Z(W, X)), of which everything is returned unless told otherwise."""
    own = {"Z": W @ X, "dZ": np.ones((2, 5)), "dW": np.ones((2, 3)), "J": np.array(1.0)}
    due = {"dZ": own["dZ"], "dW": own["dW"]} if gradients is None else gradients
    reads = {"Z": frozenset({"W"}), "J": frozenset({"Z"})}
    run = {"values": {"Z": own["Z"]}, "gradients": due, "reads": reads, "side_outputs": frozenset(), **of_reference}
    spots = of_gradients(own if records is None else records, Replay(**run), {"W": W}, {"X": X}, upstream)
    return tensors_by_code(spots)


def test_a_revealing_comparison_of_gradients_hides_nothing():
    assert of_product() == {}


def test_intermediates_that_are_not_returned_are_named_and_parameters_are_not():
    assert of_product(records={"J": np.array(1.0)}) == {"not-returned": ("Z", "dZ")}


def test_a_loss_that_is_not_returned_is_said_and_is_no_intermediate():
    assert of_product(records={}) == {"loss-not-returned": (), "not-returned": ("Z", "dZ")}
    assert of_product(records={"Z": W @ X, "dZ": np.ones((2, 5))}) == {"loss-not-returned": ()}
    missing = {"Z": W @ X, "dZ": np.ones((2, 5)), "J": np.array(None)}
    assert of_product(records=missing) == {"loss-not-returned": ()}
    batches = [{"X": np.ones((2, n))} for n in (4, 3)]
    assert tensors_by_code(of_training(batches, {"dW", "J"}, [])) == {}
    (spot,) = of_training(batches, {"dW"}, [])
    assert (spot.code, spot.remedy) == ("loss-not-returned", "yield J")
    assert [spot.code for spot in of_training(batches, (), [])] == ["parameters-alone"]


@pytest.mark.parametrize(("size", "code"), [(0.0, "exactly-zero"), (1e-17, "rounding-alone"), (1e-10, None)])
def test_gradients_without_content_on_both_sides_are_named(size, code):
    small = {"dW": np.full((2, 3), size)}
    records = {"Z": W @ X, "dZ": np.ones((2, 5)), "J": np.array(1.0), **small}
    due = {"dZ": records["dZ"], **small}
    assert of_product(records=records, gradients=due) == ({code: ("dW",)} if code else {})


@pytest.mark.parametrize("own", [np.ones((2, 3)), np.full((2, 3), None)], ids=["large", "not real"])
def test_a_gradient_that_is_nothing_in_torch_alone_is_not_hidden(own):
    records = {"Z": W @ X, "dZ": np.ones((2, 5)), "dW": own, "J": np.array(1.0)}
    assert of_product(records=records, gradients={"dZ": records["dZ"], "dW": np.full((2, 3), 1e-17)}) == {}


OF_THE_REFERENCE = {
    "no tap on the way": ({"reads": {"J": frozenset({"W", "X"})}}, {"nothing-between": ()}),
    "not a function of W": ({"gradients": {"dZ": np.ones((2, 5))}}, {"frozen": ("W",)}),
    "a plain sum": ({"is_plain_sum": True}, {"unit-upstream": ()}),
    "the loss itself": ({"upstream": "loss"}, {"unit-upstream": ()}),
    "signs": (
        {"absent_signs": frozenset({("Z", "negative"), ("A", "negative"), ("J", "positive")})},
        {"no-negative-input": ("A", "Z"), "no-positive-input": ("J",)},
    ),
}


@pytest.mark.parametrize(("run", "spots"), OF_THE_REFERENCE.values(), ids=OF_THE_REFERENCE)
def test_what_the_reference_tells_is_said(run, spots):
    assert of_product(**run) == spots


def test_a_single_precision_is_named():
    assert of_precisions(("float64", "float32")) == ()
    spots = [of_precisions((dtype,))[0] for dtype in ("float64", "float32")]
    assert {spot.code for spot in spots} == {"one-precision"}
    assert spots[0].hides != spots[1].hides


@pytest.mark.parametrize(("note", "hides"), [(Float32Only(), "float32"), (Float64Only(Raised("E", "m")), "float64")])
@pytest.mark.parametrize("asked", [("float64", "float32"), ("float64",)], ids=len)
def test_a_derivation_that_has_one_precision_hides_what_that_hides(note, hides, asked):
    (spot,) = of_precisions(asked, [note])
    (given,) = of_precisions((hides,))
    assert (spot.code, spot.hides) == (given.code, given.hides)
    assert spot.remedy != given.remedy, "asking for both does not help"


def test_what_an_optimizer_hides():
    assert of_updates(5, 2, (), drawn=True) == ()
    spots = tensors_by_code(of_updates(4, 1, ("b",), drawn=False))
    assert spots == {"few-steps": (), "one-parameter": (), "given-gradients": (), "unmoved": ("b",)}


@pytest.mark.parametrize(
    ("memory", "steps", "holds"),
    [(0.999, 5, True), (0.999, 99, True), (0.999, 100, False), (0.99, 9, True), (0.99, 10, False), (0.9, 5, False)],
)
def test_steps_that_are_few_beside_what_a_moment_remembers_are_named(memory, steps, holds):
    for spots in (of_updates(steps, 2, (), memory, drawn=True), of_training([{"X": X}] * steps, {"dW"}, (), memory)):
        assert ("long-memory" in tensors_by_code(spots)) == holds


def test_a_moment_that_forgets_nothing_asks_for_no_steps():
    assert of_updates(5, 2, (), 1.0, drawn=True) == ()


def test_what_a_trainer_hides():
    short = [{"X": X}, {"X": X[:, :2]}]
    assert of_training(short, {"dW", "J"}, ()) == ()
    spots = tensors_by_code(of_training([{"X": X}], set(), ("b",)))
    assert spots == {"one-step": (), "no-short-batch": (), "parameters-alone": (), "unmoved": ("b",)}
    assert tensors_by_code(of_training(short[:1] * 2, {"dW", "J"}, ())) == {"no-short-batch": ()}
    assert tensors_by_code(of_training(short, {"dW", "J"}, ("b",), small=("W", "b"))) == {
        "unmoved": ("b",),
        "small-steps": ("W",),
    }


@pytest.mark.parametrize(("sizes", "small"), [((1e-14, 1e-14), ["W"]), ((1e-14, 1e-3), []), ((1e-3,), []), ((), [])])
def test_a_parameter_that_every_step_hardly_changes_is_named(sizes, small):
    assert hardly_moved([({"W": W}, {"W": W * (1 + size)}) for size in sizes], "float64") == small


INITIAL = {
    "nothing": ((3, 4), False, set()),
    "a square shape": ((4, 4), False, {"square-shape"}),
    "not a matrix": ((4, 4, 4), False, set()),
    "samples": ((3, 4), True, {"coarse-samples", "single-places", "dependence"}),
}


@pytest.mark.parametrize(("shape", "by_samples", "codes"), INITIAL.values(), ids=INITIAL)
def test_what_initial_weights_hide(shape, by_samples, codes):
    assert {spot.code for spot in of_initializer(shape, by_samples=by_samples)} == codes


symmetric = np.array([[1.0, 2.0], [2.0, 3.0]])
borders = np.array([[1.0, 2.0, 3.0], [2.0, 5.0, 6.0], [3.0, 7.0, 9.0]])  # its first row is its first column
ARRAYS = {
    "nothing": ({"W": W}, [X, X[:1]], {}),
    "one example": ({"W": W}, [X[:, :1], X[:2, :1]], {"one-example": ()}),
    "one label": ({"W": W}, [np.array([2])], {"one-example": ()}),
    "one example of as many outputs as inputs": ({"W": rng.random((5, 4))}, [X[:1], X[1:2, :]], {"one-example": ()}),
    "several examples of one number": ({"W": rng.random((4, 1))}, [X[:1], X[1:2, :]], {}),
    "one input of one example": ({"W": rng.random((5, 4))}, [X[:1]], {"one-example": ()}),
    "a parameter for each of several labels": ({"Z": W}, [np.array([2, 0])], {}),
    "one sequence": ({"W": rng.random((4, 3))}, [rng.random((1, 5, 4))], {}),
    "several labels": ({"W": W}, [np.array([2, 0, 1, 1])], {}),
    "as many examples as units": ({"W": W}, [rng.random((4, 3)), X[:2, :3]], {"examples-as-size": ("W's axis 1",)}),
    "one input": ({"W": W}, [X[:, :2]], {}),
    "a square input": ({"W": W}, [X[:, :3]], {"square-batch": ("0",)}),
    "square": ({"W": borders}, [X], {"square-weights": ("W",)}),
    "symmetric": ({"W": symmetric}, [X], {"square-weights": ("W",), "symmetric-weights": ("W",)}),
    "equal": (
        {"W": np.full((2, 3), 2.0), "b": W[0]},
        [np.ones((3, 5))],
        {"equal-entries": ("W", "0")},
    ),
    "equal at both ends": ({"W": np.array([[2.0, 1.0, 2.0]])}, [X], {}),
    "ones": ({"gamma": np.ones(3), "scale": np.ones(1)}, [X], {"unit-parameters": ("gamma", "scale")}),
    "zero": ({"W": np.zeros((2, 3))}, [X], {"zero-parameters": ("W",)}),
    "tied": ({"W": W, "V": W.copy(), "U": W + 1}, [X], {"equal-parameters": ("W", "V")}),
    "equal ends alone": ({"W": W, "V": np.where(np.arange(6).reshape(2, 3) == 2, 0.5, W)}, [X], {}),
    "zero biases": ({"W": W, "b": np.zeros(2), "c": np.zeros(2)}, [X], {"zero-parameters": ("b", "c")}),
    "0.04": ({"W": np.array([[0.04, -0.01, 0.02]])}, [np.arange(6.0).reshape(3, 2)], {"small-parameters": ()}),
    "0.06": ({"W": np.array([[0.06, -0.01, 0.02]])}, [np.arange(6.0).reshape(3, 2)], {}),
    "0.06 at the end": ({"W": np.r_[np.full(40, 0.01), 0.06]}, [np.arange(6.0).reshape(3, 2)], {}),
}


@pytest.mark.parametrize(("params", "batch", "spots"), ARRAYS.values(), ids=ARRAYS)
def test_what_values_and_sizes_hide(params, batch, spots):
    batch = {str(position): array for position, array in enumerate(batch)}
    assert tensors_by_code(of_arrays(params, batch)) == spots
