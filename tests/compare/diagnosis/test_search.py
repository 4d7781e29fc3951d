"""The search names what explains a tensor, nothing that does not, the same each time, and never ends in a traceback."""

import gc
from collections import Counter
from dataclasses import replace

import pytest
import torch

from handgrad import tap
from handgrad.compare.diagnosis import search as module
from handgrad.compare.diagnosis.bits import ENOUGH_BITS
from handgrad.compare.diagnosis.edits import hypotheses
from handgrad.compare.diagnosis.edits.edit import Edit, Rank
from handgrad.compare.diagnosis.search import MOST_WORK, Budget, Elsewhere, Explanation, explanations
from handgrad.compare.facts.causes import Scaled, WrongSign, Zero
from handgrad.compare.facts.compounds import Alternative, Both
from handgrad.compare.facts.edits import (
    Epsilon,
    MissingFactor,
    MissingTerm,
    OtherFunction,
    OtherNumber,
    OtherReduction,
    TermSign,
)
from handgrad.compare.facts.operands import Unused
from tests.compare.diagnosis.planted import causes, drawn, named, reruns, search_of


def layer(p, X, Y):
    Z = tap("Z", X @ p["W"] + p["b"])
    A = tap("A", torch.tanh(Z) * Y)
    return (torch.exp(A) * Y).sum() / 5


def cost(p, X, Y):
    P = tap("Z", torch.sigmoid(X @ p["W"]))
    return -(Y * torch.log(P) + (1 - Y) * torch.log(1 - P)).mean()


def shares(x):
    return (3 * x).sigmoid()


def right_cost(y, p):
    return -(y * p.log() + (1 - y) * (1 - p).log()).mean()


# --- one entry


ONE_ENTRY = {
    "sum": (lambda t: 15 * right_cost(t.Y, t.Z), OtherReduction),
    "half": (lambda t: right_cost(t.Y, t.Z) / 2, Scaled),
    "sign": (lambda t: -right_cost(t.Y, t.Z), WrongSign),
    "term": (lambda t: -(t.Y * t.Z.log()).mean(), MissingTerm),
    "other term": (lambda t: -((1 - t.Y) * (1 - t.Z).log()).mean(), MissingTerm),
    "factor": (lambda t: -(t.Y * t.Z.log() + (1 - t.Z).log()).mean(), MissingFactor),
    "logarithm": (lambda t: -(t.Y * t.Z + (1 - t.Y) * (1 - t.Z)).mean(), OtherFunction),
    "logarithm of 2": (lambda t: -(t.Y * t.Z.log() + (1 - t.Y) * (1 - t.Z).log2()).mean(), OtherFunction),
    "epsilon": (lambda t: -(t.Y * (t.Z + 1e-8).log() + (1 - t.Y) * (1 - t.Z + 1e-8).log()).mean(), Epsilon),
}


@pytest.mark.parametrize("what", ONE_ENTRY)
def test_names_a_mistake_in_one_entry(what):
    wrong, expected = ONE_ENTRY[what]
    said = causes(cost, "J", wrong, ["Z"], like=shares)
    assert type(getattr(said[0], "mistake", said[0])) is expected  # or of every logarithm


@pytest.mark.parametrize("factor", [1.37, 0.8123, -0.03])
def test_names_no_fitted_number_in_one_entry(factor):
    """Any number is some multiple of any other."""
    drawn_again = iter((1.1, 0.7, 2.3, 1.9, 0.3, 1.7))
    assert not causes(cost, "J", lambda t: right_cost(t.Y, t.Z) * factor * next(drawn_again), ["Z"], like=shares)


@pytest.mark.parametrize("factor", [1.37, 0.8123])
def test_one_entry_and_no_rerun_is_no_evidence_of_a_fitted_number(factor):
    search = search_of(cost, "J", lambda t: factor * right_cost(t.Y, t.Z), ["Z"], like=shares)
    assert not named(search, list)


# --- two mistakes at once


def normalised(p, X, Y):
    Z = tap("Z", X @ p["W"])
    return (tap("A", (Z - Z.mean(1, keepdim=True)) / (Z.var(1, correction=0, keepdim=True) + 1e-4).sqrt()) * Y).sum()


def with_small_term(p, X, Y):
    Z = tap("Z", X @ p["W"])
    return (tap("A", torch.tanh(Z + p["b"]) * Y + Z.sin() / 500) * Y).sum()


TWO = {
    "deviation of the sample, and epsilon outside": (
        normalised, lambda t: (t.Z - t.Z.mean(1, keepdim=True)) / (t.Z.std(1, keepdim=True) + 1e-4),
        (OtherReduction, OtherNumber), Epsilon,
    ),
    "bias, and a sign": (
        with_small_term, lambda t: torch.tanh(t.Z) * t.Y - t.Z.sin() / 500, MissingTerm, (TermSign, OtherNumber)
    ),
    "function, and another": (
        with_small_term, lambda t: torch.sigmoid(t.Z + t.b) * t.Y + t.Z / 500, OtherFunction, OtherFunction
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", TWO)
def test_names_two_mistakes_of_which_one_is_small(what):
    reference, wrong, first, second = TWO[what]
    said = causes(reference, "A", wrong, ["Z"])[0]
    assert isinstance(said, Both)
    assert isinstance(said.mistake, first)
    assert isinstance(said.second, second)
    assert said.code == said.mistake.code


@pytest.mark.parametrize("small", [1e-2, 1e-4])
def test_what_is_near_a_mistake_and_no_second_one_has_no_name(small):
    drawn_again = iter(range(9))

    def wrong(t):
        noise = torch.randn(5, 3, generator=torch.Generator().manual_seed(next(drawn_again)), dtype=torch.float64)
        return torch.tanh(t.Z) * t.Y + small * noise

    assert causes(with_small_term, "A", wrong, ["Z"]) == []


# --- nothing explains it


@pytest.mark.parametrize("name", ["A", "dZ", "dW", "db", "J"])
def test_names_no_random_tensor(name):
    """200 in all: 40 a tensor."""
    shape = {"A": (5, 3), "dZ": (5, 3), "dW": (4, 3), "db": (3,), "J": ()}[name]
    generator = torch.Generator().manual_seed(5)

    def wrong(t):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    searches = [
        search_of(layer, name, wrong, ["Z", "A", "dA", "dZ"][: 2 if name in ("A", "J") else 4]) for _ in range(40)
    ]
    assert [named(search, reruns(search, wrong)) for search in searches] == [[]] * 40


def test_names_nothing_where_one_entry_is_another():
    def wrong(t):
        Z = torch.tanh(t.Z) * t.Y
        return Z + 0.1 * torch.eye(5, 3)

    assert not causes(layer, "A", wrong, ["Z"])


def test_names_nothing_that_another_run_refutes():
    search = search_of(layer, "A", lambda t: t.Z * t.Y, ["Z"])
    said = named(search, reruns(search, lambda t: t.Z * t.Y))
    assert [type(cause) for cause in said][:1] == [OtherFunction]
    refuted = search_of(layer, "A", lambda t: t.Z * t.Y, ["Z"])
    assert not named(refuted, reruns(refuted, lambda t: t.Z * t.Y + t.Y))


@pytest.mark.parametrize(
    "wrong", [lambda t: t.Z * t.Y, lambda t: torch.tanh(t.Z) + t.Y, lambda t: -torch.tanh(t.Z) * t.Y]
)
def test_what_is_named_predicts_the_tensor_on_other_numbers(wrong):
    search = search_of(layer, "A", wrong, ["Z"])
    said = explanations([search], reruns(search, wrong))
    assert said
    for there in reruns(search, wrong)():
        assert all(torch.allclose(each.predicted(there.inputs), there.recorded, rtol=1e-12) for each in said)


def test_the_reference_itself_is_no_mistake():
    assert not causes(layer, "A", lambda t: torch.tanh(t.Z) * t.Y, ["Z"])


# --- order, budget, odd tensors


def test_says_the_same_each_time():
    def fresh():
        search = search_of(layer, "A", lambda t: torch.tanh(t.Z + t.b), ["Z"])
        return named(search, reruns(search, lambda t: torch.tanh(t.Z + t.b))), search.tried, search.budget.left

    assert fresh() == fresh()


def test_ends_where_its_work_is_done():
    search = search_of(layer, "A", lambda t: t.X @ t.W, ["Z"])
    search.budget.left = 0
    assert all(fits == [] for fits in search.fits())
    assert not search.tried


def test_searches_of_one_check_share_their_budget():
    def search(budget):
        return replace(search_of(layer, "A", lambda t: torch.cos(3 * t.Z) + t.Y**3, ["Z"]), budget=budget)

    alone = Budget()
    assert not named(search(alone), lambda: ())
    spent = MOST_WORK - alone.left
    shared = Budget(spent)
    first, second = search(shared), search(shared)
    assert not named(first, lambda: ())
    assert not named(second, lambda: ())
    assert sum(first.tried.values()) > 0 == sum(second.tried.values())


@pytest.mark.parametrize("collects", [True, False])
def test_unused_memory_is_sought_afterwards_if_it_was_before(collects):
    def odd():
        assert not gc.isenabled()
        raise KeyError("elsewhere")
        yield

    search = search_of(layer, "A", lambda t: torch.tanh(t.Z), ["Z"])
    try:
        if not collects:
            gc.disable()
        with pytest.raises(KeyError):
            explanations([search], odd)
        assert gc.isenabled() is collects
    finally:
        gc.enable()


def test_cheap_tiers_come_before_dear_ones():
    search = search_of(layer, "A", lambda t: t.Z * t.Y, ["Z"])
    tiers = [fit.edit.tier for fits in search.fits() for fit in fits]
    assert tiers[0] < 2
    assert [min(tier, 2) for tier in tiers] == sorted(min(tier, 2) for tier in tiers)


def test_hypotheses_are_counted_by_tier():
    search = search_of(layer, "A", lambda t: t.Z * t.Y, ["Z"])
    assert [*search.fits()]
    assert sum(search.tried.values()) == len([*search.edits(6)])
    assert search.tried == Counter(edit.tier for edit in search.edits(6))


def test_names_at_most_one_of_each_code():
    codes = [cause.code for cause in causes(layer, "A", lambda t: t.Z * t.Y, ["Z"])]
    assert len(codes) == len({*codes})


@pytest.mark.parametrize("wrong", [lambda t: torch.tanh(t.Z), lambda t: 2 * torch.tanh(t.Z) * t.Y])
def test_what_is_named_has_bits_left_over(wrong):
    search = search_of(layer, "A", wrong, ["Z"])
    said = module._first_told([search], [search.fits()], reruns(search, wrong))
    assert said
    assert all(rank[0] <= -ENOUGH_BITS // 8 for rank, _ in said)


CANNOT = {
    "sizes": lambda x: x @ torch.zeros(77, 77),
    "a number that should be a tensor": lambda x: float(x[0, 0]).reshape(3),
    "a place that is not there": lambda x: x[99],
}


@pytest.mark.parametrize("what", CANNOT)
def test_an_edit_that_cannot_be_made_ends_nothing(what, monkeypatch):
    """An enumeration that fails in the middle is one that ends there."""

    def odd(segment, node, numbers):
        yield Edit(1, Rank.OTHER, lambda w: Zero(), {node: lambda v: CANNOT[what](v(node))})
        raise RuntimeError("odd")

    monkeypatch.setattr(hypotheses.loops, "other_variables", lambda segment: odd(segment, segment.target, {}))
    assert causes(layer, "A", lambda t: torch.tanh(t.Z), ["Z"])[0] == MissingFactor("Y")


@pytest.mark.parametrize(
    "inside",
    [
        lambda Z, Y: torch.fft.fft(Z).abs(),
        lambda Z, Y: torch.linalg.inv(Z.T @ Z + 1) @ Z.T,
        lambda Z, Y: Z.sort(0).values + Z.topk(2, 0).values[0],
        lambda Z, Y: torch.cat(torch.unbind(Z, 0)),
        lambda Z, Y: Z[Z > 0],
        lambda Z, Y: torch.view_as_real(torch.complex(Z, Y)),
        lambda Z, Y: torch.einsum("ij,kj->ik", Z, Y).to_sparse().to_dense(),
        lambda Z, Y: Z.to(torch.bfloat16).double(),
        lambda Z, Y: torch.stack(torch.meshgrid(Z[0], Z[1], indexing="ij")),
        lambda Z, Y: Z[:0],
        lambda Z, Y: torch.cdist(Z, Y),
        lambda Z, Y: Z.max(0).values * Z.argmax(0),
        lambda Z, Y: torch.bucketize(Z, Z[0].sort().values) * Z,
    ],
)
@pytest.mark.parametrize("value", [7.3, float("inf")])
def test_odd_operations_end_in_no_traceback(inside, value):
    def reference(p, X, Y):
        Z = tap("Z", X @ p["W"])
        return tap("A", inside(Z, Y)).sum() + (Z * 2).sum()

    def wrong(t):
        return inside(t.Z, t.Y) * value + 0.1

    causes(reference, "A", wrong, ["Z"])
    causes(reference, "dW", lambda t: t.W * value, ["Z"])
    causes(reference, "J", lambda t: t.Z[0, 0] * value, ["Z"])


def test_a_rerun_that_the_graph_does_not_allow_ends_in_no_traceback():
    """Another mask has another number of entries."""

    def reference(p, X, Y):
        Z = tap("Z", X @ p["W"])
        return (tap("A", Z[Z > 0]) * tap("Z", X @ p["W"])[Z > 0].detach()).sum()

    assert causes(reference, "A", lambda t: -t.Z[t.Z > 0], ["Z"])[0] == WrongSign()


def test_a_rerun_of_another_shape_ends_in_no_traceback():
    search = search_of(layer, "A", lambda t: -torch.tanh(t.Z) * t.Y, ["Z"])
    moved = {name: drawn(2)[name] for name in search.segment.graph.inputs}
    named(search, lambda: [Elsewhere(moved, torch.zeros(2, 2, dtype=torch.float64))])


# --- alternatives


def test_what_is_one_and_the_same_is_told_once():
    """(1 - A^2) left out of dA (1 - A^2), and dA itself in its place."""
    said = causes(layer, "dZ", lambda t: t.dA * t.Y, ["Z", "dA"])
    assert len(said) == 1


def test_an_alternative_says_which_data_would_tell():
    """Of positive numbers a ReLU and the absolute value are left out alike."""

    def formula(of):
        def change(v):
            return of(v(segment.graph.inputs["Z"]))

        node = segment.target
        return Explanation(Unused("Z"), Edit(1, Rank.OTHER, lambda w: Unused("Z"), {node: change}), segment)

    def reference(p, X, Y):
        return (tap("A", torch.exp(tap("Z", X @ p["W"]))) * Y).sum()

    segment = search_of(reference, "A", lambda t: t.Z, ["Z"]).segment
    assert module._telling(formula(torch.relu), formula(torch.abs))
    assert module._telling(formula(torch.relu), formula(torch.sin))
    assert module._telling(formula(torch.square), formula(lambda x: x.abs() ** 2)) == ""
    assert str(Alternative(Zero(), "negative numbers alone")).endswith("(negative numbers alone would tell)")


def test_no_search_names_nothing():
    assert explanations([], list) == []
