"""The lines to look at: those that compute the tensor, what several wrong ones read, or the line that raised."""

import inspect

import numpy as np
import pytest
import torch

import handgrad
from handgrad.compare.facts.causes import Scaled, Unknown, Zero
from handgrad.compare.facts.failures import Overflow, Raised
from handgrad.compare.names import Key, phase_of
from handgrad.compare.ownership import named
from handgrad.compare.results import Code, Details, Finding, Results, Row, SourceLine, Suspects
from handgrad.compare.source.suspects import located, suspects_of

TEXT = """def derivation(p, X, Y):
    n = X.shape[1]
    e = (p["W"] @ X + p["b"] - Y) / n
    dW = np.zeros_like(p["W"])
    dW[:] = e @ X.T
    db = helper(e)
    return {"dW": dW, "db": db, "e": e}"""
HELPER = "def helper(e):\n    total = e.sum(axis=1)\n    return total[:, None]"
CODE = (
    Code("torch", "mine.py", 90, "def reference(p, X, Y):\n    return 0", {"dW": (91,), "db": (91,), "e": (91,)}),
    Code("by hand", "mine.py", 11, TEXT, {"dW": (15,), "db": (16,), "e": (13,)}),
    Code("by hand", "helpers.py", 3, HELPER, {"db": (5,)}),
)


def run(finding, agreeing=(), code=CODE):
    """Results with a finding and rows that agree."""
    rows = [Row(1, phase_of(name), name, "", (2,), 0.0) for name in agreeing]
    rows.append(Row(*finding.where, "", (2,), 1.0, verdict=finding.verdict))
    return Results(tuple(rows), (finding,), details=Details(code=code))


def wrong(name, cause=None, **facts):
    return Finding(Key(1, phase_of(name), name), "FAULT", cause or Unknown(), **facts)


def only(results):
    (suspects,) = suspects_of(results).values()
    return suspects


def test_a_tensor_is_sought_where_it_is_computed():
    results = located(run(wrong("dW"), agreeing=("e", "db")))
    assert results.details.suspects == {"dW": Suspects({"0": (15,)})}
    assert results.first.line == SourceLine("mine.py", 15, "dW[:] = e @ X.T")


def test_pieces_are_counted_by_hand_alone_and_the_first_has_the_line():
    results = located(run(wrong("db"), agreeing=("e", "dW")))
    assert results.details.suspects["db"].lines == {"0": (16,), "1": (5,)}
    assert results.first.line == SourceLine("mine.py", 16, "db = helper(e)")


def test_what_was_not_returned_is_doubted_and_an_empty_array_is_not():
    suspects = only(run(wrong("dW"), agreeing=("J",)))
    assert not suspects.sure
    assert suspects.doubts == {"e": 13}
    assert only(run(wrong("e"))).doubts == {"n": 12}
    assert only(run(wrong("e", equation="B1"))).sure


def test_what_is_judged_wrong_itself_is_not_said_to_be_unjudged():
    e, dW = wrong("e", equation="B1"), wrong("dW")
    results = run(dW, agreeing=("J",))
    both = Results((*results.rows, Row(*e.where, "", (2,), 1.0, verdict="FAULT")), (e, dW), details=results.details)
    assert suspects_of(both)["dW"] == Suspects({"0": (15,)})


def test_what_a_tensor_that_agrees_reads_is_right_too():
    assert only(run(wrong("dW"), agreeing=("db",))).sure


def test_a_factor_that_several_share_comes_in_before_them():
    results = located(run(wrong("dW", Scaled(0.5), together=("db",)), code=CODE[:2]))
    suspects = results.details.suspects["dW"]
    assert suspects == Suspects({"0": (13,)}, shared=("dW", "db"))
    assert results.first.line == SourceLine("mine.py", 13, 'e = (p["W"] @ X + p["b"] - Y) / n')


def test_but_not_where_that_is_right():
    results = run(wrong("dW", Scaled(0.5), together=("db",)), code=CODE[:2], agreeing=("e",))
    assert only(results).shared == ()


@pytest.mark.parametrize(
    "finding",
    [
        wrong("dW", Zero(), together=("db",)),
        wrong("dW", Scaled(0.5), together=("other",)),
        Finding(Key(1, "update", "dW"), "FAULT", Scaled(0.5), together=("db",)),
    ],
    ids=["no factor", "no line of the other", "no gradient"],
)
def test_another_mistake_that_several_share_is_sought_at_the_tensor_itself(finding):
    suspects = only(run(finding))
    assert suspects.lines == {"0": (15,)}
    assert suspects.shared == ()


@pytest.mark.parametrize(
    ("cause", "lines", "line"),
    [
        (Raised("ValueError", "mine", "helpers.py", 4), {"1": (4,)}, ("helpers.py", 4, "total = e.sum(axis=1)")),
        (Raised("ValueError", "mine", "elsewhere.py", 4), None, ("elsewhere.py", 4, "")),
        (Raised("ValueError", "mine", "helpers.py", 99), None, ("helpers.py", 99, "")),
        (Raised("ValueError", "mine"), None, None),
    ],
)
def test_an_exception_is_sought_at_the_line_that_raised_it(cause, lines, line):
    results = located(run(wrong("dW", cause)))
    assert results.first.line == line
    assert results.details.suspects == ({} if lines is None else {"dW": Suspects(lines)})


def test_where_both_sides_overflow_no_line_is_wrong():
    results = located(run(wrong("dW", Overflow())))
    assert results.first.line is None
    assert results.details.suspects == {}


def test_without_code_nothing_is_said_and_nothing_else_changes():
    results = run(wrong("dW"), code=())
    assert located(results) == results
    assert located(run(wrong("other"))).first.line is None


# --- real checks

_RNG = np.random.default_rng(7)
PROBLEM = (
    {"W": _RNG.standard_normal((3, 4)), "b": _RNG.standard_normal((3, 1))},
    (_RNG.standard_normal((4, 6)), _RNG.standard_normal((3, 6))),
)


def halved(p, X, Y):
    e = (p["W"] @ X + p["b"] - Y) / 2
    return {"dW": e @ X.T, "db": e.sum(axis=1, keepdims=True)}


def reference(p, X, Y):
    return ((p["W"] @ X + p["b"] - Y) ** 2).sum() / 2


def test_the_line_to_look_at_is_where_a_common_factor_comes_in():
    report = handgrad.check_gradients(halved, reference, *PROBLEM)
    assert report.first.cause.code == "scale"
    line = inspect.getsourcelines(halved)[1] + 1
    assert report.first.line == SourceLine(named(__file__), line, 'e = (p["W"] @ X + p["b"] - Y) / 2')
    assert report.details.suspects[report.first.where.name].shared
    assert f"test_suspects.py, line {line}" in report.to_html()


LAYERS = {"W": _RNG.standard_normal((4, 3)), "b": _RNG.standard_normal((4, 1)), "v": _RNG.standard_normal((1, 4))}
EXAMPLES = (_RNG.standard_normal((3, 7)),)


def two_layers(p, X):
    return (p["v"] @ torch.tanh(p["W"] @ X + p["b"])).sum()


def two_layers_tapped(p, X):
    return (p["v"] @ torch.tanh(handgrad.tap("Z", p["W"] @ X + p["b"]))).sum()


def hidden(p, X):
    A = np.tanh(p["W"] @ X + p["b"])
    dZ = p["v"].T * (1 - A)
    dW = dZ @ X.T
    db = dZ.sum(axis=1, keepdims=True)
    return {"dW": dW, "db": db, "dv": A.sum(axis=1)[None, :]}


def renamed(p, X):
    A = np.tanh(p["W"] @ X + p["b"])
    d = p["v"].T * (1 - A**2)
    g = 2 * d @ X.T
    return {"dZ": d, "dW": g, "db": d.sum(axis=1, keepdims=True), "dv": A.sum(axis=1)[None, :]}


def filled(p, X):
    A = np.tanh(p["W"] @ X + p["b"])
    dZ = p["v"].T * (1 - A**2)
    dW = np.empty_like(p["W"])
    for i in range(len(dW)):
        dW[i] = 2 * dZ[i] @ X.T
    return {"dZ": dZ, "dW": dW, "db": dZ.sum(axis=1, keepdims=True), "dv": A.sum(axis=1)[None, :]}


def raising(p, X):
    A = np.tanh(p["W"] @ X + p["b"])
    dZ = p["v"].T * (1 - A**2)
    return {"dW": dZ @ X, "db": dZ.sum(axis=1, keepdims=True)}


def line_of(function, text):
    lines, first = inspect.getsourcelines(function)
    return next(first + i for i, line in enumerate(lines) if text in line)


def test_what_was_not_returned_is_doubted_and_no_line_is_called_wrong():
    report = handgrad.check_gradients(hidden, two_layers, LAYERS, EXAMPLES)
    suspects = report.details.suspects[report.first.where.name]
    assert (suspects.sure, suspects.doubts) == (False, {"dZ": line_of(hidden, "dZ =")})
    page = report.to_html()
    assert f"in dZ (line {line_of(hidden, 'dZ =')})" in page
    assert "marked wrong" not in page


@pytest.mark.parametrize(
    ("derivation", "text"),
    [(renamed, "g = 2"), (filled, "dW[i] ="), (raising, "dZ @ X")],
    ids=["returned under another name", "filled", "raised"],
)
def test_a_line_that_alone_can_be_wrong_is_sure(derivation, text):
    report = handgrad.check_gradients(derivation, two_layers_tapped, LAYERS, EXAMPLES)
    suspects = report.details.suspects[report.first.where.name]
    assert (suspects.sure, suspects.doubts) == (True, {})
    assert report.first.line[:2] == (named(__file__), line_of(derivation, text))
