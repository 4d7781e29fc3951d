"""What a wrong tensor may have been computed from, and when a hypothesis explains it."""

import numpy as np
import pytest

from handgrad.compare.diagnosis.scene import Scene

RNG = np.random.default_rng(11)
R = RNG.standard_normal((4, 4))
READS = {"Z": frozenset("XW"), "A": frozenset("Z"), "J": frozenset("A")}
NAMES = ("X", "W", "Z", "A", "dA", "dZ", "dW", "distance")


def scene(name, **more):
    tensors = {n: np.ones((2, 2)) for n in NAMES}
    return Scene(name, 2 * R[:2, :2], R[:2, :2], tensors=tensors, reads=READS, **more)


def test_a_value_may_be_computed_from_values_that_are_not_computed_from_it():
    assert scene("Z").earlier == {"X", "W", "distance"}
    assert (scene("Z").of, scene("Z").readers) == ("", ())


def test_a_gradient_may_be_computed_from_values_and_the_gradients_behind_it():
    assert scene("dZ").earlier == {"X", "W", "Z", "A", "distance", "dA"}
    assert (scene("dZ").of, scene("dZ").readers) == ("Z", ("A",))


def test_without_a_graph_everything_else_may_be_read():
    assert Scene("dZ", R, R, tensors={"Z": R, "dZ": R, "dW": R}).earlier == {"Z", "dW"}


@pytest.mark.parametrize(("dtype", "off"), [("float64", 2.0**-40), ("float32", 2.0**-19)])
def test_a_hypothesis_may_leave_what_rounding_leaves(dtype, off):
    largest = np.max(np.abs(R))
    assert Scene("T", R, 2 * R, dtype).explained_by(R + off * largest)
    assert not Scene("T", R, 2 * R, dtype).explained_by(R + 8 * off * largest)
    assert not Scene("T", R, 2 * R, dtype).explained_by(R[:2])
    assert not Scene("T", R, 2 * R, dtype).explained_by(None)


def test_a_hypothesis_explains_nothing_that_leaves_most_of_the_difference():
    assert not Scene("T", R, R * (1 + 1e-13)).explained_by(R * (1 + 5e-14))


def test_replays_are_refused_where_a_shape_is_another():
    seen = []
    replayed = scene("Z", replay=lambda replaced: seen.append(replaced) or {"Z": replaced["X"], "A": R}).replayed
    assert replayed({"X": np.zeros((2, 2))}) is seen[0]["X"]
    assert replayed({"X": np.zeros((2, 2))}, "A") is R
    assert replayed({"X": np.zeros((2, 3))}) is None
    assert scene("Z").replayed({"X": np.zeros((2, 2))}) is None
