"""The arguments of a check: what can be used is taken in any form, what cannot is refused with the remedy."""

import numpy as np
import pytest
import torch

from handgrad import InputError, check_gradients
from handgrad.compare.pipeline.problem import checked_arrays, checked_precisions, problem_of
from tests.corpus.layers import TANH

BOTH = ("float64", "float32")
X, C = TANH.batch


def problem(**changes):
    arguments = {"reference": TANH.reference, "params": TANH.params, "batch": TANH.batch, "precisions": BOTH}
    return problem_of(**{**arguments, **changes})


def test_arrays_go_by_the_names_of_the_references_parameters():
    made = problem()
    assert ([*made.params], [*made.batch], made.printed) == (["W", "b"], ["X", "C"], "float64")
    assert made.usual == {"X": (3, 6), "C": (4, 6)}


def test_where_the_reference_has_no_names_inputs_are_numbered():
    assert [*problem(reference=lambda p, *inputs: p["W"].sum()).batch] == ["input1", "input2"]


def test_the_same_problem_on_another_batch_keeps_the_shapes_that_a_batch_usually_has():
    short = problem().on({"X": X[:, :2], "C": C[:, :2]})
    assert short.batch["X"].shape == (3, 2)
    assert short.usual["X"] == (3, 6)


FORMS = {
    "big-endian": (np.ones((4, 3), ">f8"), "float64"),
    "float32": (np.ones((4, 3), "f4"), "float32"),
    "lists": ([[1.0] * 3] * 4, "float64"),
    "a number": (1.5, "float64"),
    "float16": (np.ones((4, 3), "f2"), "float32"),
    "bfloat16": (torch.ones(4, 3, dtype=torch.bfloat16, requires_grad=True), "float32"),
    "extended": (np.ones((4, 3), np.longdouble), "float64"),
}


@pytest.mark.parametrize(("value", "dtype"), FORMS.values(), ids=FORMS)
def test_parameters_in_another_form_are_taken(value, dtype):
    (array,) = checked_arrays("params", {"W": value}, trained=True).values()
    assert array.dtype == dtype
    assert array.dtype.isnative
    assert not array.flags.writeable


def test_what_is_handed_over_is_copied():
    W = np.ones(3)
    made = checked_arrays("params", {"W": W}, trained=True)
    W[:] = 2
    np.testing.assert_array_equal(made["W"], np.ones(3))


def test_whole_numbers_pass_in_a_batch():
    made = checked_arrays("batch", {"y": np.array([1, 0], ">i4"), "m": np.array([True])}, trained=False)
    assert [array.dtype.kind for array in made.values()] == ["i", "b"]


PRECISIONS = {
    "one name": ("float64", ("float64",)),
    "one twice": (["float32", "float32"], ("float32",)),
    "an iterator": (iter(["float64"]), ("float64",)),
    "float32 first": (("float32", "float64"), ("float32", "float64")),
}


@pytest.mark.parametrize(("asked", "given"), PRECISIONS.values(), ids=PRECISIONS)
def test_precisions_come_each_once_and_in_order(asked, given):
    assert checked_precisions(asked) == given


@pytest.mark.parametrize("asked", ["float16", (), None, 5, ("float16",), ("float64", "bfloat16")], ids=repr)
def test_other_precisions_are_refused(asked):
    with pytest.raises(InputError, match="'float64' and 'float32'"):
        checked_precisions(asked)


def of(name, value):
    return {"params": {**TANH.params, name: value}}


REFUSED = {
    "no reference": ({"reference": None}, "reference is None"),
    "a list of params": ({"params": [1.0]}, "params is a list; it must be a dict"),
    "no params": ({"params": {}}, "params is empty"),
    "integer params": (of("b", np.array([[1]])), "holds int64; what is trained must be floating"),
    "nan": (of("b", np.nan), "holds nan or infinity"),
    "infinity": ({"batch": (np.full((3, 6), np.inf), C)}, r"batch\['X'\] holds nan or infinity"),
    "empty": (of("b", []), "no entry"),
    "words": (of("b", "x"), "array of real numbers"),
    "complex": (of("b", np.ones((4, 1), complex)), r"complex128; it must be an array of real numbers.*\.real and"),
    "a format that NumPy lacks": (of("b", np.zeros((4, 1), "V2")), r"V2; .* at most 64 bits, so write \.astype"),
    "a matrix": (of("b", np.ones((4, 1)).view(np.matrix)), r"a matrix, whose \* .*np\.asarray"),
    "a matrix in the batch": ({"batch": (X.view(np.matrix), C)}, r"batch\['X'\] is a matrix"),
    "objects": (of("b", np.full((4, 1), None)), "an ndarray; it must be an array of real numbers"),
    "an array for a batch": ({"batch": X}, "batch is an ndarray; it must be a tuple"),
    "a dict for a batch": ({"batch": {"X": X}}, "batch is a dict; it must be a tuple"),
    "too large for float32": (of("b", np.full((4, 1), 1e39)), "float32 holds no more than"),
    "too large in the batch": ({"batch": (X, 1e39 * C)}, "rescale it, or check with precisions="),
    "one name twice": ({"params": {"X": X}}, "'X' names a parameter and an input"),
}


@pytest.mark.parametrize(("changes", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_used_is_refused_in_one_line(changes, words):
    with pytest.raises(InputError, match=words) as caught:
        problem(**changes)
    assert "\n" not in str(caught.value)


def test_what_float32_cannot_hold_is_taken_in_float64_alone():
    problem(**of("b", np.full((4, 1), 1e39)), precisions=("float64",))


@pytest.mark.parametrize("short", [np.float16, np.dtype(">f2")], ids=str)
def test_numbers_of_16_bits_keep_their_values_and_warn_of_nothing(short, recwarn):
    params = {name: array.astype(short) for name, array in TANH.params.items()}
    made = problem(params=params)
    for name, array in params.items():
        np.testing.assert_array_equal(made.params[name], array.astype(float))
    assert check_gradients(*TANH[:2], params, TANH.batch).findings == ()
    (finding,) = check_gradients(*TANH.scaled("dW", 2.0)[:2], params, TANH.batch).findings
    assert finding.where.name == "dW"
    assert not recwarn.list


# --- as check_gradients hands them on


def test_arguments_in_another_form_are_taken():
    swapped = {name: array.astype(">f8") for name, array in TANH.params.items()}
    assert check_gradients(*TANH._replace(params=swapped)).findings == ()
    report = check_gradients(
        lambda p, y: {"J": (p["w"] * y).sum(), "dw": y * 1.0},
        lambda p, y: (p["w"] * y).sum(),
        {"w": np.ones(4)},
        (np.array([1, 0, 2, 1], dtype=">i4"),),
        precisions=iter(["float64"]),
    )
    assert report.findings == ()


def test_a_derivation_must_be_a_function():
    with pytest.raises(InputError, match="derivation is an int"):
        check_gradients(3, *TANH[1:])


def test_whole_numbers_where_floats_are_due_come_with_a_remedy():
    with pytest.raises(InputError, match=r"X holds int64 and passes unchanged, so perhaps write .astype\(float\)"):
        check_gradients(*TANH[:3], (np.ones((3, 6), int), C))
