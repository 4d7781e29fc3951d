"""Each allowance is its formula, covers every rounding of its operation, and not much more."""

import inspect

import numpy as np
import pytest

from handgrad.compare.operations import operation
from handgrad.compare.verdict import bounds
from handgrad.compare.verdict.bounds import PRECISIONS

RNG = np.random.default_rng(12)
W, A, dZ = (RNG.standard_normal(shape).astype(np.float32).astype(float) for shape in ((7, 5), (5, 9), (7, 9)))
b, V, g = (RNG.standard_normal((7, 1)).astype(np.float32).astype(float) for _ in range(3))
SIGMOID = 1 / (1 + np.exp(-A))
f = np.float32


def sequentially(P, Q):
    return sum(P[:, k : k + 1] * Q[k] for k in range(Q.shape[0]))


def rounded_sigmoid(array):
    return 1 / (1 + np.exp(-f(array)))


def of_row(kind, name, tensor, operands, **options):
    """The allowance that a row of the registry gives a tensor."""
    units = operation(kind, name).units[tensor]
    return bounds.elementwise(units(lambda operand: np.abs(operands[operand]), **options))


LOGISTIC = np.logaddexp(0, A) - 0.5 * A
RATES = {"learning_rate": 0.1, "beta": 0.9}
# operation: its allowance, its value in float64, and its value rounded in float32 in an awkward order
OPERATIONS = {
    "Z": (bounds.linear(W, A, b), W @ A + b, sequentially(f(W), f(A)) + f(b)),
    "dA": (bounds.input_gradient(W, dZ), W.T @ dZ, sequentially(f(W).T, f(dZ))),
    "dW": (
        bounds.weight_gradient(dZ, A, W, 0.3),
        dZ @ A.T + 0.3 * W,
        f(0.3) * f(W) + sequentially(f(dZ), f(A).T),
    ),
    "db": (bounds.bias_gradient(dZ), dZ.sum(1, keepdims=True), np.add.accumulate(f(dZ), axis=1)[:, -1:]),
    "dZ": (of_row("activation", "sigmoid", "dZ", {"dZ": dZ * A[0], "dA": dZ}), dZ * A[0], f(dZ) * f(A[0])),
    "V": (
        of_row("optimizer", "momentum", "vw", {"vw before": V, "dw": g}, **RATES),
        0.9 * V + (1 - 0.9) * g,
        f(V) + f(1 - 0.9) * (f(g) - f(V)),
    ),
    "W_next": (
        of_row("optimizer", "momentum", "w_next", {"w": W, "vw": W * 3}, **RATES),
        W - 0.1 * (W * 3),
        f(W) - f(0.1) * f(W * 3),
    ),
    "losses": (
        of_row("loss", "binary-cross-entropy", "losses", {"Z": A, "losses": LOGISTIC}),
        LOGISTIC,
        np.logaddexp(f(0), f(A)) - f(0.5) * f(A),
    ),
    "squared errors": (
        of_row("loss", "squared-error", "losses", {"losses": (A - 0.25) ** 2 / 2}),
        (A - 0.25) ** 2 / 2,
        (f(A) - f(0.25)) ** 2 / f(2),
    ),
    "A": (of_row("activation", "sigmoid", "A", {}), SIGMOID, rounded_sigmoid(A)),
    "dZ of the output": (
        bounds.output_gradient((SIGMOID - 0.25) / 9, 8.0),
        (SIGMOID - 0.25) / 9,
        (rounded_sigmoid(A) - f(0.25)) / f(9),
    ),
    "penalty": (
        bounds.penalty([W, V], np.array([0.05 * ((W * W).sum() + (V * V).sum())])),
        np.array([0.05 * ((W * W).sum() + (V * V).sum())]),
        f(0.05) * (np.add.accumulate(f(W).ravel() ** 2)[-1:] + np.add.accumulate(f(V).ravel() ** 2)[-1:]),
    ),
    "J": (
        bounds.cost(np.abs(A), 0.5),
        np.array([np.abs(A).sum() / 9 + 0.5]),
        np.add.accumulate(np.abs(f(A)).ravel())[-1:] / f(9) + f(0.5),
    ),
}


@pytest.mark.parametrize(("allowance", "exact", "rounded"), OPERATIONS.values(), ids=OPERATIONS)
def test_an_allowance_covers_the_rounding_of_its_operation_but_not_a_hundred_times_it(allowance, exact, rounded):
    assert rounded.dtype == np.float32
    allowed = allowance.everywhere(PRECISIONS["float32"])
    error = np.abs(rounded - exact)
    assert (error <= allowed).all()
    assert np.broadcast_shapes(allowed.shape, exact.shape) == exact.shape
    assert allowed.max() < 200 * PRECISIONS["float32"].u * np.abs(exact).max() + 200 * error.max()
    assert np.isfinite(allowed).all()
    assert (allowed >= 0).all()
    assert not np.signbit(allowed).any()


def test_every_allowance_stands_in_this_table():
    offered = {
        name
        for name, function in inspect.getmembers(bounds, inspect.isfunction)
        if not name.startswith("_") and function.__annotations__.get("return") is bounds.Allowance
    }
    used = {
        "linear", "elementwise", "penalty", "cost", "output_gradient", "input_gradient", "weight_gradient",
        "bias_gradient",
    }  # fmt: skip
    assert offered == used
    assert OPERATIONS.keys() == FORMULAS.keys()


def gamma(k, u):
    return k * u / (1 - k * u)


FORMULAS = {
    "Z": lambda u, n: gamma(n["n_in"] + 1, u) * (np.abs(W) @ np.abs(A) + np.abs(b)),
    "dA": lambda u, n: gamma(n["n_out"] + 1, u) * (np.abs(W).T @ np.abs(dZ)),
    "dW": lambda u, n: gamma(n["n"] + 2, u) * (np.abs(dZ) @ np.abs(A).T) + 3 * u * 0.3 * np.abs(W),
    "db": lambda u, n: gamma(n["n"] + 2, u) * np.abs(dZ).sum(1, keepdims=True),
    "dZ": lambda u, n: 4 * u * np.abs(dZ * A[0]) + 10 * u * np.abs(dZ),
    "V": lambda u, n: 4 * u * 0.9 * np.abs(V) + (4 * (1 - 0.9) + 2 * 0.9) * u * np.abs(g),
    "W_next": lambda u, n: 2 * u * np.abs(W) + 14 * u * 0.1 * np.abs(W * 3),
    "losses": lambda u, n: 8 * u * (np.abs(A) + np.abs(np.logaddexp(0, A) - 0.5 * A)),
    "squared errors": lambda u, n: 3 * u * (A - 0.25) ** 2,
    "A": lambda u, n: 8 * u * np.ones(A.shape),
    "dZ of the output": lambda u, n: 8 * u / 9 + 4 * u * np.abs(SIGMOID - 0.25) / 9,
    "penalty": lambda u, n: gamma(W.size + V.size + 3, u) * 0.05 * ((W * W).sum() + (V * V).sum()),
    "J": lambda u, n: gamma(A.size + 2, u) * (np.abs(A).sum() / 9 + 0.5),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_an_allowance_is_its_formula(name):
    """Twice that in float64, where both sides round; underflow adds next to nothing here."""
    sizes = {"n_in": W.shape[1], "n_out": W.shape[0], "n": A.shape[1]}
    for sides, precision in ((1, PRECISIONS["float32"]), (2, PRECISIONS["float64"])):
        allowed = OPERATIONS[name][0].everywhere(precision)
        np.testing.assert_allclose(allowed, sides * FORMULAS[name](precision.u, sizes), rtol=1e-12)


def test_float64_is_allowed_both_sides_rounding():
    one, two = (bounds.linear(W, A, b).everywhere(PRECISIONS[dtype]) for dtype in ("float32", "float64"))
    np.testing.assert_allclose(two / one, 2 * 2.0**-29, rtol=1e-5)


def test_the_precisions_are_those_of_the_dtypes():
    for dtype, sides in (("float64", 2), ("float32", 1)):
        precision, info = PRECISIONS[dtype], np.finfo(dtype)
        assert precision.u == info.eps / 2
        assert (precision.sides, precision.eta) == (sides, info.smallest_subnormal)
        assert precision.gammas(5) == pytest.approx(sides * gamma(5, precision.u), rel=1e-15)


def test_every_operation_is_allowed_its_underflow():
    tiny = np.full((2, 2), 1e-320)
    for dtype, sides in (("float64", 2), ("float32", 1)):
        precision, least = PRECISIONS[dtype], 3 * sides * np.finfo(dtype).smallest_subnormal
        assert bounds.linear(tiny, tiny, tiny[:, :1]).everywhere(precision).min() >= least
        assert bounds.elementwise(4 * tiny).everywhere(precision).min() >= least
