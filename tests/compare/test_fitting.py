"""Which shapes a gradient may have, and what is said of the others."""

import numpy as np
import pytest

from handgrad.compare.verdict.shapes import fitted, shape_hint

FITS = {
    "the same": ((4, 3), (4, 3), "ok"),
    "vector for a row": ((4,), (1, 4), "note"),
    "row for a vector": ((1, 4), (4,), "shape"),
    "vector for a column": ((4,), (4, 1), "shape"),
    "row for a column": ((1, 4), (4, 1), "shape"),
    "transposed": ((3, 4), (4, 3), "shape"),
    "scalar for one": ((), (1,), "note"),
    "one for a scalar": ((1,), (), "shape"),
    "fewer": ((3,), (4, 3), "other size"),
}


@pytest.mark.parametrize(("got", "expected", "kind"), FITS.values(), ids=FITS)
def test_what_can_be_subtracted_without_growing_is_a_note(got, expected, kind):
    """The rule: np.broadcast_shapes(p.shape, d.shape) == p.shape, and as many entries."""
    record = np.arange(float(np.prod(got, dtype=int))).reshape(got)
    found = fitted({"dp": record}, {"dp": expected})
    assert bool(found.notes) == (kind == "note")
    assert bool(found.misshapen) == (kind == "shape")
    if kind != "other size":
        assert found.records["dp"].shape == expected
    try:
        subtractable = np.broadcast_shapes(expected, got) == expected and record.size == np.prod(expected, dtype=int)
    except ValueError:
        subtractable = False
    assert subtractable == (kind in ("ok", "note"))


def test_the_values_of_a_transposed_one_are_turned_back():
    record = np.arange(12.0).reshape(3, 4)
    np.testing.assert_array_equal(fitted({"dp": record}, {"dp": (4, 3)}).records["dp"], record.T)


def test_a_J_of_one_entry_is_a_note():
    assert fitted({"J": np.ones((1, 1))}, {"J": ()}).notes == [
        "J has shape (1, 1) where () is due; it has the same entries."
    ]


HINTS = {
    "transposed": ((3, 4), (4, 3), "looks transposed"),
    "lost its axis": ((4,), (4, 1), "lost its last axis, and subtracting it would give (4, 4) by broadcasting"),
    "broadcast": ((4, 4), (4, 1), "looks broadcast to (4, 4)"),
    "nothing to say": ((2, 5), (4, 3), ""),
}


@pytest.mark.parametrize(("got", "expected", "words"), HINTS.values(), ids=HINTS)
def test_what_a_wrong_shape_looks_like(got, expected, words):
    assert words in shape_hint(got, expected)
    assert bool(shape_hint(got, expected)) == bool(words)
