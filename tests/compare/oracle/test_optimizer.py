"""torch's optimiser following a derivation, and others beside it that get moved tensors."""

import numpy as np
import pytest
import torch

from handgrad.compare.errors import InputError
from handgrad.compare.oracle.optimizer import Follower, Followers
from handgrad.compare.thresholds import MOVED_RUNS, UNIT_ROUNDOFF

PARAMS = {"W": np.array([[1.0, 2.0]]), "b": np.array([3.0])}
GRADIENTS = {"dW": np.array([[0.5, -1.0]]), "db": np.array([2.0])}


def sgd(momentum=0.0):
    return lambda tensors: torch.optim.SGD(tensors, lr=0.1, momentum=momentum)


def no_gradients(params, move):
    raise AssertionError("every gradient was recorded")


def test_a_step_starts_from_what_it_is_given_and_keeps_its_own_state():
    follower = Follower(sgd(0.9), PARAMS)
    first = follower.step(PARAMS, GRADIENTS)
    np.testing.assert_allclose(first["W"], PARAMS["W"] - 0.1 * GRADIENTS["dW"])
    np.testing.assert_allclose(first["vW"], GRADIENTS["dW"])
    elsewhere = {name: array + 7 for name, array in PARAMS.items()}
    second = follower.step(elsewhere, GRADIENTS)
    np.testing.assert_allclose(second["vW"], 1.9 * GRADIENTS["dW"])
    np.testing.assert_allclose(second["W"], elsewhere["W"] - 0.19 * GRADIENTS["dW"])


def test_a_parameter_without_a_gradient_stays_and_has_no_velocity():
    after = Follower(sgd(0.9), PARAMS).step(PARAMS, {"dW": GRADIENTS["dW"]})
    np.testing.assert_array_equal(after["b"], PARAMS["b"])
    assert {*after} == {"W", "b", "vW"}
    assert "vW" not in Follower(sgd(), PARAMS).step(PARAMS, GRADIENTS)


def test_a_recorded_velocity_replaces_torchs():
    follower = Follower(sgd(0.9), PARAMS)
    follower.step(PARAMS, GRADIENTS)
    follower.set_velocity("W", np.array([[10.0, 10.0]]))
    follower.set_velocity("b", np.ones((2, 2)))  # of another shape: torch's own stays
    after = follower.step(PARAMS, GRADIENTS)
    np.testing.assert_allclose(after["vW"], 9 + GRADIENTS["dW"])
    np.testing.assert_allclose(after["vb"], 1.9 * GRADIENTS["db"])


class Needing(torch.optim.SGD):
    """An optimiser whose step needs an argument."""

    def step(self, closure):
        return closure()


REFUSED = {
    "raises": (lambda tensors: torch.optim.SGD(tensors, lr="fast"), "the optimizer raises TypeError"),
    "no optimiser": (lambda tensors: "SGD", "optimizer returns a str"),
    "holds not all": (lambda tensors: torch.optim.SGD(tensors[:1], lr=0.1), "does not hold b"),
}


@pytest.mark.parametrize(("optimizer", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_optimiser_of_all_parameters_is_refused(optimizer, words):
    with pytest.raises(InputError, match=words):
        Follower(optimizer, PARAMS)


def test_an_optimiser_whose_step_needs_an_argument_is_refused():
    follower = Follower(lambda tensors: Needing(tensors, lr=0.1), PARAMS)
    with pytest.raises(InputError, match="Needing raises TypeError"):
        follower.step(PARAMS, GRADIENTS)


def test_others_beside_it_move_everything_by_one_rounding_of_float32():
    followers = Followers(sgd(), PARAMS)
    own, *others = followers.step(0, PARAMS, GRADIENTS, no_gradients)
    np.testing.assert_array_equal(own["W"], PARAMS["W"] - 0.1 * GRADIENTS["dW"])
    assert len(others) == MOVED_RUNS
    for other in others:
        difference = np.abs(other["W"] - own["W"])
        assert (difference > 0).any()
        assert (difference <= 1.001 * UNIT_ROUNDOFF["float32"] * (abs(PARAMS["W"]) + 0.1 * abs(GRADIENTS["dW"]))).all()


def test_the_same_step_is_moved_the_same_way_and_another_one_otherwise():
    first, again, later = (
        Followers(sgd(), PARAMS).step(number, PARAMS, GRADIENTS, no_gradients)[1]["W"] for number in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != later).any()


def test_a_gradient_that_is_not_usable_is_torchs_own():
    handed = []

    def own(params, move):
        handed.append((params["W"], move({"X": np.ones(3)})["X"]))
        return {"dW": np.ones((1, 2)), "db": np.ones(1)}

    unusable = {"dW": np.ones((2, 1)), "db": GRADIENTS["db"]}
    result, *_ = Followers(sgd(), PARAMS).step(0, PARAMS, unusable, own)
    np.testing.assert_allclose(result["W"], PARAMS["W"] - 0.1)
    np.testing.assert_allclose(result["b"], PARAMS["b"] - 0.1 * GRADIENTS["db"])
    assert len(handed) == 1 + MOVED_RUNS
    np.testing.assert_array_equal(handed[0][1], np.ones(3))
    assert (handed[1][1] != 1).all()


def test_velocities_go_to_all_and_a_new_start_has_none():
    followers = Followers(sgd(0.9), PARAMS)
    followers.step(0, PARAMS, GRADIENTS, no_gradients)
    followers.set_velocity("W", np.zeros((1, 2), np.float32))
    followers.set_velocity("b", np.array(["no number"], dtype=object))
    for result in followers.step(1, PARAMS, GRADIENTS, no_gradients):
        np.testing.assert_allclose(result["vW"], GRADIENTS["dW"], rtol=1e-6)
        np.testing.assert_allclose(result["vb"], 1.9 * GRADIENTS["db"], rtol=1e-6)
    again, *_ = followers.anew().step(0, PARAMS, GRADIENTS, no_gradients)
    np.testing.assert_allclose(again["vb"], GRADIENTS["db"])
    assert followers.all[0].kind == "SGD"


@pytest.mark.parametrize(
    ("optimizer", "memory"),
    [
        (lambda tensors: torch.optim.SGD(tensors, lr=0.1), 0.0),
        (lambda tensors: torch.optim.SGD(tensors, lr=0.1, momentum=0.9), 0.9),
        (lambda tensors: torch.optim.Adam(tensors, betas=(0.5, 0.75)), 0.75),
        (lambda tensors: torch.optim.RMSprop(tensors, alpha=0.95), 0.95),
        (lambda tensors: torch.optim.Adadelta(tensors, rho=0.8), 0.8),
        (torch.optim.Adagrad, 0.0),
    ],
)
def test_how_long_an_optimizer_remembers_is_read_from_it(optimizer, memory):
    assert Follower(optimizer, PARAMS).memory == memory
