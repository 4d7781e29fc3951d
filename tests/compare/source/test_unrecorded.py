from dataclasses import replace

import pytest

from handgrad.compare.facts.causes import Unknown
from handgrad.compare.names import Key, phase_of
from handgrad.compare.results import Details, Finding, Results, Row, Worst
from handgrad.compare.source.unrecorded import NothingTapped, Unrecorded, is_untapped, to_record


def wrong(name, dtype=""):
    return Finding(Key(1, phase_of(name), name), "FAULT", Unknown(), worst=Worst((), 1.0, 2.0, dtype))


def act_of(results):
    return "yield" if any(row.phase == "update" for row in results.rows) else "return"


READS = {"Z1": ("W1", "X", "b1"), "A1": ("Z1",), "Z2": ("W2", "A1"), "J": ("Z2", "Y")}


def results(*names, reads=READS):
    """A run that recorded these names."""
    return Results(tuple(Row(1, phase_of(name), name, "", (), 0.0) for name in names), details=Details(reads=reads))


@pytest.mark.parametrize(
    ("recorded", "name", "fact"),
    [
        (("J", "db1"), "db1", Unrecorded(("J",), "db1", ("dZ1", "dA1", "dZ2"))),
        (("db1",), "db1", Unrecorded(("J",), "db1", ("J", "dZ1", "dA1", "dZ2"))),
        (("J", "dZ2", "dW1"), "dW1", Unrecorded(("dZ2",), "dW1", ("dZ1", "dA1"))),
        (("J", "dZ2", "dA1", "dZ1"), "dZ1", Unrecorded(("dA1",), "dZ1")),
        (("J", "dZ2"), "dZ2", Unrecorded(("J",), "dZ2")),
        (("dZ2",), "dZ2", Unrecorded(("J",), "dZ2", ("J",))),
        (("J",), "J", Unrecorded(("Y", "W2", "W1", "X", "b1"), "J", ("Z2", "A1", "Z1"))),
        (("J", "A1"), "J", Unrecorded(("Y", "W2", "A1"), "J", ("Z2",))),
        (("Z1",), "Z1", Unrecorded(("W1", "X", "b1"), "Z1")),
        (("J", "W1_next"), "W1_next", Unrecorded(("J",), "W1_next", ("dW1",))),
        (("J", "vW1"), "vW1", Unrecorded(("J",), "vW1", ("dW1",))),
        (("J", "dW1", "W1_next"), "W1_next", None),
        (("J",), "dQ", None),
    ],
)
def test_what_to_return_next_lies_between_the_tensor_and_what_was_recorded(recorded, name, fact):
    run = results(*recorded)
    assert to_record(run, wrong(name)) == (fact and replace(fact, act=act_of(run)))


def test_a_trainer_yields_what_a_derivation_returns():
    assert to_record(results("J", "db1", "W1_next"), wrong("db1")).act == "yield"
    assert to_record(results("J", "db1"), wrong("db1")).act == "return"
    assert to_record(results("dW1", "W1_next", reads={"J": ("W1", "X")}), wrong("dW1")) == NothingTapped("yield")


def test_where_one_precision_alone_differs_there_is_nothing_to_tap():
    assert to_record(results("J", "dZ2"), wrong("dZ2", "float32")) is None
    assert to_record(results("J", "dZ2"), wrong("dZ2")) is not None


def test_a_value_that_is_read_twice_leads_to_both_readers_once():
    reads = {"H": ("X",), "A": ("H", "W"), "B": ("H", "V"), "J": ("A", "B")}
    assert to_record(results("J", "dA", reads=reads), wrong("dX")) == Unrecorded(("dA", "J"), "dX", ("dH", "dB"))


def test_where_nothing_is_tapped_that_is_said():
    bare = results("dW1", reads={"J": ("W1", "X")})
    assert is_untapped(bare)
    assert to_record(bare, wrong("dW1")) == NothingTapped()
    assert to_record(bare, wrong("W1_next")) is None, "its gradient was returned"
    assert not is_untapped(results())
    assert not is_untapped(results(reads={}))
    assert to_record(results("W1_next", reads={}), wrong("W1_next")) is None


def test_each_says_what_to_do():
    assert str(Unrecorded(("J",), "db1", ("dZ1", "dA1"))) == ("between J and db1 nothing was recorded: return dZ1, dA1")
    assert str(Unrecorded(("dA1",), "dZ1")) == (
        "between dA1 and dZ1 nothing is tapped: if several operations lead there, tap a value between them and "
        "return it"
    )
    assert "tap(" in str(NothingTapped())
    assert str(Unrecorded(tuple("abcdef"), "J", tuple("123456789"))) == (
        "between a, b, c ... and J nothing was recorded: return 1, 2, 3, 4, 5, 6 ..."
    )
