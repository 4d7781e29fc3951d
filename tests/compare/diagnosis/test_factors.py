"""A factor is named by the sizes and rates that it may come from."""

import numpy as np
import pytest

from handgrad.compare.diagnosis.factors import Factors, named_factors
from handgrad.compare.diagnosis.ranking import diagnose
from handgrad.compare.diagnosis.scene import Scene
from handgrad.compare.facts.causes import PartialBatch, Scaled, Unknown, WrongSign, Zero

RNG = np.random.default_rng(11)
R = RNG.standard_normal((4, 4))
SIZES = {"n": 6, "K": 3}

FACTORS = {
    "sign": (-1.0, WrongSign()),
    "n": (6.0, Scaled(6.0, ("n",))),
    "1/n": (1 / 6, Scaled(1 / 6, ("1/n",))),
    "two": (2.0, Scaled(2.0, ())),
    "n/(n-1)": (1.2, Scaled(6 / 5, ("n/(n-1)",))),
    "two sizes": (18.0, Scaled(18.0, ("n K",))),
    "a root": (6**0.5, Scaled(6**0.5, ("sqrt(n)",))),
    "minus n": (-6.0, Scaled(-6.0, ("n",))),
    "zero": (0.0, Zero()),
}


@pytest.mark.parametrize(("factor", "cause"), FACTORS.values(), ids=FACTORS)
def test_a_factor_has_the_names_that_fit(factor, cause):
    assert diagnose(Scene("T", factor * R, R, numbers=SIZES)) == (cause,)


def test_any_other_factor_has_no_name():
    (cause,) = diagnose(Scene("T", R * (1 + 1e-8), R, numbers=SIZES))
    assert cause == Scaled(pytest.approx(1 + 1e-8, rel=1e-12))


def test_a_half_has_a_name_that_its_sentence_leaves_out():
    """That n is 2 is no reason to say that a half is 1/n."""
    (cause,) = diagnose(Scene("T", R / 2, R, numbers={"n": 2, "K": 3}))
    assert (cause, str(cause)) == (Scaled(0.5, ("1/n", "(n-1)/n")), str(Scaled(0.5)))


def test_every_name_that_fits_is_listed():
    assert named_factors(6.0, {"n": 6, "n_x": 6, "K": 3}) == ("n", "n_x")
    assert named_factors(1 / 3, {"n": 6, "K": 3}) == ("1/K",)
    assert named_factors(-1 / 3, {"n": 6, "K": 3}) == ("1/K",)
    assert named_factors(5.0, {"n": 7, "one": 1}) == ()
    assert named_factors(10.0, {"1 - beta": 0.1}) == ("1/(1 - beta)",)


def test_a_short_batch_divided_by_the_nominal_size():
    (first, second) = diagnose(Scene("T", 0.75 * R, R, numbers={"n": 3, "batch size": 4}))
    assert first == PartialBatch(0.75, "n/(batch size)")
    assert second == Scaled(0.75, ("n/(batch size)",))


X, dZ, W = RNG.standard_normal((4, 6)), RNG.standard_normal((3, 6)), RNG.standard_normal((3, 4))


def decayed(recorded, numbers=SIZES):
    """dW = dZ X^T + 0.5 W, recorded as something else."""
    return Scene(
        "dW",
        recorded,
        dZ @ X.T + 0.5 * W,
        tensors={"W": W, "X": X, "dZ": dZ},
        parameters=frozenset("W"),
        reads={"Z": frozenset("WX")},
        replay=lambda replaced: {"dW": replaced.get("dZ", dZ) @ X.T + 0.5 * W},
        numbers=numbers,
    )


@pytest.mark.parametrize("factor", [6.0, -1.0])
def test_a_factor_on_what_comes_from_the_data_alone(factor):
    cause = diagnose(decayed(factor * dZ @ X.T + 0.5 * W))[0]
    assert cause == (WrongSign("") if factor == -1 else Scaled(6.0, ("n",), part=""))


def test_a_short_batch_in_what_comes_from_the_data_alone():
    scene = decayed(0.75 * dZ @ X.T + 0.5 * W, {"n": 6, "batch size": 8})
    assert diagnose(scene)[0] == PartialBatch(0.75, "n/(batch size)", part="")


def test_a_factor_on_what_comes_through_one_of_two_readers():
    other = RNG.standard_normal((3, 6))

    def dW(replaced, factor=1.0):
        return {"dW": factor * replaced.get("dZ", dZ) @ X.T + replaced.get("dS", other) @ X.T}

    scene = Scene(
        "dW",
        dW({}, 6.0)["dW"],
        dW({})["dW"],
        tensors={"W": W, "X": X, "dZ": dZ, "dS": other},
        parameters=frozenset("W"),
        reads={"Z": frozenset("WX"), "S": frozenset("WX")},
        replay=dW,
        numbers=SIZES,
    )
    assert diagnose(scene)[0] == Scaled(6.0, ("n",), part="Z")


# --- what rounding leaves open

U = 2.0**-24
SMALL = {  # a change of that size beside 1, in float32: what rounding explains of it, and the factor that is told
    "whole": (3.0, 1e-3, 3.0),
    "one over": (1 / 7, 1e-3, 1 / 7),
    "a decimal": (-1.37, 1e-3, -1.37),
    "not known": (3.0, 1e-7, None),
    "next to 1": (1 + 1e-3, 1e-3, None),
}


@pytest.mark.parametrize(("factor", "size", "told"), SMALL.values(), ids=SMALL)
def test_of_the_factors_that_rounding_leaves_the_simplest_is_told(factor, size, told):
    change = size * R
    recorded = (1 + factor * change).astype(np.float32).astype(np.float64) - 1
    factors = Factors.of(recorded, change, 8 * U)
    assert factors.least <= factor <= factors.most
    assert factors.simplest == told


def test_a_factor_must_explain_every_entry_and_every_step():
    change = 1e-2 * R
    both = Factors.of(3 * change, change, U).both(Factors.of(2 * change, change, U))
    assert both.simplest is None
    assert both.least > both.most
    still = change.copy()
    still[0, 0] = 0
    assert Factors.of(3 * change, still, U).simplest is None, "what stands still in torch moves by hand"
    one = Factors.of(3 * change[:1, :2], change[:1, :2], U)
    assert (one.entries, one.simplest) == (2, None), "two entries have a factor by chance"
    assert one.both(Factors.of(3 * change, change, U)).simplest == 3.0


def cost(mean, penalty=0.25, **numbers):
    """J = mean of the losses + penalty, with the mean off by a factor."""
    recorded, due = np.array(mean * 0.71 + penalty), np.array(0.71 + penalty)
    return diagnose(Scene("J", recorded, due, tensors={"penalty": np.array(penalty)}, numbers=numbers))


def test_the_mean_of_the_losses_is_off_and_the_penalty_is_right():
    assert cost(5.0, n=5) == (Scaled(pytest.approx(5.0), ("n",), part=""),)
    named = "n/(batch size)"
    assert cost(0.625, n=5, **{"batch size": 8})[0] == PartialBatch(pytest.approx(0.625), named, part="")


def test_a_mean_off_by_no_known_factor_is_unknown():
    assert cost(1.237) == (Unknown(),)
