"""Where float32 says nothing: at kinks, in long recurrences, far from the origin; a mistake is found there as well."""

import numpy as np
import pytest
import torch

from handgrad import check_gradients, check_training

WHOLE = np.random.default_rng(0).integers(-3, 4, (6, 3)).astype(float)


def relu(factor):
    def derivation(p, X):
        Z = X @ p["w"]
        return {"J": np.maximum(Z, 0).sum(), "dw": factor * X.T @ (Z > 0).astype(X.dtype)}

    return derivation, lambda p, X: torch.relu(X @ p["w"]).sum(), {"w": np.ones(3)}, (WHOLE,)


def largest(factor):
    def derivation(p, X):
        Z = X * p["w"]
        first = np.arange(X.shape[1]) == Z.argmax(axis=1)[:, None]
        return {"J": Z.max(axis=1).sum(), "dw": factor * (first * X).sum(axis=0)}

    return derivation, lambda p, X: (X * p["w"]).max(1).values.sum(), {"w": np.ones(3)}, (np.array([[2.0, 2, 1]]),)


def absolute(factor):
    def derivation(p, X, Y):
        residuals = X @ p["w"] - Y
        return {"J": np.abs(residuals).sum(), "dw": factor * X.T @ np.sign(residuals)}

    targets = WHOLE.sum(axis=1) + (np.arange(6) == 0)
    return derivation, lambda p, X, Y: (X @ p["w"] - Y).abs().sum(), {"w": np.ones(3)}, (WHOLE, targets)


def inverse(factor):
    def derivation(p, X):
        inv = np.linalg.inv(p["A"])
        return {"J": (inv * X).sum(), "dA": -factor * inv.T @ X @ inv.T}

    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0]
    A = Q @ np.diag([1, 1, 1, 1e-6]) @ Q.T
    return derivation, lambda p, X: (torch.linalg.inv(p["A"]) * X).sum(), {"A": A}, (np.eye(4),)


def sine(factor):
    def derivation(p, X):
        Z = X @ p["w"]
        return {"J": np.sin(Z).sum(), "dw": factor * X.T @ np.cos(Z)}

    rng = np.random.default_rng(3)
    return derivation, lambda p, X: torch.sin(X @ p["w"]).sum(), {"w": rng.random(3)}, (1e6 * rng.random((5, 3)),)


def recurrent(factor, gain=3, steps=160, seed=0):
    def derivation(p, h):
        states = [h]
        for _ in range(steps):
            states.append(np.tanh(p["U"] @ states[-1]))
        dh, dU = states[-1], np.zeros_like(p["U"])
        for t in range(steps, 0, -1):
            da = dh * (1 - states[t] ** 2)
            dU = dU + np.outer(da, states[t - 1])
            dh = p["U"].T @ da
        return {"J": (states[-1] ** 2).sum() / 2, "dU": factor * dU}

    def reference(p, h):
        for _ in range(steps):
            h = torch.tanh(p["U"] @ h)
        return (h**2).sum() / 2

    rng = np.random.default_rng(seed)
    return derivation, reference, {"U": gain * rng.standard_normal((16, 16)) / 4}, (rng.standard_normal(16),)


def logistic(factor, steps=30):
    def derivation(p, x):
        values = [x]
        for _ in range(steps):
            values.append(p["r"] * values[-1] * (1 - values[-1]))
        dx, dr = 1, 0
        for before in values[-2::-1]:
            dr, dx = dr + dx * before * (1 - before), dx * p["r"] * (1 - 2 * before)
        return {"J": values[-1], "dr": factor * dr}

    def reference(p, x):
        for _ in range(steps):
            x = p["r"] * x * (1 - x)
        return x

    return derivation, reference, {"r": np.array(3.9)}, (np.array(0.3),)


@pytest.mark.parametrize("problem", [relu, largest, absolute, inverse, sine, recurrent, logistic])
def test_a_mistake_is_found_where_float32_says_nothing(problem):
    assert check_gradients(*problem(1)).ok
    for factor in (-1, 0, 2, 1000, 1.001):
        first = check_gradients(*problem(factor)).first
        assert (first.verdict, first.name[0]) == ("FAULT", "d"), factor


def test_the_recurrence_that_float32_would_allow_anything_is_no_exception():
    first = check_gradients(*recurrent(-1, gain=4, steps=120, seed=6)).first
    assert (first.verdict, first.name) == ("FAULT", "dU")


@pytest.mark.parametrize("problem", [lambda factor: recurrent(factor, 4, 200, 1), lambda factor: logistic(factor, 60)])
def test_where_float64_says_nothing_either_the_report_says_so(problem):
    assert check_gradients(*problem(1)).findings == ()
    report = check_gradients(*problem(-1))
    assert (report.first.verdict, report.first.cause) == ("WEAK", "precision-loss")
    assert "roundings change torch's own result by 1 % or more" in report.first.explanation
    assert "nothing is told of 1 tensor among 2 of 1 step" in str(report)
    assert "formulas are right" not in str(report)


def cast(array):
    return array.astype(np.float32).astype(array.dtype)


def test_a_cast_to_float32_inside_is_weak_where_float32_says_nothing():
    derivation, reference, params, batch = inverse(1)
    report = check_gradients(lambda p, X: derivation({"A": cast(p["A"])}, X), reference, params, batch)
    assert {finding.verdict for finding in report.findings} == {"WEAK"}, str(report)
    derivation, reference, params, batch = recurrent(1)
    report = check_gradients(lambda p, h: derivation({"U": cast(p["U"])}, h), reference, params, batch)
    assert {finding.verdict for finding in report.findings} == {"WEAK"}, str(report)


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
    assert not any(finding.cause == "precision-loss" for finding in report.findings), str(report)


@pytest.mark.parametrize("factor", [1, -1, 2, 1.001])
def test_a_reference_that_does_not_run_where_it_is_probed_is_no_error(factor):
    """A label of 1 may not become larger, as F.binary_cross_entropy has it."""
    X, Y = np.array([[1.0, 2], [3, 4], [-1, 2], [0.5, -1]]), np.array([1.0, 0, 1, 1])

    def derivation(p, X, Y):
        A = 1 / (1 + np.exp(-X @ p["w"]))
        J = -(Y * np.log(A) + (1 - Y) * np.log(1 - A)).mean()
        return {"J": J, "dw": factor * X.T @ (A - Y) / len(Y)}

    def reference(p, X, Y):
        return torch.nn.functional.binary_cross_entropy(torch.sigmoid(X @ p["w"]), Y)

    def trainer(p, batches):
        for X, Y in batches:
            p = {"w": p["w"] - 0.1 * derivation(p, X, Y)["dw"]}
            yield p

    params = {"w": np.array([1.0, -0.5])}
    sgd = lambda tensors: torch.optim.SGD(tensors, lr=0.1)  # noqa: E731
    for report in (
        check_gradients(derivation, reference, params, (X, Y)),
        check_training(trainer, reference, sgd, params, [(X, Y)] * 3),
    ):
        assert {finding.verdict for finding in report.findings} == (set() if factor == 1 else {"FAULT"}), str(report)


@pytest.mark.parametrize("factor", [1, 1.003])
def test_a_symmetric_parameter_stays_so_where_it_is_probed(factor):
    def derivation(p):
        L = np.linalg.cholesky(p["A"])
        return {"J": 2 * np.log(np.diag(L)).sum(), "dA": factor * np.linalg.inv(p["A"])}

    def reference(p):
        return 2 * torch.log(torch.diagonal(torch.linalg.cholesky(p["A"]))).sum()

    report = check_gradients(derivation, reference, {"A": np.array([[1, 0.99], [0.99, 1.0]])}, ())
    assert [finding.cause for finding in report.findings] == ([] if factor == 1 else ["scale"]), str(report)


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
    assert any(spot.startswith("db (nothing but rounding on both sides") for spot in report.blind_spots)


@pytest.mark.parametrize("seed", range(3))
def test_a_right_derivation_that_chaos_takes_elsewhere_is_no_fault(seed):
    derivation, reference, params, batch = recurrent(1, gain=3.5, steps=200, seed=seed)

    def otherwise_rounded(p, h):
        return derivation({"U": np.asfortranarray(p["U"]) * (1 + np.finfo(p["U"].dtype).eps)}, h)

    report = check_gradients(otherwise_rounded, reference, params, batch)
    assert {finding.verdict for finding in report.findings} <= {"WEAK"}, str(report)
