"""An edited step is rolled out over a run, its state carried along; torch's own rollout is torch's course."""

import numpy as np
import pytest
import torch

from handgrad.compare.diagnosis.recurring import NOTHING, At, Course, Rollout, named_slip
from handgrad.compare.facts.updates import StateStart
from handgrad.compare.oracle.optimizer import Follower
from handgrad.compare.oracle.recurrence import GRADIENT, OF_THE_RUN, WEIGHTS, recurrence
from tests.compare.oracle.test_recurrence import OPTIMIZERS

PARAMS = {"w": np.random.default_rng(3).standard_normal(6)}
STEPS = 7  # RAdam takes the first five in another form


def course(optimizer, by_hand=None):
    """A course along gradients that change; by hand it is what another optimiser does, or torch's own."""
    drawn = np.random.default_rng(2)
    own, other = Follower(optimizer, PARAMS), Follower(by_hand or optimizer, PARAMS)
    before, steps = PARAMS["w"], []
    for _ in range(STEPS):
        along = drawn.standard_normal(6)
        reference, recorded = (f.step({"w": before}, {"dw": along})["w"] for f in (own, other))
        inputs = {WEIGHTS: before, GRADIENT: along, **dict.fromkeys(OF_THE_RUN, 1.0)}
        tensors = {name: torch.tensor(value, dtype=torch.float64) for name, value in inputs.items()}
        allowed = torch.full((6,), 1e-12, dtype=torch.float64)
        steps.append(At(tensors, torch.tensor(recorded), torch.tensor(reference), allowed, allowed, {}))
        before = recorded
    return Course(recurrence(optimizer, PARAMS, "w"), steps)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_torchs_own_course_is_given(name):
    made = course(OPTIMIZERS[name][0])
    rollout = Rollout(made.recurrence.graph, made)
    assert rollout.is_torchs
    for _, step, after in rollout.rolled(NOTHING):
        torch.testing.assert_close(after, step.reference, rtol=1e-12, atol=1e-12)


def test_what_is_right_has_no_name():
    assert named_slip([course(OPTIMIZERS["Adam"][0])]) == ()


def test_a_velocity_that_starts_from_zero_is_named_over_all_steps():
    due = lambda t: torch.optim.SGD(t, lr=0.1, momentum=0.9, dampening=0.5)  # noqa: E731  # as a user writes it
    made = course(due, lambda t: torch.optim.SGD(t, lr=0.05, momentum=0.9))
    (cause, *_) = named_slip([made])
    assert cause == StateStart("momentum_buffer", "0", "dw", "lr=0.05, momentum=0.9")
