"""What a hand-written side computes is recorded step by step, and what ends it is kept."""

import numpy as np
import pytest

from handgrad.compare.facts.failures import Aliased, Mutates, Raised, ReturnedInstead, TooManyYields
from handgrad.compare.names import PHASES, Key
from handgrad.compare.pipeline.recording import Ended, Taken, record, steps_of, trainer_of
from handgrad.compare.trace import is_real

START = {"w": np.array([1.0, 2.0])}
BATCHES = [{"X": np.array([1.0])}, {"X": np.array([2.0])}]


def descending(params, batches):
    w = params["w"]
    for (X,) in batches:
        w = w - X
        yield {"w": w, "J": X[0]}


def test_every_step_has_what_it_started_from_and_what_it_computed():
    run = record(descending, START, BATCHES)
    assert run.failure is None
    first, second = run.steps
    assert first.before is START
    assert {name: array.tolist() for name, array in first.records.items()} == {"w_next": [0.0, 1.0], "J": 1.0}
    assert first.complete == frozenset(PHASES)
    assert second.before == first.after
    assert [(before["w"].tolist(), after["w"].tolist()) for before, after in run.changes] == [
        ([1.0, 2.0], [0.0, 1.0]),
        ([0.0, 1.0], [-2.0, -1.0]),
    ]


def test_after_a_step_there_is_what_can_be_used():
    before = {"w": np.zeros(2), "b": np.zeros(1), "c": np.zeros(1), "d": np.zeros(1)}
    records = {"w_next": np.ones(2), "b_next": np.ones(3), "c_next": np.array("x")}
    assert {*Taken(before, records).after} == {"w"}


def test_records_are_copies_that_cannot_be_changed():
    def reusing(params, batches):
        w = params["w"]
        for (X,) in batches:
            w -= X
            yield {"w": w}

    first, second = record(reusing, START, BATCHES).steps
    assert first.records["w_next"].tolist() == [0.0, 1.0]
    assert second.records["w_next"].tolist() == [-2.0, -1.0]
    assert not first.records["w_next"].flags.writeable
    assert START["w"].tolist() == [1.0, 2.0]


def test_steps_end_after_one_that_cannot_be_gone_on_from():
    def broken(params, batches):
        yield {"w": np.ones(3)}
        raise AssertionError("nobody asks for it")

    (only,) = record(broken, START, BATCHES).steps
    assert only.after == {}


def test_a_trainer_may_yield_steps_that_are_cut_short():
    def cut(_, __):
        yield {"w_next": START["w"]}
        raise Ended(Aliased(), records={"Z": np.ones(1)}, complete=frozenset({"forward"}))

    _, last = steps_of(cut(None, None), START)
    assert (last.ended.cause, {*last.records}, last.complete) == (Aliased(), {"Z"}, frozenset({"forward"}))


def endless(params, batches):
    while True:
        yield dict(params)


def failing(params, batches):
    yield from descending(params, batches[:1])
    raise RuntimeError("out of data")


def leaving(params, batches):
    yield from descending(params, batches[:1])
    raise GeneratorExit


def overwriting(params, batches):
    for (X,) in batches:
        X[:] = 0
        yield dict(params)


FAILURES = {
    "raises": (failing, 1, Raised),
    "raises GeneratorExit": (leaving, 1, Raised),
    "never ends": (endless, 2, TooManyYields(2)),
    "yields None": (lambda p, b: (None for _ in b), 0, ReturnedInstead),
    "returns None": (lambda p, b: None, 0, ReturnedInstead),
    "returns a dict": (lambda p, b: dict(p), 0, ReturnedInstead),
    "returns a number": (lambda p, b: 3, 0, ReturnedInstead),
    "returns the same arrays": (lambda p, b: [p, p], 0, Aliased()),
    "changes a batch": (overwriting, 2, Mutates("trainer", "batch 1's", "X")),
}


@pytest.mark.parametrize(("trainer", "steps", "cause"), FAILURES.values(), ids=FAILURES)
def test_what_ends_a_run_is_kept_beside_its_steps(trainer, steps, cause):
    run = record(trainer, START, BATCHES)
    assert len(run.steps) == steps
    assert type(run.failure.cause) is cause if isinstance(cause, type) else run.failure.cause == cause


def test_a_changed_batch_is_told_against_the_array_that_was_changed():
    assert record(overwriting, START, BATCHES).failure.where == Key(1, "forward", "X")


def test_a_list_of_steps_is_as_good_as_a_generator():
    run = record(lambda p, b: [*descending(p, b)], START, BATCHES)
    assert (len(run.steps), run.failure) == (2, None)


@pytest.mark.filterwarnings("error")
def test_a_trainer_can_be_left_before_its_end():
    for taken in steps_of(descending(START, [*map(tuple, (b.values() for b in BATCHES))]), START):
        assert taken.ended is None
        break


# --- an update as a trainer

ALONG = [{"dw": np.array([1.0, 0.0])}, {"dw": np.array([0.0, 1.0])}]


def steps_along(update):
    return record(trainer_of(update, ALONG), START, [{}] * len(ALONG))


def test_an_update_is_a_trainer_whose_steps_are_those_of_the_gradients():
    def heavy(params, grads, state):
        v = (state["vw"] if state else 0.0) + grads["dw"]
        return {"w": params["w"] - v}, {"vw": v, "t": 1}

    first, second = steps_along(heavy).steps
    assert {*first.records} == {"w_next", "vw"}, "of the state, velocities alone are recorded"
    assert first.records["w_next"].tolist() == [0.0, 2.0]
    assert (second.records["vw"].tolist(), second.records["w_next"].tolist()) == ([1.0, 1.0], [-1.0, 1.0])


def test_an_update_may_change_params_in_place():
    def descend(params, grads, state):
        params["w"] -= grads["dw"]

    assert [taken.records["w_next"].tolist() for taken in steps_along(descend).steps] == [[0.0, 2.0], [0.0, 1.0]]
    assert START["w"].tolist() == [1.0, 2.0]


def test_a_gradient_that_is_changed_ends_the_run_after_its_step():
    def update(params, grads, state):
        grads["dw"] *= 0
        return params, state

    run = steps_along(update)
    assert (len(run.steps), run.failure.cause, run.failure.follows) == (1, Mutates("update", "gradient", "dw"), True)


def test_what_an_object_keeps_does_not_reach_the_next_run():
    class Counting:
        def __init__(self):
            self.steps = 0

        def update(self, params, grads, state):
            self.steps += 1
            return {"w": params["w"] - self.steps}, None

    update = Counting().update
    first, again = steps_along(update), steps_along(update)
    assert first.steps[1].records["w_next"].tolist() == again.steps[1].records["w_next"].tolist()


@pytest.mark.parametrize("returned", [3, {"w": 1.0}, (1, 2), ({"w": 1.0},)], ids=str)
def test_an_update_that_returns_something_else_ends_the_run(returned):
    run = steps_along(lambda p, g, s: returned)
    assert (run.steps, type(run.failure.cause)) == ((), ReturnedInstead)


def test_what_is_no_array_is_recorded_as_what_it_is():
    (taken,) = steps_along(lambda p, g, s: ({"w": "text"}, None)).steps
    assert not is_real(taken.records["w_next"])
