from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from handgrad import check_gradients, tap
from handgrad.compare.facts.causes import Scaled, Unknown
from handgrad.compare.facts.remarks import AsFloat32, Tap, Unrecorded
from handgrad.compare.names import Key, phase_of
from handgrad.compare.ownership import named
from handgrad.compare.report.stored import read
from handgrad.compare.results import Details, Finding, Results, Row, Worst
from handgrad.compare.source.unrecorded import narrowed, to_record


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


def test_where_one_precision_alone_differs_there_is_nothing_to_tap():
    assert to_record(results("J", "dZ2"), wrong("dZ2", "float32")) is None
    assert to_record(results("J", "dZ2"), wrong("dZ2")) is not None


def test_a_value_that_is_read_twice_leads_to_both_readers_once():
    reads = {"H": ("X",), "A": ("H", "W"), "B": ("H", "V"), "J": ("A", "B")}
    assert to_record(results("J", "dA", reads=reads), wrong("dX")) == Unrecorded(("dA", "J"), "dX", ("dH", "dB"))


def test_where_nothing_is_tapped_nothing_can_be_returned_yet():
    bare = results("dW1", reads={"J": ("W1", "X")})
    assert bare.details.is_untapped
    assert to_record(bare, wrong("dW1")) == Unrecorded(("J",), "dW1", ("J",))
    bare = results("J", "dW1", reads={"J": ("W1", "X")})
    assert to_record(bare, wrong("dW1")) == Unrecorded(("J",), "dW1")
    assert to_record(bare, wrong("W1_next")) is None, "its gradient was returned"
    assert not results().details.is_untapped
    assert not results(reads={}).details.is_untapped
    assert to_record(results("W1_next", reads={}), wrong("W1_next")) is None


def test_every_finding_that_nothing_explains_says_what_to_return_before_its_other_circumstances():
    first, second = (replace(wrong(name), circumstances=(AsFloat32(),)) for name in ("dZ1", "dW1"))
    named_one = replace(wrong("dA1"), cause=Scaled(2.0))
    run = replace(results("J", "dA1", "dZ1", "dW1"), findings=(named_one, first, second))
    told = narrowed(run, lambda _: None).findings
    assert told[0] == named_one
    assert told[1].circumstances == (Unrecorded(("dA1",), "dZ1"), AsFloat32())
    assert told[2].circumstances == (Unrecorded(("dZ1",), "dW1"), AsFloat32())
    assert narrowed(replace(run, findings=(named_one,)), lambda _: None).findings == (named_one,)


# --- which lines of the reference a tap belongs on

rng = np.random.default_rng(7)
PARAMS = {"W1": rng.standard_normal((4, 3)), "W2": rng.standard_normal((2, 4))}
BATCH = (rng.standard_normal((3, 6)), rng.standard_normal((2, 6)))


def derivation(p, X, Y, *, returned=()):
    """Wrong in dH, by a term that no formula gives."""
    H = np.tanh(p["W1"] @ X)
    S = H * H + np.sin(H)
    O = p["W2"] @ S
    dO = O - Y
    dS = p["W2"].T @ dO
    dH = dS * (2 * H + np.cos(H)) + 0.1 * np.sort(dS, axis=1) * np.exp(H)
    own = {"dO": dO, "dS": dS, "dH": dH}
    due = {"J": (dO**2).sum() / 2, "dW2": dO @ S.T, "dW1": (dH * (1 - H**2)) @ X.T}
    return {**{name: own[name] for name in returned}, **due}


def bare(p, X, Y):
    H = torch.tanh(p["W1"] @ X)
    S = H * H + torch.sin(
        H,
    )
    O = p["W2"] @ S
    return ((O - Y) ** 2).sum() / 2


def tapped_late(p, X, Y):
    H = torch.tanh(p["W1"] @ X)
    S = H * H + torch.sin(H)
    O = tap("O", p["W2"] @ S)
    return ((O - Y) ** 2).sum() / 2


def tapped_all(p, X, Y):
    H = tap("H", torch.tanh(p["W1"] @ X))
    S = tap("S", H * H + torch.sin(H))
    return ((tap("O", p["W2"] @ S) - Y) ** 2).sum() / 2


def helper(p, X):
    H, both = torch.tanh(p["W1"] @ X), None
    both = H * H
    both += torch.sin(H)
    return both


def in_a_helper(p, X, Y):
    out = {}
    out["O"] = p["W2"] @ helper(p, X)
    cost = ((out["O"] - Y) ** 2).sum()
    return cost / 2


def taps_of(reference, *lines):
    """Taps of a reference by name and line after its def."""
    start = reference.__code__.co_firstlineno
    return tuple(Tap(name, named(__file__), start + line) for name, line in lines)


@pytest.mark.parametrize(
    ("reference", "returned", "fact"),
    [
        (bare, (), Unrecorded(("J",), "dW1", ("dO", "dS", "dH"), taps_of(bare, ("O", 5), ("S", 2), ("H", 1)))),
        (tapped_late, ("dO",), Unrecorded(("dO",), "dW1", ("dS", "dH"), taps_of(tapped_late, ("S", 2), ("H", 1)))),
        (tapped_late, (), Unrecorded(("J",), "dW1", ("dO",))),
        (tapped_all, ("dO",), Unrecorded(("dO",), "dW1", ("dH", "dS"))),
        (tapped_all, ("dO", "dS"), Unrecorded(("dS",), "dW1", ("dH",))),
        (tapped_all, ("dO", "dS", "dH"), Unrecorded(("dS",), "dH")),
        (
            in_a_helper,
            (),
            Unrecorded(
                ("J",),
                "dW1",
                ("dcost", "dboth", "dH"),
                (*taps_of(in_a_helper, ("cost", 3)), *taps_of(helper, ("both", 3), ("H", 1))),
            ),
        ),
    ],
)
def test_an_unknown_mistake_says_what_to_return_or_tap_next(reference, returned, fact):
    report = check_gradients(partial(derivation, returned=returned), reference, PARAMS, BATCH)
    (finding,) = report.findings
    assert finding.cause == Unknown()
    assert finding.circumstances[0] == fact
    (stored,) = read(report.to_json(), "it").values()
    assert stored.findings[0].circumstances[0] == fact


def test_a_value_that_nothing_explains_asks_for_values():
    def wrong_value(p, X, Y):
        return {**derivation(p, X, Y), "O": p["W2"] @ (np.sort(p["W1"] @ X, axis=0) ** 3 + 0.2 * np.exp(p["W1"] @ X))}

    finding = check_gradients(wrong_value, tapped_late, PARAMS, BATCH).first
    assert (finding.where.name, finding.cause) == ("O", Unknown())
    fact = finding.circumstances[0]
    assert fact.names == ("H", "S")
    assert fact.taps == taps_of(tapped_late, ("H", 1), ("S", 2))


def test_right_code_and_a_mistake_with_a_name_are_asked_for_nothing():
    def right(p, X, Y):
        H = np.tanh(p["W1"] @ X)
        S = H * H + np.sin(H)
        dO = p["W2"] @ S - Y
        dH = p["W2"].T @ dO * (2 * H + np.cos(H))
        return {"J": (dO**2).sum() / 2, "dW2": dO @ S.T, "dW1": (dH * (1 - H**2)) @ X.T}

    def doubled(p, X, Y):
        due = right(p, X, Y)
        return {**due, "dW2": 2 * due["dW2"]}

    assert check_gradients(right, bare, PARAMS, BATCH).findings == ()
    (finding,) = check_gradients(doubled, bare, PARAMS, BATCH).findings
    assert finding.cause.code == "scale"
    assert not any(isinstance(fact, Unrecorded) for fact in finding.circumstances)
