"""Rounding told from mistakes without knowing the formula: where digits are lost, saturate, or cancel to nothing."""

from itertools import product

import numpy as np
import pytest
import torch

from handgrad import check_gradients, mlp, tap
from handgrad.compare.facts.failures import NotFinite
from handgrad.compare.facts.remarks import Float32Only, Float64Inside, Operands, TorchInFloat32
from handgrad.compare.pipeline.evidence import Evidence, directions
from tests.corpus.cancelling import listed, stationary_point
from tests.corpus.layers import LINEAR, SQUARES, TANH, Layer


def names_of(report):
    return [finding.where.name for finding in report.findings]


def verdicts_of(report):
    return {finding.verdict for finding in report.findings}


# --- other places


def test_numbers_that_cancel_move_by_a_share_and_sums_that_do_not_are_kept():
    pairs = np.random.default_rng(5).standard_normal((3, 4)) @ np.kron(np.eye(4), [1.0, -1.0])
    shares = np.random.default_rng(6).dirichlet(np.ones(8), 3)
    for params, batch in directions({}, {"pairs": pairs, "shares": shares}, 1e-6):
        assert params == {}
        moved = np.abs(batch["pairs"] / pairs - 1)
        assert 4e-7 < moved.min() < moved.max() < 1.1e-6
        np.testing.assert_allclose(batch["shares"].sum(1), 1, rtol=1e-15)
        assert (batch["shares"] != shares).all()


# --- poor arithmetic


def named(p, X, C):
    return (C * tap("A", torch.tanh(tap("Z", p["W"] @ X + p["b"])))).sum()


def by_exponentials(p, X, C):
    Z = p["W"] @ X + p["b"]
    A = (np.exp(Z) - np.exp(-Z)) / (np.exp(Z) + np.exp(-Z))
    dZ = C * (1 - A**2)
    return {"Z": Z, "A": A, "dZ": dZ, "dA": C * np.ones_like(A), "dW": dZ @ X.T, "db": dZ.sum(1, keepdims=True)}


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1000.0])
def test_naive_arithmetic_is_weak_or_not_finite_and_never_a_fault(scale):
    """tanh by exponentials, the notes' own formula as code."""
    params = {name: scale * array for name, array in TANH.params.items()}
    report = check_gradients(by_exponentials, named, params, TANH.batch)
    assert verdicts_of(report) <= {"WEAK", "NONFINITE"}, str(report)


def test_what_overflows_is_told_with_what_it_was_handed():
    params = {name: 1000 * array for name, array in TANH.params.items()}
    first = check_gradients(by_exponentials, named, params, TANH.batch).first
    assert (first.where.name, first.verdict, type(first.cause)) == ("A", "NONFINITE", NotFinite)
    (operands,) = first.circumstances
    assert isinstance(operands, Operands)
    ((name, value),) = operands.values
    assert name == "Z"
    assert abs(value) > 300


def test_a_value_that_swallowed_its_digits_is_no_finding():
    """(1 + tanh(z/2))/2 is sigmoid; where z is -60 it is exactly 0 and the truth 1e-26: its 1 swallowed the rest."""

    def by_tanh(p, x):
        Z = p["w"] * x
        return {"A": (1 + np.tanh(Z / 2)) / 2, "dw": x * np.exp(Z) / (1 + np.exp(Z)) ** 2}

    def in_torch(p, x):
        return tap("A", torch.sigmoid(tap("Z", p["w"] * x))).sum()

    report = check_gradients(by_tanh, in_torch, {"w": np.array([-60.0, -61.0])}, (np.ones(2),))
    assert report.findings == (), str(report)


def cast(array):
    return array.astype(np.float32).astype(array.dtype)


def coarse(p, X, C):
    return ((p["W"].float() @ X.float() + p["b"].float() - C.float()) ** 2).sum() / (2 * X.shape[1])


def with_a_cast(p, X, C):
    n = X.shape[1]
    D = cast(p["W"] @ X + p["b"] - C)
    return {"J": (D**2).sum() / (2 * n), "dW": D @ X.T / n, "db": D.sum(1, keepdims=True) / n}


@pytest.mark.parametrize(
    ("layer", "is_torch"),
    [(SQUARES._replace(reference=coarse), True), (SQUARES._replace(derivation=with_a_cast), False)],
    ids=["the reference", "the derivation"],
)
def test_a_reference_that_computes_in_float32_is_told_from_a_derivation_that_loses_digits(layer, is_torch):
    report = check_gradients(*layer)
    assert report.first.verdict == "WEAK"
    assert (TorchInFloat32() in report.notes) == is_torch, str(report)


def test_a_value_that_the_reference_computes_in_float32():
    def in_torch(p, X, Y):
        Z = tap("Z", X @ p["W"] + p["b"])
        tap("share", (Z > Y).float().mean())
        return ((Z - Y) ** 2).sum() / (2 * len(X))

    def by_hand(p, X, Y):
        records = LINEAR.derivation(p, X, Y)
        return {**records, "share": (records["Z"] > Y).mean()}

    layer = LINEAR._replace(reference=in_torch, derivation=by_hand)
    assert check_gradients(*layer).findings == ()
    assert names_of(check_gradients(*layer.returning(share=lambda records: records["share"] + 1e-5))) == ["share"]


# --- saturated units


def test_a_saturated_unit_whose_rounding_is_systematic_is_left_in_peace():
    """1 - A^2 with A within 1e-8 of 1: its rounding error is a smooth function, and float32 shows only zeros."""

    def saturated(p, x, s):
        A = np.tanh(p["w"] * x)
        dA = np.full_like(A, 1 - 1 / (1 + np.exp(-s)))  # 9e-14, in float32 exactly 0
        return {"A": A, "dA": dA, "dZ": dA * (1 - A * A), "dw": (dA * (1 - A * A) * x)}

    def in_torch(p, x, s):
        return ((1 - torch.sigmoid(s)) * tap("A", torch.tanh(tap("Z", p["w"] * x)))).sum()

    layer = Layer(saturated, in_torch, {"w": np.array([10.06, 12.0, 9.7])}, (np.ones(3), np.array(30.0)))
    report = check_gradients(*layer)
    assert report.findings == (), str(report)
    assert check_gradients(*layer.scaled("dZ", 1.001)).first.where.name == "dZ"


TANH_UNIT = mlp((1, 1), ("tanh",), "squared-error")


def one_unit(p, X, Y):
    Z1 = p["W1"] @ X + p["b1"]
    A1 = np.tanh(Z1)
    dZ1 = (A1 - Y) * (1 - A1 * A1)
    return {"Z1": Z1, "A1": A1, "dZ1": dZ1, "dW1": dZ1 @ X.T, "db1": dZ1.sum(1, keepdims=True)}


@pytest.mark.parametrize(("z", "verdicts"), [(14.2, set()), (15.4, set()), (16.4, {"WEAK"}), (18.5, {"WEAK"})])
@pytest.mark.parametrize("left_out", [(), ("Z1", "A1", "dZ1")], ids=["all", "gradients"])
def test_the_gradient_of_a_saturated_unit_is_no_fault_where_two_libraries_round_its_tanh(left_out, z, verdicts):
    """1 - A^2 is a few roundings of 1, and what NumPy and torch make of tanh may differ by one."""
    params, batch = {"W1": np.zeros((1, 1)), "b1": np.full((1, 1), z)}, (np.ones((1, 1)), np.zeros((1, 1)))
    layer = Layer(one_unit, TANH_UNIT, params, batch).without(*left_out)
    report = check_gradients(*layer)
    assert report.ok, str(report)
    assert report.first is None or verdicts_of(report) == verdicts, str(report)
    awake = layer._replace(params={**params, "b1": np.full((1, 1), 3.0)})
    assert check_gradients(*awake.scaled("db1", 1.5)).first.where.name == "db1"


# --- cancellation to nothing


@pytest.mark.parametrize("seed", range(10))
def test_python_lists_at_a_stationary_point_of_the_last_bias_are_left_in_peace(seed):
    """db is a pure cancellation there: the float32 run shows nothing of its rounding, only the spread does."""
    point = stationary_point(np.random.default_rng(seed))
    report = check_gradients(listed, mlp((5, 2), ("identity",), "squared-error"), *point)
    assert report.findings == (), str(report)


def bias_before_batch_norm(dtype, factor=1.0):
    """db is zero but for roundings, since the mean of each column of dZ is; dZ itself is not returned."""

    def derive(p, X, T):
        W, b, X, T = (a.astype(dtype or a.dtype) for a in (p["W"], p["b"], X, T))
        Z = X @ W + b
        spread = np.sqrt(Z.var(0) + 1e-5)
        xh = (Z - Z.mean(0)) / spread
        dZ = (T - T.mean(0) - factor * xh * (T * xh).mean(0)) / spread
        return {"J": (xh * T).sum(), "dW": X.T @ dZ, "db": dZ.sum(0) + (factor != 1)}

    return derive


def batch_normed(p, X, T):
    return (torch.nn.functional.batch_norm(X @ p["W"] + p["b"], None, None, training=True) * T).sum()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("dtype", "precisions"),
    [
        *product([None, np.float64], [("float32",), ("float64",), ("float64", "float32")]),
        *product([np.float32], [("float32",), ("float64", "float32")]),  # in float64 alone it is WEAK
    ],
)
def test_a_gradient_that_cancels_to_nothing_is_left_in_peace_in_one_precision_too(precisions, dtype, seed):
    r = np.random.default_rng(seed).standard_normal
    params, batch = {"W": r((4, 6)), "b": r(6)}, (r((9, 4)), r((9, 6)))
    report = check_gradients(bias_before_batch_norm(dtype), batch_normed, params, batch, precisions=precisions)
    assert report.findings == (), str(report)
    wrong = check_gradients(bias_before_batch_norm(dtype, 0.99), batch_normed, params, batch, precisions=precisions)
    assert {*names_of(wrong)} == {"dW", "db"}, str(wrong)


@pytest.mark.parametrize("seed", range(3))
def test_a_bias_that_batch_normalisation_takes_off_again_is_no_finding_however_large(seed):
    def derivation(p, X, Y):
        h = X @ p["W"] + p["b"]
        c = h - h.mean(0)
        r = 1 / np.sqrt((c**2).mean(0) + 1e-5)
        x = c * r
        dx = 2 * (x - Y) / Y.size
        dh = r * (dx - dx.mean(0) - x * (dx * x).mean(0))
        return {"J": ((x - Y) ** 2).mean(), "dW": X.T @ dh, "db": dh.sum(0)}

    def reference(p, X, Y):
        h = X @ p["W"] + p["b"]
        c = h - h.mean(0)
        return ((c / torch.sqrt((c**2).mean(0) + 1e-5) - Y) ** 2).mean()

    rng = np.random.default_rng(seed)
    params = {"W": rng.standard_normal((3, 5)), "b": np.full(5, 1e7)}
    report = check_gradients(derivation, reference, params, (rng.standard_normal((6, 3)), rng.standard_normal((6, 5))))
    assert report.ok, str(report)
    assert ("rounding-alone", ("db",)) in {(spot.code, spot.of) for spot in report.blind_spots}


def test_gradients_of_an_exact_fit_are_rounded_nothing_and_no_finding():
    rng = np.random.default_rng(5)
    W, b, X = rng.standard_normal((2, 3)), rng.standard_normal((2, 1)), rng.standard_normal((3, 7))

    def derivation(p, X, Y):
        E = p["W"] @ X + p["b"] - Y
        return {"J": (E**2).sum() / 2, "dW": np.einsum("ij,kj->ik", E, X), "db": E.sum(1, keepdims=True)}

    def reference(p, X, Y):
        return ((torch.einsum("ij,jk->ik", p["W"], X) + p["b"] - Y) ** 2).sum() / 2

    Y = X.T @ W.T + b.T
    report = check_gradients(derivation, reference, {"W": W, "b": b}, (X, Y.T.copy()))
    assert "precision-loss" not in {finding.cause.code for finding in report.findings}, str(report)


# --- very small and very large numbers


@pytest.mark.parametrize("small", [1e-12, 1e-15, 1e-17, 1e-20])
@pytest.mark.parametrize("factor", [2.0, -1.0, 1.01])
def test_a_gradient_far_smaller_than_what_it_is_computed_from(small, factor):
    layer = LINEAR._replace(batch=(small * LINEAR.batch[0], LINEAR.batch[1]))
    assert check_gradients(*layer).findings == ()
    first = check_gradients(*layer.scaled("dW", factor)).first
    assert (first.where.name, first.verdict) == ("dW", "FAULT")


@pytest.mark.parametrize("scale", [1e-20, 1e-30, 1e-40, 1e20])
def test_gradients_beyond_what_float32_can_hold(scale):
    params, batch = {**LINEAR.params, "b": scale * LINEAR.params["b"]}, tuple(scale * a for a in LINEAR.batch)
    layer = LINEAR._replace(params=params, batch=batch)
    assert check_gradients(*layer).findings == ()
    assert check_gradients(*layer.scaled("dW", 2.0)).first.where.name == "dW"


# --- kinks and whole numbers


def test_relu_at_exactly_zero_is_a_fault_and_not_rounding():
    """The difference is gone as soon as the parameters move, which rounding never is."""

    def in_torch(p, x):
        return (torch.relu(tap("Z", p["w"] * x)) * x).sum()

    def by_hand(p, x):
        Z = p["w"] * x
        dZ = x * (Z >= 0)
        return {"Z": Z, "dZ": dZ, "dw": dZ * x}

    params, batch = {"w": np.array([1.0, 0.0, -2.0, 3.0])}, (np.array([1.0, 2.0, 3.0, 0.5]),)
    first = check_gradients(by_hand, in_torch, params, batch).first
    assert (first.where.name, first.verdict) == ("dZ", "FAULT")


def hinge(p, X, y):
    return torch.relu(1 - y * (p["w"] @ X)).mean()


def hinge_by_hand(is_active):
    def derive(p, X, y):
        margin = 1 - y * (p["w"] @ X)
        return {"J": np.maximum(margin, 0).mean(), "dw": (-y * is_active(margin) / y.size) @ X.T}

    return derive


def test_whole_numbers_are_not_taken_for_a_derivation_in_float32():
    """Everything is exact in float32 too; what the derivation computes in shows where numbers are rounded."""
    w, y = np.array([[1.0, -1.0, 2.0]]), np.array([[1.0, 1, -1, 1]])
    X = np.array([[1.0, 0, 2, 1], [0, 1, 1, 2], [0, 2, 0, 1]])
    assert (1 - y * (w @ X) == 0).any()
    assert check_gradients(hinge_by_hand(lambda margin: margin > 0), hinge, {"w": w}, (X, y)).ok
    report = check_gradients(hinge_by_hand(lambda margin: margin >= 0), hinge, {"w": w}, (X, y))
    assert (report.first.where.name, report.first.verdict) == ("dw", "FAULT"), str(report)
    assert not {type(note) for note in report.notes} & {Float32Only, Float64Inside}


@pytest.mark.parametrize("precisions", [("float64", "float32"), ("float32",)], ids=" ".join)
def test_a_mask_that_is_wrong_where_it_matters_is_wrong_in_float32_too(precisions):
    def masked(p, x):
        return (p["w"] * x * tap("M", x > 1)).sum()

    def derive(p, x):
        M = x >= 1
        return {"M": M, "J": (p["w"] * x * M).sum(), "dw": x * M}

    params, batch = {"w": np.array([1.0, 2.0, 4.0])}, (np.array([1.0, 2.0, 0.5]),)
    first = check_gradients(derive, masked, params, batch, precisions=precisions).first
    assert (first.where.name, first.verdict) == ("M", "FAULT")


@pytest.mark.parametrize(("off", "runs"), [(0.0, 2), (1.0, 2), (60.0, 4), (1e6, 2)])
def test_two_runs_with_noise_are_enough_where_they_leave_no_doubt(off, runs):
    """Off by so many roundings of a product: none, one, about what right code is off by at most, and far more."""
    W, x = np.random.default_rng(2).standard_normal((2, 40))
    params, batch = {"W": W}, {"x": x}
    records = {"dW": x * np.cos(W * x) * (1 + off * 2.0**-53)}
    evidence = Evidence(lambda p, x: torch.sin(p["W"] * x).sum(), params, batch, records)
    assert evidence.spread("dW").shape == W.shape
    assert {len(made) for made in evidence._with_noise.values()} == {runs}
