"""A derivation whose answer does not depend on what it is handed is found, and right code with exact numbers is not."""

import functools

import numpy as np
import pytest
import torch

from handgrad import check_gradients, check_training
from handgrad.compare.facts.failures import IgnoresArguments
from tests.corpus.layers import LINEAR, SQUARES, TANH

LAYERS = {"linear": LINEAR, "squares": SQUARES, "tanh": TANH}


def outside(layer):
    """A notebook's variables instead of the arguments."""
    return lambda p, *batch: layer.derivation(layer.params, *layer.batch)


def cached(layer):
    """Computed in the first call, and handed out again."""
    kept = {}

    def derive(p, *batch):
        if not kept:
            kept.update(layer.derivation(p, *batch))
        return dict(kept)

    return derive


@pytest.mark.parametrize("cheat", [outside, cached])
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_an_answer_from_elsewhere_is_a_fault(layer, cheat):
    report = check_gradients(cheat(layer), *layer[1:])
    assert isinstance(report.first.cause, IgnoresArguments)
    assert report.first.verdict == "FAULT"


def test_one_gradient_from_elsewhere_is_enough():
    kept = SQUARES.derivation(SQUARES.params, *SQUARES.batch)
    report = check_gradients(lambda p, *b: {**SQUARES.derivation(p, *b), "dW": kept["dW"].copy()}, *SQUARES[1:])
    assert report.first.cause == IgnoresArguments(("dW",), ("W", "b", "X", "C"))


# --- a part of the arguments


def backward_from_outside(layer):
    """Values of the arguments, gradients of a variable outside."""

    def derive(p, *batch):
        right = layer.derivation(p, *batch)
        return {n: a if n.startswith("d") else right[n] for n, a in layer.derivation(layer.params, *batch).items()}

    return derive


def rounded_from_outside(layer):
    """Parameters outside, in the precision of the batch, so that float32 answers look as they should."""
    return lambda p, *batch: layer.derivation({n: a.astype(batch[0].dtype) for n, a in layer.params.items()}, *batch)


class Remembers:
    """A layer that keeps the first input that it sees."""

    def __init__(self, layer):
        self.layer, self.X = layer, None

    def __call__(self, p, X, *others):
        self.X = X.copy() if self.X is None else self.X
        return self.layer.derivation(p, self.X.astype(X.dtype), *others)


def by_dtype(layer):
    """What was computed in a precision is handed out again in that."""
    kept = {}

    def derive(p, *batch):
        return dict(kept.setdefault(batch[0].dtype, layer.derivation(p, *batch)))

    return derive


def by_cache(layer):
    @functools.lru_cache
    def computed(dtype):
        return layer.derivation({n: a.astype(dtype) for n, a in layer.params.items()}, *layer.batch)

    return lambda p, *batch: computed(batch[0].dtype)


PARTS = {
    "gradients": (backward_from_outside, {"W", "b"}),
    "rounded": (rounded_from_outside, {"W", "b"}),
    "a layer that remembers": (Remembers, {"X"}),
    "kept by dtype": (by_dtype, {"W", "b", "X"}),
    "functools": (by_cache, {"W", "b", "X"}),
}


@pytest.mark.parametrize(("cheat", "arrays"), PARTS.values(), ids=PARTS)
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_what_does_not_follow_a_part_of_the_arguments_is_named(layer, cheat, arrays):
    report = check_gradients(cheat(layer), *layer[1:])
    assert (report.first.verdict, report.first.cause.code) == ("FAULT", "ignored-arguments"), str(report)
    assert {*report.first.cause.arrays} - {"Y", "C"} == arrays & {*layer.params, "X"}


@pytest.mark.parametrize("off", [1e-10, 1e-8, 1e-6])
def test_what_changes_with_every_move_as_it_does_not_follow_is_no_lost_digits(off):
    """A gradient along parameters from outside, wrong besides by less than the move."""

    def derive(p, *batch):
        W = TANH.params["W"].astype(batch[0].dtype)
        right = TANH.derivation(p, *batch)
        return {**right, "dX": (1 + off) * W.T @ right["dZ"]}

    first = check_gradients(derive, *TANH[1:]).first
    assert (first.verdict, first.cause) == ("FAULT", IgnoresArguments(("dX",), ("W",)))


@pytest.mark.parametrize("digits", ["f2", "f4"])
@pytest.mark.parametrize("name", ["dX", "dW", "dZ"])
def test_lost_digits_do_not_leave_out_an_argument(digits, name):
    cast = TANH.returning(**{name: lambda right: right[name].astype(digits).astype(right[name].dtype)})
    report = check_gradients(*cast, precisions=("float64",))
    assert {(finding.verdict, finding.cause.code) for finding in report.findings} == {("WEAK", "precision-loss")}


# --- trainers


BATCHES = [SQUARES.batch, tuple(array[:, ::-1].copy() for array in SQUARES.batch)]


def steps(params, batches, dtype=None):
    """Gradient descent on squares, in the precision of what it is handed."""
    for X, C in batches:
        right = SQUARES.derivation(params, X.astype(dtype or X.dtype), C.astype(dtype or C.dtype))
        params = {name: array - np.asarray(0.1, array.dtype) * right[f"d{name}"] for name, array in params.items()}
        yield {**params, "dW": right["dW"], "J": right["J"]}


TRAINERS = {
    "start": (lambda p, b: steps(SQUARES.params, b, "f8"), {"W", "b"}),
    "start in the precision": (
        lambda p, b: steps({n: a.astype(p[n].dtype) for n, a in SQUARES.params.items()}, b),
        {"W", "b"},
    ),
    "batches": (lambda p, b: steps(p, BATCHES, p["W"].dtype), {"X", "C"}),
    "both": (lambda p, b: steps(SQUARES.params, BATCHES), {"W", "b", "X", "C"}),
}


def descent(tensors):
    return torch.optim.SGD(tensors, lr=0.1)


@pytest.mark.parametrize(("cheat", "arrays"), TRAINERS.values(), ids=TRAINERS)
def test_a_trainer_whose_numbers_are_from_elsewhere_is_a_fault(cheat, arrays):
    report = check_training(cheat, SQUARES.reference, descent, SQUARES.params, BATCHES)
    assert (report.first.verdict, report.first.cause.code) == ("FAULT", "ignored-arguments"), str(report)
    assert {*report.first.cause.arrays} == arrays


SCALE = np.full((4, 1), 0.1)


@pytest.mark.parametrize(
    "trainer", [steps, lambda p, b: (SCALE, steps(p, b))[1], lambda p, b: steps(p, b, "f8")], ids=["", "table", "f8"]
)
def test_a_trainer_that_reaches_other_arrays_and_uses_its_own_is_right(trainer):
    assert check_training(trainer, SQUARES.reference, descent, SQUARES.params, BATCHES).findings == ()


class Keeps:
    """What every class of layers does: forward keeps what backward needs."""

    def __init__(self, layer):
        self.layer, self.kept = layer, None

    def forward(self, p, *batch):
        self.kept = p, batch

    def __call__(self, p, *batch):
        self.forward(p, *batch)
        return self.layer.derivation(self.kept[0], *self.kept[1])


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_what_keeps_its_arguments_and_uses_them_is_right(layer):
    assert check_gradients(Keeps(layer), *layer[1:]).findings == ()

    def in_float64(p, *batch):
        wide = {name: array.astype("f8") for name, array in p.items()}
        return layer.derivation(wide, *(array.astype("f8") for array in batch))

    assert check_gradients(in_float64, *layer[1:]).findings == ()


@pytest.mark.parametrize("size", [4, 40])
def test_what_rounding_takes_elsewhere_follows_all_the_same(size):
    """Of a sine of large numbers nothing is known where they have moved; that tells nothing of where they are from."""
    kept = np.zeros(1)

    def derive(p):
        e = np.exp(size * p["w"].astype("f8")) + kept
        return {"J": np.sin(e).sum(), "dw": size * np.cos(e) * e}

    report = check_gradients(
        derive, lambda p: torch.sin(torch.exp(size * p["w"])).sum(), {"w": np.linspace(0.9, 1, 4)}, ()
    )
    assert "ignored-arguments" not in {finding.cause.code for finding in report.findings}, str(report)


def test_sines_that_rounding_takes_elsewhere_beside_what_is_larger_follow_all_the_same():
    """Both sides agree on what is handed over, to the bit, and by chance; where it has moved the sines are others."""
    kept, candidates = np.zeros(1), np.linspace(0.96, 1, 400)
    w = candidates[np.exp(19 * candidates) ** 2 == torch.exp(38 * torch.from_numpy(candidates)).numpy()][:6]
    assert len(w) == 6

    def derive(p):
        e = np.exp(19 * p["w"]) ** 2 + kept
        return {"J": np.sin(e).sum() + 50 * p["w"].sum(), "dw": 38 * np.cos(e) * e + 50}

    report = check_gradients(
        derive, lambda p: torch.sin(torch.exp(38 * p["w"])).sum() + 50 * p["w"].sum(), {"w": w}, ()
    )
    assert "ignored-arguments" not in {finding.cause.code for finding in report.findings}, str(report)


def test_whole_numbers_are_asked_for_once_more_and_left_in_peace():
    """float32 holds them exactly, so both answers are the same to the bit."""
    rng = np.random.default_rng(0)
    params = {"W": rng.integers(-3, 4, (4, 3)).astype(float)}
    batch = rng.integers(-3, 4, (8, 4)).astype(float), rng.integers(-3, 4, (8, 3)).astype(float)
    calls = []

    def derive(p, X, Y):
        calls.append(1)
        E = X @ p["W"] - Y
        return {"J": (E**2).sum() / 2, "dW": X.T @ E}

    report = check_gradients(derive, lambda p, X, Y: ((X @ p["W"] - Y) ** 2).sum() / 2, params, batch)
    assert report.findings == (), str(report)
    assert len(calls) == 3
    calls.clear()
    assert check_gradients(
        derive, lambda p, X, Y: ((X @ p["W"] - Y) ** 2).sum() / 2, params, (batch[0] / 3, batch[1])
    ).ok
    assert len(calls) == 2


def test_a_gradient_that_is_constant_in_torch_as_well_is_right():
    rng = np.random.default_rng(1)
    X = rng.integers(0, 2, (8, 4)).astype(float)
    report = check_gradients(
        lambda p, X: {"J": (X @ p["w"]).sum(), "dw": X.sum(0)},
        lambda p, X: (X @ p["w"]).sum(),
        {"w": rng.standard_normal(4)},
        (X,),
    )
    assert report.findings == (), str(report)


# --- data that are normalised


def cross_entropy(params, X, Y):
    return -(Y * torch.log_softmax(X @ params["W"], 1)).sum() / len(X)


def cross_entropy_of_probabilities(p, X, Y):
    """dZ = (P - Y) / n, which holds where the rows of Y sum to 1; in float64, whatever it is handed."""
    Z = X.astype(np.float64) @ p["W"].astype(np.float64)
    P = np.exp(Z) / np.exp(Z).sum(1, keepdims=True)
    dZ = (P - Y) / len(X)
    return {"J": -(Y * np.log(P)).sum() / len(X), "dW": X.astype(np.float64).T @ dZ}


def cosine(params, X, U):
    a = X @ params["w"]
    return (torch.nn.functional.normalize(U, dim=1) @ params["w"] * a).sum()


def cosine_of_unit_rows(p, X, U):
    """U is not divided by its lengths, which are 1; in float64, whatever it is handed."""
    X, U, w = (each.astype(np.float64) for each in (X, U, p["w"]))
    return {"J": (U @ w * (X @ w)).sum(), "dw": U.T @ (X @ w) + X.T @ (U @ w)}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("rows", [1, 4])
def test_probabilities_stay_probabilities(rows, dtype):
    rng = np.random.default_rng(31)
    Y = rng.dirichlet(np.ones(3), size=rows).astype(dtype)
    params, X = {"W": rng.normal(size=(5, 3))}, rng.normal(size=(rows, 5))
    assert check_gradients(cross_entropy_of_probabilities, cross_entropy, params, (X, Y)).ok


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_rows_of_length_one_stay_so(dtype):
    rng = np.random.default_rng(32)
    U = rng.normal(size=(6, 3))
    U /= np.linalg.norm(U, axis=1, keepdims=True)
    U, params = U.astype(dtype), {"w": rng.normal(size=3)}
    assert check_gradients(cosine_of_unit_rows, cosine, params, (rng.normal(size=(6, 3)), U)).ok


def test_a_mistake_beside_probabilities_is_found():
    rng = np.random.default_rng(33)
    Y = rng.dirichlet(np.ones(3), size=4)
    params, batch = {"W": rng.normal(size=(5, 3))}, (rng.normal(size=(4, 5)), Y)

    def wrong(p, X, T):
        return {**cross_entropy_of_probabilities(p, X, T), "dW": cross_entropy_of_probabilities(p, X, Y)["dW"]}

    assert check_gradients(wrong, cross_entropy, params, batch).first.cause == IgnoresArguments(("dW",), ("Y",))


def test_rows_of_float32_that_do_not_sum_to_one_are_left_as_they_are():
    """A mistake of 1e-3 in the sums is the derivation's, which relies on them."""
    rng = np.random.default_rng(34)
    Y = (1.001 * rng.dirichlet(np.ones(3), size=4)).astype(np.float32)
    params, batch = {"W": rng.normal(size=(5, 3))}, (rng.normal(size=(4, 5)), Y)
    assert check_gradients(cross_entropy_of_probabilities, cross_entropy, params, batch).first.where.name == "dW"
