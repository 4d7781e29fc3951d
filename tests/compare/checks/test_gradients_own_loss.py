"""check_gradients, the third opinion: what it says of the derivation's own J beside its findings."""

import numpy as np
import pytest
import torch

from handgrad import check_gradients, tap
from handgrad.compare.facts.causes import Scaled
from handgrad.compare.facts.remarks import OwnLossDiffers, OwnLossKinks
from tests.corpus.layers import SQUARES, TANH, Layer

OWN_LOSS = (OwnLossDiffers, OwnLossKinks)


def own_loss_of(report):
    return [note for note in report.notes if isinstance(note, OWN_LOSS)]


def names_of(report):
    return [finding.where.name for finding in report.findings]


def test_where_nothing_is_found_the_loss_is_not_asked():
    assert check_gradients(*SQUARES).notes == ()


def test_where_names_alone_are_missing_the_loss_is_not_asked():
    report = check_gradients(*SQUARES.without("db"))
    assert (names_of(report), report.notes) == (["db"], ())


def test_the_gradient_of_the_sum_with_the_loss_of_the_mean_is_one_finding():
    report = check_gradients(*SQUARES.scaled("dW", 6).scaled("db", 6))
    (finding,) = report.findings
    assert (finding.where.name, finding.together) == ("db", ("dW",))
    assert isinstance(finding.cause, Scaled)
    assert finding.factor == 6.0
    assert finding.cause.names == ("the size of axis 1 of X and axis 1 of C",)
    assert [(type(note), note.gradient) for note in own_loss_of(report)] == [
        (OwnLossDiffers, "dW"),
        (OwnLossDiffers, "db"),
    ]


def test_an_epsilon_in_the_loss_is_a_finding_on_J_alone():
    report = check_gradients(*SQUARES.returning(J=lambda records: records["J"] + 1e-6))
    assert [(f.where.name, f.verdict) for f in report.findings] == [("J", "FAULT")]
    assert own_loss_of(report) == []


def test_a_gradient_that_is_that_of_another_loss_is_its_own_losses():
    report = check_gradients(*SQUARES.scaled("J", 2).scaled("dW", 2).scaled("db", 2))
    assert [(f.where.name, f.together) for f in report.findings] == [("J", ("db", "dW"))]
    assert own_loss_of(report) == []


WRONG_LOSSES = {
    "another factor": lambda records: 2 * records["J"],
    "another sign": lambda records: -records["J"],
    "something added": lambda records: records["J"] + records["dW"].sum(),
}


@pytest.mark.parametrize("J", WRONG_LOSSES.values(), ids=WRONG_LOSSES)
def test_a_wrong_J_accuses_no_gradient(J):
    for layer in (SQUARES.returning(J=J), SQUARES.scaled("dW", 3.0).returning(J=J)):
        assert own_loss_of(check_gradients(*layer)) == []


def test_what_J_is_computed_from_is_no_witness_either():
    def in_torch(p, X, C):
        return (C * tap("A", torch.tanh(tap("Z", p["W"] @ X + p["b"])))).sum()

    def derivation(p, X, C):
        Z = p["W"] @ X + p["b"]
        A = np.tanh(1.5 * Z)
        dZ = C * (1 - np.tanh(Z) ** 2)
        return {"Z": Z, "A": A, "J": (C * A).sum(), "dW": dZ @ X.T, "db": dZ.sum(1, keepdims=True)}

    report = check_gradients(derivation, in_torch, *TANH[2:])
    assert names_of(report)[0] == "A"
    assert own_loss_of(report) == []


def test_a_right_gradient_beside_a_wrong_one_is_not_asked():
    (note,) = own_loss_of(check_gradients(*SQUARES.scaled("dW", 3.0)))
    assert (note.gradient, note.size) == ("dW", 12)


def test_a_wrong_row_of_another_scale_is_not_acquitted():
    rng = np.random.default_rng(0)
    scale = np.array([3e4, 3e-5, 1.0])

    def derivation(p, X, Y):
        E = X @ p["W"] - Y
        dW = X.T @ E / len(X)
        dW[1] *= -1
        return {"J": (E**2).sum() / (2 * len(X)), "dW": dW}

    params = {"W": rng.standard_normal((3, 2)) / scale[:, None]}
    batch = (rng.standard_normal((8, 3)) * scale, rng.standard_normal((8, 2)))
    report = check_gradients(derivation, lambda p, X, Y: ((X @ p["W"] - Y) ** 2).sum() / (2 * len(X)), params, batch)
    assert names_of(report) == ["dW"]
    assert all(note.index[0] == 1 for note in own_loss_of(report))


def test_an_entry_at_a_kink_is_left_out_and_named():
    def kinked(p, x):
        return {"J": np.abs(p["w"] * x).sum(), "dw": 2.0 * np.sign(p["w"]) * np.abs(x)}

    params, batch = {"w": np.array([0.0, 1.0, -2.0])}, (np.ones(3),)
    report = check_gradients(kinked, lambda p, x: (p["w"] * x).abs().sum(), params, batch)
    assert names_of(report) == ["dw"]
    (differs,) = own_loss_of(report)
    assert (type(differs), differs.size) == (OwnLossDiffers, 3)
    assert differs.index != (0,)


def test_cancellation_in_J_is_not_taken_for_a_kink():
    rng = np.random.default_rng(8)

    def variance(p, x):
        z = p["w"] * x + 1e6
        return {"J": (z * z).mean() - z.mean() ** 2, "dw": 3 * x}

    def reference(p, x):
        return (p["w"] * x + 1e6).var(unbiased=False)

    report = check_gradients(variance, reference, {"w": rng.standard_normal(9)}, (rng.standard_normal(9),))
    assert report.findings
    assert not any(isinstance(note, OwnLossKinks) for note in report.notes), report.notes


@pytest.mark.parametrize("factor", [1.001, 2.0])
def test_the_own_loss_is_asked_near_the_border_of_its_domain(factor):
    """log has no value a step of usual size below a parameter of 1e-6."""

    def derive(p, x):
        return {"J": (x * np.log(p["w"])).sum(), "dw": factor * x / p["w"]}

    params, batch = {"w": np.array([1e-6, 2e-6, 3e-6])}, (np.array([0.7, -1.3, 0.4]),)
    (note,) = own_loss_of(check_gradients(derive, lambda p, x: (x * torch.log(p["w"])).sum(), params, batch))
    assert (type(note), note.gradient) == (OwnLossDiffers, "dw")


def test_of_a_loss_that_has_no_slope_anywhere_nothing_is_said():
    def derive(p):
        alone = float(p["w"][0]) in (1.0, float(np.float32(1.0)))
        return {"J": p["w"].sum() if alone else np.array(np.nan), "dw": np.full(1, 2.0)}

    report = check_gradients(derive, lambda p: p["w"].sum(), {"w": np.array([1.0])}, ())
    assert (names_of(report), own_loss_of(report)) == (["dw"], [])


def cross_entropy_on_probabilities(p, X, y):
    a = 1 / (1 + np.exp(-X @ p["w"]))
    dz = a - y
    return {"J": -(y * np.log(a) + (1 - y) * np.log(1 - a)).sum(), "dw": X.T @ dz, "dX": np.outer(dz, p["w"])}


def cross_entropy(p, X, y):
    return torch.nn.functional.binary_cross_entropy_with_logits(X @ p["w"], y, reduction="sum")


def test_the_own_loss_says_nothing_false_where_J_has_lost_its_digits():
    """log(1 - a) where a is 1 but for 1e-11."""
    batch = (np.array([[1.0, 0.5], [-1.0, 1.0], [0.3, 2.0]]), np.array([0.0, 1.0, 1.0]))
    layer = Layer(cross_entropy_on_probabilities, cross_entropy, {"w": np.array([25.0, 1.0])}, batch)
    report = check_gradients(*layer.scaled("dX", 2.0))
    assert names_of(report) == ["J", "dX"], str(report)
    assert OwnLossDiffers not in {type(note) for note in report.notes}, report.notes


def test_the_own_loss_says_nothing_where_J_goes_in_steps():
    """log(1 - a) at z = 33 goes in steps of 0.03."""
    batch = (np.array([[33.0, 0.0], [0.0, 1.0]]), np.array([0.0, 1.0]))
    layer = Layer(cross_entropy_on_probabilities, cross_entropy, {"w": np.array([1.0, 0.5])}, batch)
    report = check_gradients(*layer.without("dX"))
    assert names_of(report) == ["J"], str(report)
    assert report.notes == ()


def test_the_own_loss_says_nothing_where_J_turns_within_one_of_its_differences():
    """The inverse of a matrix that is singular but for 1e-6 turns."""

    def inverse(p):
        return {"J": np.linalg.inv(p["A"]).sum(), "dA": np.zeros((2, 2))}

    A = np.array([[1.0, 1.0], [1.0, 1.0 + 1e-6]])
    report = check_gradients(inverse, lambda p: torch.linalg.inv(p["A"]).sum(), {"A": A}, ())
    assert names_of(report)[0] == "dA", str(report)
    assert own_loss_of(report) == []


def test_an_entry_that_is_nan_says_nothing_of_the_others():
    def with_nan(records):
        dW = records["dW"].copy()
        dW[0, 0] = np.nan
        return dW

    layer = TANH.returning(dW=with_nan, J=lambda _: np.float64(0))
    report = check_gradients(*layer)
    assert ("dW", "NONFINITE") in {(f.where.name, f.verdict) for f in report.findings}
    first = check_gradients(*TANH.returning(dW=with_nan)).first
    assert (first.where.name, first.verdict) == ("dW", "NONFINITE")
    report = check_gradients(*SQUARES.returning(dW=with_nan))
    assert OwnLossDiffers not in {type(note) for note in report.notes}, report.notes
