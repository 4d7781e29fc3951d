"""torch's optimiser following a derivation, and the same with roundings of its own."""

import numpy as np
import pytest
import torch

from handgrad.compare.errors import InputError
from handgrad.compare.oracle.optimizer import Follower, Followers

PARAMS = {"W": np.array([[1.0, 2.0]]), "b": np.array([3.0])}
GRADIENTS = {"dW": np.array([[0.5, -1.0]]), "db": np.array([2.0])}


def sgd(momentum=0.0):
    return lambda tensors: torch.optim.SGD(tensors, lr=0.1, momentum=momentum)


def no_gradients(params):
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


LINES = {
    "plain": {},
    "momentum": {"momentum": 0.9},
    "dampening": {"momentum": 0.9, "dampening": 0.5},
    "nesterov": {"momentum": 0.9, "nesterov": True},
    "decay": {"momentum": 0.9, "weight_decay": 0.1},
    "ascent": {"maximize": True},
}


@pytest.mark.parametrize("settings", LINES.values(), ids=LINES)
@pytest.mark.parametrize("rate", [1e-1, 1e-6])
def test_a_step_of_sgd_is_a_line_in_the_gradient(settings, rate):
    follower = Follower(lambda tensors: torch.optim.SGD(tensors, lr=rate, **settings), PARAMS)
    for factor in (1.0, -3.0, 0.5):
        along = {name: factor * array for name, array in GRADIENTS.items()}
        lines = follower.lines(PARAMS)
        after = follower.step(PARAMS, along)
        for name in PARAMS:
            implied = (after[name] - lines[name].start) / lines[name].slope
            np.testing.assert_allclose(implied, along[f"d{name}"], rtol=0, atol=1e-15 * 3 / rate)


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.RMSprop, torch.optim.Adagrad, torch.optim.Rprop])
def test_what_divides_by_the_size_of_the_gradient_has_no_line(kind):
    assert not Follower(lambda tensors: kind(tensors, lr=0.1), PARAMS).lines(PARAMS)


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


def test_the_same_step_with_roundings_of_its_own_is_off_by_as_much():
    followers = Followers(sgd(), PARAMS)
    own = followers.step(PARAMS, GRADIENTS, no_gradients)
    np.testing.assert_array_equal(own["W"], PARAMS["W"] - 0.1 * GRADIENTS["dW"])
    noisy = followers.noisy(3, 2.0**-20)
    assert len(noisy) == 3
    for other in noisy:
        difference = np.abs(other["W"] - own["W"])
        assert (difference > 0).any()
        assert (difference <= 3 * 2.0**-20 * (abs(PARAMS["W"]) + 0.1 * abs(GRADIENTS["dW"]))).all()
    again = Followers(sgd(), PARAMS)
    again.step(PARAMS, GRADIENTS, no_gradients)
    np.testing.assert_array_equal(again.noisy(3, 2.0**-20)[1]["W"], noisy[1]["W"])


def test_roundings_of_the_state_gather_from_step_to_step():
    """Asked at the third step alone, the runs with roundings start from the first one, with the same velocities."""
    followers = Followers(sgd(0.9), PARAMS)
    for _ in range(3):
        own = followers.step(PARAMS, GRADIENTS, no_gradients)
        followers.set_velocity("b", np.full(1, 5.0))
    (first, *_), by = followers.noisy(3, 2.0**-20), 2.0**-20
    assert 0 < abs(first["vW"] - own["vW"]).max() <= 12 * by * abs(own["vW"]).max()
    np.testing.assert_allclose(first["vb"], 0.9 * 5 + 2, rtol=4 * by)
    assert followers.noisy(3, by)[0] is first  # nothing more was done


def test_a_gradient_that_is_not_usable_is_torchs_own():
    handed = []

    def own(params):
        handed.append(params["W"])
        return {"dW": np.ones((1, 2)), "db": np.ones(1)}

    unusable = {"dW": np.ones((2, 1)), "db": GRADIENTS["db"]}
    followers = Followers(sgd(), PARAMS)
    result = followers.step(PARAMS, unusable, own)
    np.testing.assert_allclose(result["W"], PARAMS["W"] - 0.1)
    np.testing.assert_allclose(result["b"], PARAMS["b"] - 0.1 * GRADIENTS["db"])
    followers.noisy(3, 2.0**-20)
    assert len(handed) == 1 + 3


def test_velocities_are_gone_on_with_and_a_new_start_has_none():
    followers = Followers(sgd(0.9), PARAMS)
    followers.step(PARAMS, GRADIENTS, no_gradients)
    followers.set_velocity("W", np.zeros((1, 2), np.float32))
    followers.set_velocity("b", np.array(["no number"], dtype=object))
    result = followers.step(PARAMS, GRADIENTS, no_gradients)
    np.testing.assert_allclose(result["vW"], GRADIENTS["dW"], rtol=1e-6)
    np.testing.assert_allclose(result["vb"], 1.9 * GRADIENTS["db"], rtol=1e-6)
    again = followers.anew().step(PARAMS, GRADIENTS, no_gradients)
    np.testing.assert_allclose(again["vb"], GRADIENTS["db"])
    assert followers.follower.kind == "SGD"


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
