"""At the edges of the rule: amplified phases, kinks of two kinds, entries of all scales, constants float32 rounds."""

import numpy as np
import pytest
import torch

from handgrad import check_gradients, check_training, tap
from handgrad.compare.facts.failures import SpecialPoint

Rng = np.random.default_rng


def verdicts_of(report):
    return {finding.verdict for finding in report.findings}


# --- where the mathematics amplifies, a format's rounding explains anything: that excuses nothing


def fitted_sine(wrong, seed, until):
    """a sin(w t + f) fitted to noise; the mistake forgets t in dw."""
    rng = Rng(seed)

    def derivation(p, t, y):
        z = p["w"] * t + p["f"]
        e, c = (p["a"] * np.sin(z) - y) / len(t), p["a"] * np.cos(z)
        dw = (e * c).sum() if wrong else (e * c * t).sum()
        return {"J": (e**2).sum() * len(t) / 2, "da": (e * np.sin(z)).sum(), "df": (e * c).sum(), "dw": dw}

    def reference(p, t, y):
        return ((p["a"] * torch.sin(p["w"] * t + p["f"]) - y) ** 2).mean() / 2

    params = {"a": np.array(1.3), "f": np.array(0.4), "w": np.array(2.7)}
    return derivation, reference, params, (np.sort(rng.uniform(0, until, 30)), rng.standard_normal(30))


def large_phases(wrong, seed, size):
    """sum of sin(size x w); the mistake takes sin for its derivative."""
    rng = Rng(seed)

    def derivation(p, X):
        z = size * X @ p["w"]
        return {"J": np.sin(z).sum(), "dw": size * X.T @ (np.sin(z) if wrong else np.cos(z))}

    X = rng.standard_normal((9, 4))
    return derivation, lambda p, X: torch.sin(size * X @ p["w"]).sum(), {"w": rng.standard_normal(4)}, (X,)


def recurrence(wrong, seed, gain):
    """h = tanh(W h + x) over 20 steps; the mistake goes back 5 of them."""
    rng = Rng(seed)

    def derivation(p, X, C):
        hs = [np.zeros_like(C)]
        for x in X:
            hs.append(np.tanh(hs[-1] @ p["W"].T + x))
        dW, dh = np.zeros_like(p["W"]), C
        for t in reversed(range(len(X) - 5 if wrong else 0, len(X))):
            dz = dh * (1 - hs[t + 1] ** 2)
            dW, dh = dW + dz.T @ hs[t], dz @ p["W"]
        return {"J": (hs[-1] * C).sum(), "dW": dW}

    def reference(p, X, C):
        h = torch.zeros_like(C)
        for x in X:
            h = torch.tanh(h @ p["W"].T + x)
        return (h * C).sum()

    params = {"W": gain * rng.standard_normal((6, 6))}
    return derivation, reference, params, (rng.standard_normal((20, 2, 6)), rng.standard_normal((2, 6)))


AMPLIFIED = [(fitted_sine, 100), (fitted_sine, 1000), (large_phases, 1e3), (large_phases, 1e5), (recurrence, 1.5)]


@pytest.mark.usefixtures("no_causes")
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("problem", "size"), AMPLIFIED)
def test_a_gross_mistake_is_no_rounding_of_fewer_digits(problem, size, seed):
    assert check_gradients(*problem(False, seed, size)).findings == ()
    assert "FAULT" in verdicts_of(check_gradients(*problem(True, seed, size)))


# --- sums that are kept in 16 bits, in code that is handed float64


def accumulated(dtype, rows, rng, wrong):
    """dw of a scale, row by row into an accumulator of 16 bits; wrong: without the last row, or the wrong operand."""

    def derivation(p, x, dy):
        total = torch.zeros(x.shape[1], dtype=dtype)
        for row in torch.tensor(dy * (dy if wrong else x)):
            total += row.to(dtype)
        return {"J": (x * p["w"] * dy).sum(), "dw": total.double().numpy()}

    batch = (rng.standard_normal((rows, 16)), rng.standard_normal((rows, 16)))
    return derivation, lambda p, x, dy: (x * p["w"] * dy).sum(), {"w": rng.standard_normal(16)}, batch


def projected(dtype, rows, rng, wrong):
    """dW of a linear layer, blocks of 8 examples added into an accumulator of 16 bits."""

    def derivation(p, X, C):
        total = torch.zeros(p["W"].shape, dtype=dtype)
        for at in range(0, rows, 8):
            block = torch.tensor(X[at : at + 8].T @ C[at : at + 8])
            total += (block.abs() if wrong else block).to(dtype)
        return {"J": (X @ p["W"] * C).sum(), "dW": total.double().numpy()}

    batch = (rng.standard_normal((rows, 5)), rng.standard_normal((rows, 7)))
    return derivation, lambda p, X, C: (X @ p["W"] * C).sum(), {"W": rng.standard_normal((5, 7))}, batch


@pytest.mark.parametrize("make", [accumulated, projected])
@pytest.mark.parametrize("rows", [40, 300, 1000])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_sum_kept_in_16_bits_is_not_shown_wrong_and_a_mistake_in_it_is(dtype, rows, make):
    for seed in range(3):
        (finding,) = check_gradients(*make(dtype, rows, Rng(seed), wrong=False)).findings
        assert (finding.verdict, finding.cause.code) == ("WEAK", "precision-loss"), str(finding)
        assert check_gradients(*make(dtype, rows, Rng(seed), wrong=True)).first.verdict == "FAULT"


def gated(dtype, seed, slope):
    """SwiGLU, all in 16 bits; J is a sum that may cancel nearly."""
    rng = Rng(seed)

    def derivation(p, dy):
        g, u, d = (torch.tensor(array).to(dtype) for array in (p["g"], p["u"], dy))
        s = torch.sigmoid(g)
        y = g * s * u
        dg = d * u * s * (1 + g * (1 - s) * slope)
        returned = {"y": y, "J": (y * d).sum(), "du": d * g * s, "dg": dg}
        return {name: tensor.double().numpy() for name, tensor in returned.items()}

    params = {"g": rng.standard_normal((12, 20)), "u": rng.standard_normal((12, 20))}
    return (
        derivation,
        lambda p, dy: (torch.nn.functional.silu(p["g"]) * p["u"] * dy).sum(),
        params,
        (rng.standard_normal((12, 20)),),
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_sum_of_numbers_in_16_bits_that_cancels_is_not_shown_wrong(dtype):
    for seed in range(12):
        assert check_gradients(*gated(dtype, seed, slope=1)).ok, seed
        wrong = check_gradients(*gated(dtype, seed, slope=0))
        assert [f.where.name for f in wrong.findings if f.verdict == "FAULT"] == ["dg"], str(wrong)


# --- kinks that stay where everything moves, beside others that vanish


def at_zero(convention, seed):
    """A ReLU of whole numbers: some zeros are of a row of zeros, some of 1 + 1 - 2."""
    rng = Rng(seed)
    slope = {"torch's": lambda Z: Z > 0, "the other": lambda Z: Z >= 0, "half": lambda Z: (np.sign(Z) + 1) / 2}

    def derivation(p, X, y):
        Z = X @ p["W"]
        A = np.maximum(Z, 0)
        e = (A @ p["w"] - y) / len(y)
        dA = np.outer(e, p["w"])
        dZ = dA * slope[convention](Z)
        J = (e**2).sum() * len(y) / 2
        return {"Z": Z, "A": A, "J": J, "dw": A.T @ e, "dA": dA, "dZ": dZ, "dW": X.T @ dZ}

    def reference(p, X, y):
        A = tap("A", torch.relu(tap("Z", X @ p["W"])))
        return ((A @ p["w"] - y) ** 2).mean() / 2

    params = {"W": rng.integers(-2, 3, (3, 4)).astype(float), "w": rng.standard_normal(4)}
    return derivation, reference, params, (rng.integers(-1, 2, (16, 3)).astype(float), rng.standard_normal(16))


@pytest.mark.parametrize("convention", ["the other", "half"])
@pytest.mark.parametrize("seed", range(4))
def test_another_derivative_at_zeros_that_stay_and_zeros_that_vanish_is_a_kink(convention, seed):
    assert check_gradients(*at_zero("torch's", seed)).findings == ()
    first = check_gradients(*at_zero(convention, seed)).first
    assert (first.where.name, first.verdict, first.cause.code) == ("dZ", "FAULT", "kink")


def of_rows(value, slope):
    """Sum of C times something of each row of Z, and the derivation with a slope of its own."""
    return lambda p, C: {"J": (C * value(p["Z"])).sum(), "dZ": (C * slope(p["Z"])).astype(p["Z"].dtype)}


def first_largest(Z):
    return np.eye(Z.shape[1])[Z.argmax(1)]


BOUNDS = (-1.0, 1.0)
TIES = {
    "a maximum of equal numbers": (
        of_rows(lambda Z: Z.max(1, keepdims=True), first_largest),
        lambda p, C: (C * p["Z"].amax(1, keepdim=True)).sum(),
    ),
    "a number at its bound": (
        of_rows(lambda Z: Z.clip(*BOUNDS), lambda Z: abs(Z) < 1),
        lambda p, C: (C * p["Z"].clamp(*BOUNDS)).sum(),
    ),
    "equal numbers of which the larger counts": (
        of_rows(lambda Z: np.maximum(Z, Z[:, ::-1]), lambda Z: 2.0 * (Z >= Z[:, ::-1])),
        lambda p, C: (C * torch.maximum(p["Z"], p["Z"].flip(1))).sum(),
    ),
}


@pytest.mark.parametrize(("derivation", "reference"), TIES.values(), ids=TIES)
def test_another_derivative_at_a_tie_is_a_kink_and_at_none_nothing(derivation, reference):
    Z, C = np.array([[1.0, 3.0, 3.0, 0.2], [2.0, -1.0, 2.0, 0.5]]), Rng(3).standard_normal((2, 1))
    first = check_gradients(derivation, reference, {"Z": Z}, (C,)).first
    assert (first.where.name, first.verdict, first.cause) == ("dZ", "FAULT", SpecialPoint())
    Z = Z + 1e-3 * Rng(4).standard_normal(Z.shape)
    assert check_gradients(derivation, reference, {"Z": Z}, (C,)).findings == ()


# --- an entry that is far off by itself, beside others that are larger by all digits of float64


def polynomial(wrong, x):
    """The mistake is the sum in place of the mean for the constant alone."""
    y = Rng(1).standard_normal(len(x))

    def derivation(p, powers, y):
        e = (powers @ p["c"] - y) / len(y)
        dc = powers.T @ e
        dc[0] *= len(y) if wrong else 1
        return {"J": (e**2).sum() * len(y) / 2, "dc": dc}

    def reference(p, powers, y):
        return ((powers @ p["c"] - y) ** 2).mean() / 2

    powers = np.vander(x, 7, increasing=True)
    return derivation, reference, {"c": Rng(2).standard_normal(7) / np.abs(powers).max(0)}, (powers, y)


@pytest.mark.usefixtures("no_causes")
@pytest.mark.parametrize("x", [np.linspace(1950, 2020, 30), np.linspace(0, 1000, 30), np.linspace(-500, 500, 31)])
def test_an_entry_that_is_far_off_shows_beside_the_largest(x):
    assert check_gradients(*polynomial(False, x)).findings == ()
    first = check_gradients(*polynomial(True, x)).first
    assert (first.where.name, first.verdict, first.worst.index) == ("dc", "FAULT", (0,))


# --- constants that float32 does not hold, near the data


def shifted(wrong, constant, spread, seed, *, in_tensor=False):
    rng = Rng(seed)

    def derivation(p, T, y):
        Z = T - T.dtype.type(constant)
        e = (Z @ p["w"] - y) / len(y)
        return {"J": (e**2).sum() * len(y) / 2, "dw": (1 + wrong) * Z.T @ e}

    def reference(p, T, y):
        zero = torch.tensor(constant, dtype=T.dtype) if in_tensor else constant
        return (((T - zero) @ p["w"] - y) ** 2).mean() / 2

    T = constant + spread * rng.standard_normal((20, 2))
    return derivation, reference, {"w": rng.standard_normal(2)}, (T, rng.standard_normal(20))


CONSTANTS = [(273.15, 0.3), (48.8566, 0.01), (1700000003.0, 1e5), (0.1, 1e-4)]


@pytest.mark.usefixtures("no_causes")
@pytest.mark.parametrize("in_tensor", [False, True])
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("constant", "spread"), CONSTANTS)
def test_a_constant_that_float32_rounds_is_no_mistake(constant, spread, seed, in_tensor):
    assert check_gradients(*shifted(0, constant, spread, seed, in_tensor=in_tensor)).findings == ()
    assert verdicts_of(check_gradients(*shifted(1e-6, constant, spread, seed, in_tensor=in_tensor))) == {"FAULT"}


# --- a loss of another shape


@pytest.mark.usefixtures("no_causes")
@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_a_wrong_loss_in_another_shape_is_found_as_in_its_own(shape):
    """Also where it is only a little wrong, so that it must be seen to stay where everything moves."""
    rng = Rng(5)
    params = {"W": rng.standard_normal((3, 2))}
    batches = [(rng.standard_normal((5, 3)), rng.standard_normal((5, 2))) for _ in range(2)]

    def trainer(p, batches, off=1e-7):
        W = p["W"]
        for X, Y in batches:
            E = X @ W - Y
            J, dW = (E**2).sum() / 2, X.T @ E
            W = W - 0.01 * dW
            yield {"J": np.reshape(J * (1 + off), shape), "dW": dW, "W": W}

    def check(trainer):
        reference = lambda p, X, Y: ((X @ p["W"] - Y) ** 2).sum() / 2  # noqa: E731
        return check_training(trainer, reference, lambda t: torch.optim.SGD(t, lr=0.01), params, batches)

    first = check(trainer).first
    assert (first.where.name, first.verdict) == ("J", "FAULT")
    assert check(lambda p, batches: trainer(p, batches, 0.0)).findings == ()
