"""A user's reference run on its own tensors and on records, and what it is refused for."""

import numpy as np
import pytest
import torch

from handgrad import tap
from handgrad.compare.errors import InputError
from handgrad.compare.oracle.reference import check_repeatable, input_names, own_run, run_on_records

RNG = np.random.default_rng(6)
PARAMS = {"W": RNG.standard_normal((2, 3)), "unread": np.ones(2)}
BATCH = {"X": RNG.standard_normal((3, 4)), "Y": np.arange(4)}


def linear(p, X, Y):
    Z = tap("Z", p["W"] @ X)
    return (Z * Y).sum()


def test_inputs_have_the_names_of_the_parameters_or_numbers():
    assert input_names(linear, 2) == ["X", "Y"]
    assert input_names(lambda p, *batch: 0, 2) == ["input1", "input2"]
    assert input_names(lambda p, X, *rest: 0, 3) == ["X", "input2", "input3"]
    assert input_names(max, 1) == ["input1"]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_an_own_run_has_values_and_gradients_in_its_dtype(dtype):
    run = own_run(linear, PARAMS, BATCH, {}, dtype)
    assert run.values["Z"].dtype == run.gradients["dW"].dtype == dtype
    np.testing.assert_allclose(run.values["Z"], PARAMS["W"] @ BATCH["X"], rtol=1e-5)
    np.testing.assert_allclose(run.gradients["dW"], np.tile(BATCH["Y"], (2, 1)) @ BATCH["X"].T, rtol=1e-5)
    assert run.reads["Z"] == {"W"}
    assert {*run.gradients} == {"dZ", "dW"}


def test_a_gradient_that_was_returned_is_there_also_of_inputs_and_of_what_J_does_not_read():
    returned = {"dX": np.zeros((3, 4)), "dunread": np.zeros(2), "dY": np.zeros(4)}
    for run in (own_run(linear, PARAMS, BATCH, returned, "float64"), run_on_records(linear, PARAMS, BATCH, returned)):
        np.testing.assert_allclose(run.gradients["dX"], PARAMS["W"].T @ np.tile(BATCH["Y"], (2, 1)))
        np.testing.assert_array_equal(run.gradients["dunread"], np.zeros(2))
        assert "dY" not in run.gradients  # whole numbers have none


def test_on_records_every_operation_reads_what_is_recorded():
    records = {"Z": RNG.standard_normal((2, 4)), "dZ": RNG.standard_normal((2, 4))}
    run = run_on_records(linear, PARAMS, BATCH, records)
    np.testing.assert_allclose(run.values["J"], (records["Z"] * BATCH["Y"]).sum())
    np.testing.assert_allclose(run.gradients["dW"], records["dZ"] @ BATCH["X"].T)


def test_torch_makes_tensors_of_the_dtype_of_the_run():
    seen = []

    def reference(p, X, Y):
        seen.append(torch.zeros(1).dtype)
        return linear(p, X, Y)

    run_on_records(reference, PARAMS, BATCH, {})
    run_on_records(reference, PARAMS, BATCH, {}, "float32")
    assert seen == [torch.float64, torch.float32]
    assert torch.get_default_dtype() == torch.float32


def raising(p, X, Y):
    return p["W"] @ Y


def whole(p, X, Y):
    return (p["W"] @ X)[0] @ Y


def backward(p, X, Y):
    J = linear(p, X, Y)
    J.backward()
    J.backward()
    return J


def in_place(p, X, Y):
    X.mul_(2)
    return linear(p, X, Y)


def stopping(p, X, Y):
    raise SystemExit


REFUSED = {
    "raises": (raising, r"the reference raises RuntimeError in \S*test_reference.py line "),
    "stops": (stopping, "the reference raises SystemExit"),
    "whole numbers": (whole, "Y holds int64 and passes unchanged"),
    "calls backward": (backward, "it must leave backward"),
    "depends on no parameter": (lambda p, X, Y: X.sum(), "J depends on no parameter"),
    "detached": (lambda p, X, Y: (p["W"].detach() * 2).sum(), "J depends on no parameter"),
    "changes the batch": (in_place, "the reference changes X in place"),
    "no scalar": (lambda p, X, Y: p["W"] @ X, "must return the scalar J"),
}


@pytest.mark.parametrize(("reference", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_a_reference_is_refused_in_one_line(reference, words):
    with pytest.raises(InputError, match=words) as caught:
        own_run(reference, PARAMS, BATCH, {}, "float64")
    assert "\n" not in str(caught.value)


class Drawing:
    """A reference whose answer is off by so much at every other call."""

    def __init__(self, off, of="J"):
        self.off, self.of, self.calls = off, of, 0

    def __call__(self, p, X, Y):
        self.calls += 1
        factor = 1 + self.off * (self.calls % 2 == 0)
        Z = tap("Z", p["W"] @ X * (factor if self.of == "Z" else 1))
        return (Z.detach() * 0).sum() + (Z * Y).sum() * (factor if self.of == "J" else 1)


@pytest.mark.parametrize(("off", "of", "words"), [
    (1e-5, "J", "the reference gives J = "),
    (1e-5, "Z", "gives two answers for Z"),
    (1e-7, "J", None),
    (0.0, "J", None),
])  # fmt: skip
def test_a_reference_has_to_give_one_answer_but_for_another_order_of_summation(off, of, words):
    reference = Drawing(off, of)
    first = own_run(reference, PARAMS, BATCH, {}, "float64")
    if words is None:
        check_repeatable(reference, PARAMS, BATCH, "float64", first)
        return
    with pytest.raises(InputError, match=words):
        check_repeatable(reference, PARAMS, BATCH, "float64", first)


def test_a_reference_that_writes_into_what_a_tap_is_a_view_of_is_told_so():
    def reference(p, X, Y):
        Z = p["W"] @ X
        row = tap("row", Z[0])
        row.mul_(2.0)
        return (Z * Y).sum()

    first = own_run(reference, PARAMS, BATCH, {}, "float64")
    with pytest.raises(InputError, match="where taps do nothing"):
        check_repeatable(reference, PARAMS, BATCH, "float64", first)


def test_nan_is_the_same_answer_as_nan():
    def reference(p, X, Y):
        return (p["W"] @ X / torch.zeros(4) * 0).sum()

    check_repeatable(reference, PARAMS, BATCH, "float64", own_run(reference, PARAMS, BATCH, {}, "float64"))
