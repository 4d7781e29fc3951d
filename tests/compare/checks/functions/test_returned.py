"""What is returned beside the numbers that have gradients: other precisions, indices and masks, what is no tensor."""

import pytest
import torch

from handgrad import InputError, check_function
from handgrad.compare.facts.failures import WrongShape
from handgrad.compare.facts.functions import CoarserInside, LowerPrecision, NotCompared, NotEqual, OtherPrecision

X = torch.randn(5, 7, generator=torch.Generator().manual_seed(3))


def square(x):
    return x * x


def told(report):
    return {f.where.name: (f.where.phase, f.cause) for f in report.findings}


# --- precisions


@pytest.mark.parametrize("given", [torch.float32, torch.float64], ids=str)
def test_an_output_of_fewer_digits_than_the_inputs_is_a_fault_and_judged_in_those(given):
    report = check_function(lambda x: square(x).bfloat16(), square, X.to(given))
    assert told(report) == {"y": ("forward", LowerPrecision("bfloat16", str(given)[6:]))}
    assert CoarserInside("bfloat16") in report.notes
    assert {row.verdict for row in report.rows} == {"OK"}
    wrong = check_function(lambda x: (1.1 * square(x)).bfloat16(), square, X.to(given))
    assert {f.cause.code for f in wrong.findings if f.where.name == "y"} == {"dtype", "scale"}


def test_it_is_none_where_the_reference_does_the_same():
    def both(x):
        return square(x).bfloat16()

    report = check_function(both, both, X)
    assert report.findings == (), str(report)
    with torch.autocast("cpu", torch.bfloat16):
        report = check_function(lambda a, b: a @ b, lambda a, b: a @ b, (X, X[:3, :].T.contiguous()))
    assert report.findings == (), str(report)
    assert CoarserInside("bfloat16") in report.notes


def test_more_digits_than_the_inputs_are_a_note():
    note = OtherPrecision("y", "float32", "bfloat16")
    report = check_function(lambda x: square(x.float()), square, X.bfloat16())
    assert report.findings == (), str(report)
    assert note in report.notes
    assert note not in check_function(square, square, X.bfloat16()).notes
    assert note not in check_function(*[lambda x: square(x.float())] * 2, X.bfloat16()).notes


# --- indices and masks


def test_indices_and_masks_are_equal_or_a_fault():
    def both(x):
        return square(x), x.argmax(1), x > 0

    assert told(check_function(both, both, X)) == {}
    report = check_function(lambda x: (square(x), x.argmin(1), x > 0), both, X)
    assert told(report) == {"returned2": ("forward", NotEqual(5, 5))}
    off = X.flatten()[3].item()
    report = check_function(lambda x: (square(x), x.argmax(1), (x > 0) ^ (x == off)), both, X)
    assert told(report) == {"returned3": ("forward", NotEqual(1, 35))}
    report = check_function(lambda x: (square(x), x.argmax(1), (x > 0)[:3]), both, X)
    assert told(report) == {"returned3": ("forward", WrongShape((3, 7), (5, 7)))}


def test_an_index_that_rounding_decides_is_right():
    """Two columns that differ by less than bfloat16 holds once they are computed."""
    x = torch.stack([torch.full((9,), 1.0), torch.full((9,), 1.0 + 2.0**-7), torch.full((9,), -3.0)], 1).bfloat16()
    x.requires_grad_()

    def reference(x):
        z = x * 1.3 + 5
        return z, z.argmax(1)

    def swapped(x):
        z = x * 1.3 + 5
        return z, torch.zeros(9, dtype=torch.int64)

    def third(x):
        return swapped(x)[0], torch.full((9,), 2)

    assert told(check_function(swapped, reference, x)) == {}
    assert told(check_function(third, reference, x)) == {"returned2": ("forward", NotEqual(9, 9))}


@pytest.mark.parametrize(("mine", "theirs", "names"), [
    (lambda x: (None,), lambda x: (7,), ("returned2",)),
    (lambda x: (None, 3), lambda x: (None, 3), ()),
    (lambda x: (x > 0,), lambda x: (), ("returned2",)),
    (lambda x: (), lambda x: (x > 0,), ("one of the reference's (Tensor)",)),
])  # fmt: skip
def test_what_is_no_tensor_on_both_sides_is_a_note(mine, theirs, names):
    report = check_function(lambda x: (square(x), *mine(x)), lambda x: (square(x), *theirs(x)), X)
    assert report.findings == (), str(report)
    assert [note.names for note in report.notes if isinstance(note, NotCompared)] == ([names] if names else [])


# --- what the reference computes in


@pytest.mark.parametrize("requires", [False, True])
def test_a_reference_may_have_float32_from_outside(requires):
    w, b = X[:3].clone().requires_grad_(requires), X[0, :3].clone()

    def linear(x):
        return torch.nn.functional.linear(x, w, b) @ torch.diag(b)

    assert told(check_function(linear, linear, X)) == {}
    wrong = check_function(lambda x: linear(x) * 1.001, linear, X)
    assert {f.cause.code for f in wrong.findings} == {"scale"}


@pytest.mark.parametrize(
    "reference", [lambda x: torch.complex(x * x, x), lambda x: torch.fft.rfft(x).abs()], ids=["output", "inside"]
)
def test_complex_numbers_are_an_input_error_that_says_so(reference):
    with pytest.raises(InputError, match=r"complex numbers in .* real and imaginary parts"):
        check_function(reference, reference, X)
