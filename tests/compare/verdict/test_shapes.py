"""Which shapes a gradient may have, and what is said of the others."""

import numpy as np
import pytest

from handgrad.compare.facts.failures import WrongShape
from handgrad.compare.facts.remarks import OtherShape
from handgrad.compare.verdict.shapes import fitted

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


@pytest.mark.parametrize(("shape", "due", "kind"), FITS.values(), ids=FITS)
def test_what_can_be_subtracted_without_growing_is_a_note(shape, due, kind):
    """The rule: np.broadcast_shapes(p.shape, d.shape) == p.shape, and as many entries."""
    record = np.arange(float(np.prod(shape, dtype=int))).reshape(shape)
    result = fitted({"dp": record}, {"dp": due})
    assert result.notes == ([OtherShape("dp", shape, due)] if kind == "note" else [])
    assert result.misshapen == ({"dp": WrongShape(shape, due)} if kind == "shape" else {})
    if kind != "other size":
        assert result.records["dp"].shape == due
    try:
        subtractable = np.broadcast_shapes(due, shape) == due and record.size == np.prod(due, dtype=int)
    except ValueError:
        subtractable = False
    assert subtractable == (kind in ("ok", "note"))


def test_the_values_of_a_transposed_one_are_turned_back():
    record = np.arange(12.0).reshape(3, 4)
    np.testing.assert_array_equal(fitted({"dp": record}, {"dp": (4, 3)}).records["dp"], record.T)


def test_a_J_of_one_entry_is_a_note():
    assert fitted({"J": np.ones((1, 1))}, {"J": ()}).notes == [OtherShape("J", (1, 1), ())]
