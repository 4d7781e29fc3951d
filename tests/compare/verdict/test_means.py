"""Gradients of intermediates without the 1/n of the mean: when that is how all of them are, and when a mistake."""

import numpy as np
import pytest

from handgrad import tap
from handgrad.compare.facts.causes import Unknown
from handgrad.compare.names import Key
from handgrad.compare.oracle.reference import own_run
from handgrad.compare.pipeline.problem import problem_of
from handgrad.compare.results import Finding, Row
from handgrad.compare.verdict.conventions import Divided
from handgrad.compare.verdict.judgement import Judgement
from handgrad.compare.verdict.means import gradients_of_taps, is_better, is_mean, mean_left_out

RNG = np.random.default_rng(2)
PARAMS = {"W": RNG.standard_normal((3, 4)), "b": RNG.standard_normal((3, 1))}
BATCH = {"X": RNG.standard_normal((4, 6)), "Y": RNG.standard_normal((3, 6))}


def squared_error(p, X, Y):
    A = tap("A", (tap("Z", p["W"] @ X + p["b"])).tanh())
    return ((A - Y) ** 2).sum() / 6


def torch_of(reference):
    problem = problem_of(reference, PARAMS, (BATCH["X"], BATCH["Y"]), ("float64",))
    recorded = {f"d{name}": np.zeros(1) for name in ("Z", "A", "X", "W", "b")}  # so that torch has a gradient of each
    return own_run(problem.reference, problem.params, problem.batch, recorded, "float64")


TORCH = torch_of(squared_error)
RIGHT = {name: TORCH.gradients[name] for name in ("dA", "dZ", "dW", "db")}
LATE = {**RIGHT, "dA": 6 * RIGHT["dA"], "dZ": 6 * RIGHT["dZ"]}


def judged(names, wrong=(), differing=()):
    """Judgements on tensors: those that are wrong have a finding, those that differ do so end to end."""
    found = []
    for name in names:
        key = Key(1, "backward", name)
        row = Row(*key, equation="", shape=(), max_abs_diff=0.0)
        finding = Finding(key, "FAULT", Unknown()) if name in wrong else None
        found.append(Judgement(row, finding, differs=name in differing))
    return found


def left_out(records, *wrong, batch=BATCH):
    return mean_left_out(judged(records, wrong), records, TORCH, PARAMS, batch)


def test_gradients_of_taps_are_those_of_no_leaf():
    assert gradients_of_taps(TORCH) == {"dA", "dZ"}


def test_all_gradients_of_taps_that_are_a_size_too_large_lack_the_mean():
    assert left_out(LATE, "dA", "dZ") == Divided(6, frozenset(("dA", "dZ")))


def test_where_nothing_is_wrong_nothing_is_looked_for():
    assert left_out(LATE) is None
    assert left_out(RIGHT, "dA") is None
    assert left_out({"dW": RIGHT["dW"]}, "dW") is None, "no gradient of a tap was returned"


@pytest.mark.parametrize("factor", [1, 6])
def test_the_gradient_of_an_input_may_have_the_mean_or_not(factor):
    records = {**LATE, "dX": factor * TORCH.gradients["dX"]}
    larger = {"dA", "dZ", "dX"} if factor == 6 else {"dA", "dZ"}
    assert left_out(records, "dA") == Divided(6, frozenset(larger))


def test_a_size_is_that_of_an_axis_of_the_batch_or_of_what_the_mean_is_of():
    by_all = {**RIGHT, "dA": 18 * RIGHT["dA"], "dZ": 18 * RIGHT["dZ"]}
    assert left_out(by_all, "dA") == Divided(18, frozenset(("dA", "dZ"))), "n K"
    by_none = {**RIGHT, "dA": 5 * RIGHT["dA"], "dZ": 5 * RIGHT["dZ"]}
    assert left_out(by_none, "dA") is None


def test_beside_a_mistake_one_that_is_larger_is_enough_if_a_parameter_is_right():
    records = {**LATE, "dZ": RNG.standard_normal(RIGHT["dZ"].shape)}
    assert left_out(records, "dZ") == Divided(6, frozenset(("dA", "dZ")))
    both_wrong = {**records, "dW": 3 * RIGHT["dW"], "db": 3 * RIGHT["db"]}
    assert left_out(both_wrong, "dZ") is None


UNUSABLE = {"text": np.array("text"), "another shape": np.ones(2), "nan": np.full(RIGHT["dZ"].shape, np.nan)}


@pytest.mark.parametrize("record", UNUSABLE.values(), ids=UNUSABLE)
def test_what_cannot_be_compared_is_no_multiple(record):
    assert left_out({"dZ": record, "dW": RIGHT["dW"]}, "dZ") is None


# --- better


NAMES = ("dA", "dZ", "dW", "db")
BETTER = {
    "nothing is left": ((), (), ("dA",), True),
    "nothing is left but parameters differ": ((), ("dW",), ("dA",), False),
    "less is left": (("dZ",), (), ("dA", "dZ"), True),
    "as much is left": (("dZ",), (), ("dA",), False),
    "as much is left, of a parameter": (("dW",), (), ("dA",), True),
    "more is left": (("dZ", "dA"), (), ("dA",), False),
}


@pytest.mark.parametrize(("left", "differing", "before", "is_so"), BETTER.values(), ids=BETTER)
def test_a_reading_is_better_if_less_is_left_to_find(left, differing, before, is_so):
    read, as_they_are = judged(NAMES, left, differing), judged(NAMES, before)
    assert is_better(read, as_they_are, LATE, TORCH, PARAMS) == is_so


def test_a_parameter_is_the_likelier_mistake_only_where_most_are_right():
    records = {**LATE, "dW": 2 * RIGHT["dW"], "db": 2 * RIGHT["db"]}
    assert not is_better(judged(NAMES, ("dW",)), judged(NAMES, ("dA",)), records, TORCH, PARAMS)


# --- a mean


def J_of(reference):
    return torch_of(reference).values["J"]


def test_a_mean_is_the_same_of_every_example_twice():
    def of_its_own(p, X, Y):
        return ((p["W"] @ X + p["b"] - Y) ** 2).sum() / X.shape[1]

    def summed(p, X, Y):
        return ((p["W"] @ X + p["b"] - Y) ** 2).sum()

    assert is_mean(of_its_own, PARAMS, BATCH, J_of(of_its_own), 6)
    assert is_mean(of_its_own, PARAMS, BATCH, J_of(of_its_own), 18), "6 divides it"
    assert not is_mean(of_its_own, PARAMS, BATCH, J_of(of_its_own), 5)
    assert not is_mean(summed, PARAMS, BATCH, J_of(summed), 6)


def test_an_axis_that_may_not_be_longer_is_no_mean():
    def fixed(p, X, Y):
        return ((p["W"] @ X.reshape(4, 6) + p["b"] - Y) ** 2).sum() / X.shape[1]

    assert not is_mean(fixed, PARAMS, BATCH, J_of(fixed), 6)
