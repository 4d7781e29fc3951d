"""per_example: a derivation of one example as one of a batch."""

import numpy as np
import pytest

from handgrad import InputError, check_gradients, per_example, tap

RNG = np.random.default_rng(2)
PARAMS = {"w": RNG.standard_normal(3), "c": np.array(0.4)}


def one(p, x, y):
    e = p["w"] @ x + p["c"] - y
    return {"e": e, "J": e * e / 2, "de": e, "dw": e * x, "dc": e, "dx": e * p["w"]}


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_examples_along_any_axis_averaged_or_summed(axis, reduction):
    X, Y = RNG.standard_normal((5, 3)), RNG.standard_normal((5, 1))
    over = 5 if reduction == "mean" else 1
    batch = (X, Y) if axis == 0 else (X.T, Y.T)

    def of_column(p, x, y):
        return one(p, x, float(y[0]))

    found = per_example(of_column, axis=axis, reduction=reduction)(PARAMS, *batch)
    E = X @ PARAMS["w"] + PARAMS["c"] - Y[:, 0]
    np.testing.assert_allclose(found["J"], (E**2).sum() / 2 / over)
    np.testing.assert_allclose(found["dw"], E @ X / over)
    np.testing.assert_allclose(found["dc"], E.sum() / over)
    np.testing.assert_allclose(found["e"], E)
    np.testing.assert_allclose(found["de"], E / over)
    dX = np.outer(E, PARAMS["w"]) / over
    np.testing.assert_allclose(found["dx"], dX if axis == 0 else dX.T)


def test_a_sum_taken_for_a_mean_is_found():
    def reference(p, X, Y):
        return ((X @ p["w"] + p["c"] - Y) ** 2).sum() / 2 / len(X)

    batch = (RNG.standard_normal((5, 3)), RNG.standard_normal(5))
    right = {
        "mean": per_example(without_input(one), axis=0),
        "sum": per_example(without_input(one), axis=0, reduction="sum"),
    }
    assert check_gradients(right["mean"], reference, PARAMS, batch).findings == ()
    report = check_gradients(right["sum"], reference, PARAMS, batch)
    assert {finding.factor for finding in report.findings if finding.cause == "scale"} == {5.0}


def without_input(derivation):
    return lambda *args: {name: v for name, v in derivation(*args).items() if name in ("J", "dw", "dc")}


BAD = {
    "reduction": (lambda: per_example(one, axis=0, reduction="average"), "it must be 'mean' or 'sum'"),
    "axis": (lambda: per_example(one, axis="rows"), "axis is 'rows'; it must be a whole number"),
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


def test_labels_with_one_axis_go_by_example_whatever_the_axis():
    X, y = RNG.standard_normal((3, 5)), np.arange(5)
    found = per_example(lambda p, x, label: {"J": p["w"] @ x * label, "dw": x * label}, axis=1)(PARAMS, X, y)
    np.testing.assert_allclose(found["dw"], X @ y / 5)


@pytest.mark.parametrize("returned", [None, [1.0]], ids=str)
def test_what_is_no_mapping_is_reported_as_such(returned):
    report = check_gradients(
        per_example(lambda p, x: returned, axis=0),
        lambda p, x: (x @ p["w"]).sum(),
        {"w": PARAMS["w"]},
        (np.ones((2, 3)),),
    )
    assert "return a dict" in report.first.explanation


def test_a_derivation_must_be_a_function():
    with pytest.raises(InputError, match="derivation is None"):
        per_example(None, axis=0)


@pytest.mark.parametrize("wrong", [1.0, 1.01])
def test_a_value_whose_name_begins_with_d_is_no_gradient(wrong):
    """dist is tapped in the reference, so it is a distance there and not the gradient of ist."""

    def reference(p, X, Y):
        dist = tap("dist", X @ p["w"] + p["c"] - Y)
        return (dist * dist).mean() / 2

    def distance(p, x, y):
        found = one(p, x, y)
        return {"dist": wrong * found["e"], "J": found["J"], "ddist": found["de"], "dw": found["dw"], "dc": found["dc"]}

    batch = (RNG.standard_normal((5, 3)), RNG.standard_normal(5))
    report = check_gradients(per_example(distance, axis=0), reference, PARAMS, batch)
    first = None if report.first is None else (report.first.name, report.first.factor)
    assert first == (None if wrong == 1 else ("dist", pytest.approx(1.01))), str(report)
