"""Which names, types and shapes a record may have, and what is said of the others."""

import numpy as np
import pytest

from handgrad.compare.facts.failures import NotComputed, NotReal, UnknownName, WrongShape
from handgrad.compare.facts.remarks import OtherShape
from handgrad.compare.names import Key, phase_of
from handgrad.compare.trace import frozen
from handgrad.compare.verdict.shapes import fitted, misfit, misfit_of_step
from tests.compare.verdict.witnesses import Told

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


def test_of_three_axes_none_is_turned():
    record = np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(fitted({"dp": record}, {"dp": (4, 3, 2)}).records["dp"], record.reshape(4, 3, 2))


def test_what_is_not_there_is_left_out():
    result = fitted({"dp": np.ones(2)}, {"dp": (2,), "dq": (2,)})
    assert ({*result.records}, result.notes, result.misshapen) == ({"dp"}, [], {})


def test_a_J_of_one_entry_is_a_note():
    assert fitted({"J": np.ones((1, 1))}, {"J": ()}).notes == [OtherShape("J", (1, 1), ())]


KEY = Key(1, "update", "W_next")
MISFITS = {  # by dtype what was recorded: verdict, cause and shape of the row
    "missing": ({"float64": None}, "MISSING", NotComputed(), (2,)),
    "missing in both": ({"float64": None, "float32": None}, "MISSING", NotComputed(), (2,)),
    "missing in one": ({"float64": np.ones(2), "float32": None}, "MISSING", NotComputed("", "float32"), (2,)),
    "a list": ({"float64": frozen([1.0])}, "MISSING", NotReal("a list"), ()),
    "complex": ({"float64": np.ones(2) * 1j}, "MISSING", NotReal("an array of dtype complex128"), (2,)),
    "texts": ({"float64": np.array(["a"])}, "MISSING", NotReal("an array of dtype <U1"), (1,)),
    "another shape": ({"float64": np.ones((2, 1))}, "FAULT", WrongShape((2, 1), (2,)), (2, 1)),
    "in both": ({"float64": np.ones(3), "float32": np.ones(3)}, "FAULT", WrongShape((3,), (2,)), (3,)),
    "in one": ({"float64": np.ones(2), "float32": np.ones(3)}, "FAULT", WrongShape((3,), (2,), "float32"), (3,)),
    "missing before shape": ({"float64": np.ones(3), "float32": None}, "MISSING", NotComputed("", "float32"), (2,)),
}


@pytest.mark.parametrize(("records", "verdict", "cause", "shape"), MISFITS.values(), ids=MISFITS)
def test_what_cannot_be_compared_is_a_finding(records, verdict, cause, shape):
    judgement = misfit(KEY, records, dict.fromkeys(records, (2,)), "O4")
    row, finding = judgement.row, judgement.finding
    assert (row.verdict, row.shape, row.equation, row.rho) == (verdict, shape, "O4", None)
    assert np.isnan(row.max_abs_diff)
    assert (finding.where, finding.verdict, finding.cause, finding.equation) == (KEY, verdict, cause, "O4")
    assert finding.worst is None
    assert judgement.differs


@pytest.mark.parametrize("record", [np.ones(2), np.ones(2, int), np.ones(2, bool), np.ones(2, "f2")], ids=str)
def test_real_numbers_in_their_shape_can_be_compared(record):
    assert misfit(KEY, {"float64": record, "float32": record}, {"float64": (2,), "float32": (2,)}) is None


def judged(name, records, torch, *others):
    """The judgement on a record of a step that torch has `torch` of; `others` are records in further precisions."""
    runs = {d: Told(r, torch, d) for d, r in zip(("float64", "float32"), (records, *others), strict=False)}
    return misfit_of_step(Key(1, phase_of(name), name), "", runs, (records, torch))


def test_a_record_that_fits_is_left_to_its_values():
    assert judged("Z1", {"Z1": np.ones(2)}, {"Z1": np.zeros(2)}) is None


@pytest.mark.parametrize(("returned", "similar"), [("dw1", "dW1"), ("grad", ""), ("dW11", "dW1")])
def test_a_name_that_torch_lacks_gets_the_nearest_of_those_that_are_missing(returned, similar):
    torch = {"dW1": np.ones(2), "db1": np.ones(2)}
    finding = judged(returned, {returned: np.ones(2), "db1": np.ones(2)}, torch).finding
    known = ("dW1",) if similar else ("dW1", "db1")  # of all where none of the missing is near
    assert (finding.verdict, finding.cause) == ("FAULT", UnknownName(similar, known))


def test_a_name_in_other_capitals_is_the_nearest():
    torch = {"DW2": np.ones(2), "dW1": np.ones(2)}
    assert judged("DW1", {"DW1": np.ones(2)}, torch).finding.cause.similar == "dW1"


def test_of_a_name_that_torch_lacks_the_type_comes_first():
    assert judged("extra", {"extra": frozen([1.0])}, {"Z": np.ones(2)}).finding.cause == NotReal("a list")


def test_what_neither_side_has_has_no_shape():
    judgement = judged("dW1", {"Z": np.ones(2)}, {"Z": np.ones(2)})
    assert (judgement.row.shape, judgement.finding.cause) == ((), NotComputed())


def test_where_none_is_missing_it_gets_the_nearest_of_all():
    torch = {"dW1": np.ones(2)}
    finding = judged("dw1", {"dw1": np.ones(2), "dW1": np.ones(2)}, torch).finding
    assert finding.cause == UnknownName("dW1", ("dW1",))


def test_a_name_that_is_missing_gets_the_nearest_that_was_returned_and_torch_lacks():
    judgement = judged("dW1", {"dw1": np.ones(2)}, {"dW1": np.ones((4, 3))})
    assert (judgement.row.verdict, judgement.row.shape) == ("MISSING", (4, 3))
    assert judgement.finding.cause == NotComputed("dw1")
    assert judged("dW1", {"Z": np.ones(2)}, {"dW1": np.ones(2), "Z": np.ones(2)}).finding.cause == NotComputed()


def test_a_record_of_another_shape_in_one_precision_says_which():
    torch = {"Z": np.ones(2)}
    judgement = judged("Z", {"Z": np.ones(2)}, torch, {"Z": np.ones((2, 2))})
    assert judgement.finding.cause == WrongShape((2, 2), (2,), "float32")
