"""A derivation whose answer does not depend on what it is handed is found, and right code with exact numbers is not."""

import numpy as np
import pytest

from handgrad import check_gradients
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
    assert report.first.cause == IgnoresArguments(("dW",))


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
