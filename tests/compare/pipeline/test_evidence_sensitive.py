"""Where float32 says nothing: at kinks, in long recurrences, far from the origin; a mistake is found there as well."""

import numpy as np
import pytest
import torch

from handgrad import check_gradients, check_training
from handgrad.compare.facts.failures import Unstable
from handgrad.compare.names import of_gradient
from tests.corpus.layers import Layer
from tests.corpus.sensitive import PROBLEMS, inverse, logistic, recurrent


def verdicts_of(report):
    return {finding.verdict for finding in report.findings}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_right_derivation_is_left_in_peace_where_float32_says_nothing(problem):
    assert check_gradients(*problem(1)).ok


@pytest.mark.parametrize("factor", [-1, 0, 2, 1000, 1.001])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_mistake_is_found_where_float32_says_nothing(problem, factor):
    first = check_gradients(*problem(factor)).first
    assert first.verdict == "FAULT"
    assert of_gradient(first.where.name)


@pytest.mark.parametrize("factor", [-1, 3])
def test_where_J_is_chaotic_its_own_slope_tells_nothing(factor):
    """dU is 2e10; differences of J, which is 1 at most, are 1e5 over any step that float64 leaves, right or wrong."""
    first = check_gradients(*recurrent(factor, gain=4, steps=120, seed=6)).first
    assert (first.verdict, first.where.name) == ("UNTOLD", "dU")


def drawn(layer):
    """The same with gradients that are off by 50 to 100 %, by other numbers wherever anything moves."""

    def derive(p, *batch):
        rng = np.random.default_rng([int(1e9 * abs(float(np.ravel(a)[0]) % 1)) for a in p.values()])
        records = layer.derivation(p, *batch)
        return {n: a * (1 + rng.uniform(0.5, 1, np.shape(a))) if n != "J" else a for n, a in records.items()}

    return layer._replace(derivation=derive)


def waves(factor, size):
    """sum of sin(exp(size w)), of which nothing is known where exp has no digits left behind its point."""

    def derivation(p):
        e = np.exp(size * p["w"])
        return {"J": np.sin(e).sum(), "dw": factor * size * np.cos(e) * e}

    return Layer(derivation, lambda p: torch.sin(torch.exp(size * p["w"])).sum(), {"w": np.linspace(0.91, 1, 5)}, ())


def shifted(factor, shift):
    """sum of ((w + shift) - shift)^2, by which a large shift leaves nothing of w."""

    def derivation(p):
        kept = (p["w"] + shift) - shift
        return {"J": (kept**2).sum(), "dw": factor * 2 * kept}

    return Layer(derivation, lambda p: (((p["w"] + shift) - shift) ** 2).sum(), {"w": np.linspace(0.4, 2, 5)}, ())


def variance(factor, mean):
    """sum of v^2 of every row, v = E[x^2] - E[x]^2, of which nothing is left where the mean is far from 0."""

    def derivation(p):
        x = p["x"]
        m = x.mean(1, keepdims=True)
        v = (x**2).mean(1, keepdims=True) - m**2
        return {"J": (v**2).sum(), "dx": factor * 2 * v * 2 * (x - m) / x.shape[1]}

    def reference(p):
        return (((p["x"] ** 2).mean(1) - p["x"].mean(1) ** 2) ** 2).sum()

    x = mean + np.random.default_rng(4).standard_normal((3, 6))
    return Layer(derivation, reference, {"x": x}, ())


UNTOLD = {
    "fewer steps of a tanh": (lambda factor, steps=200: recurrent(factor, 4, steps, 1), 3),
    "fewer steps of a map": (lambda factor, steps=60: logistic(factor, steps), 3),
    "smaller weights": (lambda factor, size=38: waves(factor, size), 2),
    "a sum that does not cancel": (lambda factor, shift=2e15: shifted(factor, shift), 3),
    "data that do not cancel": (lambda factor, mean=3e8: variance(factor, mean), 3),
}
"""What rounding moves by as much as it is, and what takes its place by the remedy that the report names."""


@pytest.mark.parametrize(("problem", "_"), UNTOLD.values(), ids=UNTOLD)
def test_where_float64_says_nothing_either_the_report_says_so(problem, _):
    assert verdicts_of(check_gradients(*problem(1))) <= {"UNTOLD"}
    report = check_gradients(*drawn(problem(1)))
    assert {(f.verdict, f.cause) for f in report.findings} == {("UNTOLD", Unstable())}, str(report)
    assert report.ok


@pytest.mark.parametrize(("problem", "remedy"), UNTOLD.values(), ids=UNTOLD)
def test_with_what_the_report_recommends_it_is_told(problem, remedy):
    assert check_gradients(*problem(1, remedy)).findings == ()
    assert check_gradients(*drawn(problem(1, remedy))).first.verdict == "FAULT"
    assert check_gradients(*problem(-1, remedy)).first.verdict == "FAULT"


@pytest.mark.parametrize("steps", ["fewer steps of a tanh", "fewer steps of a map"])
def test_a_wrong_sign_shows_where_rounding_moves_everything(steps):
    problem, _ = UNTOLD[steps]
    first = check_gradients(*problem(-1)).first
    assert (first.verdict, of_gradient(first.where.name) != "") == ("FAULT", True)


def cast(array):
    return array.astype(np.float32).astype(array.dtype)


@pytest.mark.parametrize("problem", [inverse, recurrent])
def test_a_cast_to_float32_inside_is_weak_where_float32_says_nothing(problem):
    layer = problem(1)

    def casting(p, *batch):
        return layer.derivation({name: cast(array) for name, array in p.items()}, *batch)

    report = check_gradients(casting, *layer[1:])
    assert verdicts_of(report) == {"WEAK"}, str(report)


@pytest.mark.parametrize("seed", range(3))
def test_a_right_derivation_that_chaos_takes_elsewhere_is_no_fault(seed):
    layer = recurrent(1, gain=3.5, steps=200, seed=seed)

    def otherwise_rounded(p, h):
        return layer.derivation({"U": np.asfortranarray(p["U"]) * (1 + np.finfo(p["U"].dtype).eps)}, h)

    report = check_gradients(otherwise_rounded, *layer[1:])
    assert verdicts_of(report) <= {"WEAK", "UNTOLD"}, str(report)
    assert report.ok


# --- references that do not run everywhere


def logistic_regression(factor):
    def derivation(p, X, Y):
        A = 1 / (1 + np.exp(-X @ p["w"]))
        J = -(Y * np.log(A) + (1 - Y) * np.log(1 - A)).mean()
        return {"J": J, "dw": factor * X.T @ (A - Y) / len(Y)}

    return derivation


def cross_entropy(p, X, Y):
    return torch.nn.functional.binary_cross_entropy(torch.sigmoid(X @ p["w"]), Y)


X, Y = np.array([[1.0, 2], [3, 4], [-1, 2], [0.5, -1]]), np.array([1.0, 0, 1, 1])
PARAMS = {"w": np.array([1.0, -0.5])}


@pytest.mark.parametrize("factor", [1, -1, 2, 1.001])
def test_a_reference_that_does_not_run_where_it_is_probed_is_no_error(factor):
    """A label of 1 may not become larger, as F.binary_cross_entropy has it."""
    report = check_gradients(logistic_regression(factor), cross_entropy, PARAMS, (X, Y))
    assert verdicts_of(report) == (set() if factor == 1 else {"FAULT"}), str(report)


@pytest.mark.parametrize("factor", [1, -1, 2, 1.001])
def test_nor_is_it_one_in_training(factor):
    def trainer(p, batches):
        for X, Y in batches:
            p = {"w": p["w"] - 0.1 * logistic_regression(factor)(p, X, Y)["dw"]}
            yield p

    sgd = lambda tensors: torch.optim.SGD(tensors, lr=0.1)  # noqa: E731
    report = check_training(trainer, cross_entropy, sgd, PARAMS, [(X, Y)] * 3)
    assert verdicts_of(report) == (set() if factor == 1 else {"FAULT"}), str(report)


@pytest.mark.parametrize("factor", [1, 1.003])
def test_a_symmetric_parameter_stays_so_where_it_is_probed(factor):
    def derivation(p):
        L = np.linalg.cholesky(p["A"])
        return {"J": 2 * np.log(np.diag(L)).sum(), "dA": factor * np.linalg.inv(p["A"])}

    def reference(p):
        return 2 * torch.log(torch.diagonal(torch.linalg.cholesky(p["A"]))).sum()

    report = check_gradients(derivation, reference, {"A": np.array([[1, 0.99], [0.99, 1.0]])}, ())
    assert [finding.cause.code for finding in report.findings] == ([] if factor == 1 else ["scale"]), str(report)
