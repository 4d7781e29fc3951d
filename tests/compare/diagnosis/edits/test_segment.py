"""A segment knows what lies between a tensor and what was recorded, and what it gives where a step is another."""

import pytest
import torch

from handgrad import tap
from handgrad.compare.diagnosis.edits.segment import Segment, like
from handgrad.compare.diagnosis.search import _of_the_same_steps
from tests.compare.diagnosis.planted import drawn, search_of, segment_of


def chain(p, X, Y):
    Z = tap("Z", X @ p["W"] + p["b"])
    A = tap("A", torch.tanh(Z) * Y)
    return (torch.exp(A) * Y).sum() / 5


def loop(p, X, Y):
    h = X @ p["W"]
    for _ in range(3):
        g = h @ p["U"]
        h = torch.tanh(g)
    return (tap("A", h) * Y).sum()


def of_kind(segment, kind):
    return [node for node in segment.steps if node.kind == kind]


def values_of(segment):
    return {node: node.value for node in segment.graph.nodes}


def test_distance_counts_steps_to_the_tensor():
    segment = segment_of(chain, "A", ["Z"], drawn(1))
    assert {node.name or node.kind: n for node, n in segment.distance.items()} == {"mul": 0, "tanh": 1, "Y": 1, "Z": 2}


def test_users_are_those_in_the_segment_alone():
    segment = segment_of(chain, "A", ["Z"], drawn(1))
    assert [user.kind for user in segment.users[segment.graph.inputs["Z"]]] == ["tanh"]
    assert [user.kind for user in segment.users[segment.graph.inputs["Y"]]] == ["mul"]


def test_scope_holds_what_exists_before_and_not_what_comes_of_it():
    segment = segment_of(chain, "A", ["Z", "dA"], drawn(1))
    names = {segment.labels.get(node, node.kind) for nodes in segment.scope.values() for node in nodes}
    assert {"X", "Y", "W", "b", "Z", "tanh"} <= names
    assert not {"A", "J", "exp"} & names


def test_what_is_later_is_out_of_scope():
    tensors = drawn(1)
    segment = segment_of(chain, "A", ["Z", "h1"], tensors)
    later = Segment(segment.graph, "A", frozenset({"Y"}))
    assert segment.graph.inputs["Y"] in segment.scope[(5, 3)]
    assert segment.graph.inputs["Y"] not in later.scope[(5, 3)]


def test_named_tensors_come_first():
    segment = segment_of(chain, "A", ["Z"], drawn(1))
    named = [bool(node.name) for node in segment.alike(segment.target)]
    assert named == sorted(named, reverse=True)
    assert any(named)


def test_the_visits_of_a_line_are_found():
    segment = segment_of(loop, "A", [], drawn(1))
    assert [[node.kind for node in group] for group in segment.repeated] == [["mm"] * 3, ["tanh"] * 3]


def test_lines_that_are_visited_once_are_not_repeated():
    assert segment_of(chain, "A", ["Z"], drawn(1)).repeated == ()


def test_masks_and_counts_are_constants():
    def reference(p, X, Y):
        return (tap("A", (X @ p["W"]) * torch.ones(5, 3).tril()) * Y).sum()

    segment = segment_of(reference, "A", [], drawn(1))
    assert {node.kind for node in segment.constants & {*segment.steps}} <= {"", "tril", "ones"}
    assert of_kind(segment, "mm")[0] not in segment.constants
    assert segment.constants & {*segment.steps}


def test_uninitialised_memory_is_no_operand():
    def reference(p, X, Y):
        Z = X @ p["W"]
        memory = Z.new_empty_strided((5, 3), (3, 1))
        return (tap("A", memory.copy_(Z) * Y) * Y).sum()

    segment = segment_of(reference, "A", [], drawn(1))
    assert "new_empty_strided" not in {node.kind for nodes in segment.scope.values() for node in nodes}


def test_without_a_change_it_gives_what_it_gave():
    segment = segment_of(chain, "J", [], drawn(1))
    for node in segment.steps:
        assert torch.equal(
            segment.predicted({node: lambda v, n=node: n.value}, values_of(segment)), segment.target.value
        )


def test_a_change_goes_on_to_the_tensor():
    t = drawn(1)
    segment = segment_of(chain, "A", ["Z"], t)
    (tanh,) = of_kind(segment, "tanh")
    given = segment.predicted({tanh: lambda v: v(tanh.args[0])}, values_of(segment))
    torch.testing.assert_close(given, t["Z"] * t["Y"])


def test_two_changes_are_made_in_order():
    t = drawn(1)
    segment = segment_of(chain, "A", ["Z"], t)
    (tanh,), Z = of_kind(segment, "tanh"), segment.graph.inputs["Z"]
    given = segment.predicted({tanh: lambda v: 3 * v(Z), Z: lambda v: -v(Z)}, values_of(segment))
    torch.testing.assert_close(given, -3 * t["Z"] * t["Y"])


def test_exchanged_inputs_are_those_that_were():
    t = drawn(1)
    segment = segment_of(chain, "A", ["Z"], t)
    Z, Y = segment.graph.inputs["Z"], segment.graph.inputs["Y"]
    given = segment.predicted({Z: lambda v: v(Y), Y: lambda v: v(Z)}, values_of(segment))
    torch.testing.assert_close(given, torch.tanh(t["Y"]) * t["Z"])


def test_only_what_depends_on_a_change_is_evaluated():
    segment = segment_of(chain, "J", [], drawn(1))
    (exp,) = of_kind(segment, "exp")
    plan = segment.plan(frozenset({exp}))
    assert plan[0] is exp
    assert plan[-1] is segment.target
    assert not {"mm", "tanh"} & {node.kind for node in plan}


@pytest.mark.parametrize(
    ("value", "shape", "dtype"),
    [
        (2.0, (3, 4), torch.float64),
        (torch.ones(4), (3, 4), torch.float64),
        (torch.ones(3, 4) > 0, (3, 4), torch.float64),
    ],
)
def test_takes_the_dtype_and_the_shape_of_what_it_replaces(value, shape, dtype):
    given = like(value, torch.zeros(3, 4, dtype=torch.float64))
    assert (tuple(given.shape), given.dtype) == (shape, dtype)


def test_another_shape_stays_where_it_cannot_spread():
    assert like(torch.ones(5), torch.zeros(3, 4)).shape == (5,)
    assert like([1], [2]) == [1]


def recurrent(p, X, Y):
    h, J = X @ p["W"], 0.0
    for t in range(3):
        r = torch.sigmoid(h @ p["U"] + Y[t])
        h = torch.tanh(r * (h @ p["U"]) + p["b"]) + r * h
        J = J + (h * Y).sum()
    return J


@pytest.mark.parametrize("name", ["J", "dU"])
def test_many_changes_at_once_give_what_each_gives_alone(name):
    search = search_of(recurrent, name, lambda t: torch.zeros(3, 3) if name == "dU" else torch.zeros(()))
    compared, of_loops = 0, 0
    with torch.no_grad():
        for edits in _of_the_same_steps(search.edits(3)):
            some = [edit for edit in edits[:8] if search._value(edit) is not None]
            if len(some) > 1:
                together = search.segment.alternatives([edit.changes for edit in some])
                alone = [search.segment.predicted(edit.changes, search.segment.values) for edit in some]
                torch.testing.assert_close(together, torch.stack(alone), rtol=1e-11, atol=1e-11, equal_nan=True)
                compared, of_loops = compared + len(some), of_loops + (len(some[0].changes) > 1)
    assert compared > 400
    assert of_loops > 20


def test_a_changed_step_after_another_starts_from_what_that_gives():
    t = drawn(1)
    segment = segment_of(lambda p, X, Y: (tap("A", (X @ p["W"] + p["b"]) * 2 + p["b"]) * Y).sum(), "A", [], t)
    both = {node: lambda v, node=node: v(node) + 1 for node in of_kind(segment, "add")}
    torch.testing.assert_close(segment.predicted(both, values_of(segment)), segment.target.value + 3)
    torch.testing.assert_close(segment.alternatives([both, both])[1], segment.target.value + 3)


def test_what_gives_several_tensors_is_done_for_many_at_once():
    segment = segment_of(lambda p, X, Y: (tap("A", (X @ p["W"]).max(0)[0] * p["b"]) * Y).sum(), "A", [], drawn(1))
    (product,), (last,) = of_kind(segment, "mm"), of_kind(segment, "mul")
    changes = [{product: lambda v, n=n: v(product) * n, last: lambda v: v(last) * 2} for n in (2, 3)]
    alone = [segment.predicted(each, segment.values) for each in changes]
    assert segment.alternatives(changes).equal(torch.stack(alone))


def gates(p, X, Y):
    h = X @ p["W"]
    for _ in range(3):
        f, o = (torch.sigmoid(h @ p["U"] * k) for k in (2, 3))
        h = f * torch.tanh(h) + o
    return (tap("A", h) * Y).sum()


def test_of_a_comprehension_in_a_loop_the_same_gate_of_every_turn_is_found():
    segment = segment_of(gates, "A", [], drawn(1))
    numbers = [{node.args[1] for node in group} for group in segment.interleaved if group[0].kind == "mul"]
    assert sorted(map(sorted, numbers)) == [[2], [3]]
    assert segment_of(loop, "A", [], drawn(1)).interleaved == ()


def test_a_line_with_two_products_has_two_kinds_of_visits_whatever_the_first_one_lacks():
    """The gradient of U has dh * c at all visits, and dh * h, with which the first visit alone begins."""

    def decayed(p, X, Y):
        c, h = torch.sigmoid(p["b"]), Y
        for t in range(3):
            h = c * h + X[:, t : t + 1]
        return (tap("A", h) ** 2).sum()

    segment = segment_of(decayed, "db", ["A"], drawn(1))
    (decay,) = of_kind(segment, "sigmoid")
    products = [group for group in segment.repeated if group[0].kind == "mul" and group[0].place.is_backward]
    assert sorted((len(group), {decay in node.parents for node in group}) for group in products) == [
        (2, {True}),
        (3, {False}),
    ]
