"""Sums, means and maxima along axes: each kind of edit is found where it was planted."""

import pytest
import torch

from handgrad import tap
from handgrad.compare.diagnosis.edits.reductions import axes_of, other_axes, reductions
from handgrad.compare.facts.edits import NotReduced, OtherReduction, PartOfSum
from tests.compare.diagnosis.planted import causes, drawn, either, fitting, search_of, segment_of


def means(p, X, Y):
    Z = tap("Z", X @ p["W"])
    return (tap("A", torch.exp(Z).mean(1, keepdim=True) + Y) * Y).sum()


def sums(p, X, Y):
    Z = tap("Z", X @ p["W"])
    return (tap("c", torch.tanh(Z).sum(0) * p["b"] + 2) * p["b"]).sum()


def square_sum(p, X, Y):
    T = tap("T", p["U"] @ p["U"])
    return (tap("c", torch.tanh(T).sum(0) * p["b"]) * p["b"]).sum()


def everything(p, X, Y):
    return (tap("Z", X @ p["W"]) ** 2).mean()


def ends(p, X, Y):
    Z = tap("Z", X @ p["W"])
    return (tap("A", torch.exp(Z).amax(1, keepdim=True) - Z.cumsum(0)) * Y).sum()


def e(t):
    return torch.exp(t.Z)


MEANS = {
    "the sum": (lambda t: e(t).sum(1, keepdim=True) + t.Y, OtherReduction("the sum", "the mean over axis 1", "exp(Z)")),
    "other axis": (
        lambda t: e(t).mean(0, keepdim=True) + t.Y,
        OtherReduction("the mean over axis 0", "the mean over axis 1", "exp(Z)"),
    ),
    "all": (lambda t: e(t).mean() + t.Y, OtherReduction("the mean of all", "the mean over axis 1", "exp(Z)")),
    "n - 1": (
        lambda t: e(t).sum(1, keepdim=True) / 2 + t.Y,
        OtherReduction("1/(3 - 1) of the sum", "the mean over axis 1", "exp(Z)"),
    ),
    "maximum": (
        lambda t: e(t).amax(1, keepdim=True) + t.Y,
        OtherReduction("the maximum", "the mean over axis 1", "exp(Z)"),
    ),
    "not reduced": (lambda t: e(t) + t.Y, NotReduced("the mean over axis 1", "exp(Z)")),
    "only the first": (lambda t: e(t)[:, :1] + t.Y, PartOfSum("exp(Z)", 1, 0, alone=True)),
    "only the last": (lambda t: e(t)[:, 2:] + t.Y, PartOfSum("exp(Z)", 1, 2, alone=True)),
    "without one": (lambda t: (e(t)[:, :1] + e(t)[:, 2:]) / 3 + t.Y, PartOfSum("exp(Z)", 1, 1)),
}
SUMS = {
    "the mean": (lambda t: t.Z.tanh().mean(0) * t.b + 2, OtherReduction("the mean", "the sum over axis 0", "tanh(Z)")),
    "all": (lambda t: t.Z.tanh().sum() * t.b + 2, OtherReduction("the sum of all", "the sum over axis 0", "tanh(Z)")),
    "without one": (lambda t: t.Z.tanh()[1:].sum(0) * t.b + 2, PartOfSum("tanh(Z)", 0, 0)),
    "without another": (lambda t: t.Z.tanh()[[0, 1, 2, 4]].sum(0) * t.b + 2, PartOfSum("tanh(Z)", 0, 3)),
}
ENDS = {
    "the sum": (
        lambda t: e(t).sum(1, keepdim=True) - t.Z.cumsum(0),
        OtherReduction("the sum", "the maximum over axis 1", "exp(Z)"),
    ),
    "not cumulative": (lambda t: e(t).amax(1, keepdim=True) - t.Z, NotReduced("the cumulative sum", "Z")),
    "from the end": (
        lambda t: e(t).amax(1, keepdim=True) - t.Z.flip(0).cumsum(0).flip(0),
        OtherReduction("the backward cumulative sum", "the cumulative sum", "Z"),
    ),
}
AXES = [(means, "A", [1]), (sums, "c", [0]), (everything, "J", [0, 1])]
OF_TWO_AXES = {
    "1/5 of": (lambda t: (t.Z**2).mean() / 5, OtherReduction("1/5 of the mean", "the mean over axis 0 and 1", "Z^2")),
    "times 5": (lambda t: 5 * (t.Z**2).mean(), OtherReduction("5 times the mean", "the mean over axis 0 and 1", "Z^2")),
    "times 3": (lambda t: 3 * (t.Z**2).mean(), OtherReduction("3 times the mean", "the mean over axis 0 and 1", "Z^2")),
}


@pytest.mark.parametrize("what", MEANS)
def test_finds_another_mean(what):
    wrong, expected = MEANS[what]
    assert causes(means, "A", wrong, ["Z"])[0] == expected
    assert expected in fitting(either(reductions, other_axes), search_of(means, "A", wrong, ["Z"]))


@pytest.mark.parametrize("what", SUMS)
def test_finds_another_sum_that_drops_its_axis(what):
    wrong, expected = SUMS[what]
    assert causes(sums, "c", wrong, ["Z"])[0] == expected
    assert expected in fitting(reductions, search_of(sums, "c", wrong, ["Z"]))


@pytest.mark.parametrize("what", ENDS)
def test_finds_another_maximum_or_cumulative_sum(what):
    wrong, expected = ENDS[what]
    assert causes(ends, "A", wrong, ["Z"])[0] == expected
    assert expected in fitting(reductions, search_of(ends, "A", wrong, ["Z"]))


@pytest.mark.parametrize("what", OF_TWO_AXES)
def test_knows_the_size_of_one_axis_of_two(what):
    """Of the whole tensor it is a factor, which the search prefers."""
    wrong, expected = OF_TWO_AXES[what]
    assert expected in fitting(reductions, search_of(everything, "J", wrong, ["Z"]))


def test_finds_the_other_axis_of_a_square():
    said = causes(square_sum, "c", lambda t: torch.tanh(t.T).sum(1) * t.b, ["T"])
    assert said[0] == OtherReduction("the sum over axis 1", "the sum over axis 0", "tanh(T)")


@pytest.mark.parametrize(
    ("reference", "name", "axes"), [(means, "A", [1]), (sums, "c", [0]), (everything, "J", [0, 1])]
)
def test_axes_count_from_the_first(reference, name, axes):
    segment = segment_of(reference, name, ["Z"], drawn(1))
    (node,) = [node for node in segment.steps if node.kind in ("sum", "mean")]
    assert axes_of(node) == axes


def test_axes_may_be_told_from_the_last():
    def reference(p, X, Y):
        return (tap("A", torch.exp(X @ p["W"]).sum(-1, keepdim=True) + Y) * Y).sum()

    (node,) = [node for node in segment_of(reference, "A", [], drawn(1)).steps if node.kind == "sum"]
    assert axes_of(node) == [1]
