"""per_example: a derivation of one example as one of a batch."""

import numpy as np
import pytest

from handgrad import InputError, check_gradients, per_example, tap
from handgrad.compare.facts.causes import Scaled
from handgrad.compare.facts.failures import Raised, ReturnedInstead

RNG = np.random.default_rng(2)
PARAMS = {"w": RNG.standard_normal(3), "c": np.array(0.4)}


def one(p, x, y):
    e = p["w"] @ x + p["c"] - y
    return {"e": e, "J": e * e / 2, "de": e, "dw": e * x, "dc": e, "dx": e * p["w"]}


def of_parameters(p, x, y):
    return {name: value for name, value in one(p, x, y).items() if name in ("J", "dw", "dc")}


def reference(p, X, Y):
    return ((X @ p["w"] + p["c"] - Y) ** 2).sum() / 2 / len(X)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_examples_along_any_axis_averaged_or_summed(axis, reduction):
    X, Y = RNG.standard_normal((5, 3)), RNG.standard_normal((5, 1))
    over = 5 if reduction == "mean" else 1
    batch = (X, Y) if axis == 0 else (X.T, Y.T)

    def of_column(p, x, y):
        return one(p, x, float(y[0]))

    returned = per_example(of_column, axis=axis, reduction=reduction)(PARAMS, *batch)
    E = X @ PARAMS["w"] + PARAMS["c"] - Y[:, 0]
    np.testing.assert_allclose(returned["J"], (E**2).sum() / 2 / over)
    np.testing.assert_allclose(returned["dw"], E @ X / over)
    np.testing.assert_allclose(returned["dc"], E.sum() / over)
    np.testing.assert_allclose(returned["e"], E)
    np.testing.assert_allclose(returned["de"], E / over)
    dX = np.outer(E, PARAMS["w"]) / over
    np.testing.assert_allclose(returned["dx"], dX if axis == 0 else dX.T)


def test_labels_with_one_axis_go_by_example_whatever_the_axis():
    X, y = RNG.standard_normal((3, 5)), np.arange(5)
    returned = per_example(lambda p, x, label: {"J": p["w"] @ x * label, "dw": x * label}, axis=1)(PARAMS, X, y)
    np.testing.assert_allclose(returned["dw"], X @ y / 5)


def test_one_example_of_a_mean_is_a_mean():
    batch = (RNG.standard_normal((5, 3)), RNG.standard_normal(5))
    assert check_gradients(per_example(of_parameters, axis=0), reference, PARAMS, batch).findings == ()


def test_a_sum_taken_for_a_mean_is_found():
    batch = (RNG.standard_normal((5, 3)), RNG.standard_normal(5))
    report = check_gradients(per_example(of_parameters, axis=0, reduction="sum"), reference, PARAMS, batch)
    assert {finding.factor for finding in report.findings if isinstance(finding.cause, Scaled)} == {5.0}


@pytest.mark.parametrize("wrong", [1.0, 1.01])
def test_a_value_whose_name_begins_with_d_is_no_gradient(wrong):
    """dist is tapped in the reference, so it is a distance there and not the gradient of ist."""

    def in_torch(p, X, Y):
        dist = tap("dist", X @ p["w"] + p["c"] - Y)
        return (dist * dist).mean() / 2

    def distance(p, x, y):
        of_one = one(p, x, y)
        return {"dist": of_one["e"] + (wrong - 1) * p["w"][0], "ddist": of_one["de"], **of_parameters(p, x, y)}

    batch = (RNG.standard_normal((5, 3)), RNG.standard_normal(5))
    report = check_gradients(per_example(distance, axis=0), in_torch, PARAMS, batch)
    assert [f.where.name for f in report.findings] == ([] if wrong == 1 else ["dist"]), str(report)


# --- misuse

BAD = {
    "reduction": (lambda: per_example(one, axis=0, reduction="average"), "it must be 'mean' or 'sum'"),
    "axis": (lambda: per_example(one, axis="rows"), "axis is 'rows'; it must be a whole number"),
    "True": (lambda: per_example(one, axis=True), "axis is True; it must be a whole number"),
    "no function": (lambda: per_example(None, axis=0), "derivation is None"),
    "no such axis": (lambda: per_example(one, axis=2)(PARAMS, np.ones((3, 4))), "no axis 2"),
    "different n": (lambda: per_example(one, axis=0)(PARAMS, np.ones(3), np.ones(4)), r"hold \[3, 4\] examples"),
    "no batch": (lambda: per_example(one, axis=0)(PARAMS), "the batch is empty"),
}


@pytest.mark.parametrize(("act", "words"), BAD.values(), ids=BAD)
def test_misuse_is_one_sentence(act, words):
    with pytest.raises(InputError, match=words):
        act()


def test_misuse_inside_a_check_is_one_sentence_too():
    with pytest.raises(InputError, match="no axis 3"):
        check_gradients(per_example(one, axis=3), lambda p, x, y: p["w"].sum(), PARAMS, (np.ones((2, 3)), np.ones(2)))


def first_cause_of(derivation):
    report = check_gradients(
        per_example(derivation, axis=0), lambda p, x: (x @ p["w"]).sum(), {"w": PARAMS["w"]}, (np.ones((2, 3)),)
    )
    return report.first.cause


@pytest.mark.parametrize(("returned", "instead"), [(None, "None"), ([1.0], "a list")], ids=str)
def test_what_is_no_mapping_is_reported_as_such(returned, instead):
    cause = first_cause_of(lambda p, x: returned)
    assert isinstance(cause, ReturnedInstead)
    assert cause.instead == instead


def test_an_example_that_returns_other_names_than_the_first_is_reported():
    calls = []

    def forgetful(p, x):
        calls.append(1)
        return {"J": p["w"] @ x} if len(calls) % 2 == 0 else {"J": p["w"] @ x, "dw": x}

    cause = first_cause_of(forgetful)
    assert isinstance(cause, Raised)
    assert cause.exception == "KeyError"


@pytest.mark.parametrize("left_out", ["e", "de", "dx"])
def test_an_example_may_return_a_tuple_and_none(left_out):
    def parted(p, x, y, factor=1.0):
        records = one(p, x, y)
        J, dw = records.pop("J"), factor * records.pop("dw")
        return J, {"dw": dw}, {**records, left_out: None}

    batch = RNG.standard_normal((5, 3)), RNG.standard_normal((5, 1))

    def in_torch(p, X, Y):
        return (tap("e", X @ p["w"] + p["c"] - Y[:, 0]) ** 2).mean() / 2

    def flat(derivation):
        return per_example(lambda p, x, y: derivation(p, x, y[0]), axis=0)

    assert check_gradients(flat(parted), in_torch, PARAMS, batch).findings == ()
    wrong = check_gradients(flat(lambda *given: parted(*given, factor=2.0)), in_torch, PARAMS, batch)
    assert [finding.where.name for finding in wrong.findings] == ["dw"]
