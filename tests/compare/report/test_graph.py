import re
from dataclasses import replace

from handgrad import Finding, Report, Row
from handgrad.compare.facts.causes import Scaled
from handgrad.compare.names import Key
from handgrad.compare.report.graph import Graph, graph
from handgrad.compare.results import Details, Results
from tests.compare.report.samples import FAILING, PASSING


def drawn(results):
    """The state of every box, by name."""
    return {name: kind for kind, name in re.findall(r'class="node (\w+)"[^>]*><title>(\w+):', graph(results).svg)}


def test_every_tensor_is_drawn_in_its_state():
    state = drawn(FAILING)
    assert state["dZ1"] == state["dW2"] == "culprit"
    assert state["dW1"] == state["db1"] == "follows"
    assert state["Z1"] == state["dZ2"] == "agrees"
    assert state["W1"] == "given"
    assert {row.name for row in FAILING.rows} <= state.keys()
    assert graph(FAILING).states == ("agrees", "culprit", "follows", "given")
    assert graph(PASSING).states == ("agrees", "given")
    assert 'aria-label="what is computed from what; dZ1 culprit, dW2 culprit"' in graph(FAILING).svg


def test_what_was_not_recorded_is_absent_and_ends_are_left_out():
    rows = tuple(row for row in PASSING.rows if row.name in ("J", "dW1", "db1", "dW2"))
    state = drawn(replace(PASSING, rows=rows))
    assert state["Z1"] == state["A1"] == state["dZ1"] == state["dA1"] == "absent"
    assert state["dW1"] == state["J"] == "agrees"
    assert "dJ" not in state


def test_nothing_is_drawn_where_nothing_is_known_of_what_depends_on_what():
    assert graph(Report((Row(1, "forward", "spread", "", (), 0.0),))) == Graph()


def test_updates_alone_are_drawn_from_gradient_to_parameter():
    rows = tuple(Row(1, "update", name, "", (2,), 0.0) for name in ("vw", "w_next", "b_next"))
    assert drawn(Report(rows)) == {
        "dw": "given",
        "vw": "agrees",
        "w_next": "agrees",
        "db": "given",
        "b_next": "agrees",
    }
    assert graph(Report(rows)).svg.count("<path class=") == 3


def test_a_deep_graph_is_cut_around_the_culprit():
    depth = 90
    reads = {f"Z{l}": (f"W{l}", f"Z{l - 1}" if l > 1 else "X") for l in range(1, depth)} | {"J": (f"Z{depth - 1}",)}
    rows = tuple(Row(1, "backward", f"dW{l}", "", (2,), 0.0) for l in range(depth - 1, 0, -1))
    rows = tuple(row._replace(verdict="FAULT") if row.name == "dW80" else row for row in rows)
    finding = Finding(Key(1, "backward", "dW80"), "FAULT", Scaled(2.0))
    state = drawn(Results(rows, (finding,), details=Details(reads=reads)))
    assert state["dW80"] == "culprit"
    assert "dW2" not in state


def columns(results):
    """The heading above every box, by name."""
    svg = graph(results).svg
    heads = {float(x) - 42: text for x, text in re.findall(r'class="head" x="([\d.]+)" y="12">([^<]+)<', svg)}
    boxes = re.findall(r'translate\((\d+) (\d+)\)"><title>(\w+):', svg)
    return {name: heads[float(x)] for x, _, name in boxes}, {name: int(y) for _, y, name in boxes}


def recurrent(steps, culprit=""):
    """Results of a layer whose steps over time share U, W and b, with two values of its own at each."""
    reads = {}
    for t in range(steps):
        reads |= {f"s{t}": ("U", "X", *((f"h{t - 1}", "W") if t else ()), "b"), f"h{t}": (f"s{t}",)}
    reads |= {"Y": (f"h{steps - 1}", "V"), "J": ("Y",)}
    names = [f"d{name}" for name in (*reads, "U", "W", "b", "V") if name != "J"]
    rows = [Row(1, "backward", name, "", (2,), 0.0, verdict="FAULT" if name == culprit else "OK") for name in names]
    return Results(tuple(rows), details=Details(reads=reads))


def test_steps_over_time_that_share_weights_are_columns():
    head, y = columns(recurrent(3))
    assert {name: head[name] for name in ("s0", "h0", "ds0", "dh0")} == dict.fromkeys(
        ("s0", "h0", "ds0", "dh0"), "time 0"
    )
    assert {head[name] for name in ("s2", "h2", "Y", "J", "ds2", "dh2", "dY")} == {"time 2"}
    assert {head[name] for name in ("U", "W", "b", "X", "V")} == {"given"}
    assert {head[name] for name in ("dU", "dW", "db", "dV")} == {"gradients"}
    assert y["s0"] == y["s1"] == y["s2"] < y["h0"] == y["h2"] < y["J"] < y["dh0"] == y["dh2"] < y["ds0"] == y["ds1"]
    places = [*zip(head.values(), y.values(), strict=True)]
    assert len({*places}) == len(places), "no box lies on another"


def test_of_what_steps_share_the_arrows_of_the_step_beside_it_are_drawn():
    arrows = [graph(recurrent(steps)).svg.count("<path class=") for steps in (3, 4, 5)]
    assert arrows[1] - arrows[0] == arrows[2] - arrows[1] == 4, "h to s, s to h, and both gradients"


def test_layers_are_no_steps_over_time():
    head, _ = columns(PASSING)
    assert head["Z1"] == head["Z2"] == "forward \u2193"
