from dataclasses import replace

import numpy as np
import pytest

from handgrad import Finding, Report, Row
from handgrad.compare.facts.causes import Scaled
from handgrad.compare.names import Key
from handgrad.compare.report.page import Page, state_of
from handgrad.compare.results import Code, Curve, Details, Excerpt, Plot, Results, Suspects
from tests.compare.report.samples import FAILING, PASSING

HALVED = 'def derivation(p, X, Y):\n    e = (p["W"] @ X - Y) / 2\n    return {"dW": e @ X.T, "db": e.sum(axis=1)}'


def hand(text, first=7, file="mine.py"):
    return Code("by hand", file, first, text, {"dW": (first + 2,), "db": (first + 2,)})


def shown(code, suspects, **details):
    """The page of a wrong dW."""
    finding = Finding(Key(1, "backward", "dW"), "FAULT", Scaled(0.5))
    return Page(Results((), (finding,), details=Details(code=code, suspects={"dW": suspects}, **details)))


def test_a_page_is_made_of_plain_values_in_the_order_of_the_report():
    page = Page(FAILING, "x")
    assert (page.id, page.state) == ("x", "culprit")
    assert [card.finding.where.name for card in page.cards] == ["dZ1", "dW2"]
    assert page.results is FAILING
    assert [tensor.row.name for tensor in page.tensors] == [row.name for row in FAILING.rows]
    assert {tensor.row.name: tensor.state for tensor in page.tensors}["db1"] == "follows"
    (z1,) = [tensor for tensor in page.tensors if tensor.row.name == "Z1"]
    assert z1.by_hand == ('Z1 = p["W1"] @ X + p["b1"]',)
    assert z1.torch == ('Z1 = tap("Z1", p["W1"] @ X + p["b1"])',)
    assert Page(PASSING).state == "agrees"
    assert state_of(replace(FAILING, findings=(replace(FAILING.findings[0], verdict="WEAK"),))) == "weak"


def test_what_agrees_is_told_apart_from_what_does_not():
    page = Page(FAILING)
    assert [tensor.row.name for tensor in page.differing] == ["dZ1", "dW1", "db1", "dW2"]
    assert [tensor.row.name for tensor in page.agreeing] == ["Z1", "A1", "Z2", "J", "dZ2", "dA1"]
    assert Page(PASSING).differing == []
    later = tuple(row._replace(step=2, verdict="OK") for row in FAILING.rows)
    steps = Page(replace(FAILING, rows=(*FAILING.rows, *later)))
    assert {*steps.unsteady} == {"dZ1", "dW1", "db1", "dW2"}
    assert {*steps.steady} == {"Z1", "A1", "Z2", "J", "dZ2", "dA1"}


def test_a_page_is_about_a_file_a_network_or_a_check():
    assert Page(FAILING).subject == "my_derivation.py"
    assert Page(Results((), environment={"setting": "network 4-3-1, tanh"})).subject == "network 4-3-1"
    assert Page(Results((), environment={"check": "check_initializer: by hand"})).subject == "check_initializer"


def test_the_code_around_the_line_is_shown_with_gaps_and_once():
    first, second = Page(FAILING).cards
    by_hand, torch = first.listings
    assert [line.number for line in by_hand.lines if line.marked] == [38]
    assert by_hand.wrong
    assert not torch.wrong
    assert [line.number for line in torch.lines if line.marked] == [62]
    assert second.listings
    twice = replace(FAILING, findings=(FAILING.findings[0], FAILING.findings[0]))
    assert Page(twice).cards[1].listings == ()
    long = hand("\n".join(["def f(e):", "    dW = e", *["    pass"] * 20, "    return {'dW': dW, 'db': e}"]))
    long = long._replace(tensors={"dW": (29,)})
    (listing,) = shown((long,), Suspects({"0": (29,)})).cards[0].listings
    assert [line.number for line in listing.lines] == [7, 8, 0, 26, 27, 28, 29]


def test_all_the_code_is_listed_with_the_lines_of_every_finding():
    by_hand, torch = Page(FAILING).code
    assert [line.number for line in by_hand.lines if line.marked] == [38, 40]
    assert not [line for line in torch.lines if line.marked]
    assert all(not line.marked for listing in Page(PASSING).code for line in listing.lines)


@pytest.mark.parametrize(
    ("suspects", "look_at", "hint"),
    [
        (Suspects({"0": (9,)}), "mine.py, line 9", ""),
        (
            Suspects({"0": (8,)}, shared=("dW", "db")),
            "mine.py, line 8",
            "dW and db are computed from what line 8 assigns.",
        ),
        (
            Suspects({"0": (8, 9)}, sure=False, doubts={"n": 7, "e": 8}),
            "mine.py, lines 8 to 9, or at what is computed before it and was not returned",
            "Or the mistake comes before it, in n (line 7), e (line 8): not returned and so not judged. "
            "Return it, and it is.",
        ),
        (Suspects({"0": (7, 9), "1": (20,)}), "mine.py, lines 7 and 9 and other.py, line 20", ""),
    ],
)
def test_where_to_look_is_said_of_the_suspects(suspects, look_at, hint):
    page = shown((hand(HALVED), hand(HALVED, 20, "other.py")), suspects)
    assert page.look_at == look_at
    assert page.cards[0].hint == hint


def test_nothing_is_said_where_no_line_is_known():
    page = Page(replace(FAILING, details=Details()))
    assert page.look_at == ""
    assert page.cards[0].listings == ()
    assert Page(PASSING).look_at == ""


def test_entries_are_shaded_by_their_difference():
    entries = Page(FAILING).cards[0].entries
    cells = [cell for _, row in entries.rows for cell in row]
    assert max(cell.shade for cell in cells) == 100
    assert [cell.worst for cell in cells].count(True) == 1
    assert next(cell for cell in cells if cell.worst).shade == 100
    assert entries.caption == "dZ1 at step 1, all of it"
    same = Excerpt(1, "dZ1", (0, 0), ((1.0, np.nan, np.inf),), ((1.0, 2.0, np.inf),))
    report = replace(FAILING, details=FAILING.details._replace(excerpts=(same,)))
    ((_, row),) = Page(report).cards[0].entries.rows
    assert [cell.shade for cell in row] == [0, 100, 0]


def test_entries_of_a_vector_and_of_more_axes():
    vector = Excerpt(1, "dW", (3,), ((1.0, 2.0),), ((1.0, 3.0),))
    entries = shown((), Suspects(), excerpts=(vector,)).cards[0].entries
    assert (entries.columns, entries.rows[0][0]) == ((3, 4), "")
    cube = Excerpt(1, "dW", (2, 0, 5), ((1.0,),), ((3.0,),))
    entries = shown((), Suspects(), excerpts=(cube,)).cards[0].entries
    assert entries.caption.endswith(", at 2 of the axes before")
    assert (entries.columns, entries.rows[0][0]) == ((5,), "0")


def test_steps_are_binned_where_there_are_many():
    rows = tuple(Row(step, "loss", "J", "L1", (), 0.0) for step in range(1, 1001))
    cells = Page(Report(rows)).strips["J"]
    assert len(cells) <= 60
    assert cells[-1][1].endswith("to 1000")
    assert Page(Report(rows[:1])).strips == {}
    assert Page(Report(rows[:4])).strips["J"] == tuple(("agrees", f"step {step}") for step in (1, 2, 3, 4))


def test_the_loss_is_drawn_where_it_was_recorded_at_several_steps():
    rows = tuple(Row(step, "loss", "J", "L1", (), 0.0, (), 1.0 / step, 1.1 / step) for step in (1, 2))
    (plot,) = Page(Report(rows)).plots
    assert [(curve.name, curve.y) for curve in plot.lines] == [("by hand", (1.0, 0.5)), ("torch", (1.1, 0.55))]
    assert Page(Report(rows[:1])).plots == ()
    brought = Plot("t", "x", "y", (Curve("a", (1.0,), (2.0,)),))
    assert Page(Report(rows, details=Details(plots=(brought,)))).plots == (brought,)
