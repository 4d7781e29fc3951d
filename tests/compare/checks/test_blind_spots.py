"""What a check of a user's own code could not show."""

import numpy as np
import pytest

from handgrad.compare.checks.blind_spots import (
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


def of_product(records=None, gradients=None, params=None):
    """The blind spots of J(Z(W, X)), of which everything is returned unless told otherwise."""
    own = {"Z": W @ X, "dZ": np.ones((2, 5)), "dW": np.ones((2, 3))}
    due = {"dZ": own["dZ"], "dW": own["dW"], **(gradients or {})}
    return tensors_by_code(of_gradients(own if records is None else records, ["Z"], due, params or {"W": W}, {"X": X}))


def test_a_revealing_comparison_of_gradients_hides_nothing():
    assert of_product() == {}


def test_intermediates_that_are_not_returned_are_named_and_parameters_are_not():
    assert of_product(records={}) == {"not-returned": ("Z", "dZ")}


def test_square_and_zero_parameters_are_named():
    params = {"W": np.zeros((2, 2)), "b": rng.standard_normal((1, 1))}
    assert of_product(params=params) == {"square-weights": ("W",), "zero-parameters": ("W",)}


@pytest.mark.parametrize(("size", "code"), [(0.0, "exactly-zero"), (1e-17, "rounding-alone"), (1e-10, None)])
def test_gradients_without_content_on_both_sides_are_named(size, code):
    small = {"dW": np.full((2, 3), size)}
    records = {"Z": W @ X, "dZ": np.ones((2, 5)), **small}
    assert of_product(records=records, gradients=small) == ({code: ("dW",)} if code else {})


@pytest.mark.parametrize("own", [np.ones((2, 3)), np.full((2, 3), None)], ids=["large", "not real"])
def test_a_gradient_that_is_nothing_in_torch_alone_is_not_hidden(own):
    records = {"Z": W @ X, "dZ": np.ones((2, 5)), "dW": own}
    assert of_product(records=records, gradients={"dW": np.full((2, 3), 1e-17)}) == {}


def test_a_single_precision_is_named():
    assert of_precisions(("float64", "float32")) == ()
    spots = [of_precisions((dtype,))[0] for dtype in ("float64", "float32")]
    assert {spot.code for spot in spots} == {"one-precision"}
    assert spots[0].hides != spots[1].hides


def test_what_an_optimizer_hides():
    assert of_updates(5, 2, (), drawn=True) == ()
    spots = tensors_by_code(of_updates(4, 1, ("b",), drawn=False))
    assert spots == {"few-steps": (), "one-parameter": (), "given-gradients": (), "unmoved": ("b",)}


def test_what_a_trainer_hides():
    short = [{"X": X}, {"X": X[:, :2]}]
    assert of_training(short, {"dW"}, ()) == ()
    spots = tensors_by_code(of_training([{"X": X}], set(), ("b",)))
    assert spots == {"one-step": (), "no-short-batch": (), "parameters-alone": (), "unmoved": ("b",)}
    assert tensors_by_code(of_training(short[:1] * 2, {"dW"}, ())) == {"no-short-batch": ()}


INITIAL = {
    "nothing": ((3, 4), False, set()),
    "a square shape": ((4, 4), False, {"square-shape"}),
    "not a matrix": ((4, 4, 4), False, set()),
    "samples": ((3, 4), True, {"coarse-samples", "dependence"}),
}


@pytest.mark.parametrize(("shape", "by_samples", "codes"), INITIAL.values(), ids=INITIAL)
def test_what_initial_weights_hide(shape, by_samples, codes):
    assert {spot.code for spot in of_initializer(shape, by_samples=by_samples)} == codes


symmetric = np.array([[1.0, 2.0], [2.0, 3.0]])
ARRAYS = {
    "nothing": ({"W": W}, [X, X[:1]], {}),
    "one example": ({"W": W}, [X[:, :1], X[:2, :1]], {"one-example": ()}),
    "as many examples as units": ({"W": W}, [X[:, :3], X[:2, :3]], {"examples-as-size": ("W's axis 1",)}),
    "one input": ({"W": W}, [X[:, :3]], {}),
    "symmetric": ({"W": symmetric}, [X], {"symmetric-weights": ("W",)}),
    "equal": ({"W": np.ones((2, 3))}, [np.ones((3, 5))], {"equal-entries": ("W", "input 1")}),
    "zero": ({"W": np.zeros((2, 3))}, [X], {}),
    "0.04": ({"W": np.array([[0.04, -0.01, 0.02]])}, [np.arange(6.0).reshape(3, 2)], {"small-parameters": ()}),
    "0.06": ({"W": np.array([[0.06, -0.01, 0.02]])}, [np.arange(6.0).reshape(3, 2)], {}),
}


@pytest.mark.parametrize(("params", "batch", "spots"), ARRAYS.values(), ids=ARRAYS)
def test_what_values_and_sizes_hide(params, batch, spots):
    assert tensors_by_code(of_arrays(params, batch)) == spots
