"""What a cause says beyond its fields."""

import pytest

from handgrad.compare.facts.failures import shape_hint

HINTS = {
    "transposed": ((3, 4), (4, 3), ", it looks transposed"),
    "lost its axis": ((4,), (4, 1), ", it lost its last axis, and subtracting it would give (4, 4) by broadcasting"),
    "broadcast": ((4, 4), (4, 1), ", it looks broadcast to (4, 4)"),
    "nothing to say": ((2, 5), (4, 3), ""),
}


@pytest.mark.parametrize(("shape", "due", "hint"), HINTS.values(), ids=HINTS)
def test_what_a_wrong_shape_looks_like(shape, due, hint):
    assert shape_hint(shape, due) == hint
